"""Ctrl-C and SIGTERM inside of what torch and transformers do are told as what they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
import yaml
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from transformers import JanusProcessor

from got_r1 import cli
from got_r1.recipes.sections import Recipe
from got_r1.training.metadata import Unpickler
from small_runs import make_recipe, model_folder  # noqa: F401

MakeRecipe = Callable[..., Recipe]


def plainly(kind: type[BaseException]) -> Callable[..., NoReturn]:
    def interrupted(*_: Any, **__: Any) -> NoReturn:
        raise kind

    return interrupted


def hidden_in(error: Exception) -> Callable[[type[BaseException]], Callable[..., NoReturn]]:
    """As libraries do whose cleaning up fails, or that turn every error into their own."""

    def how(kind: type[BaseException]) -> Callable[..., NoReturn]:
        def interrupted(*_: Any, **__: Any) -> NoReturn:
            try:
                raise kind
            except BaseException:
                raise error  # noqa: B904

        return interrupted

    return how


LOADING = (JanusProcessor, "from_pretrained")
READING = [(Unpickler, "load"), (FileSystemReader, "read_data"), (torch, "load")]
SAVING = [(FileSystemWriter, "write_data"), (torch, "save")]
BROKEN_ZIP = RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0")


@pytest.mark.parametrize(
    ("place", "how", "step"),
    [
        (LOADING, hidden_in(OSError("no such file")), "first"),
        (LOADING, hidden_in(RuntimeError("broken")), "first"),
        *((place, plainly, "resumed") for place in READING),
        *((place, hidden_in(OSError("bad record")), "resumed") for place in READING),
        *((place, plainly, "first") for place in SAVING),
        *((place, hidden_in(BROKEN_ZIP), "first") for place in SAVING),
    ],
)
def test_an_interrupt_inside_a_library_is_an_interrupt(
    place: tuple[Any, str],
    how: Callable[[type[BaseException]], Callable[..., NoReturn]],
    step: str,
    make_recipe: MakeRecipe,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = make_recipe("run", data={"size": 4}, sft={"steps": 1, "batch": 2}, eval={"prompts": 0})
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe.model_dump(exclude_none=True)))
    command = ["train", "sft", str(path)]
    if step == "resumed":
        assert cli.main(command) == 0
        command.append("--resume")
    for kind, code, told in (
        (KeyboardInterrupt, 130, "interrupted"),
        (cli.Terminated, 143, "terminated"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(*place, how(kind))
            capsys.readouterr()
            assert cli.main([*command, "--json"]) == code
            assert capsys.readouterr().err == f"got-r1: {cli.INTERRUPTED.format(told)}\n"
        command = [*command[:3], "--resume"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ExceptionGroup("two", [ValueError("one"), OSError("other")]), None),
        (BaseExceptionGroup("two", [ValueError("one"), KeyboardInterrupt()]), 130),
    ],
)
def test_an_interrupt_in_a_group_of_errors_is_one_too(
    error: BaseException, code: int | None
) -> None:
    assert cli.explain(error) == code
