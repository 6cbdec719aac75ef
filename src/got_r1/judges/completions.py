"""The body of a server's answer as a completion: the text in it, or what came in its place.

An answer with status 200 may hold anything. Three cases are told apart:

- *No completion*: a web page, a stream, broken JSON, an `error` object, no choices. This says
  something about the server and nothing about the query: `NoCompletion`.
- *A completion without a usable text*: `Completion.lacking` says why. The model refused, answered
  with its reasoning only, or with nothing. Another sample may do better.
- *A completion that a content filter withheld*: as before, and `final`: the same content would be
  filtered again, and services count attempts.

What a model thought is never read as its answer: it may weigh several scores.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from got_r1.files.parsing import parse_json
from got_r1.files.redaction import redact

__all__ = ["PASSES", "Completion", "NoCompletion", "one_line", "read_completion"]

SHOWN = 200  # characters of a server's message in a sentence
PASSES = (408, 409, 425, 429)  # statuses below 500 that are worth another try

_THINKING = ("thinking", "redacted_thinking", "reasoning", "reasoning_text", "thought")
_REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
_BROKEN = ("error", "abort", "aborted", "cancelled")  # the server stopped in the middle


class NoCompletion(Exception):
    """The answer holds no completion: `reason` says what came, `reply` is what the server said.

    `refused`: it says that the request is at fault, which would fail again.
    """

    def __init__(self, reason: str, reply: str, *, refused: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.reply, self.refused = reason, reply, refused


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model replied; `cut_off` where the limit of tokens ended it.

    `tokens`: how many it wrote, None where the server does not say. `lacking`: why there is no
    answer in it, empty where `text` is one; `final` where asking again is of no use.
    """

    text: str
    cut_off: bool
    tokens: int | None
    lacking: str = ""
    final: bool = False


def read_completion(body: str) -> Completion:
    """The first choice of a chat completion. Raises NoCompletion."""
    answer = _json(body)
    choice = _first_choice(answer, body)
    message = choice["message"]
    text, refusal, thoughts = map(redact, _parts(message))  # before messages quote parts of them
    finish = choice.get("finish_reason")
    cut_off = finish == "length"
    usage = answer.get("usage")
    tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    tokens = tokens if type(tokens) is int and tokens >= 0 else None

    def lacking(reason: str, *, final: bool = False) -> Completion:
        return Completion(text or refusal or thoughts, cut_off, tokens, reason, final)

    if finish in _BROKEN:
        raise NoCompletion(f"a completion that the server broke off ({finish})", text)
    if finish == "content_filter":
        return lacking("the server's content filter withheld it (content_filter)", final=True)
    if refusal:
        return lacking(f"the model refused to answer: {one_line(refusal)}")
    if text.strip():
        return Completion(text, cut_off, tokens)
    if thoughts.strip():
        return lacking(
            "it holds the model's reasoning and no answer"
            + (", for the limit of tokens came first" if cut_off else "")
            + ": raise wording.max_tokens, or switch thinking off, for Qwen3 with "
            "openai.extra_body: {chat_template_kwargs: {enable_thinking: false}}"
        )
    if message.get("tool_calls"):
        return lacking("it holds tool calls and no answer")
    return lacking(f"it is empty (finish_reason {finish!r})")


def _json(body: str) -> dict[str, Any]:
    """The body as a JSON object. Raises NoCompletion."""
    try:
        answer = parse_json(body, source=None)  # `base.checked` replaces what is no Unicode
    except ValueError:
        raise NoCompletion(_no_json(body), one_line(body)) from None
    if isinstance(answer, list) and len(answer) == 1:  # Gemini wraps its errors
        answer = answer[0]
    if not isinstance(answer, dict):
        raise NoCompletion(f"JSON that is no object ({one_line(body)})", one_line(body))
    return answer


def _no_json(body: str) -> str:
    """What a body is that is not JSON."""
    start = body.lstrip().lower()
    if not start:
        return "an empty body"
    if start.startswith("<"):
        return (
            f"a web page instead of JSON ({one_line(body)}): does the URL lead to the API, mostly "
            "ending in /v1, or to a proxy's or login page?"
        )
    if start.startswith(("data:", "event:", "id:", "retry:", ":")):
        return (
            "a stream (text/event-stream), which was not asked for: "
            "openai.extra_body: {stream: false} says so explicitly"
        )
    return f"something that is not JSON ({one_line(body)})"


def _first_choice(answer: dict[str, Any], body: str) -> dict[str, Any]:
    """The first choice, with a message in it. Raises NoCompletion."""
    _raise_error(answer)
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if isinstance(choice, dict):
        _raise_error(choice)
        if isinstance(choice.get("message"), dict):
            return choice
    what = "a completion without choices" if choices == [] else "JSON that is no chat completion"
    raise NoCompletion(f"{what} ({one_line(body)})", one_line(body))


def _raise_error(holder: dict[str, Any]) -> None:
    """Raises NoCompletion where an error object stands in place of an answer."""
    error = holder if holder.get("object") == "error" else holder.get("error")
    if not error:
        return
    code = error.get("code") if isinstance(error, dict) else None
    said = error.get("message") if isinstance(error, dict) else None
    said = one_line(said or error)
    code = int(str(code)) if str(code).isdecimal() else 0
    raise NoCompletion(
        f"status 200 and an error in it{f' ({code})' if code else ''}: {said}",
        said,
        refused=400 <= code < 500 and code not in PASSES,
    )


def _parts(message: dict[str, Any]) -> tuple[str, str, str]:
    """The text of a message, its refusal and its reasoning. Raises NoCompletion."""
    texts: list[str] = []
    refusals = [one for one in [message.get("refusal")] if isinstance(one, str)]
    thoughts = [text for key in _REASONING_KEYS for text in _strings(message.get(key))]
    content = message.get("content")
    for part in content if isinstance(content, list) else [content]:
        match part:
            case None:
                pass
            case str():
                texts.append(part)
            case {"type": "refusal"}:
                refusals += _strings(part)
            case {"type": str() as kind} if kind in _THINKING:
                thoughts += _strings(part)
            case {"thought": True}:  # Gemini's mark
                thoughts += _strings(part)
            case {"text": str() as text} | {"text": {"value": str() as text}}:
                texts.append(text)
            case dict():
                pass  # an image, a tool call: nothing to read
            case _:
                said = one_line(content)
                raise NoCompletion(f"content that is neither text nor parts ({said})", said)
    return "".join(texts), "".join(refusals), "\n".join(thoughts)


def _strings(value: Any) -> Iterator[str]:
    """All texts in a value, but for what names a part's type."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key not in ("type", "id", "signature", "format"):
                yield from _strings(item)


def one_line(said: object, longest: int = SHOWN) -> str:
    """What a server said, on one line, not too long for a sentence and without secrets."""
    text = redact(" ".join(str(said).split()))
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
