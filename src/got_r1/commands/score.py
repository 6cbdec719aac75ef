"""`score`: the reward of one (prompt, chain, image), term by term."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from got_r1.commands.arguments import add, add_marks, file_path, show
from got_r1.errors import RunFailed
from got_r1.measures import label

if TYPE_CHECKING:
    from got_r1.records import Reward

__all__ = ["register"]


def register(subparsers: Any) -> None:
    """Adds the command."""
    one = add(subparsers, "score", score, "the reward of a chain and an image, term by term")
    one.add_argument("--prompt", required=True, metavar="TEXT", help="what was to be drawn")
    one.add_argument(
        "--chain", required=True, type=file_path, metavar="FILE", help="a chain, or a NNN.json"
    )
    one.add_argument(
        "--image", required=True, type=file_path, metavar="FILE", help="PNG or JPEG file"
    )
    one.add_argument(
        "--judge", default="oracle", type=file_path, metavar="SPEC", help="who judges (oracle)"
    )
    add_marks(one)


def score(args: argparse.Namespace) -> None:
    """`score`: the reward of one (prompt, chain, image), term by term."""
    from got_r1 import api
    from got_r1.files.inputs import check_prompt, read_chain_text
    from got_r1.recipes.sections import RewardSection
    from got_r1.records import Verdict

    prompt = check_prompt(args.prompt)
    chain = read_chain_text(args.chain)
    reward = api.score(prompt, chain, args.image, args.judge, marks=args.marks)
    show(args, asdict(reward), "" if args.json else reward_table(reward, RewardSection().formula))
    failed = [v.reason for v in reward.verdicts.values() if not isinstance(v, Verdict)]
    if failed:
        raise RunFailed(f"the judge could not answer: {failed[0]}.")


def reward_table(reward: Reward, formula: str) -> str:
    """The terms with their evidence, as text for a terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table("term", "score", "evidence")
    for name, verdict in reward.verdicts.items():
        term = reward.terms.get(name)
        evidence = getattr(verdict, "reasoning", None) or getattr(verdict, "reason", "")
        table.add_row(label(name), "judge failed" if term is None else f"{term:.3f}", evidence)
    total = "none" if reward.total is None else f"{reward.total:.3f}"
    table.add_section()
    table.add_row("total", total, formula)
    console = Console()
    with console.capture() as capture:
        console.print(table, markup=False)
    return capture.get().rstrip()
