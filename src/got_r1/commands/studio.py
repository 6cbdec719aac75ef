"""`studio`: the local web application."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from got_r1.commands.arguments import add, at_least, file_path
from got_r1.errors import BadInput

if TYPE_CHECKING:
    from fastapi import FastAPI

    from got_r1.studio.guard import Guard
    from got_r1.studio.rating import Rating

__all__ = ["register"]

PORT = 8642


def register(subparsers: Any) -> None:
    """Adds the command."""
    one = add(
        subparsers, "studio", studio, "look at plans, change them and draw them, in the browser"
    )
    one.add_argument(
        "--model",
        metavar="MODEL",
        help="model folder, hub name, or 'icons', the shipped one (icons; with --study none, and "
        "the studio rates alone)",
    )
    one.add_argument(
        "--judge", type=file_path, metavar="SPEC", help="who judges images (icons: the oracle)"
    )
    one.add_argument(
        "--history",
        default="runs/studio",
        metavar="DIR",
        help="folder of what was drawn (runs/studio)",
    )
    one.add_argument(
        "--runs",
        dest="watched",
        default="runs",
        metavar="DIR",
        help="folder below which runs are watched (runs)",
    )
    one.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="H",
        help="interface to listen on; any other than loopback needs the token of the printed link "
        "(127.0.0.1)",
    )
    one.add_argument(
        "--port", type=at_least(1, 65535), default=PORT, metavar="N", help=f"port ({PORT})"
    )
    one.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    one.add_argument("--device", choices=("cpu", "cuda"), help="where it draws (a GPU if any)")
    one.add_argument(
        "--study",
        type=file_path,
        metavar="DIR",
        help="folder that audit human build wrote, to be rated",
    )
    one.add_argument(
        "--raters",
        metavar="NAMES",
        help="names, with commas between them: prints the link of each (--study)",
    )


def studio(args: argparse.Namespace) -> None:
    """`studio`: serves the pages until it is interrupted."""
    try:
        import fastapi  # noqa: F401
        import uvicorn
    except ImportError:
        raise BadInput(
            "got-r1 studio needs FastAPI and uvicorn: pip install 'got-r1[studio]'."
        ) from None
    from got_r1.studio.guard import Guard
    from got_r1.studio.rating import Rating, create_rating_app

    if args.raters is not None and args.study is None:
        raise BadInput("--raters are those of a study; give --study DIR.")
    rating = None
    if args.study is not None:
        rating = Rating(Path(args.study), args.raters.split(",") if args.raters else [])
    guard = Guard(args.host, raters=rating)
    if rating is not None and args.model is None:
        app = create_rating_app(rating, guard)
    else:
        app = _with_model(args, guard, rating)
    shown = f"[{args.host}]" if ":" in args.host else args.host
    place = f"http://{shown}:{args.port}"
    link = f"{place}/?access={guard.access}" if guard.needs_token else f"{place}/"
    lines = [f"The studio is at {link}  (Ctrl-C ends it)"]
    if rating is not None:
        lines += [
            f"{name} rates at {place}{rating.path}?rater={token}"
            for name, token in rating.tokens.items()
        ] or ["Nobody rates yet: give --raters NAME,NAME."]
    print("\n".join(lines), flush=True)  # noqa: T201
    uvicorn.run(app, host=args.host, port=args.port, log_level="warning", access_log=False)


def _with_model(args: argparse.Namespace, guard: Guard, rating: Rating | None) -> FastAPI:
    """The application with a model, which is loaded."""
    from got_r1.checkpoints.models import check_model
    from got_r1.progress import import_modules, note

    name = args.model or "icons"
    check_model(name)
    import_modules("got_r1.studio.model", quiet=False)
    from got_r1 import api
    from got_r1.judges import load_judge
    from got_r1.records import Prompt
    from got_r1.sampling.checks import checks_of
    from got_r1.sampling.settings import rollout_settings
    from got_r1.studio.app import create_app
    from got_r1.studio.history import History
    from got_r1.studio.model import Model

    note(f"loading the model {name}")
    policy = api.load_policy(name, dtype=args.dtype, device=args.device)
    checks = checks_of(policy)
    spec = args.judge or ("oracle" if checks.world else None)
    model = Model(
        name,
        policy,
        rollout_settings(policy, [Prompt("a")]),
        checks,
        History(Path(args.history)),
        load_judge(spec) if spec else None,
    )
    return create_app(model, guard, rating, Path(args.watched))
