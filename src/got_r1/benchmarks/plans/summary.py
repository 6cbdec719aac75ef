"""The numbers of the plan benchmark: who makes the mistakes, and what repairing them would give.

    plan_relation               the asked relation is right in the plan
    image_relation              ... in the image
    realised                    ... in the image, of the prompts whose plan is right
    right_despite_a_wrong_plan  ... in the image, of those whose plan is wrong
    follows_its_plan            the image does what its plan says of the two, right or wrong
    follows_a_right_plan        ... of the right plans
    follows_a_wrong_plan        ... of the wrong ones

If every plan were right and drawn as right ones are today, `realised` of the images would be right;
if every plan were realised, `plan_relation` of them. The part whose repair would give more is the
bottleneck, where the interval of the difference leaves out 0.

All intervals are 95%, by bootstrap over *meanings*: phrasings of one meaning are no independent
trials. Samples that a judge could not see are left out of every number and counted beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from got_r1.benchmarks.evaluation import as_json
from got_r1.benchmarks.plans.cases import Case
from got_r1.benchmarks.plans.sight import DIRECTIONS, BoxPair, Sight, direction, follows
from got_r1.plan.layout import DEPTH_RELATIONS, RELATIONS
from got_r1.plan.wordings import CONVERSES
from got_r1.statistics import SIGNED, Array, Estimate, bootstrap, divide, ratio

__all__ = ["Outcome", "SeenCase", "outcome", "summarise_plans", "summarise_swap"]


@dataclass(frozen=True, slots=True)
class SeenCase:
    """A case and what was seen of its sample."""

    case: Case
    sight: Sight

    @property
    def follows(self) -> bool | None:
        """Whether the image follows its plan (`sight.follows`); None without a relation."""
        relation = self.case.asked.relation
        return None if relation is None else follows(relation, self.sight.planned, self.sight.found)


# -- bootstrap over meanings ---------------------------------------------------------------------

Counts = Mapping[str, float]
"""What is counted of one sample, by name."""


class Tally:
    """Sums over the samples of each meaning, and their ratios with intervals.

    A ratio of two sums (right images among right plans) has no mean over prompts to resample, so
    meanings are, and both sums with them.
    """

    def __init__(self, meanings: Sequence[int], counts: Sequence[Counts]) -> None:
        self.meanings = meanings
        self.counts = counts
        places = {meaning: place for place, meaning in enumerate(dict.fromkeys(meanings))}
        self.names = list(counts[0])
        self.sums = np.zeros((len(places), len(self.names)))
        for meaning, row in zip(meanings, counts, strict=True):
            self.sums[places[meaning]] += [row[name] for name in self.names]

    def difference(self, statistic: Callable[[_Sums], Array], over: str) -> Estimate | None:
        """A difference of shares, as a statistic of the sums; `over` names what it is of, for `n`.
        None where there is nothing of that."""
        n = int(self.sums[:, self.names.index(over)].sum())

        def of_weighted(weights: Array) -> Array:
            return statistic(dict(zip(self.names, (weights @ self.sums).T, strict=True)))

        return bootstrap(of_weighted, len(self.sums), n=n, within=SIGNED) if n else None

    def ratio(self, of: str, over: str) -> Estimate | None:
        """The sum of one count as a share of another's, `n` the latter."""
        found = ratio([(row[of], row[over]) for row in self.counts], self.meanings)
        if found.value is None:
            return None
        return replace(found, n=int(sum(row[over] for row in self.counts)))


_Sums = dict[str, Array]


RATIOS = {
    "plan_relation": ("plan", "all"),
    "image_relation": ("image", "all"),
    "realised": ("both", "plan"),
    "right_despite_a_wrong_plan": ("lucky", "wrong"),
    "follows_its_plan": ("follows", "says"),
    "follows_a_right_plan": ("follows_right", "says_right"),
    "follows_a_wrong_plan": ("follows_wrong", "says_wrong"),
}


