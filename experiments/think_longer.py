"""Think longer, draw once: accuracy against K, tokens and seconds, on the icon world.

    .venv/bin/python experiments/think_longer.py            # 200 dev prompts, the shipped model
    .venv/bin/python experiments/think_longer.py --prompts 40 --out runs/try

K plans are written and the best is drawn (`sample --plans K`), chosen by the oracle (R_sem + R_spa)
or by geometry alone, without `--repair`, with it, and with a margin. Beside it K whole samples, of
which the best image is kept: by the oracle (R_PI), or by geometry, which scores the layout that was
found in the image as it scores plans. Prints a Markdown table and draws `think_longer.png`; each
arm lies in the folder when it is done and is not repeated.

Seconds are processor time on one core, by prompt, everything included, so that a busy machine does
not count.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch

from got_r1.files.atomic import write_text
from got_r1.files.weights import fingerprint
from got_r1.icons.detect import detect
from got_r1.icons.prompts import parse, prompt_list
from got_r1.icons.truth import image_truth, plan_truth
from got_r1.judges import load_judge
from got_r1.measures import label
from got_r1.plan.planning import Planner, score_by_geometry
from got_r1.plan.reading import read
from got_r1.policy import load_policy
from got_r1.policy.janus import Policy
from got_r1.recipes.sections import RolloutSection
from got_r1.records import Chain, GroundingQuery, ImageQuery, PlannedObject, Prompt, Verdict
from got_r1.rewards import plan_scorer
from got_r1.sampling import Drawing, generate
from got_r1.sampling.settings import fitting_chain_limit
from got_r1.statistics import mean

mpl.use("Agg")

KS = (1, 2, 4, 8)
MARGIN = 0.2  # of the image's side, as in arXiv 2608.21713
BATCH = 64
MEASURES = {key: label(key) for key in ("plan_relation", "image_relation", "image_whole")}
ORACLE = load_judge("oracle")


def related(split: str, n: int, seed: int) -> list[Prompt]:
    """The first `n` prompts of a split that ask for a relation, which is what plans fail at."""
    some = prompt_list(split, 4 * n, seed)
    return [one for one in some if (meaning := parse(one.text)) and meaning.relation][:n]


def measure(drawings: Sequence[Drawing]) -> list[dict[str, float | None]]:
    """What is right of each sample, by the icon world's truth."""
    rows = []
    for one in drawings:
        meaning = parse(one.prompt.text)
        assert meaning is not None
        plan, image = plan_truth(meaning, one.chain), image_truth(meaning, detect(one.image))
        whole = image.attributes and image.relation is not False and image.count is not False
        rows.append(
            {
                "plan_relation": None if plan.relation is None else float(plan.relation),
                "image_relation": None if image.relation is None else float(image.relation),
                "image_whole": float(whole),
            }
        )
    return rows


def arm(
    name: str, k: int, drawings: Sequence[Drawing], chain_tokens: int, images: int, seconds: float
) -> dict[str, Any]:
    """One line of the table: means with intervals, and what a prompt cost."""
    rows, n = measure(drawings), len(drawings)
    accuracy = {}
    for key in MEASURES:
        values = [value for row in rows if (value := row[key]) is not None]
        found = mean(values)
        accuracy[key] = [found.value, found.low, found.high]
    repaired = [d.decision.is_repaired for d in drawings if d.decision is not None]
    return {
        "name": name,
        "k": k,
        "n": n,
        **accuracy,
        "repaired": sum(repaired) / n,
        "chain_tokens": chain_tokens / n,
        "images": images / n,
        "seconds": seconds / n,
    }


# -- plans ---------------------------------------------------------------------------------------


def plans(
    policy: Policy,
    prompts: Sequence[Prompt],
    rollout: RolloutSection,
    seed: int,
    name: str,
    planner: Planner,
) -> dict[str, Any]:
    """K plans for each prompt, one image."""
    start = time.process_time()
    drawings = list(
        generate(policy, prompts, seed=seed, rollout=rollout, batch=BATCH, planner=planner)
    )
    seconds = time.process_time() - start
    tokens = sum(drawing.chain_tokens for drawing in drawings)
    return arm(name, planner.plans, drawings, tokens, len(drawings), seconds)


# -- whole samples -------------------------------------------------------------------------------


def by_oracle(drawings: Sequence[Drawing]) -> list[float]:
    """R_PI of each image."""
    answers = ORACLE.judge([ImageQuery(one.prompt, one.image) for one in drawings])
    return [(a.score or 0.0) if isinstance(a, Verdict) else 0.0 for a in answers]


def by_geometry(drawings: Sequence[Drawing]) -> list[float]:
    """The geometric score of what is found in each image, under the names of its plan."""
    answers = ORACLE.judge([GroundingQuery(one.chain, one.image) for one in drawings])
    scores = []
    for one, answer in zip(drawings, answers, strict=True):
        found = answer.found if isinstance(answer, Verdict) else ()
        layout = Chain("", tuple(PlannedObject(thing.name, thing.box) for thing in found))
        scores.append(score_by_geometry(read(one.prompt.text), layout).total or 0.0)
    return scores


def samples(
    policy: Policy, prompts: Sequence[Prompt], rollout: RolloutSection, seed: int
) -> Iterable[dict[str, Any]]:
    """The best of K whole samples. All are drawn once; K are the first K of each prompt."""
    most = max(KS)
    start = time.process_time()
    drawn = list(generate(policy, prompts, seed=seed, rollout=rollout, n=most, batch=BATCH))
    drawing = (time.process_time() - start) / len(drawn)
    for name, choose in (("images by the oracle", by_oracle), ("images by geometry", by_geometry)):
        start = time.process_time()
        scores = choose(drawn)
        looking = (time.process_time() - start) / len(drawn)
        for k in KS:
            kept, used = [], []
            for first in range(0, len(drawn), most):
                some = drawn[first : first + k]
                kept.append(some[int(np.argmax(scores[first : first + k]))])
                used += some
            tokens = sum(one.chain_tokens for one in used)
            yield arm(name, k, kept, tokens, len(used), len(used) * (drawing + looking))


