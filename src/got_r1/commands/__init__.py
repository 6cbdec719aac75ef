"""The commands: a module for each group, which adds its arguments and does its work.

Results go to stdout, as JSON with `--json`; progress and errors go to stderr. Heavy imports happen
inside the functions, so that `--help` and a typing mistake answer at once.
"""

from __future__ import annotations

from got_r1.commands import (
    audit,
    convert,
    evaluate,
    plan,
    push,
    recipe,
    report,
    sample,
    score,
    studio,
    train,
)

__all__ = ["COMMANDS"]

COMMANDS = (train, recipe, sample, plan, score, convert, push, evaluate, audit, report, studio)
"""In the order of `--help`."""
