"""`score`: the reward of one (prompt, chain, image), term by term."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
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
    from got_r1.plan.chain import parse as parse_chain
    from got_r1.plan.reasons import reason
    from got_r1.recipes.sections import RewardSection
    from got_r1.records import Verdict

    prompt = check_prompt(args.prompt)
    chain = parse_chain(read_chain_text(args.chain), marks=args.marks)
    reward = api.score(prompt, chain, args.image, args.judge)
    why = {
        term: reason(reward.terms.get(term), verdict, () if chain.problems else chain.objects)
        for term, verdict in reward.verdicts.items()
    }
    told = asdict(reward) | {"reasons": {term: words for term, words in why.items() if words}}
    shown = "" if args.json else reward_table(reward, why, RewardSection().formula)
    show(args, told, shown)
    failed = [v.reason for v in reward.verdicts.values() if not isinstance(v, Verdict)]
    if failed:
        raise RunFailed(f"the judge could not answer: {failed[0]}.")


def reward_table(reward: Reward, reasons: Mapping[str, str], formula: str) -> str:
    """The terms, each with why it is below 1 or else with its evidence, as text for a terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table("term", "score", "evidence")
    for name, verdict in reward.verdicts.items():
        term = reward.terms.get(name)
        evidence = reasons[name] or getattr(verdict, "reasoning", "")
        table.add_row(label(name), "judge failed" if term is None else f"{term:.3f}", evidence)
    total = "none" if reward.total is None else f"{reward.total:.3f}"
    table.add_section()
    table.add_row("total", total, formula)
    console = Console()
    with console.capture() as capture:
        console.print(table, markup=False)
    return capture.get().rstrip()