# -- table and plot ------------------------------------------------------------------------------


def table(arms: Sequence[Mapping[str, Any]], image_tokens: int) -> str:
    """The arms as Markdown."""
    columns = ["", "K", *MEASURES.values(), "repaired", "chain tokens", "image tokens", "seconds"]
    lines = [f"| {' | '.join(columns)} |", f"|{'-|' * len(columns)}"]
    for one in arms:
        cells = [one["name"], str(one["k"])]
        cells += ["{:.3f} [{:.3f}, {:.3f}]".format(*one[key]) for key in MEASURES]
        cells += [f"{one['repaired']:.2f}", f"{one['chain_tokens']:.0f}"]
        cells += [f"{one['images'] * image_tokens:.0f}", f"{one['seconds']:.3f}"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", f"{arms[0]['n']} prompts with a relation; 95% bootstrap intervals over them."]
    return "\n".join(lines)


COLORS = {"oracle": "#2f6bd0", "geometry": "#c4741a"}


def plot(arms: Sequence[Mapping[str, Any]], image_tokens: int, path: Path) -> None:
    """Accuracy of the image against K, tokens and seconds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 8), layout="constrained")
    axes = figure.subplots(2, 3, sharey="row")
    costs = {
        "K": lambda one: one["k"],
        "tokens a prompt": lambda one: one["chain_tokens"] + one["images"] * image_tokens,
        "seconds a prompt": lambda one: one["seconds"],
    }
    for row, measured in zip(axes, ("image_relation", "image_whole"), strict=True):
        for axis, (words, cost) in zip(row, costs.items(), strict=True):
            for name in dict.fromkeys(one["name"] for one in arms):
                line = [one for one in arms if one["name"] == name]
                xs, ys = [cost(one) for one in line], [one[measured][0] for one in line]
                # The two often agree: the oracle is the broad line, geometry the thin one on it.
                oracle = "oracle" in name
                color, width = (COLORS["oracle"], 4) if oracle else (COLORS["geometry"], 1.3)
                style = "-." if "repair by" in name else "--" if "repair" in name else "-"
                style = ":" if "images" in name else style
                axis.plot(
                    xs, ys, style, color=color, linewidth=width, alpha=0.45 if oracle else 1,
                    marker="o", markersize=width + 2, label=name,
                )  # fmt: skip
                if words != "K":
                    for one, x, y in zip(line, xs, ys, strict=True):
                        below = (3, -9) if oracle else (3, 4)
                        axis.annotate(
                            f"{one['k']}", (x, y), below, textcoords="offset points", fontsize=7,
                            color=color,
                        )  # fmt: skip
            if words == "K":
                axis.set_xscale("log", base=2)
                axis.set_xticks(KS, [str(k) for k in KS])
            axis.set_xlabel(words)
            axis.grid(alpha=0.25)
            axis.spines[["top", "right"]].set_visible(False)
        row[0].set_ylabel(MEASURES[measured])
    axes[0, 0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)


def main() -> None:
    """Runs what is missing, then prints the table and draws the plot."""
    parser = argparse.ArgumentParser(description="Think longer, draw once.")
    parser.add_argument("--model", default="icons")
    parser.add_argument("--split", default="dev", choices=("dev", "val"))
    parser.add_argument("--prompts", type=int, default=200, help="with a relation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/think_longer"))
    args = parser.parse_args()
    torch.set_num_threads(1)

    policy = load_policy(args.model)
    prompts = related(args.split, args.prompts, args.seed)
    own = policy.model.generation_config
    rollout = RolloutSection(
        chain_limit=fitting_chain_limit(policy, prompts, None),
        guidance=own.guidance_scale or 5.0,
        image_temperature=own.temperature or 1.0,
    )
    grid = round(policy.image_tokens**0.5)
    list(generate(policy, prompts[:4], seed=1, rollout=rollout))  # what is slow only once

    def kept(name: str, make: Any) -> list[dict[str, Any]]:
        """Arms of the folder, made where they are missing."""
        path = args.out / f"{name}.json"
        if not path.exists():
            print(f"# {name}", flush=True)
            write_text(path, json.dumps({**about, "arms": list(make())}, indent=1))
        found = json.loads(path.read_text(encoding="utf-8"))
        if {key: found.get(key) for key in about} != about:
            raise SystemExit(
                f"{path} is of other prompts or of another model; choose another --out"
            )
        return found["arms"]

    about = {key: str(getattr(args, key)) for key in ("model", "split", "prompts", "seed")}
    about["weights"] = fingerprint(policy.model)
    arms: list[dict[str, Any]] = []
    for how, margin in (("", 0.0), ("repair", 0.0), (f"repair by {MARGIN}", MARGIN)):
        for who, judge in (("oracle", ORACLE), ("geometry", None)):
            words = f"plans by {'the ' if judge else ''}{who}{', ' if how else ''}{how}"
            for k in KS:
                planner = Planner(k, judge and plan_scorer(judge), bool(how), grid, margin)
                arms += kept(
                    f"{who}{'-' if how else ''}{how.replace(' ', '-')}-{k}",
                    lambda w=words, p=planner: [plans(policy, prompts, rollout, args.seed, w, p)],
                )
    arms += kept("images", lambda: samples(policy, prompts, rollout, args.seed))
    print(table(arms, policy.image_tokens))
    plot(arms, policy.image_tokens, args.out / "think_longer.png")


if __name__ == "__main__":
    main()
