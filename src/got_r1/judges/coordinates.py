"""In which coordinates a model gives boxes: the conventions, and the families that are known.

A model answers in the coordinates that it was trained on, whatever it is asked for. Read in others,
its boxes lie somewhere else, often still inside the image: a wrong setting is no error but a wrong
reward. So only families whose convention is published are known by name, and for any other
model the setting must be given (`got-r1 audit grounding` measures it).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

__all__ = ["CONVENTIONS", "FAMILIES", "Convention", "Coordinates", "Family", "family_of"]

Coordinates = Literal["pixels", "thousand", "thousand_yx"]


@dataclass(frozen=True, slots=True)
class Convention:
    """How boxes are asked for and read.

    `side`: the length of either side of the image, or 0 for its own in pixels. `key`: what a box is
    called in JSON.
    """

    side: int
    order: Literal["xy", "yx"]
    key: str = "bbox_2d"

    def frame(self, width: int, height: int) -> tuple[int, int]:
        """What coordinates are relative to, for an image of this size in pixels."""
        return (self.side, self.side) if self.side else (width, height)

    def words(self, width: int, height: int) -> str:
        """The scale, as a rubric says it."""
        if not self.side:
            return f"in pixels of this picture, which is {width} wide and {height} high"
        return (
            f"on a scale from 0 to {self.side} over the picture's width and from 0 to {self.side} "
            "over its height"
        )

    @property
    def corners(self) -> str:
        """The two corners, as a rubric writes them."""
        return "x1, y1, x2, y2" if self.order == "xy" else "y1, x1, y2, x2"


CONVENTIONS: dict[Coordinates, Convention] = {
    "pixels": Convention(0, "xy"),
    "thousand": Convention(1000, "xy"),
    "thousand_yx": Convention(1000, "yx", key="box_2d"),
}


@dataclass(frozen=True, slots=True)
class Family:
    """Models whose name or type matches `pattern` (small letters, hyphens for underscores).

    `patch`: the multiple in pixels that their processor rounds sides to, where it is known.
    """

    name: str
    pattern: str
    coordinates: Coordinates
    source: str
    patch: int | None = None


FAMILIES = (
    Family(
        "Qwen2.5-VL", r"qwen2[.-]?5-?vl", "pixels",
        "arXiv 2502.13923, section 2, and its authors in github.com/QwenLM/Qwen3-VL, issue 676: "
        "absolute, in pixels of the image as resized by the processor", 28,
    ),
    Family(
        "Qwen2-VL", r"qwen2-?vl", "thousand",
        "arXiv 2409.12191, section 2, and github.com/QwenLM/Qwen3-VL, issue 866: normalized within "
        "[0, 1000)", 28,
    ),
    Family(
        "Qwen3-VL", r"qwen3-?vl", "thousand",
        "github.com/QwenLM/Qwen3-VL, cookbooks/2d_grounding.ipynb: relative, 0 to 1000", 32,
    ),
    Family(
        "Qwen3.5", r"qwen3[.-]5", "thousand",
        "github.com/QwenLM/Qwen3.8-Flash-Next, issue 4: normalized to 0 to 1000", 32,
    ),
    Family(
        "InternVL 2 to 3.5", r"intern-?vl", "thousand",
        "internvl.readthedocs.io, chat_data_format, grounding data: integers from 0 to 1000",
    ),
    Family(
        "GLM-4.1V, 4.5V, 4.6V", r"glm-?4(?:[.-]?[0-9])?v", "thousand",
        "github.com/zai-org/glm-skills, glmv-grounding: relative, 0 to 1000",
    ),
    Family(
        "DeepSeek-VL2", r"deepseek-vl-?v?2", "thousand",
        "arXiv 2412.10302, section 3, and its authors at huggingface.co/AskUI/PTA-1, discussion 2: "
        "normalized to 0 to 999",
    ),
    Family(
        "MiniCPM-V", r"minicpm-?(?:llama3-)?[vo]", "thousand",
        "github.com/OpenBMB/MiniCPM-V, issue 982: <box>x1 y1 x2 y2</box>, normalized to 1000",
    ),
    Family(
        "Gemini", r"gemini", "thousand_yx",
        "Google's documentation, bounding box detection: [y_min, x_min, y_max, x_max], 0 to 1000",
    ),
)  # fmt: skip
"""Families whose convention is published, with the place."""


def family_of(model: str) -> Family | None:
    """The family that a model's name or type belongs to; None where none is known."""
    plain = model.lower().replace("_", "-")
    return next((one for one in FAMILIES if re.search(one.pattern, plain)), None)
