"""`recipe`: the recipes that come with the package."""

from __future__ import annotations

import argparse
from textwrap import indent
from typing import Any

from got_r1.commands.arguments import add, did_you_mean, file_path, show
from got_r1.errors import BadInput

__all__ = ["register"]

ICONS = "icons"


def register(subparsers: Any) -> None:
    """Adds the command."""
    one = add(subparsers, "recipe", recipe, "write out a packaged recipe, to change it")
    one.add_argument(
        "name", type=file_path, metavar="NAME", nargs="?", help="which; without, their names"
    )


def recipe(args: argparse.Namespace) -> None:
    """`recipe NAME`: its YAML, comments included; `recipe`: the names."""
    from got_r1.recipes.recipe_file import packaged, recipe_path

    names = packaged()
    if args.name is None:
        show(args, {"recipes": names}, "\n".join(names))
        return
    if args.name not in names:
        raise BadInput(
            f"there is no packaged recipe {args.name!r} (there are {', '.join(names)})"
            f"{did_you_mean(args.name, names)}"
        )
    text = recipe_path(args.name).read_text(encoding="utf-8")
    if args.name == ICONS:
        text += world_words()
    show(args, {"name": args.name, "text": text}, text.rstrip("\n"))


def world_words() -> str:
    """What prompts of the icon world may say, as comments behind its recipe."""
    from got_r1.icons.words import describe

    head = "The words of the icon world, for prompts of your own:"
    return indent(f"{head}\n\n{describe()}\n", "# ", lambda line: True).replace("# \n", "#\n")
