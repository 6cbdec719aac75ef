"""Does a model plan the same whatever the wording, also in wordings that training never showed?

    .venv/bin/python experiments/wordings.py icons runs/icons/checkpoints/final
    .venv/bin/python experiments/wordings.py --division divided --meanings 70 MODEL

Writes one plan for every wording (`got_r1.icons.wordings`) of some meanings of `val` and prints,
for the seen wordings, the held-out ones, and those of the held-out ones that have words no seen
wording has:

    right        share of the plans that are right: the relation, or all that was asked in lists
    consistent   share of the meanings that are right in every wording of that kind, of which there
                 are `wordings` on average: the more there are, the harder it is

and the share of right plans by form (A and B are the two things of the relation). Intervals are
95%, by bootstrap over meanings.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from got_r1.icons.prompts import Category, draw_in_split, parse
from got_r1.icons.splits import is_held_out
from got_r1.icons.truth import plan_truth
from got_r1.icons.wordings import DIVISIONS, Division, Wording, wordings
from got_r1.icons.world import Meaning
from got_r1.plan.chain import parse as parse_chain
from got_r1.policy import load_policy
from got_r1.policy.sampler import Sampler
from got_r1.recipes.recipe_file import load_recipe
from got_r1.records import Prompt
from got_r1.statistics import Estimate, mean, ratio

KINDS = ("seen", "held out", "held out, new words")
AT_ONCE = 64  # plans that are written together
CATEGORIES: tuple[Category, ...] = ("spatial", "complex", "spatial", "complex", "numeracy")


@dataclass(frozen=True)
class Asked:
    """One sentence, and the meaning (by number) that it says."""

    number: int
    meaning: Meaning
    wording: Wording

    @property
    def kind(self) -> str:
        """The one of `KINDS` that the wording belongs to."""
        if not self.wording.held_out:
            return KINDS[0]
        return KINDS[2] if self.wording.new_words else KINDS[1]


def ask(meanings: int, division: Division, seed: int) -> Iterator[Asked]:
    """Every wording once, in its plainest variant, of different meanings of `val` without held-out
    compositions: what is new in them is the words alone."""
    rng = random.Random(f"wordings {seed}")
    done: set[Meaning] = set()
    while len(done) < meanings:
        meaning = draw_in_split(rng, CATEGORIES[len(done) % len(CATEGORIES)], "val")
        if meaning in done or is_held_out(meaning):
            continue
        done.add(meaning)
        by_name: dict[str, Wording] = {}
        for wording in wordings(meaning, division):
            by_name.setdefault(wording.name, wording)
        yield from (Asked(len(done), meaning, wording) for wording in by_name.values())


def right_plans(model: str, asked: Sequence[Asked], temperature: float, seed: int) -> list[bool]:
    """Whether the plan of each sentence is right."""
    sampler, rollout = Sampler(load_policy(model), at_once=AT_ONCE), load_recipe("icons").rollout
    written = sampler.write_chains(
        [Prompt(one.wording.text) for one in asked],
        seed=seed,
        limit=rollout.chain_limit,
        temperature=temperature,
    )
    found = []
    for one, text in zip(asked, written.texts, strict=True):
        said = parse(one.wording.text)
        assert said is not None  # a sentence of the icon world
        truth = plan_truth(said, parse_chain(text))
        whole = truth.objects and truth.count is not False
        found.append(whole if truth.relation is None else truth.relation)
    return found


def report(asked: Sequence[Asked], right: Sequence[bool]) -> list[str]:
    """The rows of both tables."""
    rows = ["| wordings | right | consistent | of meanings | wordings |", "|-|-|-|-|-|"]
    for kind in KINDS:
        of = [(one.number, hit) for one, hit in zip(asked, right, strict=True) if one.kind == kind]
        if not of:
            continue
        numbers = dict.fromkeys(number for number, _ in of)
        whole = [all(hit for other, hit in of if other == number) for number in numbers]
        share = ratio([(hit, 1) for _, hit in of], [number for number, _ in of])
        consistent = mean(list(map(float, whole)), list(numbers))
        each = len(of) / len(numbers)
        cells = (kind, show(share), show(consistent), len(numbers), f"{each:.1f}")
        rows.append(f"| {' | '.join(map(str, cells))} |")
    rows += ["", "| form | | right | plans |", "|-|-|-|-|"]
    for form, kind in sorted({(one.wording.form, one.kind) for one in asked}):
        hits = [
            hit
            for one, hit in zip(asked, right, strict=True)
            if (one.wording.form, one.kind) == (form, kind)
        ]
        rows.append(f"| {form} | {kind} | {sum(hits) / len(hits):.3f} | {len(hits)} |")
    return rows


def show(estimate: Estimate) -> str:
    """A value with its interval."""
    return f"{estimate.value:.3f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def main() -> None:
    """Both tables for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--division", choices=DIVISIONS, default="shipped")
    parser.add_argument("--meanings", type=int, default=50)
    parser.add_argument("--temperature", type=float, default=1.0, help="of the chain; 0: greedy")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    asked = list(ask(args.meanings, args.division, args.seed))
    for model in args.models:
        print(f"{model}, {len(asked)} plans of {args.meanings} meanings\n")
        right = right_plans(model, asked, args.temperature, args.seed)
        print("\n".join(report(asked, right)), flush=True)


if __name__ == "__main__":
    main()
