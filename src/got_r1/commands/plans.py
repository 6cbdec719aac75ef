"""`eval plans`: does the planner or the drawer make the mistakes?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from got_r1.commands.arguments import (
    add,
    add_column,
    add_drawing,
    add_name,
    add_split,
    at_least,
    empty_folder,
    file_path,
    show,
)
from got_r1.commands.models import make_drawer
from got_r1.errors import BadInput

if TYPE_CHECKING:
    from got_r1.benchmarks.plans.cases import Case
    from got_r1.benchmarks.plans.sight import Observer

__all__ = ["register"]

CASE_SEED = 0  # every model is asked the same prompts; --seed is for the sampling


def register(evals: Any) -> None:
    """Adds the command to the group `eval`."""
    one = add(evals, "plans", plans, "does the planner or the drawer make the mistakes?")
    one.add_argument(
        "--prompts",
        type=file_path,
        metavar="FILE",
        help="your own, such as T2I-CompBench's spatial_val.txt (else the icon world's)",
    )
    add_column(one)
    one.add_argument(
        "--meanings",
        type=at_least(1),
        metavar="N",
        help="how many: relations, each asked in six phrasings (icons: 100, and as many lists "
        "without a relation; of a file: all)",
    )
    add_split(one, "of the icon world (val)")
    one.add_argument(
        "--judge",
        type=file_path,
        metavar="SPEC",
        help="who finds things in the images (the icon world's detector; needed with --prompts)",
    )
    one.add_argument("--no-swap", action="store_true", help="leave out the swap probe")
    add_name(one)
    add_drawing(one, batch=64)


def plans(args: argparse.Namespace) -> None:
    """`eval plans`: draws every prompt, looks at plan and image, and writes numbers and a page."""
    from got_r1.benchmarks.evaluation import comparison_table
    from got_r1.benchmarks.plans.run import run_plans
    from got_r1.files.sample_files import SampleFiles
    from got_r1.report.plans import build_plans_page, headline

    cases, observer = questions(args)
    folder = Path(args.out)
    samples = SampleFiles(folder / "samples")
    if not args.resume or not samples.folder.exists():
        empty_folder(args.out)
    samples.check_folder(args.resume)

    drawer = make_drawer(args, [case.prompt for case in cases])
    about = {
        "name": args.name or folder.resolve().name,
        "benchmark": "plans",
        "split": args.split if args.prompts is None else Path(args.prompts).name,
        "model": args.model,
        "seed": args.seed,
        "guidance": drawer.rollout.guidance,
    }
    result = run_plans(drawer, cases, observer, folder, about, swap=not args.no_swap)
    page = build_plans_page(folder)
    brief = {key: value for key, value in result.items() if key not in ("samples", "swapped")}
    table = comparison_table([result])
    text = f"{headline(result)}\n\n{table}\n\nnumbers: {folder / 'plans.json'}\npage: {page}"
    show(args, {**brief, "headline": headline(result), "page": str(page)}, text)


def questions(args: argparse.Namespace) -> tuple[list[Case], Observer]:
    """What is asked, and who looks at the answers."""
    from got_r1.benchmarks.plans.cases import file_cases, icon_cases
    from got_r1.benchmarks.plans.sight import IconObserver, JudgeObserver
    from got_r1.files.prompt_files import read_prompts

    if args.column and args.prompts is None:
        raise BadInput("--column is of a file of prompts: give it with --prompts, or leave it out.")
    if args.prompts is not None and not args.judge:
        raise BadInput(
            "--prompts are of any things: say with --judge who finds them in the images."
        )
    if args.prompts is not None:
        from got_r1.benchmarks.base import sample_prompts_evenly

        prompts = read_prompts(args.prompts, args.column or "prompt")
        cases = file_cases(
            sample_prompts_evenly(prompts, args.meanings) if args.meanings else prompts
        )
    else:
        cases = icon_cases(args.split, args.meanings or 100, CASE_SEED, depth=args.marks)
    if not args.judge:
        return cases, IconObserver()
    from got_r1.judges import load_judge

    return cases, JudgeObserver(load_judge(args.judge), args.judge)
