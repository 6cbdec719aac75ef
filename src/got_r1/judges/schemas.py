"""Replies as JSON schemas, for servers that decode by one (structured outputs).

Schemas keep to what all services know: an object at the root, every key required, none beside them.
The keys stand in the order in which the rubric asks for them, since that is the order of decoding:
reasons before the score.

**Bounds.** Guided decoding forbids nothing that a schema allows, and a model that repeats itself
then fills the limit of tokens: so texts, lists and numbers are bounded, generously. OpenAI's
documentation knows no maxLength, and older versions of xgrammar no maxItems
(mlc-ai/xgrammar#160), so a schema can also go `without_bounds`.

White space between the tokens of JSON cannot be bounded by a request: vLLM ignores
`disable_any_whitespace` there (vllm-project/vllm#48765) and `whitespace_pattern` too (#26362). A
guided reply that was cut off is therefore put again without a schema (`openai_api`). As an option
of the server it works, together with a backend (vLLM 0.32 refuses it beside "auto"):
`--structured-outputs-config '{"backend": "xgrammar", "disable_any_whitespace": true}'`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from got_r1.judges.replies import MOST_BOXES

__all__ = ["boxes_schema", "response_format", "score_schema", "without_bounds"]

Schema = dict[str, Any]

_BOUNDS = {"maxLength", "minItems", "maxItems", "minimum", "maximum"}
_LONGEST_TEXT = 1000  # characters
_FARTHEST = 9999  # of a coordinate: far outside too, so that a wrong convention still shows


def score_schema(texts: Sequence[str], max_tokens: int) -> Schema:
    """Texts under these keys, then the score: a whole number from 0 to 10.

    Together the texts leave room for the score within `max_tokens`, by two characters a token.
    """
    longest = min(_LONGEST_TEXT, 2 * max_tokens // (len(texts) + 1))
    fields: Schema = {key: {"type": "string", "maxLength": longest} for key in texts}
    return _object(fields | {"score": {"type": "integer", "minimum": 0, "maximum": 10}})


def boxes_schema(longest_name: int, key: str) -> Schema:
    """A name, and under `key` a list of boxes: whose they are is said once and for all of them."""
    corner = {"type": "integer", "minimum": 0, "maximum": _FARTHEST}
    box = {"type": "array", "items": corner, "minItems": 4, "maxItems": 4}
    # One more than are read: who repeats boxes without end must still be found out.
    boxes = {"type": "array", "items": box, "maxItems": MOST_BOXES + 1}
    return _object({"label": {"type": "string", "maxLength": longest_name}, key: boxes})


def without_bounds(schema: Any) -> Any:
    """The schema without limits of lengths and numbers."""
    if isinstance(schema, Mapping):
        return {key: without_bounds(one) for key, one in schema.items() if key not in _BOUNDS}
    return schema


def response_format(name: str, schema: Schema) -> dict[str, Any]:
    """The field of a request that asks for a schema."""
    return {
        "type": "json_schema",
        "json_schema": {"name": name, "strict": True, "schema": schema},
    }


def _object(fields: Schema) -> Schema:
    return {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }
