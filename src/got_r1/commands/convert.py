"""`convert`: an official checkpoint to transformers, and back."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from got_r1.commands.arguments import add, at_least, file_path, positive, show
from got_r1.errors import BadInput

__all__ = ["register"]


def register(subparsers: Any) -> None:
    """Adds the command."""
    one = add(subparsers, "convert", convert, "an official checkpoint to transformers, and back")
    one.add_argument(
        "source",
        type=file_path,
        metavar="SRC",
        help="official multi_modality checkpoint: a folder or a hub name",
    )
    one.add_argument(
        "destination", type=file_path, metavar="DST", help="new folder in the transformers format"
    )
    one.add_argument(
        "--to-official", action="store_true", help="the other way: SRC is a transformers folder"
    )
    one.add_argument(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        help="type of the written weights (the source's)",
    )
    one.add_argument(
        "--shard-size", type=positive, default=2.0, metavar="GB", help="largest shard (2)"
    )
    into = one.add_argument_group("from the official format")
    into.add_argument(
        "--tokenizer",
        type=file_path,
        metavar="DIR",
        help="take tokenizer and processor files from here (SRC)",
    )
    into.add_argument(
        "--vision-heads",
        type=at_least(1),
        metavar="N",
        help="attention heads of an understanding tower that no official name stands for",
    )
    card = one.add_argument_group("model card (with --to-official)")
    card.add_argument(
        "--run", type=file_path, metavar="DIR", help="run folder to read (the one SRC lies in)"
    )
    card.add_argument("--base", metavar="TEXT", help="base model, such as deepseek-ai/Janus-Pro-1B")
    card.add_argument("--data", metavar="TEXT", help="what it was trained on")
    card.add_argument("--judge", metavar="TEXT", help="who scored")
    card.add_argument(
        "--eval",
        action="append",
        type=file_path,
        metavar="FILE",
        help="evaluation to show; may be repeated",
    )


def convert(args: argparse.Namespace) -> None:
    """`convert`: an official checkpoint to a transformers folder, or back."""
    of_the_card = ("run", "base", "data", "judge", "eval")
    for name in ("tokenizer", "vision_heads") if args.to_official else of_the_card:
        if getattr(args, name) is not None:
            way = "without" if args.to_official else "with"
            raise BadInput(f"--{name.replace('_', '-')} has a meaning only {way} --to-official.")

    from got_r1.checkpoints.folders import (
        check_destination,
        check_transformers_folder,
        read_official_config,
    )
    from got_r1.checkpoints.hub import local_folder
    from got_r1.progress import import_modules

    source, destination = local_folder(args.source), Path(args.destination)
    (check_transformers_folder if args.to_official else read_official_config)(source)
    check_destination(destination)
    import_modules("got_r1.checkpoints.convert", quiet=args.json)
    from got_r1.checkpoints.convert import from_official, to_official
    from got_r1.checkpoints.model_card import CardFacts

    shard_size = int(args.shard_size * 1e9)
    if args.to_official:
        facts = CardFacts(
            base=args.base,
            data=args.data,
            judge=args.judge,
            run=Path(args.run) if args.run else None,
            evals=tuple(map(Path, args.eval or ())),
        )
        done = to_official(
            source,
            destination,
            dtype=args.dtype,
            shard_size=shard_size,
            facts=facts,
            quiet=args.json,
        )
    else:
        done = from_official(
            source,
            destination,
            dtype=args.dtype,
            shard_size=shard_size,
            tokenizer=local_folder(args.tokenizer, weights=False) if args.tokenizer else None,
            vision_heads=args.vision_heads,
            quiet=args.json,
        )
    lines = [
        f"{done.folder}: {done.parameters:,} parameters in {done.tensors} tensors, {done.dtype}, "
        f"{len(done.files)} file(s) of weights"
    ]
    if done.left_out:
        lines.append(f"left out, since nothing reads them: {', '.join(done.left_out)}")
    lines += [f"note: {note}" for note in done.notes]
    show(args, asdict(done) | {"folder": str(done.folder)}, "\n".join(lines))
