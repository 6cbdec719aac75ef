"""`audit human build`: which samples people are shown, and the folder they get.

    DIR/study.json      what is rated, on which scale
    DIR/items.jsonl     one item a line: id, prompt, chain, image, plan
    DIR/images/         the images, small ones enlarged with their pixels kept square
    DIR/plans/          the plans, drawn as a judge sees them
    DIR/ratings.csv     a blank sheet: one row an item, one column a question
    DIR/rubric.md       the questions
    DIR/key.jsonl       method, category and the judge's scores of each item: not for raters
    DIR/ratings/        one file a rater, written by `import`

Nothing but the key says which method made an item; ids are drawn by lot.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from got_r1 import __version__
from got_r1.audit.sheets import blank_sheet
from got_r1.errors import BadInput
from got_r1.files.atomic import replace_folder, write_text
from got_r1.files.inputs import read_image, read_json
from got_r1.files.step_folders import step_folders
from got_r1.plan.chain import parse
from got_r1.plan.layout import draw_plan
from got_r1.records import Chain

__all__ = ["Candidate", "balanced", "build_study", "find_candidates"]

_BANDS = ("low", "middle", "high")
_SIDE = 384  # pixels; smaller images are enlarged to about this
_TERMS = ("r_sem", "r_spa", "r_pi")
_KEY = ("method", "run", "step", "sample", "category", "scores", "total", "evidence")

RUBRIC = """# What to rate

Give whole numbers from 0 (entirely wrong) to 10 (entirely right). Judge each question alone, and
leave a cell empty where you cannot tell. Please do not talk about items before all are rated.

**semantic** - the plan's text against the prompt, boxes aside. Is every object named that the
prompt asks for, with its colour, pattern and number? Is nothing said that contradicts the prompt?
Is it clear?

**spatial** - the drawing of the plan (`plans/`) against the prompt. Do the boxes lie as the prompt
asks? 8 to 10: they do. 5 to 7: in part, or it could be read either way. 1 to 4: they contradict it,
or an object is missing. Without a relation in the prompt: would the layout make a sensible picture?

**quality** - {quality}
"""
QUALITY = {
    "r_pi": "the image (`images/`) against the prompt. Are all objects there, with their colours, "
    'patterns and\nnumbers? Do they lie as the prompt asks, strictly ("left of" is sideways)?',
    "r_hps": "the image (`images/`) as a picture. How much would people like it, whatever the plan "
    "said?",
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sample that may be drawn. `scores`: the judge's, by term, each in [0, 1]."""

    method: str
    run: str
    step: int
    sample: str
    prompt: str
    category: str
    chain: Chain
    image: Path
    scores: Mapping[str, float]
    total: float
    evidence: Mapping[str, str]

    @property
    def place(self) -> str:
        """Where it comes from, within its method: what a draw is repeatable by."""
        return f"{self.method}/{self.step}/{self.sample}"


