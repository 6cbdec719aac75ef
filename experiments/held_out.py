"""What is hard: compositions that training never shows, or all of it?

    .venv/bin/python experiments/held_out.py icons
    .venv/bin/python experiments/held_out.py --mean runs/tables/seed-*/checkpoints/final

Draws prompts of `dev` or `val` once with each model and prints the strict accuracies apart: prompts
with a held-out pair of colour and noun, with a noun in a held-out relation, and those that are new
but made of pairs that training shows. `--mean` prints the mean over the models instead, the lowest
and the highest. Settings are chosen on `--split dev`.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from collections.abc import Sequence

from tables import spread

from got_r1.benchmarks import load_benchmark
from got_r1.benchmarks.base import Benchmark, Sample
from got_r1.icons.layouts import parse
from got_r1.icons.splits import holds_out_color, is_held_out
from got_r1.icons.world import Meaning
from got_r1.measures import label
from got_r1.policy import load_policy
from got_r1.recipes.recipe_file import load_recipe
from got_r1.sampling import generate

KINDS = ("held-out colour of a noun", "held-out relation of a noun", "pairs that training shows")
MEASURES = (
    "plan_relation", "image_relation", "plan_attributes", "attributes", "plan_count", "count", "iou"
)  # fmt: skip

Table = dict[tuple[str, str], list[float]]


def kind(meaning: Meaning) -> str:
    """The one of `KINDS` that a prompt belongs to; a colour goes before a relation."""
    if any(holds_out_color(spec.color, spec.noun) for spec in meaning.objects):
        return KINDS[0]
    return KINDS[1] if is_held_out(meaning) else KINDS[2]


def measure(model: str, benchmark: Benchmark, split: str, count: int, seed: int) -> Table:
    """Every measure of every prompt, in 0..1, by kind."""
    recipe = load_recipe("icons")
    prompts = benchmark.prompts(split, count, seed)
    drawings = generate(
        load_policy(model), prompts, seed=seed, rollout=recipe.rollout, batch=recipe.eval.batch
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


def main() -> None:
    """A row for each model and kind."""
    parser = argparse.ArgumentParser(description="Accuracies apart by held-out composition.")
    parser.add_argument("models", nargs="+")
    parser.add_argument(
        "--benchmark", default="icons", choices=("icons", "icons-layouts"), help="whose prompts"
    )
    parser.add_argument("--split", default="val", choices=("dev", "val"))
    parser.add_argument("--prompts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="of the prompts and of the sampling")
    parser.add_argument("--mean", action="store_true", help="over the models, not each by itself")
    args = parser.parse_args()
    benchmark = load_benchmark(args.benchmark)
    names = " | ".join(map(label, MEASURES))
    print(f"| model | prompts with | {names} |\n|{'-|' * (len(MEASURES) + 2)}")
    found = []
    for model in args.models:
        found.append(measure(model, benchmark, args.split, args.prompts, args.seed))
        if not args.mean:
            show(model, found[-1:])
    if args.mean:
        show(f"mean of {len(found)}", found)


def show(name: str, tables: Sequence[Table]) -> None:
    """Prints a row for each kind: the means, and over several models their mean and range."""
    for one in KINDS:
        cells = []
        for measured in MEASURES:
            values = [table[one, measured] for table in tables]
            means = [statistics.mean(each) for each in values if each]
            shown = f"{means[0]:.3f}" if len(means) == 1 else spread(means, ".3f") if means else ""
            cells.append(f"{shown} of {len(values[0])}".replace("\n", " ") if means else "")
        print(f"| {name} | {one} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
