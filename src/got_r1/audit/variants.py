"""The judge that is audited with another setting: another canvas, other coordinates."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from got_r1.errors import BadInput
from got_r1.judges import load_judge
from got_r1.judges.base import Judge
from got_r1.judges.coordinates import CONVENTIONS, Coordinates
from got_r1.judges.judge_file import KINDS, JudgeFile, is_judge_file
from got_r1.judges.settings import MLLMSettings
from got_r1.judges.specs import openai_settings, read_judge_file, transformers_settings
from got_r1.recipes.recipe_file import load_section
from got_r1.recipes.sections import Section

__all__ = ["judges_by_coordinates", "other_canvases"]


def other_canvases(
    spec: str, sizes: Sequence[int] | None
) -> tuple[bool, list[Callable[[], Judge]]]:
    """Whether a judge is shown drawn plans, and how to make it with other canvases.

    Raises BadInput where sizes are given and nothing is drawn.
    """
    is_file = is_judge_file(spec)
    file = load_section(spec, JudgeFile, "judge file") if is_file else JudgeFile(spec=spec)
    given = [kind for kind in KINDS if kind in file.model_fields_set]
    looks = file.r_spa or file.spec or given[0]
    if is_judge_file(looks):
        return other_canvases(looks, sizes)
    kind = looks.partition(":")[0]
    if kind not in ("openai", "transformers") or file.wording.spatial != "drawing":
        if sizes:
            raise BadInput(f"--canvas is for judges that see a drawing; {spec!r} sees none.")
        return False, []
    own = file.wording.canvas
    if sizes is None:
        sizes = (own * 3 // 4, own * 3 // 2) if kind == "openai" else ()
    return True, [partial(with_canvas, file, size) for size in sizes]


def with_canvas(file: JudgeFile, size: int) -> Judge:
    """The judge of a file but for its canvas."""
    settings = file.model_dump(exclude_unset=True)
    settings["wording"] = {**settings.get("wording", {}), "canvas": size}
    return judge_with(settings)


def judge_with(settings: dict[str, Any]) -> Judge:
    """The judge of a judge file with these settings, whether its coordinates are known or not."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "judge.yaml")
        path.write_text(yaml.safe_dump(settings), encoding="utf-8")
        return load_judge(str(path), terms=())


def judges_by_coordinates(spec: str) -> dict[Coordinates, tuple[Judge, MLLMSettings]]:
    """The judge that is asked for boxes, in each convention; a local model in its own only, since
    it is loaded for each.

    Raises BadInput where it is no language model.
    """
    file, own = None, spec
    if is_judge_file(spec):
        file, own = read_judge_file(spec)
        own = file.r_ri or own
        if is_judge_file(own):
            return judges_by_coordinates(own)
    kind = own.partition(":")[0]
    section: Section
    if kind == "openai":
        section = openai_settings(own, file)
        model = section.model
    elif kind == "transformers":
        from got_r1.judges.transformers_local import model_type

        section = transformers_settings(own, file)
        model = model_type(section.model)
    else:
        raise BadInput(
            f"audit grounding reads the replies of language models, and {own!r} is none: name "
            "openai:MODEL@URL, transformers:FOLDER or a judge file with one of them."
        )
    given = file.wording.model_dump(exclude_unset=True) if file else {}
    wording = MLLMSettings.model_validate(given).suited_to(model)
    names = tuple(CONVENTIONS) if kind == "openai" else (wording.coordinates,)
    judges: dict[Coordinates, tuple[Judge, MLLMSettings]] = {}
    for name in names:
        # One reply a question: what cannot be read is a finding.
        changed = {**given, "coordinates": name, "retries_unreadable": 0}
        judges[name] = (
            judge_with({kind: section.model_dump(exclude_unset=True), "wording": changed}),
            wording,
        )
    return judges
