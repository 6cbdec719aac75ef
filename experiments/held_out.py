"""What of `val` is hard: compositions that training never shows, or all of it?

    .venv/bin/python experiments/held_out.py icons runs/tables/seed-*/checkpoints/final

Draws the 500 prompts of `val` once with each model (as the runs of `tables.py seeds` do) and prints
the strict accuracies apart: prompts with a held-out pair of colour and noun, with a noun in a
held-out relation, and those that are new but made of pairs that training shows.
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence

from got_r1.benchmarks import load_benchmark
from got_r1.benchmarks.base import Sample
from got_r1.icons.prompts import parse
from got_r1.icons.splits import holds_out_color, is_held_out
from got_r1.icons.world import Meaning
from got_r1.policy import load_policy
from got_r1.recipes.recipe_file import load_recipe
from got_r1.sampling import generate

PROMPTS = 500
KINDS = ("held-out colour of a noun", "held-out relation of a noun", "pairs that training shows")
MEASURES = ("plan_relation", "image_relation", "plan_attributes", "attributes")

Table = dict[tuple[str, str], list[float]]


def kind(meaning: Meaning) -> str:
    """The one of `KINDS` that a prompt belongs to; a colour goes before a relation."""
    if any(holds_out_color(spec.color, spec.noun) for spec in meaning.objects):
        return KINDS[0]
    return KINDS[1] if is_held_out(meaning) else KINDS[2]


def measure(model: str) -> Table:
    """Every measure of every prompt, 0 or 1, by kind."""
    recipe = load_recipe("icons")
    benchmark = load_benchmark("icons")
    prompts = benchmark.prompts("val", PROMPTS, 0)
    drawings = generate(
        load_policy(model), prompts, seed=0, rollout=recipe.rollout, batch=recipe.eval.batch
    )
    rows = benchmark.score([Sample(one.prompt, one.chain, one.image) for one in drawings])
    found: Table = defaultdict(list)
    for prompt, row in zip(prompts, rows, strict=True):
        meaning = parse(prompt.text)
        assert meaning is not None  # a prompt of the icon world
        for name in MEASURES:
            if (value := row[name]) is not None:
                found[kind(meaning), name].append(float(value))
    return found


def main(models: Sequence[str]) -> None:
    """A row for each model and kind."""
    names = " | ".join(MEASURES).replace("_", " ")
    print(f"| model | prompts with | {names} |\n|{'-|' * (len(MEASURES) + 2)}")
    for model in models:
        found = measure(model)
        for one in KINDS:
            cells = [
                f"{statistics.mean(found[one, name]):.3f} of {len(found[one, name])}"
                for name in MEASURES
            ]
            print(f"| {model} | {one} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
