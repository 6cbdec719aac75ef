"""`sample`: chains and images for one prompt or a file of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Any

from got_r1.commands.arguments import (
    add,
    add_column,
    add_drawing,
    at_least,
    file_path,
    move,
    positive,
    share,
    show,
)
from got_r1.commands.models import make_drawer
from got_r1.errors import BadInput
from got_r1.files.sample_files import LAYOUTS

if TYPE_CHECKING:
    from got_r1.records import Prompt
    from got_r1.sampling.checks import Checks

__all__ = ["register"]


def register(subparsers: Any) -> None:
    """Adds the command."""
    one = add(subparsers, "sample", sample, "write chains and draw images for a prompt")
    one.reference = world_reference
    what = one.add_mutually_exclusive_group(required=True)
    what.add_argument("--prompt", metavar="TEXT", help="what to draw")
    what.add_argument(
        "--prompts",
        type=file_path,
        metavar="FILE",
        help="UTF-8 text, a prompt a line, or .jsonl, .json, .csv, .tsv, .parquet; a prompt that "
        "stands twice gets the same images twice",
    )
    add_column(one)
    one.add_argument(
        "--n", type=at_least(1), default=1, metavar="N", help="chains for each prompt (1)"
    )
    one.add_argument(
        "--images-per-chain",
        type=at_least(1),
        default=1,
        metavar="M",
        help="images drawn from each chain (1)",
    )
    one.add_argument(
        "--chain",
        type=file_path,
        metavar="FILE",
        help="draw this plan: a chain, a NNN.json, or what got-r1 plan edit wrote",
    )
    one.add_argument(
        "--move",
        type=move,
        action="append",
        default=[],
        metavar="NAME=X1,Y1,X2,Y2",
        help="draw the plan of --chain with this object's box there (X1,Y1 alone: in its size); "
        "may be repeated",
    )
    one.add_argument(
        "--plans",
        type=at_least(1),
        metavar="K",
        help="write K chains for each and draw only the one with the best plan",
    )
    one.add_argument(
        "--judge",
        type=file_path,
        metavar="SPEC",
        help="who scores the plans, by R_sem + R_spa (without: their geometry alone)",
    )
    one.add_argument(
        "--repair",
        action="store_true",
        help="move the boxes of a plan that contradicts its prompt, as little as needed",
    )
    one.add_argument(
        "--margin",
        type=share,
        default=0.0,
        metavar="M",
        help="with --repair: left, right, top and bottom are to hold by this share of the image's "
        "side (0: the least movement)",
    )
    one.add_argument(
        "--detector",
        metavar="KIND:MODEL",
        help="find the planned objects in the images: grounding_dino or owlv2 and its folder or "
        "hub id (the icon world: its own)",
    )
    add_drawing(one, batch=16)
    one.add_argument(
        "--temperature",
        type=positive,
        metavar="T",
        help="of chain and image (1; of the image the model's own, else 1)",
    )
    one.add_argument(
        "--image-temperature", type=positive, metavar="T", help="of the image alone (as above)"
    )
    one.add_argument(
        "--chain-limit",
        type=at_least(1),
        metavar="TOKENS",
        help="longest chain (the model's own, else 600; no more than its context leaves)",
    )
    one.add_argument(
        "--strict",
        action="store_true",
        help="refuse prompts that are not understood, and fail where an image is not as asked",
    )
    one.add_argument(
        "--scale",
        type=at_least(1, 64),
        default=1,
        metavar="K",
        help="write every pixel as K x K pixels, for small images (1)",
    )
    one.add_argument(
        "--layout",
        choices=LAYOUTS,
        default="numbered",
        help="NNN.png beside NNN.json, or samples/ named as T2I-CompBench expects (numbered)",
    )


def world_reference(_given: Sequence[str]) -> str:
    from got_r1.icons.words import describe

    return f"\nwhat a model of the icon world understands:\n\n{indent(describe(), '  ')}\n"


def sample(args: argparse.Namespace) -> None:
    """`sample`: chains and images for one prompt or a file of them, in a folder."""
    from got_r1.commands.sample_checks import (
        read_record,
        refuse_faults,
        tell,
        tell_doubts,
        tell_pictures,
    )
    from got_r1.files.inputs import check_prompt
    from got_r1.files.prompt_files import read_prompts
    from got_r1.files.sample_files import SampleFiles
    from got_r1.records import Prompt
    from got_r1.report.sheet import build_sheet

    if args.column and args.prompts is None:
        raise BadInput("--column is of a file of prompts: give it with --prompts, or leave it out.")
    if args.prompts is None:
        prompts = [Prompt(check_prompt(args.prompt))]
    elif args.chain:
        raise BadInput("--chain is the plan of one prompt: give it with --prompt, not --prompts.")
    else:
        prompts = read_prompts(args.prompts, args.column or "prompt")
    if args.chain and args.plans:
        raise BadInput(
            "--plans chooses among written chains, and --chain gives one: leave out one."
        )
    if args.judge and not args.plans:
        raise BadInput("--judge scores the plans to choose from: say how many with --plans.")
    if args.margin and not args.repair:
        raise BadInput("--margin is of a repair: give it with --repair.")
    if args.move and not args.chain:
        raise BadInput("--move changes a given plan: give it with --chain.")
    chain_text = given_chain(args, prompts[0]) if args.chain else None
    files = SampleFiles(Path(args.out), args.layout)
    files.check_prompts(prompts)
    files.check_folder(args.resume)

    score = None
    if args.judge:  # before the model: a wrong name should not wait for gigabytes
        from got_r1.judges import load_judge
        from got_r1.rewards import plan_scorer

        score = plan_scorer(load_judge(args.judge, terms=("r_sem", "r_spa")))
    finder = None
    if args.detector:  # before the model as well
        from got_r1.sampling.checks import load_finder

        finder = load_finder(args.detector, args.device or "")
    drawer = make_drawer(args, prompts, chain_text)
    from got_r1.sampling.checks import checks_of
    from got_r1.sampling.settings import make_planner

    checks = checks_of(drawer.policy, finder, args.marks)
    doubts = tell_doubts(checks, prompts, args.strict)
    drawn_text, changes = checks.fitted(chain_text) if chain_text else (None, [])
    tell(changes)
    arguments = {
        **drawer.about,
        "layout": args.layout,
        "n": args.n,
        "images_per_chain": args.images_per_chain,
        "chain": chain_text,
        "prompts": [asdict(prompt) for prompt in prompts],
    }
    if args.scale > 1:  # not in the arguments of older folders
        arguments["scale"] = args.scale
    if args.detector:
        arguments["detector"] = args.detector
    planner = make_planner(drawer.policy, args.plans, score, repair=args.repair, margin=args.margin)
    if planner is not None:
        arguments |= {"plans": args.plans, "judge": args.judge, "repair": args.repair}
        if args.margin:  # not in the arguments of older folders
            arguments["margin"] = args.margin
    files.begin(arguments)
    done = drawer.draw(
        files,
        prompts,
        n=args.n,
        images_per_chain=args.images_per_chain,
        chain_text=drawn_text,
        planner=planner,
        spoken=checks.spoken,
        look=checks.look,
        scale=args.scale,
    )
    tell_repeats(prompts)
    count = unread(prompts, args, checks)
    records = [read_record(files.record(index)) for index in range(len(done.images))]
    pictures = tell_pictures(done.images, records)
    about = {"Model": args.model, "Seed": args.seed, "Guidance": drawer.rollout.guidance}
    about |= {"Found by": args.detector} if args.detector else {}
    page, sheet = build_sheet(Path(args.out), done.images, records, **about)
    names = [str(image) for image in done.images]
    speed = done.drawn / done.seconds if done.drawn else None
    facts = {"drawn": done.drawn, "seconds": done.seconds, "images_per_second": speed}
    if planner is not None or not checks.world:
        facts |= {"unread_prompts": count}
    not_understood = [{"prompt": text, "reasons": list(why)} for text, why in doubts.items()]
    told = {"not_understood": not_understood, "pictures": pictures, "plan_changes": changes}
    told |= {"page": str(page), "sheet": str(sheet)}
    show(args, {"files": names, **facts, **told}, "\n".join(names))
    if args.strict:
        refuse_faults(pictures)


def given_chain(args: argparse.Namespace, prompt: Prompt) -> str:
    """The chain of `--chain`, with its boxes where `--move` puts them."""
    from got_r1.files.inputs import load_plan, read_plan

    if not args.move:
        return read_plan(args.chain, prompt.text, marks=args.marks)
    plan = load_plan(args.chain, prompt.text, marks=args.marks)
    for target, numbers in args.move:
        plan = plan.moved(target, numbers)
    return plan.chain.text


def tell_repeats(prompts: Sequence[Prompt]) -> None:
    """Says on stderr that prompts are duplicated: a sample's noise depends on its prompt only."""
    repeats = len(prompts) - len({prompt.text for prompt in prompts})
    if repeats:
        print(  # noqa: T201
            f"{repeats} of {len(prompts)} prompts stand in the file before, and got the same "
            "images again; several images of a prompt come with --n.",
            file=sys.stderr,
        )


def unread(prompts: Sequence[Prompt], args: argparse.Namespace, checks: Checks) -> int:
    """How many prompts geometry could not read, told where something depends on reading them."""
    from got_r1.sampling.checks import unread_prompts

    count = len(unread_prompts(prompts))
    consequences = ["chosen by form and overlaps alone"] if args.plans and not args.judge else []
    consequences += ["not repaired"] if args.repair else []
    consequences += [] if checks.world else ["not compared with them"]
    if count and consequences:
        print(  # noqa: T201
            f"{count} of {len(prompts)} prompts could not be read as objects and a relation: their "
            f"plans are {' and '.join(consequences)}.",
            file=sys.stderr,
        )
    return count
