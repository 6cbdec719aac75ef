"""What is measured, each under one key in JSON and one label everywhere else: in the terminal, in
reports and in the documentation (docs/results.md has the table)."""

from __future__ import annotations

__all__ = ["LABELS", "label"]

LABELS = {
    # The terms of the reward, in the order of the data's way.
    "r_sem": "R_sem",
    "r_spa": "R_spa",
    "r_ri": "R_RI",
    "r_pi": "R_PI",
    "r_hps": "R_HPS",
    # Benchmarks of plan and image: got_r1.benchmarks.icons and got_r1.benchmarks.plans define them.
    "plan_relation": "relation right in the plan",
    "image_relation": "relation right in the image",
    "realised": "right plans realised",
    "right_despite_a_wrong_plan": "relation right in the image despite a wrong plan",
    "follows_its_plan": "image follows its plan",
    "follows_a_right_plan": "image follows a right plan",
    "follows_a_wrong_plan": "image follows a wrong plan",
    "plan_attributes": "objects right in the plan",
    "attributes": "objects right in the image",
    "plan_count": "count right in the plan",
    "count": "count right in the image",
    "plan_whole": "everything right in the plan",
    "image_whole": "everything right in the image",
    "iou": "IoU of planned and found boxes",
    "well_formed": "chain well formed",
    # T2I-CompBench and GenEval, as the paper heads its columns, in its order.
    "color": "Color",
    "shape": "Shape",
    "texture": "Texture",
    "spatial": "2D-Spatial",
    "3d_spatial": "3D-Spatial",
    "numeracy": "Numeracy",
    "non_spatial": "Non-spatial",
    "complex": "Complex",
    "single_object": "Single",
    "two_object": "Two",
    "counting": "Counting",
    "colors": "Colors",
    "position": "Position",
    "color_attr": "Attribution",
    "overall": "Overall",
}


def label(key: str) -> str:
    """The label of a measure; of one that is not listed, its key in words."""
    return LABELS.get(key, key.replace("_", " "))
