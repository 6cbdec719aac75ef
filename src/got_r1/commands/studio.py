"""`studio`: the local web application."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from got_r1.commands.arguments import add, at_least, file_path
from got_r1.errors import BadInput

__all__ = ["register"]

PORT = 8642


def register(subparsers: Any) -> None:
    """Adds the command."""
    one = add(
        subparsers, "studio", studio, "look at plans, change them and draw them, in the browser"
    )
    one.add_argument(
        "--model",
        default="icons",
        metavar="MODEL",
        help="model folder, hub name, or 'icons', the shipped one (icons)",
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


def studio(args: argparse.Namespace) -> None:
    """`studio`: serves the pages until it is interrupted."""
    try:
        import fastapi  # noqa: F401
        import uvicorn
    except ImportError:
        raise BadInput(
            "got-r1 studio needs FastAPI and uvicorn: pip install 'got-r1[studio]'."
        ) from None
    from got_r1.checkpoints.models import check_model
    from got_r1.progress import import_modules, note
    from got_r1.studio.guard import Guard, is_loopback

    check_model(args.model)
    import_modules("got_r1.studio.model", quiet=False)
    from got_r1 import api
    from got_r1.judges import load_judge
    from got_r1.records import Prompt
    from got_r1.sampling.checks import checks_of
    from got_r1.sampling.settings import rollout_settings
    from got_r1.studio.app import create_app
    from got_r1.studio.history import History
    from got_r1.studio.model import Model

    note(f"loading the model {args.model}")
    policy = api.load_policy(args.model, dtype=args.dtype, device=args.device)
    checks = checks_of(policy)
    spec = args.judge or ("oracle" if checks.world else None)
    model = Model(
        args.model,
        policy,
        rollout_settings(policy, [Prompt("a")]),
        checks,
        History(Path(args.history)),
        load_judge(spec) if spec else None,
    )
    guard = Guard(args.host)
    shown = f"[{args.host}]" if ":" in args.host else args.host
    link = f"http://{shown}:{args.port}/"
    if not is_loopback(args.host):
        link += f"?token={guard.access}"
    print(f"The studio is at {link}  (Ctrl-C ends it)", flush=True)  # noqa: T201
    app = create_app(model, guard)
    uvicorn.run(app, host=args.host, port=args.port, log_level="warning", access_log=False)
