"""The commands that pages show: found, read as a shell would, and checked without running them."""

from __future__ import annotations

import argparse
import ast
import re
import runpy
import shlex
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from got_r1.cli import make_parser, parse
from got_r1.errors import BadInput
from got_r1.recipes.checks import check_settings
from got_r1.recipes.recipe_file import load_recipe, packaged
from got_r1.recipes.sections import Recipe

__all__ = ["Command", "check", "check_mention", "mentions", "missing", "read", "shown", "written"]

ROOT = Path(__file__).parents[2]
SHELLS = ("", "bash", "console", "sh")  # the languages of blocks that hold commands
FENCE = re.compile(r"^ *```([^\n]*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
MENTION = re.compile(r"`((?:got-r1|make|python)\s[^`]+)`")
LAUNCHER = re.compile(r"\S*torchrun .*", re.DOTALL)

# Settings and arguments (by their name in the parser) that name what must be there before, and
# those that name what the command makes.
READ = (
    *("model", "prompts", "chain", "image", "judge", "data", "folder", "files", "run", "study"),
    *("runs", "source", "plan", "detections", "detector", "vqa", "clip", "depth", "limits"),
    *("tokenizer", "eval"),
)
WRITTEN = ("out", "destination")

# What other programs make, by their command.
MAKERS = (
    re.compile(r"hf download .*--local-dir[= ](\S+)"),
    re.compile(r"git clone \S*/(\S+)"),
    re.compile(r"cp .* (\S+)"),
    re.compile(r"> ?([^\s&]+)"),
)


@dataclass(frozen=True)
class Command:
    """A command as a page shows it, on one line; `start` is its place in the page."""

    page: str
    text: str
    start: int

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"

    @property
    def words(self) -> list[str]:
        """The words that the shell passes on: no comment, no redirection, no assignment before it.
        Of a line that starts torchrun elsewhere (ssh, srun), what is started there."""
        words = _split(self.text)
        inner = next((m[0] for word in words if (m := LAUNCHER.match(word.split("&& ")[-1]))), None)
        if inner is not None:
            words = _split(inner)
        while words and (re.fullmatch(r"\w+=.*", words[0]) or words[0] == "$"):
            words.pop(0)
        ends = (place for place, word in enumerate(words) if word in (">", "&", "|", "&&", ";"))
        words = words[: next(ends, len(words))]
        if words and words[0].startswith(".venv/bin/"):
            words[0] = words[0].removeprefix(".venv/bin/")
        return words

    @property
    def ours(self) -> list[str] | None:
        """The arguments of got-r1; None where another program is called."""
        words = self.words
        if words[:1] == ["got-r1"]:
            return words[1:]
        if words[:1] in (["torchrun"], ["python"]) and "got_r1" in words:
            return words[words.index("got_r1") + 1 :]
        return None


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text, comments=True)
    except ValueError as error:
        if text.startswith(("got-r1", "python", "torchrun", "make", "pip")):
            raise BadInput(f"{text}: {error}") from None
        return []  # the output of a command


def shown(text: str, page: str) -> list[Command]:
    """The commands of a page, lines joined at a backslash: in the fenced blocks of Markdown, and in
    the indented lines of the comment at the top of a YAML file or of a script's docstring."""
    if page.endswith(".py"):
        head = ast.get_docstring(ast.parse(text)) or ""
        code = "\n".join(line[4:] for line in head.splitlines() if line.startswith("    "))
        return list(_lines(code, page, len(head)))
    if page.endswith(".yaml"):
        head = re.split(r"\n(?!#)", text)[0]
        code = "\n".join(line[4:] for line in head.splitlines() if line.startswith("#   "))
        return list(_lines(code, page, len(head)))
    return [
        command
        for block in FENCE.finditer(text)
        if block[1].strip() in SHELLS
        for command in _lines(block[2], page, block.start(2))
    ]


