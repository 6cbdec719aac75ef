"""Does RL find layouts that SFT never showed?

    .venv/bin/python experiments/novel_layouts.py icons runs/demo/checkpoints/final

Writes a group of chains for each prompt of `icons-layouts` (or `--benchmark icons`), without
images, and prints for each model and kind of prompt (category; of two relations also whether a
list of the objects comes first; and whether the prompt says a held-out composition):

- objects: share of plans in which all asked objects are planned;
- holds: the share in which every condition holds between them as well;
- new: share of plans whose pattern (`layout_signature`) no chain of the SFT data has, and the
  share that is new and right;
- patterns: different patterns of a group, as a share of the group.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from collections.abc import Sequence

from got_r1.benchmarks import load_benchmark
from got_r1.icons.data import triples
from got_r1.icons.layouts import parse
from got_r1.icons.measure import layout_signature
from got_r1.icons.splits import is_held_out
from got_r1.icons.truth import plan_truth
from got_r1.icons.world import Meaning
from got_r1.plan import chain as chains
from got_r1.policy import load_policy
from got_r1.policy.sampler import Sampler
from got_r1.recipes.recipe_file import load_recipe
from got_r1.records import Prompt

Signatures = set[tuple[frozenset[str], ...]]
NAMES = ("objects", "holds", "new", "new and right", "patterns")
AT_ONCE = 64  # chains that are written together


def shown(count: int, seed: int) -> Signatures:
    """The patterns of the SFT data."""
    data = load_recipe("icons").data
    noise = (data.relation_noise, data.attribute_noise, data.count_noise)
    made = triples(count, seed, *noise)
    return {layout_signature([icon.box for icon in one.scene.icons]) for one in made}


def is_listed(text: str) -> bool:
    """Whether a sentence of two relations begins with a list of its objects."""
    return ", the " in text


def kind(prompt: Prompt, meaning: Meaning) -> str:
    """The row that a prompt counts in."""
    named = prompt.category
    if named == "relations":
        named = "two relations, " + ("after a list" if is_listed(prompt.text) else "in one clause")
    elif named == "layout":
        named = "places, rows, four objects"
    return named + (", held-out composition" if is_held_out(meaning) else "")


def measure(
    model: str, prompts: Sequence[Prompt], group: int, seed: int, known: Signatures
) -> dict[str, dict[str, list[float]]]:
    """Each measure of each plan (of each group: patterns), by kind of prompt."""
    sampler = Sampler(load_policy(model), at_once=AT_ONCE)
    limit = load_recipe("icons").rollout.chain_limit
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    texts = sampler.write_chains(prompts, group, seed=seed, limit=limit).texts
    for index, prompt in enumerate(prompts):
        meaning = parse(prompt.text)
        assert meaning is not None  # a prompt of the icon world
        values, patterns = found[kind(prompt, meaning)], set()
        for text in texts[index * group : (index + 1) * group]:
            plan = chains.parse(text)
            truth = plan_truth(meaning, plan)
            right = truth.objects and truth.relation is not False
            pattern = layout_signature([one.box for one in plan.objects])
            new = not plan.problems and pattern not in known
            patterns.add(pattern)
            values["objects"].append(truth.objects)
            values["holds"].append(right)
            values["new"].append(new)
            values["new and right"].append(new and right)
        values["patterns"].append(len(patterns) / group)
    return dict(sorted(found.items()))


def main() -> None:
    """A row for each model and category."""
    parser = argparse.ArgumentParser(description="Layouts that SFT never showed.")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--benchmark", default="icons-layouts", choices=("icons", "icons-layouts"))
    parser.add_argument("--split", default="val", choices=("dev", "val"))
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--group", type=int, default=8, help="chains a prompt")
    parser.add_argument("--seed", type=int, default=0, help="of prompts, sampling and SFT data")
    parser.add_argument("--triples", type=int, default=80_000, help="of the SFT data")
    args = parser.parse_args()
    known = shown(args.triples, args.seed)
    prompts = load_benchmark(args.benchmark).prompts(args.split, args.prompts, args.seed)
    print(f"| model | prompts | n | {' | '.join(NAMES)} |\n|{'-|' * (len(NAMES) + 3)}")
    for model in args.models:
        for row, values in measure(model, prompts, args.group, args.seed, known).items():
            cells = [f"{statistics.mean(values[name]):.3f}" for name in NAMES]
            count = len(values["patterns"])
            print(f"| {model} | {row} | {count} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
