"""The shape of a request: the fields that a server gets, and their names.

`openai.rename`, `openai.extra_body` and `openai.system` decide. Profiles add what is known to be
needed for a service; what the settings say wins, key by key. With `profile: auto` the host of the
URLs chooses one.

| profile | host | content | source |
|-|-|-|-|
| openai | api.openai.com | max_tokens is sent as max_completion_tokens; for reasoning models (o1,
  o3 ..., gpt-5 and later) no temperature | "Unsupported parameter: 'max_tokens' is not supported
  with this model. Use 'max_completion_tokens' instead."; "'temperature' does not support 0 with
  this model. Only the default (1) value is supported." (tmc/langchaingo#1355) |
| gemini | generativelanguage.googleapis.com | no seed | 'Unknown name "seed": Cannot find field.'
  (Vali-98/ChatterUI#227, mcpchecker/mcpchecker#188) |
| mistral | api.mistral.ai | seed is sent as random_seed | docs.mistral.ai/api; 422 extra_forbidden
  for seed (Vali-98/ChatterUI#143) and for max_completion_tokens (editor-code-assistant/eca#231) |
| vllm, sglang | - | repetition_penalty 1, top_p 1, top_k -1: otherwise the defaults are those of
  the model's generation_config.json, for Qwen2.5-VL a repetition penalty of 1.05 | measured with
  vLLM 0.32 (`--generation-config`); SGLang's `--sampling-defaults model` does the same |
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from got_r1.judges.settings import OPENAI_HOST, OpenAISettings

__all__ = ["RequestShape", "refused_field"]

_HOSTS = {
    OPENAI_HOST: "openai",
    "generativelanguage.googleapis.com": "gemini",
    "api.mistral.ai": "mistral",
}
_PLAIN_SAMPLING = {"repetition_penalty": 1.0, "top_p": 1.0, "top_k": -1}
_RENAMED = {"openai": {"max_tokens": "max_completion_tokens"}, "mistral": {"seed": "random_seed"}}
_SENT_ALONG: dict[str, dict[str, Any]] = {
    "gemini": {"seed": None},
    "vllm": _PLAIN_SAMPLING,
    "sglang": _PLAIN_SAMPLING,
}
# Fields that guide decoding, OpenAI's, vLLM's, SGLang's and llama.cpp's: one guide is enough.
_GUIDES = {
    *("response_format", "structured_outputs", "regex", "ebnf", "grammar", "json_schema"),
    *("guided_json", "guided_regex", "guided_choice", "guided_grammar", "structural_tag"),
}
# o1, o3-mini, gpt-5, gpt-5.1-mini ...; a date or a provider may stand before or behind.
_REASONING_MODEL = re.compile(r"(?:^|/)(?:o[1-9]|gpt-(?:[5-9]|[1-9][0-9]))(?![0-9a-z])")


@dataclass(frozen=True, slots=True)
class RequestShape:
    """How requests look.

    `extra_body`: sent along; None leaves a field out, be it ours. `rename`: our names of fields to
    the server's. `folded`: the system's part stands before the user's, in one turn. `structured`: a
    JSON schema goes along.
    """

    rename: Mapping[str, str]
    extra_body: Mapping[str, Any]
    folded: bool
    structured: bool

    @classmethod
    def of(cls, settings: OpenAISettings) -> RequestShape:
        """What the settings say, completed by their profile."""
        profile = _profile(settings)
        sent_along = dict(_SENT_ALONG.get(profile, {}))
        if profile == "openai" and _REASONING_MODEL.search(settings.model):
            sent_along["temperature"] = None
        return cls(
            _RENAMED.get(profile, {}) | settings.rename,
            sent_along | settings.extra_body,
            settings.system == "folded",
            settings.structured == "auto" and not _GUIDES & settings.extra_body.keys(),
        )

    def identity(self) -> dict[str, Any]:
        """What of the shape may change answers, for the keys of caches."""
        return {
            "extra_body": dict(self.extra_body),
            "folded": self.folded,
            "structured": self.structured,
        }

    def body(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """A request's body of our fields, by our names."""
        named = {self.rename.get(key, key): value for key, value in fields.items()}
        named |= {self.rename.get(key, key): value for key, value in self.extra_body.items()}
        return {key: value for key, value in named.items() if value is not None}

    def messages(self, system: str, text: str, image_urls: list[str]) -> list[dict[str, Any]]:
        """The turns of a conversation; images stand before the text."""
        if self.folded:
            text = f"{system}\n\n{text}"
        parts: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": url}} for url in image_urls
        ]
        parts.append({"type": "text", "text": text})
        user = {"role": "user", "content": parts if image_urls else text}
        return [user] if self.folded else [{"role": "system", "content": system}, user]


def _profile(settings: OpenAISettings) -> str:
    if settings.profile != "auto":
        return settings.profile
    profiles = {_HOSTS.get(urlsplit(url).hostname or "", "none") for url in settings.urls}
    return profiles.pop() if len(profiles) == 1 else "none"


# -- refusals --------------------------------------------------------------------------------------

_NO_SYSTEM = re.compile(
    r"system (?:role|message|prompt)s?\b.{0,40}\bnot (?:be )?(?:supported|allowed)"
    r"|(?:not|n't) support\W{1,3}(?:the )?system\b|developer instruction is not enabled"
    r"|roles must alternate|unknown role\W+system|only user and assistant roles",
    re.IGNORECASE | re.DOTALL,
)
_NO_SCHEMA = re.compile(
    r"response_format|json_schema|json schema|\bschema\b|structured.outputs?|guided|grammar",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"context (?:length|window)|too (?:large|long|many)|at most|greater than|fewer (?:\w+ )?tokens"
    r"|exceed|max_model_len",
    re.IGNORECASE,
)
_SETTINGS = {
    "max_tokens": "openai.rename: {{max_tokens: max_completion_tokens}} sends it under the newer "
    "name, openai.extra_body: {{max_tokens: null}} leaves it out",
    "temperature": "openai.extra_body: {{temperature: null}} leaves it out, and the server's "
    "default applies",
    "seed": "openai.extra_body: {{seed: null}} leaves it out (openai.rename gives it another name, "
    "such as Mistral's random_seed)",
}
_ANY = "openai.extra_body: {{{name}: null}} leaves it out, openai.rename gives it another name"


def refused_field(said: str, param: object, request: Mapping[str, Any]) -> tuple[str, str]:
    """The field of a request that a server's message says is wrong, and the setting to change; two
    empty texts where it names none.

    `param` is what OpenAI's errors say beside their message.
    """
    param = param if isinstance(param, str) else ""
    system = any(message.get("role") == "system" for message in request.get("messages", ()))
    if system and (_NO_SYSTEM.search(said) or param.endswith(".role")):
        return "system", (
            "openai.system: folded puts the system's part into the user's turn, for models whose "
            "chat template has no system role"
        )
    if "response_format" in request and (
        param.startswith("response_format") or _NO_SCHEMA.search(said)
    ):
        return "response_format", "openai.structured: off asks without a JSON schema"
    names = [name for name in request if name not in ("model", "messages", "response_format")]
    if param in names:
        names = [param]
    for name in names:
        if name == param or re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", said):
            if "max" in name and _TOO_LONG.search(said):
                return name, "lower wording.max_tokens, or give the server a longer context"
            return name, _SETTINGS.get(name, _ANY).format(name=name)
    return "", ""
