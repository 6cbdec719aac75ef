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
from got_r1.files.inputs import path_inside, read_image, read_json
from got_r1.files.step_folders import step_folders
from got_r1.plan.chain import parse
from got_r1.plan.layout import draw_plan
from got_r1.records import Chain

__all__ = ["Candidate", "balanced", "build_study", "find_candidates"]

_BANDS = ("low", "middle", "high")
_NOT_JUDGED = "not judged"
_RECORDS = "[0-9]*.json"
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
    """A sample that may be drawn.

    `scores`: the judge's, by term, each in [0, 1]; empty where it was not judged, and `total` is
    None then. `step`: of training, None for samples of `got-r1 sample`.
    """

    method: str
    run: str
    step: int | None
    sample: str
    prompt: str
    category: str
    chain: Chain
    image: Path
    scores: Mapping[str, float]
    total: float | None
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
    """Draw `items` samples of `runs` ((method, folder), see `find_candidates`), or all where they
    hold fewer, and write the folder `out`.

    Balanced over methods, categories and score (thirds of the total reward, over all runs; those
    without a reward are a group of their own), as far as the samples allow; the same for the same
    runs and seed. `quality` is the term that people's answer to "quality" is held against: r_hps
    where every judged sample has it, else r_pi.

    Returns `{"items", "asked", "quality", "balance": {"method" | "category" | "score": {name:
    count}}, "left_out": {why: count}}`.

    Raises BadInput where a folder holds no samples, or none that is usable.
    """
    names = [method for method, _ in runs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise BadInput(f"two runs are called {twice!r}; name them apart, as NAME=DIR.")
    left_out: Counter[str] = Counter()
    candidates = [one for method, run in runs for one in find_candidates(method, run, left_out)]
    judged = [one for one in candidates if one.total is not None]
    if quality is None:
        quality = "r_hps" if judged and all("r_hps" in one.scores for one in judged) else "r_pi"
    if missing := [one for one in judged if quality not in one.scores]:
        raise BadInput(
            f"{len(missing)} samples have no {quality} (the first: {missing[0].place}), which "
            "quality is to be held against; choose --quality r_pi."
        )
    candidates, repeated = _distinct(candidates)
    left_out.update({"same image and chain as another": repeated} if repeated else {})
    if not candidates:
        why = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise BadInput(f"the runs hold no usable samples (left out: {why}); give other runs.")
    bands = _bands([candidate.total for candidate in candidates])
    chosen = balanced(candidates, bands, min(items, len(candidates)), seed)
    _write(out, [candidates[index] for index in chosen], seed, quality)
    balance = {
        "method": Counter(candidates[i].method for i in chosen),
        "category": Counter(candidates[i].category for i in chosen),
        "score": Counter(bands[i] for i in chosen),
    }
    return {
        "items": len(chosen),
        "asked": items,
        "quality": quality,
        "balance": {name: dict(sorted(counts.items())) for name, counts in balance.items()},
        "left_out": dict(left_out),
    }


# -- candidates ----------------------------------------------------------------------------------


def find_candidates(method: str, run: Path, left_out: Counter[str]) -> Iterator[Candidate]:
    """The usable samples of a folder, in order; what is left out is counted by reason.

    `run`: a run folder (its samples/ and probes/), one of these two, a single step of them, or a
    folder of `got-r1 sample` in either layout. Of a run, step 0 is left out: it shows the model
    that training began with. As a folder of its own it can be given as that model's samples.

    Raises BadInput where the folder holds no samples.
    """
    records = list(_records(run))
    if not records:
        raise BadInput(
            f"{run} has no samples (SFT writes none); give the run.dir of RL, or a folder that "
            "got-r1 sample wrote."
        )
    for folder, path in records:
        try:
            if folder != run and _step(path) == 0:
                raise _Unusable("of step 0, before any training")
            yield _candidate(method, run, folder, path)
        except _Unusable as reason:
            left_out[str(reason)] += 1


def _records(run: Path) -> Iterator[tuple[Path, Path]]:
    """(sample folder, record) of each sample; a record names its image within the folder."""
    parents = [run / "samples", run / "probes", run]
    galleries = [step for parent in parents for step in step_folders(parent).values()]
    for folder in [*galleries, run]:
        for path in sorted([*folder.glob(_RECORDS), *folder.glob(f"records/{_RECORDS}")]):
            yield folder, path


def _step(record: Path) -> int | None:
    """The step of training whose folder a record lies in, None for other folders."""
    name, _, number = record.parent.name.partition("_")
    return int(number) if name == "step" and number.isdecimal() else None


class _Unusable(Exception):
    """A sample that people cannot be asked about; the message is the reason."""


def _candidate(method: str, run: Path, folder: Path, path: Path) -> Candidate:
    try:
        record = read_json(path, "record")
        named = record.get("image")  # in the records of `got-r1 sample` alone
        image = (
            path_inside(folder, named, "record's image")
            if isinstance(named, str)
            else path.with_suffix(".png")
        )
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
    judged = _is_number(reward.get("total")) and all(term in scores for term in _TERMS)
    if "reward" in record and not judged:
        raise _Unusable("without the judge's scores")
    evidence = record.get("evidence")
    return Candidate(
        method=method,
        run=run.name,
        step=_step(path),
        sample=f"probes/{path.stem}" if folder.parent.name == "probes" else path.stem,
        prompt=str(record.get("prompt", "")),
        category=str(record.get("category") or "other"),
        chain=chain,
        image=image,
        scores=scores,
        total=reward["total"] if judged else None,
        evidence=evidence if isinstance(evidence, dict) else {},
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)


def _distinct(candidates: Sequence[Candidate]) -> tuple[list[Candidate], int]:
    """One of each (prompt, chain, image), and how many were the same as another.

    Which of them is by lot, so that of two methods with the same samples none loses them all.
    """
    seen: dict[tuple[str, str, str], Candidate] = {}
    for one in sorted(candidates, key=lambda one: hashlib.sha256(one.place.encode()).digest()):
        pixels = hashlib.sha256(one.image.read_bytes()).hexdigest()
        seen.setdefault((one.prompt, one.chain.text, pixels), one)
    return list(seen.values()), len(candidates) - len(seen)


# -- the draw ------------------------------------------------------------------------------------


def _bands(totals: Sequence[float | None]) -> list[str]:
    """The third of all totals that each lies in; equal totals lie in the same."""
    from scipy.stats import rankdata  # slow to import

    judged = [total for total in totals if total is not None]
    ranks = iter((rankdata(judged) - 0.5) / max(1, len(judged)))
    return [
        _NOT_JUDGED if total is None else _BANDS[min(2, int(3 * next(ranks)))] for total in totals
    ]


def balanced(
    candidates: Sequence[Candidate], bands: Sequence[str], items: int, seed: int
) -> list[int]:
    """Indices of `items` candidates, in random order, balanced over method, category and band.

    Minimisation (Pocock and Simon 1975): each draw takes a candidate whose levels were drawn least
    so far, each of the three counted as a share of its levels; then one whose combination was,
    then one whose prompt was, then by lot. Samples that were not judged have no band: a band's
    share is one of the judged samples alone.
    """
    rng = random.Random(f"study {seed}")
    rows = [(c.method, c.category, band) for c, band in zip(candidates, bands, strict=True)]
    weights = _weights(rows)
    drawn: list[Counter[str]] = [Counter(), Counter(), Counter()]
    cells: Counter[tuple[str, str, str]] = Counter()
    prompts: Counter[str] = Counter()
    left = sorted(range(len(rows)), key=lambda index: (candidates[index].place, index))
    rng.shuffle(left)
    chosen: list[int] = []

    def cost(index: int) -> tuple[float, int, int]:
        row = rows[index]
        share = sum(drawn[dim][row[dim]] * weights[dim][row[dim]] for dim in range(3))
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


def _weights(rows: Sequence[tuple[str, str, str]]) -> list[dict[str, int]]:
    """What one draw of each method, category and band counts.

    In proportion to the number of levels. Only methods that were judged draw from the bands, the
    others from "not judged"; the weight makes up for it, so that methods stay balanced.
    """
    methods, categories = ({row[dim] for row in rows} for dim in range(2))
    judged = {method for method, _, band in rows if band != _NOT_JUDGED}
    others = {method for method, _, band in rows if band == _NOT_JUDGED}
    bands = {row[2] for row in rows} - {_NOT_JUDGED}
    scale = max(1, len(judged)) * max(1, len(others))  # whole numbers: equals must stay equal
    return [
        dict.fromkeys(methods, scale * len(methods)),
        dict.fromkeys(categories, scale * len(categories)),
        dict.fromkeys(bands, scale // max(1, len(judged)) * len(bands) * len(methods))
        | {_NOT_JUDGED: scale // max(1, len(others)) * len(methods)},
    ]


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
