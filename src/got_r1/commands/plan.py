"""`plan`: a plan file shown and edited."""

from __future__ import annotations

import argparse
import io
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from got_r1.commands.arguments import Parser, add, add_marks, at_least, file_path, move, show
from got_r1.errors import BadInput

if TYPE_CHECKING:
    from got_r1.plan.editing import Plan

__all__ = ["register"]


def register(subparsers: Any) -> None:
    """Adds the commands."""
    group = subparsers.add_parser("plan", help="show or edit the plan of a sample")
    plans = group.add_subparsers(metavar="COMMAND", required=True)

    one = add(plans, "show", show_plan, "print a plan, and draw it where asked for")
    add_file(one)
    one.add_argument("--image", type=file_path, metavar="PNG", help="draw the boxes into this file")
    one.add_argument(
        "--size", type=at_least(64, 4096), default=512, metavar="N", help="its side in pixels (512)"
    )

    one = add(plans, "edit", edit_plan, "change a plan, in this order, and write it as a file")
    add_file(one)
    edits = one.add_argument_group("changes (NAME: an object's name, words of it, or its number)")
    for option, value, help_text in (
        ("--remove", "NAME", "leave an object out"),
        ("--rename", "NAME=NEW", "give an object another name"),
        ("--move", "NAME=X1,Y1,X2,Y2", "put its box there (X1,Y1 alone: in its size)"),
        ("--add", "NEW=X1,Y1,X2,Y2", "a further object"),
    ):
        edits.add_argument(
            option,
            action="append",
            default=[],
            metavar=value,
            type=move if "X1" in value else str,
            help=f"{help_text}; may be repeated",
        )
    edits.add_argument(
        "--prose", metavar="TEXT", help="the words around the objects, {1} for the first"
    )
    one.add_argument(
        "--out", required=True, type=file_path, metavar="FILE", help="the plan file to write"
    )


def add_file(one: Parser) -> None:
    """What both commands read."""
    one.add_argument(
        "file", type=file_path, metavar="FILE", help="a chain, a sample's NNN.json, or a plan file"
    )
    one.add_argument("--prompt", metavar="TEXT", help="what the plan is for (the file's own)")
    add_marks(one)


def show_plan(args: argparse.Namespace) -> None:
    """`plan show`: the objects with their boxes, the prose, and what contradicts the prompt."""
    from got_r1.files.inputs import load_plan

    plan = load_plan(args.file, args.prompt or "", marks=args.marks)
    if args.image:
        from PIL import Image

        from got_r1.files.atomic import write_bytes
        from got_r1.plan.layout import draw_plan

        if Path(args.image).exists():
            raise BadInput(f"{args.image} exists; choose another --image.")
        png = io.BytesIO()
        Image.fromarray(draw_plan(plan.objects, (args.size, args.size))).save(png, "PNG")
        write_bytes(Path(args.image), png.getvalue())
    tell_plan(args, plan, {"image": args.image} if args.image else {})


def edit_plan(args: argparse.Namespace) -> None:
    """`plan edit`: writes the changed plan, its prose and objects, and prints it."""
    from got_r1.files.atomic import write_text
    from got_r1.files.inputs import load_plan

    out = Path(args.out)
    if out.suffix.lower() != ".json":
        raise BadInput(f"--out {out} is no name of a plan file; give one that ends with .json.")
    if out.exists():
        raise BadInput(f"{out} exists; choose another --out.")
    plan = changed(load_plan(args.file, args.prompt or "", marks=args.marks), args)
    assert plan.chain  # refused before it is written
    write_text(out, plan.text)
    tell_plan(args, plan, {"file": str(out)})


def changed(plan: Plan, args: argparse.Namespace) -> Plan:
    """The plan with the changes of the command line."""
    from got_r1.plan.editing import new_object

    for target in args.remove:
        plan = plan.without(target)
    for text in args.rename:
        target, equals, name = text.partition("=")
        if not equals:
            raise BadInput(f"--rename {text!r} has no '='; give OLD=NEW.")
        index = plan.index_of(target)
        plan = plan.with_object(index, replace(plan.objects[index], name=name.strip()))
    for target, numbers in args.move:
        plan = plan.moved(target, numbers)
    added = tuple(new_object(name, numbers) for name, numbers in args.add)
    plan = replace(plan, objects=(*plan.objects, *added))
    return plan if args.prose is None else replace(plan, prose=args.prose)


def tell_plan(args: argparse.Namespace, plan: Plan, facts: dict[str, Any]) -> None:
    """Shows a plan."""
    from got_r1.plan.differences import chain_faults, differences
    from got_r1.plan.reading import read

    chain = plan.chain
    faults = list(chain_faults(chain))
    asked = read(plan.prompt) if plan.prompt else None
    if asked is not None:
        faults += differences(asked, plan.objects)
    record = plan.record()
    lines = [f"prompt: {plan.prompt}"] if plan.prompt else []
    lines += [
        f"{number}  {entry['name']}  {','.join(map(str, entry['box']))}"
        for number, entry in enumerate(record["objects"], 1)
    ]
    lines += [f"prose: {record['prose']}", *(f"note: {fault}" for fault in faults)]
    show(args, {**record, "chain": chain.text, "notes": faults, **facts}, "\n".join(lines))
