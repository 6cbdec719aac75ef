"""Published numbers, to stand beside one's own.

T2I-CompBench: GoT-R1 (arXiv 2505.17022), its tables of results and of ablations, at guidance 5, and
T2I-R1's own paper. GenEval: GoT-R1's second version. No interval is published with any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["ABLATIONS", "PUBLISHED", "PublishedRow"]


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """A model's published means by metric, in [0, 1]."""

    name: str
    values: Mapping[str, float]


def compbench(name: str, *values: float) -> PublishedRow:
    """A row of the paper's table: six of the eight categories."""
    metrics = ("color", "shape", "texture", "spatial", "non_spatial", "complex")
    return PublishedRow(name, dict(zip(metrics, values, strict=True)))


PUBLISHED: Mapping[str, tuple[PublishedRow, ...]] = {
    "compbench": (
        compbench("SD3", 0.8132, 0.5885, 0.7334, 0.3200, 0.3140, 0.3771),
        compbench("FLUX.1", 0.7407, 0.5718, 0.6922, 0.2863, 0.3127, 0.3703),
        compbench("DALLE-3", 0.7785, 0.6205, 0.7036, 0.2865, 0.3003, 0.3773),
        compbench("Janus-Pro-1B", 0.3411, 0.2261, 0.2696, 0.0968, 0.2808, 0.2721),
        compbench("Janus-Pro-1B-GoT", 0.6336, 0.4456, 0.5621, 0.2140, 0.3070, 0.3490),
        compbench("GoT-R1-1B", 0.7632, 0.5174, 0.6589, 0.2674, 0.3101, 0.3749),
        compbench("Janus-Pro-7B", 0.6359, 0.3528, 0.4936, 0.2061, 0.3085, 0.3559),
        compbench("Janus-Pro-7B-GoT", 0.6551, 0.5008, 0.5836, 0.2457, 0.3113, 0.3754),
        compbench("GoT-R1-7B", 0.8139, 0.5549, 0.7339, 0.3306, 0.3169, 0.3944),
        compbench("T2I-R1 7B", 0.8130, 0.5852, 0.7243, 0.3378, 0.3090, 0.3993),
    ),
    "geneval": (
        PublishedRow("Janus-Pro-7B-GoT", {"overall": 0.64}),
        PublishedRow(
            "GoT-R1-7B",
            {
                "single_object": 0.99,
                "two_object": 0.94,
                "counting": 0.50,
                "colors": 0.90,
                "position": 0.46,
                "color_attr": 0.68,
                "overall": 0.75,
            },
        ),
    ),
}
"""By benchmark, in the order of the paper."""

ABLATIONS: Mapping[str, tuple[PublishedRow, ...]] = {
    "compbench": (
        compbench("1B, (R_sem+R_spa) only", 0.7050, 0.4671, 0.6075, 0.2283, 0.3089, 0.3619),
        compbench("1B, R_RI only", 0.3340, 0.2563, 0.3940, 0.0076, 0.2537, 0.2488),
        compbench("1B, R_PI only", 0.7401, 0.5066, 0.6308, 0.2398, 0.3076, 0.3724),
        compbench("1B, no R_RI", 0.7289, 0.4893, 0.6485, 0.2557, 0.3094, 0.3653),
        compbench("1B, no R_PI", 0.7118, 0.4582, 0.6243, 0.2579, 0.3097, 0.3583),
        compbench("1B, no chain rewards", 0.6507, 0.4299, 0.5913, 0.1797, 0.3010, 0.3452),
        compbench("1B, no R_spa", 0.7323, 0.4729, 0.6251, 0.2133, 0.3094, 0.3568),
        compbench("1B, no R_sem", 0.7067, 0.4685, 0.6115, 0.2419, 0.3089, 0.3648),
        compbench("1B, sum of terms", 0.7154, 0.4385, 0.5608, 0.2254, 0.3080, 0.3638),
        compbench("1B, R_spa from text", 0.7166, 0.4289, 0.6311, 0.2158, 0.3098, 0.3554),
        compbench("1B, CLIP and detector", 0.5914, 0.4284, 0.5607, 0.1388, 0.2936, 0.3353),
    ),
}
"""GoT-R1-1B after 1,000 steps with other rewards."""