def _count(seen: SeenCase) -> Counts:
    plan, image = seen.sight.plan, seen.sight.image
    says, does = seen.follows is not None, bool(seen.follows)
    return {
        "all": 1,
        "plan": plan,
        "wrong": not plan,
        "image": image,
        "both": plan and image,
        "lucky": image and not plan,
        "says": says,
        "follows": does,
        "says_right": says and plan,
        "follows_right": does and plan,
        "says_wrong": says and not plan,
        "follows_wrong": does and not plan,
        "plan_whole": seen.sight.plan_whole,
        "image_whole": seen.sight.image_whole,
    }


def _tally(samples: Sequence[SeenCase]) -> Tally | None:
    if not samples:
        return None
    return Tally([seen.case.meaning for seen in samples], [_count(seen) for seen in samples])


def _ratio(samples: Sequence[SeenCase], of: str, over: str) -> dict[str, Any] | None:
    tally = _tally(samples)
    return _as_json(tally.ratio(of, over)) if tally else None


def _as_json(estimate: Estimate | None) -> dict[str, Any] | None:
    return as_json(estimate) if estimate is not None else None


# -- the summary ---------------------------------------------------------------------------------


def summarise_plans(samples: Sequence[SeenCase]) -> dict[str, Any]:
    """Everything but the swap probe, ready for JSON: `metrics` (as `eval table` reads them),
    `bottleneck`, `phrasings`, `consistency`, `objects`. Parts without a sample are left out."""
    related = [seen for seen in samples if seen.case.asked.relation is not None]
    found: dict[str, Any] = {"metrics": _metrics(related)}
    if related:
        found["bottleneck"] = _bottleneck(related)
        found["phrasings"] = _phrasings(related)
        found["consistency"] = _consistency(related)
    found["objects"] = _objects(samples)
    return found


def _metrics(related: Sequence[SeenCase]) -> dict[str, Any]:
    metrics: dict[str, Any] = {}
    for name, (of, over) in RATIOS.items():
        if (overall := _ratio(related, of, over)) is None:
            continue
        by_category = {}
        for relation in (*RELATIONS, *DEPTH_RELATIONS):
            some = [seen for seen in related if seen.case.asked.relation == relation]
            if (estimate := _ratio(some, of, over)) is not None:
                by_category[relation] = estimate
        metrics[name] = {"overall": overall, "by_category": by_category}
    return metrics


def _bottleneck(related: Sequence[SeenCase]) -> dict[str, Any]:
    """Who is, with what repairing either would give."""
    tally = _tally(related)
    assert tally is not None

    def realised(sums: _Sums) -> Array:
        return divide(sums["both"], sums["plan"])

    plans_right = tally.difference(lambda s: realised(s) - s["image"] / s["all"], "plan")
    plans_drawn = tally.difference(lambda s: (s["plan"] - s["image"]) / s["all"], "all")
    difference = tally.difference(lambda s: realised(s) - s["plan"] / s["all"], "plan")
    verdict: Literal["planner", "drawer", "neither"] = "neither"
    # Where no plan is right, nothing is known of the drawing of right ones, but enough of planning.
    if difference is None or difference.value is None:
        verdict = "planner"
    elif difference.excludes_zero:
        verdict = "planner" if difference.value > 0 else "drawer"
    return {
        "verdict": verdict,
        "gain_if_plans_were_right": _as_json(plans_right),
        "gain_if_plans_were_realised": _as_json(plans_drawn),
        "difference": _as_json(difference),
    }


def _phrasings(related: Sequence[SeenCase]) -> list[dict[str, Any]]:
    """Accuracy by form, each with a sentence as its example."""
    rows = []
    for form in dict.fromkeys(seen.case.form for seen in related):
        some = [seen for seen in related if seen.case.form == form]
        rows.append(
            {
                "form": form,
                "example": some[0].case.prompt.text,
                "plan": _ratio(some, "plan", "all"),
                "image": _ratio(some, "image", "all"),
                "realised": _ratio(some, "both", "plan"),
            }
        )
    return rows