def _lines(code: str, page: str, start: int) -> Iterator[Command]:
    for found in re.finditer(r"(?:.*\\\n)*.*", code):  # a line may go on behind a backslash
        line = re.sub(r"\\\n\s*", "", found[0]).strip()
        if line and not line.startswith("#"):
            yield Command(page, line, start + found.start())


def mentions(text: str, page: str) -> list[Command]:
    """The commands in a page's running text, which may be shortened there."""
    prose = FENCE.sub("", text)
    return [Command(page, " ".join(m[1].split()), m.start()) for m in MENTION.finditer(prose)]


# -- checks ----------------------------------------------------------------------------------------


def check(command: Command) -> None:
    """Raises BadInput, with the command, where it would be refused for its own words: unknown
    commands, options, settings, recipes, targets of make, scripts, extras."""
    try:
        words, ours = command.words, command.ours
        if ours is not None:
            _check_ours(ours)
            if words[0] == "torchrun":
                _check_launcher(words[1 : words.index("got_r1") + 1])
        elif words[:1] == ["make"]:
            _check_targets(words[1:])
        elif words[:1] == ["python"] and words[1].startswith(("experiments/", "bench/")):
            _check_script(words[1:])
        elif words[:2] == ["pip", "install"]:
            _check_extras(words[2:])
    except (BadInput, SystemExit) as error:
        if isinstance(error, SystemExit) and not error.code:  # --help
            return
        raise BadInput(f"{command}\n  {error}") from None


def _check_ours(words: Sequence[str]) -> None:
    args = parse(words)
    if (recipe := _recipe(args)) is not None and hasattr(args, "stage"):
        check_settings(recipe, args.stage)


def _recipe(args: argparse.Namespace) -> Recipe | None:
    """The recipe of a command with its settings; of a run folder or a file that a page has made
    before, the settings alone, over the icon world's."""
    if not hasattr(args, "overrides"):
        return None
    known = args.recipe in packaged() or (ROOT / args.recipe).is_file()
    recipe = ROOT / args.recipe if known and args.recipe not in packaged() else args.recipe
    return load_recipe(recipe if known else "icons", args.overrides)


def _check_launcher(words: Sequence[str]) -> None:
    from torch.distributed.run import get_args_parser

    get_args_parser().parse_args([re.sub(r"\$\w+", "0", word) for word in words])


def _check_targets(words: Sequence[str]) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for word in words:
        if "=" not in word and word not in targets:
            raise BadInput(f"the Makefile has no target {word}")


