"""`audit human build`: which samples people are shown, and the folder they get.

    DIR/kits/           for raters: a page each, with everything that a rater needs and no more

and for whoever runs the study:

    DIR/study.json      what is rated, on which scale, by which rubrics
    DIR/key.jsonl       method, category and the judge's scores of each item
    DIR/items.jsonl     one item a line: id, prompt, chain, image, plan
    DIR/images/         the images, small ones enlarged with their pixels kept square
    DIR/plans/          the plans, drawn as a judge sees them
    DIR/ratings.csv     a blank sheet, for rating without a page: one row an item
    DIR/rubric.md       the questions, for the same
    DIR/ratings/        one file a rater, written by `import`

Nothing but the key says which method made an item; ids are drawn by lot.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from got_r1 import __version__
from got_r1.audit.candidates import Candidate, distinct, find_candidates
from got_r1.audit.kits import KITS, RULES, kits, rubric_of
from got_r1.audit.sheets import blank_sheet, identity
from got_r1.errors import BadInput
from got_r1.files.atomic import replace_folder, write_text
from got_r1.files.inputs import read_image
from got_r1.plan.layout import draw_plan

__all__ = ["ITEMS", "balanced", "build_study"]

ITEMS = 200
"""How many items a study asks for by default, as the paper's authors promised."""

WriteKit = Callable[[Mapping[str, Any], Path], object]

_BANDS = ("low", "middle", "high")
_NOT_JUDGED = "not judged"
_SIDE = 384  # pixels; smaller images are enlarged to about this
_KEY = ("method", "run", "step", "sample", "category", "scores", "total", "evidence")


def build_study(
    runs: Sequence[tuple[str, Path]],
    out: Path,
    *,
    items: int | None = None,
    seed: int = 0,
    quality: str | None = None,
    raters: int = 0,
    write_kit: WriteKit | None = None,
) -> dict[str, Any]:
    """Draw items from `runs` ((method, folder), see `find_candidates`) and write the folder `out`.

    Balanced over methods, categories and score (thirds of the total reward, over all runs; those
    without a reward are a group of their own), as far as the samples allow; the same for the same
    runs and seed. Without `items`: 200, or as many as there are with every method equally often.
    `quality` is the term that people's answer to "quality" is held against: r_hps where every
    judged sample has it, else r_pi. `write_kit` writes the page of each of `raters` raters, called
    rater-1 and so on, from what `kits.kits` yields.

    Returns `{"items", "asked", "usable", "quality", "balance": {"method" | "category" | "score":
    {name: count}}, "short": [{"stratum", "usable", "wanted"}], "left_out": {why: count}}`; short
    are the strata with fewer usable samples than their equal share of what is asked for and there.

    Raises BadInput where a folder holds no samples, none is usable, or there are fewer than
    `items`; nothing is written then.
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
    candidates, repeated = distinct(candidates)
    left_out.update({"same image and chain as another": repeated} if repeated else {})
    why = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
    if not candidates:
        raise BadInput(f"the runs hold no usable samples (left out: {why}); give other runs.")
    if items is not None and items > len(candidates):
        raise BadInput(
            f"{items} items cannot be drawn from {len(candidates)} usable samples"
            f"{f' (left out: {why})' if why else ''}; give --items {len(candidates)} or fewer, or "
            "more samples."
        )
    bands = _bands([candidate.total for candidate in candidates])
    chosen = balanced(candidates, bands, items or _as_balanced(candidates), seed)
    _write(out, [candidates[index] for index in chosen], seed, quality, raters, write_kit)
    balance = {
        "method": Counter(candidates[i].method for i in chosen),
        "category": Counter(candidates[i].category for i in chosen),
        "score": Counter(bands[i] for i in chosen),
    }
    return {
        "items": len(chosen),
        "asked": items or ITEMS,
        "usable": len(candidates),
        "quality": quality,
        "balance": {name: dict(sorted(counts.items())) for name, counts in balance.items()},
        "short": _short(names, candidates, bands, min(items or ITEMS, len(candidates))),
        "left_out": dict(left_out),
    }


# -- the draw ------------------------------------------------------------------------------------


def _as_balanced(candidates: Sequence[Candidate]) -> int:
    """How many items there are with every method equally often, at most `ITEMS`."""
    usable = Counter(candidate.method for candidate in candidates)
    return min(ITEMS, len(usable) * min(usable.values()))


def _short(
    methods: Sequence[str], candidates: Sequence[Candidate], bands: Sequence[str], items: int
) -> list[dict[str, Any]]:
    """The strata that have fewer usable samples than their equal share of `items`."""
    usable = {
        "method": Counter(dict.fromkeys(methods, 0)),
        "category": Counter(candidate.category for candidate in candidates),
        "score": Counter(band for band in bands if band != _NOT_JUDGED),
    }
    usable["method"].update(candidate.method for candidate in candidates)
    judged = len({one.method for one in candidates if one.total is not None})
    share = {"method": items, "category": items, "score": items * judged // len(methods)}
    return [
        {"stratum": f"{name} {level}", "usable": count, "wanted": wanted}
        for name, counts in usable.items()
        for level, count in sorted(counts.items())
        if count < (wanted := share[name] // len(counts))
    ]


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


def _write(
    out: Path,
    chosen: Sequence[Candidate],
    seed: int,
    quality: str,
    raters: int,
    write_kit: WriteKit | None,
) -> None:
    digits = max(3, len(str(len(chosen))))
    items, key, pixels = [], [], hashlib.sha256()
    with replace_folder(out) as folder:
        (folder / "images").mkdir()
        (folder / "plans").mkdir()
        for number, one in enumerate(chosen, start=1):
            name = f"{number:0{digits}}"
            image = read_image(one.image)
            pixels.update(image.tobytes())
            _enlarged(image).save(folder / "images" / f"{name}.png")
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
        lines = _lines(items)
        questions = {"semantic": "r_sem", "spatial": "r_spa", "quality": quality}
        rubrics = {question: rubric_of(term) for question, term in questions.items()}
        study_id = identity(lines.encode() + pixels.digest())
        study = {
            "version": __version__,
            "id": study_id,
            "seed": seed,
            "scale": [0, 10],
            "questions": questions,
            "rubrics": rubrics,
        }
        write_text(folder / "study.json", json.dumps(study, indent=1, ensure_ascii=False))
        write_text(folder / "items.jsonl", lines)
        write_text(folder / "key.jsonl", _lines(key))
        write_text(folder / "ratings.csv", blank_sheet(items, study_id))
        texts = [f"# What to rate\n\n{RULES}"]
        texts += [f"## {question}\n\n{text}" for question, text in rubrics.items()]
        write_text(folder / "rubric.md", "\n\n".join(texts) + "\n")
        if write_kit:
            for kit in kits(folder, [f"rater-{number + 1}" for number in range(raters)]):
                write_kit(kit, folder / KITS / f"{kit['rater']}.html")


def _lines(records: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def _enlarged(image: np.ndarray) -> Image.Image:
    factor = max(1, _SIDE // max(image.shape[:2]))
    return Image.fromarray(image.repeat(factor, axis=0).repeat(factor, axis=1))
