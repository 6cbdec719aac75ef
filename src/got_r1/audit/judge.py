"""`audit judge`: put the suites to a judge, measure, and say whether it is fit to train on."""

from __future__ import annotations

import base64
import io
import random
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from got_r1 import __version__
from got_r1.audit.asking import Answers, put
from got_r1.audit.cases import Pair, Suite, SuiteQuery
from got_r1.audit.counterfactuals import CHANGES, make_suite
from got_r1.audit.followup import followed_up
from got_r1.audit.limits import Finding, Limits, find, in_all, undecided_text, verdict_of
from got_r1.audit.results import EQUAL, measure
from got_r1.audit.settings import PAIRS, TERMS
from got_r1.files.sample_files import named_box
from got_r1.judges.base import Judge
from got_r1.progress import TrainingProgress
from got_r1.records import (
    GroundingQuery,
    ImageQuery,
    JudgeFailure,
    PlannedObject,
    QualityQuery,
    Query,
    Verdict,
)

__all__ = ["audit_judge"]

_EVIDENCE = 500  # characters of a judge's reasoning in an example: the page stays small


def audit_judge(
    judge: Judge,
    *,
    spec: str = "",
    terms: Sequence[str] = TERMS,
    pairs: int = PAIRS,
    seed: int = 0,
    limits: Limits | None = None,
    draws: bool = False,
    canvases: Sequence[Callable[[], Judge]] = (),
    batch: int = 128,
    quiet: bool = True,
) -> dict[str, Any]:
    """The audit of a judge, ready for JSON.

    Args:
        judge: who is audited; it must not keep answers from one call to the next, or nothing is
            learned from asking again.
        spec: how the judge is called in the result.
        terms: which of `TERMS`.
        pairs: pairs of each kind.
        seed: of the suites; the same seed asks the same.
        limits: what a term must show to be fit.
        draws: whether R_spa's plan is drawn for the judge; what is about the drawing is reported
            as not applicable to others, which is not the same as passed.
        canvases: make the same judge with another canvas to draw on; one at a time is held.
        batch: queries put at once.
        quiet: show no progress.

    Returns `{"judge", "version", "pairs", "seed", "limits", "queries", "verdict", "fit", "terms":
    {term: {"verdict", "fit", "undecided", "queries", "why", "result", "examples"}}}`: `verdict` is
    "fit", "not fit" or "undecided", and `undecided` then says how many more pairs would decide it;
    `queries` counts what was put to the judge, what was asked again included; `why` is a list of
    findings (`limits.Finding`), `result` a `results.TermResult`, both as dicts. An estimate is
    {"value", "low", "high", "n", "items"}.

    Raises RunFailed where the judge loses queries.
    """
    limits = limits or Limits()
    suites = {term: make_suite(term, pairs, seed) for term in terms}
    found: dict[str, Any] = {}
    answered = 0
    # What is asked after the first answers comes on top, when it is known.
    total = sum(len(s.queries) + len(_asked_again(s, pairs, seed)) for s in suites.values())
    total += len(canvases) * sum(len(_bases(suite)) for suite in suites.values())
    with TrainingProgress("audit", total, unit="query", quiet=quiet) as progress:

        def told(count: int) -> None:
            nonlocal answered
            answered += count
            progress.update(answered, {})

        def ask_further(queries: Sequence[SuiteQuery]) -> Answers:
            progress.total_steps += len(queries)
            return put(judge, queries, batch, told)

        for term, suite in suites.items():
            ask = partial(put, batch=batch, told=told)
            answers = ask(judge, suite.queries)
            repeated, bases = _asked_again(suite, pairs, seed), _bases(suite)
            second = ask(judge, [suite.queries[i] for i in repeated])
            redrawn = [
                (bases, ask(make(), [suite.queries[i] for i in bases]))
                for make in (canvases if bases else ())
            ]
            suite, answers, extra = followed_up(suite, answers, ask_further, pairs, seed)
            result = measure(suite, answers, (repeated, second), redrawn, draws)
            findings = find(result, limits, pairs)
            verdict = verdict_of(findings)
            found[term] = {
                "verdict": verdict,
                "fit": verdict == "fit",
                "undecided": _undecided(findings, pairs) if verdict == "undecided" else "",
                "queries": len(suite.queries) + extra + len(repeated) + len(redrawn) * len(bases),
                "why": [asdict(finding) for finding in findings],
                "result": asdict(result),
                "examples": _examples(suite, answers),
            }
    return {
        "judge": spec,
        "version": __version__,
        "pairs": pairs,
        "seed": seed,
        "limits": limits.model_dump(),
        "queries": sum(term["queries"] for term in found.values()),
        "verdict": in_all(term["verdict"] for term in found.values()),
        "fit": all(term["fit"] for term in found.values()),
        "terms": found,
    }


