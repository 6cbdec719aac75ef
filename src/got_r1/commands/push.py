"""`push`: a run's model, card and report to the hub."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from got_r1.commands.arguments import add, file_path, show

__all__ = ["register"]


def register(subparsers: Any) -> None:
    """Adds the command."""
    one = add(subparsers, "push", push, "upload a run's model, card and report to the hub")
    one.add_argument("run", type=file_path, metavar="RUN", help="run folder, its training finished")
    one.add_argument("repository", metavar="REPO", help="OWNER/NAME; made where there is none")
    one.add_argument("--private", action="store_true", help="a repository made is private")


def push(args: argparse.Namespace) -> None:
    """`push`: uploads `checkpoints/final`, a card (README.md) and report.html in one commit."""
    from got_r1.checkpoints.folders import trained_folder
    from got_r1.progress import import_modules

    run = Path(args.run)
    trained_folder(run)
    import_modules("got_r1.checkpoints.upload", quiet=args.json)
    from got_r1.checkpoints.upload import check_trained, upload
    from got_r1.report.build import build_report

    model = check_trained(run)
    report = build_report(run)
    url = upload(run, model, report, args.repository, private=args.private)
    show(args, {"repository": args.repository, "commit": url}, url)
