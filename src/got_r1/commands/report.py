"""`report`: a run folder in, one HTML file out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from got_r1.commands.arguments import add, file_path, show

__all__ = ["register"]


def register(subparsers: Any) -> None:
    """Adds the command."""
    one = add(subparsers, "report", report, "build report.html of a run folder")
    one.add_argument("run", type=file_path, metavar="RUN", help="run folder")


def report(args: argparse.Namespace) -> None:
    """`report`: a run folder in, one HTML file out."""
    from got_r1.report.build import build_report

    path = build_report(Path(args.run))
    show(args, {"report": str(path)}, str(path))
