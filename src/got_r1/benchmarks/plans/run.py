"""Running the plan benchmark: draw, look, exchange the boxes, draw again, look again.

    DIR/samples/      every prompt's image and record, numbered
    DIR/swapped/      the same for the chains with exchanged boxes
    DIR/plans.json    all numbers, and what was seen of each sample

Both sample folders resume as `got-r1 sample --resume` does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from got_r1.benchmarks.base import Sample
from got_r1.benchmarks.plans.cases import Case
from got_r1.benchmarks.plans.sight import Observer, Sight, direction
from got_r1.benchmarks.plans.summary import SeenCase, outcome, summarise_plans, summarise_swap
from got_r1.errors import BadInput, RunFailed
from got_r1.files.atomic import write_text
from got_r1.files.evaluations import by_prompt
from got_r1.files.inputs import read_image, read_json
from got_r1.files.sample_files import SampleFiles, named_box
from got_r1.plan.chain import parse
from got_r1.plan.repair import asked_relation_is_undecided, with_boxes
from got_r1.records import Chain, FoundObject, JudgeFailure, Prompt

if TYPE_CHECKING:
    from got_r1.sampling import Drawer

__all__ = ["RESULT", "run_plans", "swapped_chain"]

RESULT = "plans.json"
_LOOKED_AT_ONCE = 64  # images held in memory while a judge looks


def run_plans(
    drawer: Drawer,
    cases: Sequence[Case],
    observer: Observer,
    folder: Path,
    about: Mapping[str, Any],
    *,
    swap: bool = True,
) -> dict[str, Any]:
    """Draws and looks at everything, and writes `plans.json`, which is also returned.

    `about` is who was measured on what, as the result's first entries. Raises RunFailed where the
    judge could see no sample at all.
    """
    files = SampleFiles(folder / "samples")
    _draw(drawer, files, [case.prompt for case in cases])
    sights = list(_look(files, [case.prompt for case in cases], observer))
    samples = [
        SeenCase(case, sight)
        for case, (_, sight) in zip(cases, sights, strict=True)
        if isinstance(sight, Sight)
    ]
    failures = [s.reason for _, s in sights if isinstance(s, JudgeFailure)]
    if not samples:
        raise RunFailed(
            f"{observer.name} could see none of the {len(sights)} samples ({failures[0]}); fix it "
            "and give the command again with --resume."
        )
    result: dict[str, Any] = {
        **about,
        "seen_by": observer.name,
        "prompts": len(cases),
        "meanings": len({case.meaning for case in cases}),
        "unseen": {"samples": len(failures), "reasons": list(dict.fromkeys(failures))[:5]},
        **summarise_plans(samples),
    }
    entries = [
        _entry(files, index, case, chain, sight)
        for index, (case, (chain, sight)) in enumerate(zip(cases, sights, strict=True))
    ]
    if swap:
        result["swap"], result["swapped"] = _swap(drawer, cases, sights, observer, folder)
    result["by_prompt"] = _by_prompt(cases, [sight for _, sight in sights])
    result["samples"] = entries
    write_text(folder / RESULT, json.dumps(result, indent=1, ensure_ascii=False))
    return result


def _draw(
    drawer: Drawer,
    files: SampleFiles,
    prompts: Sequence[Prompt],
    chain_texts: Sequence[str] | None = None,
) -> None:
    """One sample a prompt into a folder of their own."""
    chains = {"chains": list(chain_texts)} if chain_texts is not None else {}
    listed = {"prompts": [asdict(prompt) for prompt in prompts]}
    files.begin({**drawer.about, **chains, **listed})
    drawer.draw(files, prompts, n=1, chain_text=chain_texts)


def _look(
    files: SampleFiles, prompts: Sequence[Prompt], observer: Observer
) -> Iterator[tuple[Chain, Sight | JudgeFailure]]:
    """The chain of each sample and what was seen of it, read back from the folder."""
    for first in range(0, len(prompts), _LOOKED_AT_ONCE):
        some = range(first, min(first + _LOOKED_AT_ONCE, len(prompts)))
        samples = [_read(files, index, prompts[index]) for index in some]
        for sample, sight in zip(samples, observer.observe(samples), strict=True):
            yield sample.chain, sight


def _read(files: SampleFiles, index: int, prompt: Prompt) -> Sample:
    record = read_json(files.record(index), "record")
    if record.get("prompt") != prompt.text or not isinstance(record.get("chain"), str):
        raise BadInput(
            f"{files.record(index)} is not the record of {prompt.text[:60]!r}; draw all anew."
        )
    chain = parse(record["chain"], marks=record.get("marks") is True)
    return Sample(prompt, chain, read_image(files.image(index, prompt)))


# -- the swap probe ------------------------------------------------------------------------------


def swapped_chain(chain: Chain, sight: Sight) -> str | None:
    """The chain with the boxes of its related two exchanged, nothing else changed. None where the
    plan has no such two, or they lie in no direction that could be turned round."""
    if sight.pair is None or sight.planned is None or direction(sight.planned) is None:
        return None
    (first, second), (one, two) = sight.pair, sight.planned
    return with_boxes(chain.text, {first: two, second: one})


def _swap(
    drawer: Drawer,
    cases: Sequence[Case],
    sights: Sequence[tuple[Chain, Sight | JudgeFailure]],
    observer: Observer,
    folder: Path,
) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Redraws the first form of every meaning with its boxes exchanged; noise and words stay."""
    probes: list[tuple[int, SeenCase, str]] = []
    asked: set[int] = set()
    for index, (case, (chain, sight)) in enumerate(zip(cases, sights, strict=True)):
        if case.meaning in asked:
            continue
        asked.add(case.meaning)
        if isinstance(sight, Sight) and (text := swapped_chain(chain, sight)) is not None:
            probes.append((index, SeenCase(case, sight), text))
    if not probes:
        return None, []
    files = SampleFiles(folder / "swapped")
    prompts = [seen.case.prompt for _, seen, _ in probes]
    _draw(drawer, files, prompts, [text for _, _, text in probes])
    seen_after, entries = [], []
    for place, ((index, seen, _), (chain, after)) in enumerate(
        zip(probes, _look(files, prompts, observer), strict=True)
    ):
        if isinstance(after, JudgeFailure):
            continue
        seen_after.append((seen, after))
        assert seen.sight.planned is not None
        entries.append(
            {
                "of": index,
                "prompt": prompts[place].text,
                "image": str(files.image(place, prompts[place]).relative_to(folder)),
                "outcome": outcome(seen.sight.planned, after.found),
                "objects": [named_box(planned) for planned in chain.objects],
                "found": _found(chain, after),
            }
        )
    return summarise_swap(seen_after), entries


