"""A rater's page: one HTML file that asks nothing of any server, or the same from the studio.

The file's style and script are named by their hashes in its Content-Security-Policy, so nothing
else runs in it, whatever a prompt or a chain says. The studio's page loads them from the studio,
and says in its headers that nothing else may run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from markupsafe import Markup

from got_r1.report.page import render_page, words, write_page

__all__ = ["kit_asset", "served_kit_page", "write_kit_page"]

_DATA = ("study", "rater", "columns", "formula", "scale", "ratings")


def write_kit_page(kit: Mapping[str, Any], path: Path) -> None:
    """Write the page of a rater (`got_r1.audit.kits.kits` yields its content).

    Raises as `write_page`.
    """
    style, script = kit_asset("style.css") + kit_asset("kit.css"), kit_asset("kit.js")
    policy = {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": _hash(style),
        "script-src": _hash(script),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    write_page(
        path,
        "kit.html",
        kit=kit,
        data=_data(kit),
        served=None,
        policy="; ".join(f"{name} {value}" for name, value in policy.items()),
        style=Markup(style),
        script=Markup(script),
    )


def served_kit_page(kit: Mapping[str, Any], base: str, token: str) -> str:
    """The page of a rater as a server gives it: it loads its assets from `base`/assets/NAME, and
    sends `token` with its requests. `plan` and `picture` of the kit's items are addresses."""
    served = {"base": base, "token": token}
    return render_page("kit.html", kit=kit, data=_data(kit), served=served)


def _data(kit: Mapping[str, Any]) -> dict[str, Any]:
    """What the script reads."""
    items = [
        {name: value for name, value in item.items() if name not in ("chain", "colors")}
        | {"text": _text(item["chain"], item["colors"])}
        for item in kit["items"]
    ]
    return {**{name: kit[name] for name in _DATA}, "items": items}


def kit_asset(name: str) -> str:
    """A style or script of the page."""
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
