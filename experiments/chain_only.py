"""The chain alone: does it copy the names of a prompt, or remember the pairs of its training data?

    .venv/bin/python experiments/chain_only.py baseline
    .venv/bin/python experiments/chain_only.py decay sft.weight_decay=0.5
    .venv/bin/python experiments/chain_only.py words --small --no-boxes --word-dropout 0.2

Trains a new icon policy on prompts and chains without any image, and samples chains for prompts of
`dev`, half of which say compositions that training never shows. Prints the share of chains that
are right, apart for the three kinds of prompt. Settings are those of the recipe; `--nouns` and
`--colors` take the first ones of the world's alone. `--small --no-boxes` costs a
tenth of the recipe's model and chains: enough to compare ways of training.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from got_r1.icons import render, world
from got_r1.measures import label

KINDS = ("held-out colour of a noun", "held-out relation of a noun", "pairs that training shows")
SMALL = {"hidden_size": 128, "layers": 3, "heads": 4, "mlp_size": 256}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Trains the chain alone.")
    parser.add_argument("name", help="of the result in --out")
    parser.add_argument("settings", nargs="*", help="of the recipe, as section.key=value")
    parser.add_argument("--nouns", type=int, default=len(world.NOUNS))
    parser.add_argument("--colors", type=int, default=len(world.COLORS))
    parser.add_argument("--attention-dropout", type=float, default=0.0)
    parser.add_argument("--word-dropout", type=float, default=0.0)
    parser.add_argument("--small", action="store_true", help="a model of a quarter of the size")
    parser.add_argument("--no-boxes", action="store_true", help="prose only, at half the cost")
    parser.add_argument("--prompts", type=int, default=150, help="of each kind")
    parser.add_argument("--measure-every", type=int, default=1000, help="steps")
    parser.add_argument("--out", type=Path, default=Path("runs/chain_only"))
    return parser.parse_intermixed_args()


def reduce(nouns: int, colors: int) -> None:
    """A vocabulary of that many nouns and colours, before any other module reads it."""
    world.NOUNS = world.NOUNS[:nouns]
    world.COLORS = dict(list(world.COLORS.items())[:colors])
    render.render = lambda scene: np.zeros((0, 0, 3), np.uint8)  # type: ignore[assignment]


def hide_words(policy: Any, share: float) -> None:
    """Hides a share of a chain's tokens where they are read (word dropout), never where they are
    predicted."""
    after = policy.tokenizer.convert_tokens_to_ids("\n\nAssistant:")
    special = torch.tensor(sorted(policy.words.control))

    def hook(module: Any, inputs: tuple[Tensor]) -> tuple[Tensor] | None:
        if not module.training:
            return None
        (ids,) = inputs
        chain = (ids == after).cumsum(1).bool() & (ids != after) & ~torch.isin(ids, special)
        return (ids.masked_fill(chain & (torch.rand(ids.shape) < share), policy.pad_id),)

    policy.model.model.language_model.embed_tokens.register_forward_pre_hook(hook)


def dev_prompts(count: int, seed: int) -> dict[str, list[Any]]:
    """`count` prompts of each of `KINDS`, with their meanings."""
    from got_r1.icons.prompts import CATEGORIES, draw_prompt
    from got_r1.icons.splits import holds_out_color, is_held_out

    rng = random.Random(f"chain only {seed}")
    asked: dict[str, list[Any]] = {kind: [] for kind in KINDS}
    while any(len(found) < count for found in asked.values()):
        prompt, meaning = draw_prompt(rng, rng.choice(CATEGORIES), "dev")
        color = any(holds_out_color(spec.color, spec.noun) for spec in meaning.objects)
        kind = KINDS[0 if color else 1 if is_held_out(meaning) else 2]
        if len(asked[kind]) < count:
            asked[kind].append((prompt, meaning))
    return asked


def measure(policy: Any, asked: Mapping[str, Sequence[Any]], seed: int, limit: int) -> Any:
    """Shares of the chains, two a prompt: every asked object named, nothing else named, the asked
    relation stated, and the whole plan right (in chains with boxes)."""
    from got_r1.icons.prompts import parse
    from got_r1.icons.truth import Thing, asked_objects, pair_up, plan_truth
    from got_r1.icons.world import Meaning
    from got_r1.plan.chain import parse as parse_chain
    from got_r1.plan.chain import strip_boxes
    from got_r1.policy.sampler import Sampler
    from got_r1.records import Box

    sampler, found = Sampler(policy), {}
    for kind, cases in asked.items():
        shares: dict[str, list[bool]] = defaultdict(list)
        texts = sampler.write_chains([p for p, _ in cases], 2, seed=seed, limit=limit).texts
        for index, text in enumerate(texts):
            meaning = cases[index // 2][1]
            said = parse(strip_boxes(text)) or Meaning(())
            things = [
                Thing(replace(spec, fill=spec.fill or "plain"), Box(0, 0, 1, 1))
                for spec in asked_objects(said)
            ]
            wanted = asked_objects(meaning)
            shares["named"].append(len(pair_up(wanted, things)) == len(wanted))
            shares["nothing else"].append(shares["named"][-1] and len(things) == len(wanted))
            if meaning.relation:
                shares["stated"].append(said.relation == meaning.relation)
            chain = parse_chain(text)
            if chain.objects:
                shares[label("plan_relation")].append(
                    plan_truth(meaning, chain).relation is not False
                )
        found[kind] = {name: f"{np.mean(v):.3f} of {len(v)}" for name, v in shares.items()}
    return found


def main() -> None:
    """Trains, samples, prints and writes."""
    args = arguments()
    torch.set_num_threads(1)
    reduce(args.nouns, args.colors)

    from got_r1.icons.data import triples
    from got_r1.plan.chain import strip_boxes
    from got_r1.policy.janus import TokenBatch
    from got_r1.policy.tiny import build_policy
    from got_r1.recipes.recipe_file import load_recipe
    from got_r1.training.optimizer import make_optimizer
    from got_r1.training.run import seed_step
    from got_r1.training.sft import learn

    recipe = load_recipe("icons", ["sft.steps=3000", *args.settings])
    section, data, seed = recipe.sft, recipe.data, recipe.run.seed
    noise = (data.relation_noise, data.attribute_noise, data.count_noise)
    shown = strip_boxes if args.no_boxes else str
    made = [(t.prompt.text, shown(t.chain)) for t in triples(data.size, seed, *noise)]
    policy = build_policy(
        (text for pair in made[:5000] for text in pair), seed=seed, **SMALL if args.small else {}
    )
    for layer in policy.model.model.language_model.layers:
        layer.self_attn.attention_dropout = args.attention_dropout
    if args.word_dropout:
        hide_words(policy, args.word_dropout)
    rows = [(policy.encode_prompt(p), policy.encode_chain(c)) for p, c in made]
    policy.prepare_training(recipe.model.lora)
    optimizer = make_optimizer(policy.trainable().values(), section)
    asked = dev_prompts(args.prompts, seed)
    result: dict[str, Any] = {"arguments": str(args)}
    losses: list[float] = []
    started = time.process_time()
    for step in range(1, section.steps + 1):
        drawn = np.random.default_rng((seed, step)).integers(len(rows), size=section.batch)
        some = [rows[index] for index in drawn]
        # One image token, which no other is predicted from: its loss teaches the image head only.
        image = torch.zeros((len(some), 1), dtype=torch.int64)
        batch = TokenBatch.pack([p for p, _ in some], [c for _, c in some], image, policy.pad_id)
        seed_step(seed, step)
        hidden = torch.zeros(len(some), dtype=torch.bool)
        losses.append(learn(policy, optimizer, batch, hidden, recipe, step)["loss/chain"])
        if step % args.measure_every == 0 or step == section.steps:
            result[f"step {step}"] = {
                "loss": float(np.mean(losses[-100:])),
                "seconds": round(time.process_time() - started),
                **measure(policy, asked, seed, recipe.rollout.chain_limit),
            }
            print(json.dumps(result[f"step {step}"], indent=1), flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / f"{args.name}.json").write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
