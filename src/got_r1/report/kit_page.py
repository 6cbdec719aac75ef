"""A rater's page: one HTML file that asks nothing of any server.

Its style and script are named by their hashes in the page's Content-Security-Policy, so nothing
else runs in it, whatever a prompt or a chain says.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from markupsafe import Markup

from got_r1.report.page import words, write_page

__all__ = ["write_kit_page"]

_DATA = ("study", "rater", "columns", "formula", "scale", "ratings")


def write_kit_page(kit: Mapping[str, Any], path: Path) -> None:
    """Write the page of a rater (`got_r1.audit.kits.kits` yields its content).

    Raises as `write_page`.
    """
    style, script = _asset("style.css") + _asset("kit.css"), _asset("kit.js")
    policy = {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": _hash(style),
        "script-src": _hash(script),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    items = [
        {name: value for name, value in item.items() if name not in ("chain", "colors")}
        | {"text": _text(item["chain"], item["colors"])}
        for item in kit["items"]
    ]
    write_page(
        path,
        "kit.html",
        kit=kit,
        data={**{name: kit[name] for name in _DATA}, "items": items},
        policy="; ".join(f"{name} {value}" for name, value in policy.items()),
        style=Markup(style),
        script=Markup(script),
    )


def _asset(name: str) -> str:
    return (resources.files(__package__) / "assets" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _text(chain: str, colors: Sequence[str]) -> list[dict[str, str]]:
    """A chain as pieces of text without boxes, an object's name with the colour of its box."""
    left = iter(colors)
    return [
        {"text": piece.text, **({"color": next(left, "")} if piece.kind == "name" else {})}
        for piece in words(chain)
    ]