def _consistency(related: Sequence[SeenCase]) -> dict[str, Any] | None:
    """Of the meanings that were seen in every form: right in all, in some, in none.

    `if_unrelated` is the share right in all forms if every form failed by itself: far below the
    measured share, mistakes belong to meanings; near it, to the words or to the noise of sampling.
    """
    forms = len({seen.case.form for seen in related})
    groups: dict[int, list[SeenCase]] = {}
    for seen in related:
        groups.setdefault(seen.case.meaning, []).append(seen)
    whole = {meaning: group for meaning, group in groups.items() if len(group) == forms}
    if not whole:
        return None
    result: dict[str, Any] = {"meanings": len(whole), "forms": forms}
    for part in ("plan", "image"):
        rights = {m: [bool(getattr(s.sight, part)) for s in group] for m, group in whole.items()}
        counts = [
            {
                "meanings": 1,
                "all": all(right),
                "none": not any(right),
                "some": any(right) and not all(right),
            }
            for right in rights.values()
        ]
        tally = Tally(list(rights), counts)
        by_form = np.array(list(rights.values()), dtype=float).mean(axis=0)
        result[part] = {
            share: _as_json(tally.ratio(share, "meanings")) for share in ("all", "some", "none")
        } | {"if_unrelated": float(by_form.prod())}
    return result


def _objects(samples: Sequence[SeenCase]) -> list[dict[str, Any]]:
    """Accuracy by the number of asked things: everything right, with and without a relation. Of
    phrasings the first, so that every meaning counts once."""
    forms = (seen.case.form for seen in samples if seen.case.asked.relation is not None)
    first = next(forms, "")
    rows = []
    kinds = sorted(
        {(seen.case.asked.relation is not None, seen.case.objects) for seen in samples},
        key=lambda kind: (kind[0], kind[1]),
    )
    for related, objects in kinds:
        some = [
            seen
            for seen in samples
            if (seen.case.asked.relation is not None) == related
            and seen.case.objects == objects
            and (not related or seen.case.form == first)
        ]
        if some:
            rows.append(
                {
                    "objects": objects,
                    "relation": related,
                    "plan": _ratio(some, "plan_whole", "all"),
                    "image": _ratio(some, "image_whole", "all"),
                }
            )
    return rows


# -- the swap probe ------------------------------------------------------------------------------

Outcome = Literal["boxes", "words", "other", "lost"]
OUTCOMES: tuple[Outcome, ...] = ("boxes", "words", "other", "lost")


def outcome(planned: BoxPair, found: BoxPair | None) -> Outcome:
    """What an image did whose chain had its two boxes exchanged; `planned` before the exchange.

    boxes: the two lie as the exchanged boxes say. words: as before, which is what the words around
    the boxes still say. other: in another direction, or none. lost: they are not both there.
    """
    before = direction(planned)
    assert before is not None, "only plans with a direction are exchanged"
    if found is None:
        return "lost"
    after = direction(found)
    return "boxes" if after == CONVERSES[before] else "words" if after == before else "other"


def summarise_swap(probes: Sequence[tuple[SeenCase, Sight]]) -> dict[str, Any] | None:
    """Outcomes as shares, and the accuracy of the image before and after the exchange, over the
    prompts that ask for a direction. `probes`: a sample as planned, and what was seen once its
    boxes were exchanged. None without any."""
    if not probes:
        return None
    counts = []
    for seen, after in probes:
        assert seen.sight.planned is not None
        what = outcome(seen.sight.planned, after.found)
        asks = seen.case.asked.relation in DIRECTIONS
        counts.append(
            {"all": 1, "asks": asks}
            | {name: what == name for name in OUTCOMES}
            | {"before": asks and seen.sight.image, "after": asks and after.image}
        )
    tally = Tally([seen.case.meaning for seen, _ in probes], counts)
    shares: dict[str, Any] = {name: _as_json(tally.ratio(name, "all")) for name in OUTCOMES}
    accuracy = {name: _as_json(tally.ratio(name, "asks")) for name in ("before", "after")}
    return {"prompts": len(probes), **shares, "image_relation": accuracy}