def _by_prompt(cases: Sequence[Case], sights: Sequence[Sight | JudgeFailure]) -> dict[str, Any]:
    """The shares that are over the same prompts whatever was drawn, for comparisons."""

    def values(part: str) -> list[float | None]:
        return [
            float(getattr(sight, part))
            if isinstance(sight, Sight) and case.asked.relation is not None
            else None
            for case, sight in zip(cases, sights, strict=True)
        ]

    return by_prompt(
        [case.prompt.text for case in cases],
        [str(case.asked.relation) for case in cases],
        {"plan_relation": values("plan"), "image_relation": values("image")},
        clusters=[case.meaning for case in cases],
    )


# -- records -------------------------------------------------------------------------------------


def _entry(
    files: SampleFiles, index: int, case: Case, chain: Chain, sight: Sight | JudgeFailure
) -> dict[str, Any]:
    """A sample as the page needs it."""
    entry: dict[str, Any] = {
        "prompt": case.prompt.text,
        "form": case.form,
        "meaning": case.meaning,
        "relation": case.asked.relation,
        "image": str(files.image(index, case.prompt).relative_to(files.folder.parent)),
        "objects": [named_box(planned) for planned in chain.objects],
    }
    if isinstance(sight, JudgeFailure):
        return entry | {"unseen": sight.reason}
    undecided = undecided_parts(case, chain, sight)
    return entry | {
        "plan": sight.plan,
        "image_right": sight.image,
        "follows": SeenCase(case, sight).follows,
        "found": _found(chain, sight),
        **({"undecided": undecided} if undecided else {}),
    }


def undecided_parts(case: Case, chain: Chain, sight: Sight) -> list[str]:
    """In which of plan and image nothing says which thing of a relation in depth is nearer. They
    count as wrong."""
    parts = ["plan"] if asked_relation_is_undecided(case.asked, chain) else []
    return parts + ["image"] * sight.image_undecided


def _found(chain: Chain, sight: Sight) -> list[dict[str, Any]] | None:
    """Where the two things of the relation are in the image, under their planned names."""
    if sight.pair is None:
        return None
    names = [chain.objects[index].name for index in sight.pair]
    found = zip(names, sight.found or (), strict=False)
    return [named_box(FoundObject(name, box)) for name, box in found]
