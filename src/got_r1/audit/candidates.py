"""Which samples a study can draw from: those of run folders and of `got-r1 sample`."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from got_r1.errors import BadInput
from got_r1.files.inputs import path_inside, read_image, read_json
from got_r1.files.step_folders import step_folders
from got_r1.plan.chain import parse
from got_r1.records import Chain

__all__ = ["Candidate", "distinct", "find_candidates"]

_RECORDS = "[0-9]*.json"
_TERMS = ("r_sem", "r_spa", "r_pi")


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


def find_candidates(method: str, run: Path, left_out: Counter[str]) -> Iterator[Candidate]:
    """The usable samples of a folder, in order; what is left out is counted by reason.

    `run`: a run folder (its samples/ and probes/), one of these two, a single step of them, or a
    folder of `got-r1 sample` in either layout. Of a run, step 0 is left out: it shows the model
    that training began with. As a folder of its own it can be given as that model's samples.

    Raises BadInput where the folder holds no samples.
    """
    records = list(_records(run))
    if not records:
        raise BadInput(_without_samples(run))
    for folder, path in records:
        try:
            if folder != run and _step(path) == 0:
                raise _Unusable("of step 0, before any training")
            yield _candidate(method, run, folder, path)
        except _Unusable as reason:
            left_out[str(reason)] += 1


def _without_samples(run: Path) -> str:
    if not (run / "config.yaml").is_file():
        return (
            f"{run} has no samples; give the run.dir of RL, or a folder that got-r1 sample wrote."
        )
    return (
        f"{run} is a run without samples (SFT writes none, RL those of rl.sample_every); draw some "
        f"with got-r1 sample --model {run / 'checkpoints' / 'final'} --prompts FILE --out DIR, and "
        "give DIR instead."
    )


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


def distinct(candidates: Sequence[Candidate]) -> tuple[list[Candidate], int]:
    """One of each (prompt, chain, image), and how many were the same as another.

    Which of them is by lot, so that of two methods with the same samples none loses them all.
    """
    seen: dict[tuple[str, str, str], Candidate] = {}
    for one in sorted(candidates, key=lambda one: hashlib.sha256(one.place.encode()).digest()):
        pixels = hashlib.sha256(one.image.read_bytes()).hexdigest()
        seen.setdefault((one.prompt, one.chain.text, pixels), one)
    return list(seen.values()), len(candidates) - len(seen)