def _check_extras(words: Sequence[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for word in words:
        for extra in re.findall(r"(?:got-r1|\.)\[(.*)\]", word):
            if unknown := set(extra.split(",")) - project["optional-dependencies"].keys():
                raise BadInput(f"there is no extra {', '.join(unknown)}")


class _Accepted(Exception):
    """A script has read its arguments."""


def _check_script(words: Sequence[str]) -> None:
    """Runs a script as far as its arguments, and reads its settings."""
    script = ROOT / words[0]
    if not script.is_file():
        raise BadInput(f"there is no {words[0]}")

    def then_stop(name: str) -> object:
        method = getattr(argparse.ArgumentParser, name)

        def parse_and_stop(parser: argparse.ArgumentParser, *args: object) -> None:
            raise _Accepted(method(parser, *args))

        return patch.object(argparse.ArgumentParser, name, parse_and_stop)

    with (
        patch.object(sys, "argv", [str(script), *words[1:]]),
        patch.object(sys, "path", [str(script.parent), *sys.path]),
        then_stop("parse_args"),
        then_stop("parse_intermixed_args"),
    ):
        try:
            runpy.run_path(str(script), run_name="__main__")
        except _Accepted as accepted:
            load_recipe("icons", getattr(accepted.args[0], "overrides", ()))


def check_mention(command: Command) -> None:
    """As `check`, for a command that may be shortened: it may lack arguments, and "..." stands for
    any. Raises BadInput for commands, options, targets and scripts that do not exist."""
    words = command.words
    if words[:1] != ["got-r1"]:
        if "..." not in words:
            check(command)
        return
    parser: argparse.ArgumentParser = make_parser()
    for word in words[1:]:
        groups = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        if groups and not word.startswith("-"):
            if word not in groups[0].choices:
                raise BadInput(f"{command}\n  {parser.prog} has no command {word}")
            parser = groups[0].choices[word]
        elif word.startswith("--") and word.partition("=")[0] not in parser._option_string_actions:
            raise BadInput(f"{command}\n  {parser.prog} has no option {word}")


# -- files -----------------------------------------------------------------------------------------


def read(command: Command) -> list[str]:
    """What a command of got-r1 needs to be there: files, folders, models."""
    if command.ours is None or not command.ours:
        return []
    try:
        args = parse(command.ours)
    except SystemExit:
        return []
    given = {name: getattr(args, name, None) for name in READ}
    given = {k: v for k, v in given.items() if v != args.parser.get_default(k)}
    named = [value for one in given.values() for value in _texts(one)]
    if (recipe := _recipe(args)) is not None:
        known = args.recipe in packaged() or (ROOT / args.recipe).is_file()
        named += [] if known else [args.recipe]
        if known and not getattr(args, "dry_run", False):
            named += _read_by(recipe, getattr(args, "stage", "prepare"))
    return [name.partition("=")[2] or name for name in named if not _is_there(name)]


def _read_by(recipe: Recipe, stage: str) -> list[str]:
    """The files that a recipe names and a stage of training reads."""
    paths = [] if stage == "vq" else [recipe.model.path]
    if stage in ("sft", "prepare"):
        paths += [path for path in (recipe.data.shards, recipe.data.source) if path][:1]
    if stage == "rl":
        paths += [one.path for one in recipe.data.prompts if one.path]
        paths += [one.path for one in recipe.data.held_out]
    return paths


def _texts(value: object) -> list[str]:
    if isinstance(value, str | Path):
        return [str(value)]
    return [text for one in value for text in _texts(one)] if isinstance(value, list) else []


def _is_there(name: str) -> bool:
    """What needs no file: the shipped model, judges by their specification, names in capitals that
    stand for the reader's own."""
    return (
        name in ("icons", "icons-layouts", "oracle", "experts")
        or name.startswith(("openai:", "transformers:"))
        or re.fullmatch(r"([a-z_]+:)?[A-Z_]+(:[A-Z]+)?", name) is not None
        or (ROOT / name).exists()
    )


def written(command: Command) -> list[str]:
    """The files and folders that a command makes."""
    if (ours := command.ours) is None:
        line = " ".join(_split(command.text))
        return [made for maker in MAKERS for made in maker.findall(line)]
    try:
        args = parse(ours)
    except SystemExit:
        return []
    named = [value for name in WRITTEN for value in _texts(getattr(args, name, None))]
    named += re.findall(r"> ?([^\s&]+)", command.text.partition("#")[0])
    if hasattr(args, "stage") and (recipe := _recipe(args)) is not None:
        named.append(recipe.run.dir)
    return named


def missing(
    commands: Sequence[Command], text: str, sources: Mapping[str, str]
) -> list[tuple[Command, str]]:
    """What commands of a page need and nothing before them makes. `sources`: for what a reader has
    to bring, the words by which the page says, before the command, where it comes from."""
    made: list[str] = []
    lacking = []
    for command in commands:
        for path in read(command):
            words = next((w for known, w in sources.items() if path.startswith(known)), None)
            told = words is not None and words in text[: command.start]
            if not told and not any(_within(path, folder) for folder in made):
                lacking.append((command, path))
        made += written(command)
    return lacking


def _within(path: str, folder: str) -> bool:
    return Path(path) == Path(folder) or Path(folder) in Path(path).parents
