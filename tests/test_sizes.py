"""Absurd sizes and impossible paths: one sentence, before anything is made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from annotated_types import Le, Lt

from got_r1.checkpoints.models import SHIPPED, model_folder
from got_r1.cli import main
from got_r1.errors import BadInput
from got_r1.files.inputs import read_image, read_text
from got_r1.judges.settings import MLLMSettings, OpenAISettings
from got_r1.recipes.recipe_file import load_recipe
from got_r1.recipes.section import Section
from got_r1.recipes.sections import Recipe
from got_r1.vision.settings import VisionSettings, VQASettings

LONG = "x" * 300
THIRTY = "9" * 30
SCORE = ["score", "--prompt", "a star", "--chain"]
DRAW = ["eval", "generate", "--out", "there", "--model"]
AUDIT = ["audit", "judge", "--out", "there"]


def sentence(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command that is refused says."""
    assert main(argv) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert len(line) < 400
    return line


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["sample", "--n", str(10**17)], "at most 1,000,000, not '1000"),
        (["sample", "--n", str(10**18)], "at most 1,000,000"),
        (["sample", "--n", "9" * 5000], "at most 1,000,000"),
        (["sample", "--seed", THIRTY], "--seed: must be a whole number"),
        (["sample", "--batch", str(10**9)], "at most 1,000,000"),
        ([*AUDIT, "--pairs", str(10**9)], "at most 1,000,000"),
        ([*AUDIT, "--canvas", str(10**6)], "at most 8,192"),
        ([*AUDIT, "--seed", THIRTY], "--seed: must be a whole number"),
        (["train", "rl", "icons", "--dry-run", "--processes", str(10**9)], "at most 1,000,000"),
        (["train", "rl", "icons", "rl.group=1000000000"], "rl.group must be .* at most 65,536"),
        (["train", "rl", "icons", f"run.seed={THIRTY}"], "run.seed must be .* at most 9,223,372"),
        (["train", "sft", "icons", f"data.size={10**12}"], "data.size must be .* 1,000,000,000"),
        (["train", "sft", "icons", f"run.threads={10**9}"], "run.threads must be .* at most 1,024"),
        (["train", "sft", "icons", f"sft.steps={'9' * 100}"], "sft.steps must be .* at most"),
        (["prepare", "icons", "there", f"data.encode_batch={10**9}"], "data.encode_batch must be"),
    ],
)
def test_absurd_sizes_are_refused(
    argv: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import re

    monkeypatch.chdir(tmp_path)
    if argv[0] == "sample":
        argv = [*argv, "--model", "icons", "--prompt", "a star", "--out", "there"]
    assert re.search(told, sentence(argv, capsys))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("section", [Recipe, MLLMSettings, OpenAISettings, VisionSettings])
def test_every_whole_number_of_a_recipe_has_a_maximum(section: type[Section]) -> None:
    unbounded, waiting = [], [section, VQASettings]
    while waiting:
        kind = waiting.pop()
        for name, field in kind.model_fields.items():
            inner = field.annotation
            if isinstance(inner, type) and issubclass(inner, Section):
                waiting.append(inner)
            elif inner is int and not any(isinstance(m, Le | Lt) for m in field.metadata):
                unbounded.append(f"{kind.__name__}.{name}")
    assert unbounded == []


@pytest.mark.parametrize(("name", "told"), [(LONG, "300 bytes"), ("a\0b", "zero byte")])
@pytest.mark.parametrize(
    "argv",
    [
        ["sample", "--model", "icons", "--prompt", "a star", "--out", "NAME"],
        ["sample", "--model", "NAME", "--prompt", "a star", "--out", "there"],
        ["sample", "--model", "icons", "--prompts", "NAME", "--out", "there"],
        ["report", "NAME"],
        ["train", "rl", "icons", "run.dir=NAME"],
        ["train", "rl", "icons", "run.dir=runs/NAME/one", "--resume"],
        ["train", "rl", "icons", "judge=NAME"],
        ["train", "rl", "icons", "model.path=NAME"],
        ["train", "rl", "icons", "data.prompts=NAME"],
        ["train", "rl", "icons", "data.held_out=NAME"],
        ["train", "sft", "icons", "data.shards=NAME"],
        ["train", "sft", "icons", "data.source=NAME"],
        ["train", "rl", "NAME"],
        ["prepare", "icons", "NAME"],
        ["eval", "score", "NAME"],
        ["eval", "table", "NAME"],
        [*DRAW, "NAME"],
        [*SCORE, "NAME", "--image", "there.png"],
        [*SCORE, "there.txt", "--image", "NAME"],
        [*SCORE, "there.txt", "--image", "there.png", "--judge", "NAME"],
        [*AUDIT, "--judge", "NAME"],
        ["audit", "run", "NAME"],
        ["convert", "NAME", "there"],
        ["convert", "there", "NAME"],
        ["recipe", "NAME"],
        ["push", "NAME", "me/mine"],
    ],
)
def test_impossible_paths_are_refused(
    argv: list[str], name: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told in sentence([word.replace("NAME", name) for word in argv], capsys)


@pytest.mark.parametrize("name", [LONG, "a\0b", f"{'y/' * 3000}x"])
def test_impossible_paths_in_files_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput):
        read_image(tmp_path / name)
    with pytest.raises(BadInput):
        read_text(tmp_path / name, "prompt file")
    (tmp_path / "recipe.yaml").write_text(json.dumps({"run": {"dir": name}}))
    with pytest.raises(BadInput, match=r"run\.dir in .*the path"):
        load_recipe(tmp_path / "recipe.yaml")


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("text_config", "num_hidden_layers", 10**6),
        ("text_config", "hidden_size", 10**12),
        ("text_config", "vocab_size", 10**30),
        ("vision_config", "image_size", 10**9),
        ("vq_config", "num_embeddings", 10**9),
        ("text_config", "num_attention_heads", -5),
    ],
)
def test_a_model_of_absurd_size_is_refused(
    tmp_path: Path, section: str, key: str, value: int
) -> None:
    shutil.copytree(SHIPPED["icons"], tmp_path / "model")
    file = tmp_path / "model" / "config.json"
    config = json.loads(file.read_text())
    config[section][key] = value
    file.write_text(json.dumps(config))
    with pytest.raises(BadInput, match=rf"config\.json gives {section}\.{key} as"):
        model_folder(tmp_path / "model")
