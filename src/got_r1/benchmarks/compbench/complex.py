"""Complex prompts: the mean of what their kind asks for, the 3-in-1 score.

The arithmetic of T2I-CompBench's `3_in_1.py`. A prompt that is in the benchmark's list of spatial
ones has the mean of attribute and 2D-spatial score, one in the list of actions that of attribute
and CLIP, all others that of the three. Odd, but kept without a switch:

- A prompt is known by its text before the first full stop, in lower case, blanks included: "2.5"
  cuts it at "2", and a trailing or double blank sends it to the mean of three.
- A prompt in both lists counts as spatial.
- CLIP cosines (about 0.15 to 0.4) are used as they are, so an image can hardly score 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

__all__ = ["Kind", "key", "kind", "score"]

Kind = Literal["spatial", "action", "spatial+action"]


def key(prompt: str) -> str:
    """What a prompt is known by in the lists."""
    return prompt.split(".", 1)[0].lower()


def kind(prompt: str, spatial: Iterable[str], action: Iterable[str]) -> Kind:
    """The kind of a complex prompt; `spatial`, `action`: the prompts of the benchmark's lists
    (`complex_val_spatial.txt`, `complex_val_action.txt`)."""
    mine = key(prompt)
    if mine in map(key, spatial):
        return "spatial"
    return "action" if mine in map(key, action) else "spatial+action"


def score(which: Kind, *, attribute: float, spatial: float, clip: float) -> float:
    """The 3-in-1 score of one image, in [0, 1]: the parts as the other scorers give them, the
    2D-spatial one in its complex mode, `clip` the raw cosine."""
    match which:
        case "spatial":
            return (attribute + spatial) / 2
        case "action":
            return (attribute + clip) / 2
        case "spatial+action":
            return (attribute + spatial + clip) / 3
