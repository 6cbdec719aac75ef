"""Other canvases for a judge that is shown drawn plans: their size must not matter."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import yaml

from got_r1.errors import BadInput
from got_r1.judges import load_judge
from got_r1.judges.base import Judge
from got_r1.judges.judge_file import KINDS, JudgeFile
from got_r1.recipes.recipe_file import load_section

__all__ = ["other_canvases"]


def other_canvases(
    spec: str, sizes: Sequence[int] | None
) -> tuple[bool, list[Callable[[], Judge]]]:
    """Whether a judge is shown drawn plans, and how to make it with other canvases.

    Raises BadInput where sizes are given and nothing is drawn.
    """
    is_file = spec.endswith((".yaml", ".yml"))
    file = load_section(spec, JudgeFile, "judge file") if is_file else JudgeFile(spec=spec)
    given = [kind for kind in KINDS if kind in file.model_fields_set]
    looks = file.r_spa or file.spec or given[0]
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
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "judge.yaml")
        path.write_text(yaml.safe_dump(settings), encoding="utf-8")
        return load_judge(str(path))
