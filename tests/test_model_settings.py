"""Settings in a model's folder that no model has: one sentence, before anything is allocated, and
none of the folder's own code is run."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from got_r1.errors import BadInput
from got_r1.files.digests import DIGESTS
from got_r1.judges.settings import MLLMSettings, TransformersSettings
from got_r1.judges.transformers_local import TransformersJudge
from got_r1.policy import SHIPPED, load_encoder, load_policy
from got_r1.sizing.meta import model_config
from got_r1.vision.clip import CLIP
from got_r1.vision.settings import SimilaritySettings
from judges.tiny_mllm import make_qwen2_5_vl
from vision.tiny import build

DEEP = "[" * 100_000 + "]" * 100_000
DIGITS = "9" * 6000


def load_judge(folder: Path) -> object:
    where = TransformersSettings(model=str(folder), device="cpu", dtype="float32")
    return TransformersJudge(where, MLLMSettings(canvas=112))


def load_clip(folder: Path) -> object:
    return CLIP(SimilaritySettings(model=str(folder), device="cpu"))


POLICY: tuple[Callable[[Path], object], ...] = (load_policy, load_encoder)
LOADERS = {"policy": POLICY, "judge": (load_judge,), "clip": (load_clip,)}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        "policy": SHIPPED["icons"],
        "judge": make_qwen2_5_vl(tmp_path_factory.mktemp("judge")),
        "clip": build("clip", tmp_path_factory.mktemp("clip")),
    }


def linked(source: Path, folder: Path) -> Path:
    """The files of `source` without their digests; those to be changed are replaced, not written
    through."""
    for file in source.iterdir():
        if file.name != DIGESTS:
            (folder / file.name).symlink_to(file)
    return folder


def replace(file: Path, content: str) -> None:
    file.unlink()
    file.write_text(content, encoding="utf-8")


def changed(file: Path, key: str, value: str) -> str:
    """The file's JSON with the JSON `value` at the dotted `key`, which may be new at its end."""
    content: Any = json.loads(file.read_text(encoding="utf-8"))
    *above, last = key.split(".")
    inner = content
    for name in above:
        inner = inner[name]
    inner[last] = "HERE"
    return json.dumps(content).replace('"HERE"', value)


CONFIG, GENERATION = "config.json", "generation_config.json"
IMAGES = "preprocessor_config.json"


@pytest.mark.parametrize(
    ("kind", "file", "key", "value"),
    [
        *(
            ("policy", CONFIG, *setting)
            for setting in (
                ("text_config.num_hidden_layers", "1000000"),
                ("text_config.hidden_size", DIGITS),
                ("text_config.hidden_act", '""'),
                ("text_config", "[]"),
                ("text_config.head_dim", DEEP),
                ("vq_config.num_embeddings", "[]"),
                ("vq_config.channel_multiplier", "[1000000000]"),
                ("vq_config.dtype", "[[]]"),
                ("vision_config.hidden_size", "null"),
            )
        ),
        ("judge", CONFIG, "vision_config.depth", "1000000"),
        ("judge", CONFIG, "text_config.num_hidden_layers", DIGITS),
        ("judge", CONFIG, "text_config.hidden_act", "{}"),
        ("judge", CONFIG, "vision_config", DEEP),
        ("judge", GENERATION, "eos_token_id", '"x"'),
        ("judge", GENERATION, "eos_token_id", "[[]]"),
        ("judge", IMAGES, "merge_size", "null"),
        ("clip", CONFIG, "text_config.num_hidden_layers", "1000000"),
        ("clip", CONFIG, "vision_config.hidden_act", "[]"),
        ("clip", CONFIG, "vision_config.patch_size", DEEP),
        ("clip", CONFIG, "projection_dim", "1e308"),
        ("clip", IMAGES, "size", '"x"'),
    ],
    ids=lambda text: text[:40],
)
def test_an_impossible_setting_is_one_sentence(
    folders: dict[str, Path], tmp_path: Path, kind: str, file: str, key: str, value: str
) -> None:
    folder = linked(folders[kind], tmp_path)
    replace(folder / file, changed(folder / file, key, value))
    for load in LOADERS[kind]:
        with pytest.raises(BadInput) as refusal:
            load(folder)
        assert "\n" not in str(refusal.value)
        assert len(str(refusal.value)) < 1000
    if kind == "policy" and value != '""':  # only building the model looks for the function
        with pytest.raises(BadInput):
            model_config(str(folder))


@pytest.mark.parametrize("kind", ["policy", "judge", "clip"])
def test_code_in_the_folder_is_not_run_or_asked_about(
    folders: dict[str, Path], tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Versions of transformers differ in whether they refuse the folder or pass its code by."""
    folder = linked(folders[kind], tmp_path)
    auto = ("AutoConfig", "AutoModel", "AutoModelForImageTextToText", "AutoProcessor")
    own = dict.fromkeys((*auto, "AutoImageProcessor"), "own.Own")
    own |= {"AutoTokenizer": ["own.Own", "own.Own"]}  # type: ignore[dict-item]
    for name in (CONFIG, IMAGES, "tokenizer_config.json", "processor_config.json"):
        if (folder / name).is_file():
            replace(folder / name, changed(folder / name, "auto_map", json.dumps(own)))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'touched')!r}, 'w')\nclass Own: pass\n")
    asked: list[object] = []
    monkeypatch.setattr("builtins.input", lambda *question: asked.append(question) or "y")
    for load in LOADERS[kind]:
        with contextlib.suppress(BadInput):
            load(folder)
    assert not (tmp_path / "touched").exists()
    assert not asked