def _undecided(findings: Sequence[Finding], pairs: int) -> str:
    """How many more pairs would decide all that is open."""
    needed = [finding.pairs for finding in findings if finding.pairs is not None]
    return undecided_text(max(needed) if len(needed) == len(findings) else None, pairs)


def _asked_again(suite: Suite, pairs: int, seed: int) -> list[int]:
    """Which queries are put a second time, in which order: twice as many as pairs of a kind, at
    random and in disorder, since a judge that looks at a batch as a whole sees other neighbours
    then."""
    rng = random.Random(f"audit again {suite.term} {seed}")
    return rng.sample(range(len(suite.queries)), min(len(suite.queries), 2 * pairs))


def _bases(suite: Suite) -> list[int]:
    """The queries whose plan is drawn on other canvases too."""
    return [one.base for one in suite.variations if one.kind == "canvas size"]


# -- pairs to look at ----------------------------------------------------------------------------


def _examples(suite: Suite, answers: Answers) -> list[dict[str, Any]]:
    """Of each kind the first pair that was ordered rightly, and the worst of those that were not,
    as far as there are any."""
    examples: list[dict[str, Any]] = []
    for kind in dict.fromkeys(pair.kind for pair in suite.pairs):
        leads = [
            (float(answers.scores[pair.better] - answers.scores[pair.worse]), pair)
            for pair in suite.pairs
            if pair.kind == kind
        ]
        right = [(lead, pair) for lead, pair in leads if lead > EQUAL]
        missed = [(lead, pair) for lead, pair in leads if lead <= EQUAL]
        shown = [*right[:1], *sorted(missed, key=lambda both: both[0])[:1]]
        examples += [_example(suite, answers, lead, pair) for lead, pair in shown]
    return examples


def _example(suite: Suite, answers: Answers, lead: float, pair: Pair) -> dict[str, Any]:
    ordered = "right" if lead > EQUAL else "tied" if lead >= -EQUAL else "reversed"
    return {
        "kind": pair.kind,
        "change": CHANGES[pair.kind],
        "ordered": ordered,
        "tags": dict(pair.tags),
        "better": _side(suite.queries[pair.better], pair.better, answers),
        "worse": _side(suite.queries[pair.worse], pair.worse, answers),
    }


def _side(one: SuiteQuery, index: int, answers: Answers) -> dict[str, Any]:
    """One half of a pair, as the page shows it."""
    query, verdict = one.query, answers.verdicts[index]
    found = verdict.found if isinstance(verdict, Verdict) else ()
    image = query.image if isinstance(query, GroundingQuery | ImageQuery | QualityQuery) else None
    evidence = verdict.reason if isinstance(verdict, JudgeFailure) else verdict.reasoning
    return {
        "prompt": "" if isinstance(query, GroundingQuery) else query.prompt.text,
        "chain": "" if isinstance(query, ImageQuery | QualityQuery) else query.chain.text,
        "planned": [named_box(planned) for planned in _planned(query)],
        "found": [named_box(one) for one in found],
        "image": None if image is None else _png(image),
        "score": float(answers.scores[index]),
        "evidence": textwrap.shorten(evidence, _EVIDENCE, placeholder=" …"),
    }


def _planned(query: Query) -> Sequence[PlannedObject]:
    return () if isinstance(query, ImageQuery | QualityQuery) else query.chain.objects


def _png(image: np.ndarray) -> str:
    """The small image as a data URI."""
    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
