"""`studio`: the local web application."""

from __future__ import annotations

import argparse
import errno
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from got_r1.commands.arguments import add, add_marks, at_least, file_path
from got_r1.errors import BadInput

if TYPE_CHECKING:
    from fastapi import FastAPI

    from got_r1.studio.app import Comparison
    from got_r1.studio.guard import Guard
    from got_r1.studio.model import Model
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
        "--compare",
        type=file_path,
        action="append",
        default=[],
        metavar="DIR",
        help="a second model, to compare with that of --model; or, given twice, two folders of "
        "got-r1 sample or eval generate, or two run folders",
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
    add_marks(one)
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
    listening = _listen(args.host, args.port)  # before a model is loaded in vain
    if rating is not None and args.model is None and not args.compare:
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
    config = uvicorn.Config(app, log_level="warning", access_log=False)
    # Who opens the link before the server is up waits in the socket's queue.
    uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises BadInput where that is not possible."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    place = socket.socket(family)
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        place.bind((host, port))
        place.listen(2048)  # as uvicorn's own
    except OSError as error:
        place.close()
        if error.errno == errno.EADDRINUSE:
            raise BadInput(
                f"port {port} of {host} is in use, perhaps by another studio: give --port N."
            ) from None
        reason = error.strerror or str(error)
        raise BadInput(f"nothing can listen on {host}, port {port} ({reason}).") from None
    return place


def _with_model(args: argparse.Namespace, guard: Guard, rating: Rating | None) -> FastAPI:
    """The application with a model, which is loaded."""
    from got_r1.checkpoints.models import check_model
    from got_r1.progress import import_modules

    name = args.model or "icons"
    check_model(name)
    compared = _compared(args.compare)  # before torch: a wrong name should not wait for it
    import_modules("got_r1.studio.model", quiet=False)
    from got_r1.judges import load_judge
    from got_r1.studio.app import create_app

    model = _load(name, args)
    spec = args.judge or ("oracle" if model.checks.world else None)
    if spec:
        model = replace(model, judge=load_judge(spec))
    comparison = compared(args, model) if compared else None
    return create_app(model, guard, rating, comparison, Path(args.watched))


def _compared(names: Sequence[str]) -> Callable[[argparse.Namespace, Model], Comparison] | None:
    """What makes the comparison of what `--compare` names, once the model is loaded; None where it
    names nothing. Raises BadInput where that is not one model or two folders of a kind."""
    from got_r1.checkpoints.models import check_model
    from got_r1.studio.finished import TwoFolders
    from got_r1.studio.pairs import kind_of, read_run_sources, read_source

    kinds = [kind_of(name) for name in names]
    match kinds:
        case []:
            return None
        case ["model"]:
            check_model(names[0])
            return lambda args, model: _two_models(model, _load(names[0], args))
        case ["samples", "samples"]:
            sources = (read_source(names[0]), read_source(names[1]))
        case ["run", "run"]:
            sources = read_run_sources((names[0], names[1]))
        case _:
            given = " and ".join(
                f"{name} ({kind})" for name, kind in zip(names, kinds, strict=True)
            )
            raise BadInput(
                "--compare takes one model, to compare with that of --model, or is given twice, "
                f"for two folders of samples or for two runs; it was given {given}."
            )

    def folders(args: argparse.Namespace, model: Model) -> Comparison:
        # The oracle knows nothing but the icon world: elsewhere somebody has to name a judge.
        judge = model.judge if args.judge or sources[0].world else None
        return TwoFolders(*sources, judge)

    return folders


def _two_models(a: Model, b: Model) -> Comparison:
    from got_r1.studio.comparing import TwoModels

    return TwoModels.of(a, b)


def _load(name: str, args: argparse.Namespace) -> Model:
    """A model with the settings that it carries, and no judge."""
    from got_r1 import api
    from got_r1.progress import note
    from got_r1.records import Prompt
    from got_r1.sampling.checks import checks_of
    from got_r1.sampling.settings import rollout_settings
    from got_r1.studio.history import History
    from got_r1.studio.model import Model

    note(f"loading the model {name}")
    policy = api.load_policy(name, dtype=args.dtype, device=args.device)
    rollout = rollout_settings(policy, [Prompt("a")], marks=args.marks)
    options = [] if args.dtype == "float32" else ["--dtype", args.dtype]
    options += ["--marks"] if args.marks else []
    options += ["--device", args.device] if args.device else []
    return Model(
        name,
        policy,
        rollout,
        checks_of(policy, marks=args.marks),
        History(Path(args.history)),
        options=tuple(options),
    )