def build_study(
    runs: Sequence[tuple[str, Path]],
    out: Path,
    *,
    items: int = 200,
    seed: int = 0,
    quality: str | None = None,
) -> dict[str, Any]:
    """Draw `items` samples of `runs` ((method, run folder)) and write the folder `out`.

    Balanced over methods, categories and score (thirds of the total reward, over all runs), as far
    as the samples allow; the same for the same runs and seed. `quality` is the term that people's
    answer to "quality" is held against: r_hps where every sample has it, else r_pi.

    Returns `{"items", "quality", "balance": {"method" | "category" | "score": {name: count}},
    "left_out": {why: count}}`.

    Raises BadInput where a folder is no run, or there are fewer usable samples than items.
    """
    names = [method for method, _ in runs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise BadInput(f"two runs are called {twice!r}; name them apart, as NAME=RUN.")
    left_out: Counter[str] = Counter()
    candidates = [one for method, run in runs for one in find_candidates(method, run, left_out)]
    if quality is None:
        quality = "r_hps" if candidates and all("r_hps" in c.scores for c in candidates) else "r_pi"
    if missing := [c for c in candidates if quality not in c.scores]:
        raise BadInput(
            f"{len(missing)} samples have no {quality} (the first: {missing[0].place}), which "
            "quality is to be held against; choose --quality r_pi."
        )
    candidates, repeated = _distinct(candidates)
    left_out.update({"same image and chain as another": repeated} if repeated else {})
    if len(candidates) < items:
        why = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise BadInput(
            f"the runs hold {len(candidates)} usable samples"
            f"{f' (left out: {why})' if why else ''}, fewer than {items}; "
            "give more runs or a smaller --items."
        )
    bands = _bands([candidate.total for candidate in candidates])
    chosen = balanced(candidates, bands, items, seed)
    _write(out, [candidates[index] for index in chosen], seed, quality)
    balance = {
        "method": Counter(candidates[i].method for i in chosen),
        "category": Counter(candidates[i].category for i in chosen),
        "score": Counter(bands[i] for i in chosen),
    }
    return {
        "items": items,
        "quality": quality,
        "balance": {name: dict(sorted(counts.items())) for name, counts in balance.items()},
        "left_out": dict(left_out),
    }


# -- candidates ----------------------------------------------------------------------------------


def find_candidates(method: str, run: Path, left_out: Counter[str]) -> Iterator[Candidate]:
    """The usable samples of a run's galleries, in order; what is left out is counted by reason.

    Raises BadInput where the folder holds no galleries.
    """
    folder = run / "samples"
    steps = step_folders(folder).values()
    if not steps:
        raise BadInput(f"{run} has no samples/step_*; give the run.dir of a training run.")
    for step in steps:
        for path in sorted(step.glob("*.json")):
            try:
                yield _candidate(method, run, path)
            except _Unusable as reason:
                left_out[str(reason)] += 1


class _Unusable(Exception):
    """A sample that people cannot be asked about; the message is the reason."""


def _candidate(method: str, run: Path, path: Path) -> Candidate:
    try:
        record = read_json(path, "record")
        image = path.with_suffix(".png")
        read_image(image)
    except BadInput:
        raise _Unusable("without a readable record and image") from None
    chain = parse(str(record.get("chain", "")), marks=record.get("marks") is True)
    if chain.problems:
        raise _Unusable("with a malformed chain, which has no plan to show")
    reward = record.get("reward")
    reward = reward if isinstance(reward, dict) else {}
    scores = reward.get("terms")
    scores = {k: v for k, v in scores.items() if _is_number(v)} if isinstance(scores, dict) else {}
    if not _is_number(reward.get("total")) or not all(term in scores for term in _TERMS):
        raise _Unusable("without the judge's scores")
    evidence = record.get("evidence")
    return Candidate(
        method=method,
        run=run.name,
        step=int(path.parent.name.partition("_")[2]),
        sample=path.stem,
        prompt=str(record.get("prompt", "")),
        category=str(record.get("category") or "other"),
        chain=chain,
        image=image,
        scores=scores,
        total=reward["total"],
        evidence=evidence if isinstance(evidence, dict) else {},
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)


def _distinct(candidates: Sequence[Candidate]) -> tuple[list[Candidate], int]:
    """One of each (prompt, chain, image), and how many were the same as another."""
    seen: dict[tuple[str, str, str], Candidate] = {}
    for one in candidates:
        pixels = hashlib.sha256(one.image.read_bytes()).hexdigest()
        seen.setdefault((one.prompt, one.chain.text, pixels), one)
    return list(seen.values()), len(candidates) - len(seen)


# -- the draw ------------------------------------------------------------------------------------


def _bands(totals: Sequence[float]) -> list[str]:
    """The third of all totals that each lies in; equal totals lie in the same."""
    from scipy.stats import rankdata  # slow to import

    ranks = (rankdata(totals) - 0.5) / max(1, len(totals))
    return [_BANDS[min(2, int(3 * rank))] for rank in ranks]


def balanced(
    candidates: Sequence[Candidate], bands: Sequence[str], items: int, seed: int
) -> list[int]:
    """Indices of `items` candidates, in random order, balanced over method, category and band.

    Minimisation (Pocock and Simon 1975): each draw takes a candidate whose levels were drawn least
    so far, each of the three counted as a share of its levels; then one whose combination was,
    then one whose prompt was, then by lot.
    """
    rng = random.Random(f"study {seed}")
    rows = [(c.method, c.category, band) for c, band in zip(candidates, bands, strict=True)]
    levels = [len({row[dim] for row in rows}) for dim in range(3)]
    drawn: list[Counter[str]] = [Counter(), Counter(), Counter()]
    cells: Counter[tuple[str, str, str]] = Counter()
    prompts: Counter[str] = Counter()
    left = sorted(range(len(rows)), key=lambda index: (candidates[index].place, index))
    rng.shuffle(left)
    chosen: list[int] = []

    def cost(index: int) -> tuple[float, int, int]:
        row = rows[index]
        share = sum(drawn[dim][row[dim]] * levels[dim] for dim in range(3))
        return share, cells[row], prompts[candidates[index].prompt]

    for _ in range(items):
        index = min(left, key=cost)  # the first of equals: `left` is shuffled
        left.remove(index)
        chosen.append(index)
        for dim in range(3):
            drawn[dim][rows[index][dim]] += 1
        cells[rows[index]] += 1
        prompts[candidates[index].prompt] += 1
    rng.shuffle(chosen)
    return chosen


# -- the folder ----------------------------------------------------------------------------------


def _write(out: Path, chosen: Sequence[Candidate], seed: int, quality: str) -> None:
    digits = max(3, len(str(len(chosen))))
    items, key = [], []
    with replace_folder(out) as folder:
        (folder / "images").mkdir()
        (folder / "plans").mkdir()
        for number, one in enumerate(chosen, start=1):
            name = f"{number:0{digits}}"
            _enlarged(read_image(one.image)).save(folder / "images" / f"{name}.png")
            drawing = Image.fromarray(draw_plan(one.chain.objects))
            drawing.save(folder / "plans" / f"{name}.png")
            items.append(
                {
                    "id": name,
                    "prompt": one.prompt,
                    "chain": one.chain.text,
                    "image": f"images/{name}.png",
                    "plan": f"plans/{name}.png",
                }
            )
            key.append({"id": name} | {field: getattr(one, field) for field in _KEY})
        study = {
            "version": __version__,
            "seed": seed,
            "scale": [0, 10],
            "questions": {"semantic": "r_sem", "spatial": "r_spa", "quality": quality},
        }
        write_text(folder / "study.json", json.dumps(study, indent=1))
        write_text(folder / "items.jsonl", _lines(items))
        write_text(folder / "key.jsonl", _lines(key))
        write_text(folder / "ratings.csv", blank_sheet(items))
        write_text(folder / "rubric.md", RUBRIC.format(quality=QUALITY[quality]))


def _lines(records: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def _enlarged(image: np.ndarray) -> Image.Image:
    factor = max(1, _SIDE // max(image.shape[:2]))
    return Image.fromarray(image.repeat(factor, axis=0).repeat(factor, axis=1))
