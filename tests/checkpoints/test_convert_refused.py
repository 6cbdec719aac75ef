"""Conversion: what is refused, in one sentence, before anything is written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from checkpoints.official_checkpoints import (
    OFFICIAL_EMBEDDINGS,
    edit_json,
    rewrite,
    split,
    write_official_tokenizer,
)
from got_r1.checkpoints.convert import from_official
from got_r1.cli import main
from got_r1.policy.tiny import SPECIAL_TOKENS


@pytest.fixture
def refused(own: Path, tmp_path: Path, capsys: Any) -> Callable[..., str]:
    """Converts the (broken) checkpoint, expects one sentence, exit code 2 and nothing written."""

    def call(*more: str) -> str:
        before = sorted(tmp_path.rglob("*"))
        assert main(["convert", str(own), str(tmp_path / "out"), *more]) == 2
        output = capsys.readouterr()
        assert output.out == ""
        assert output.err.startswith("got-r1: ")
        assert output.err.count("\n") == 1
        assert sorted(tmp_path.rglob("*")) == before
        return str(output.err)

    return call


def test_folders_that_are_no_checkpoint(own: Path, refused: Callable[..., str]) -> None:
    config = own / "config.json"
    for content, told in (
        ('{"model_type": "llama"}', "holds a 'llama' model"),
        ('{"model_type": "janus"}', "transformers folder already"),
        ('{"model_type": "multi_modality", "language_config": {}}', "no Janus"),
        ("{", "not valid JSON"),
    ):
        config.write_text(content)
        assert told in refused()
    config.unlink()
    assert "no config.json" in refused()
    assert "no transformers folder" in refused("--to-official")
    shutil.rmtree(own)
    assert "no folder" in refused()
    assert "no folder" in refused("--to-official")


@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "bin"])
def test_truncated_missing_and_foreign_shards(
    own: Path, refused: Callable[..., str], pickled: bool
) -> None:
    split(own, 3, pickled)
    kind = "bin" if pickled else "safetensors"
    (shard,) = own.glob(f"*-00002-of-00003.{kind}")
    whole = shard.read_bytes()
    for size in (len(whole) - 100, len(whole) // 2, 5, 0):
        shard.write_bytes(whole[:size])
        sentence = refused()
        assert shard.name in sentence
        assert "truncated or damaged" in sentence
    shard.unlink()
    assert f"{shard.name} is missing" in refused()
    (own / f"{'pytorch_model' if pickled else 'model'}.{kind}.index.json").unlink()
    assert f"{shard.name} is missing; fetch it" in refused()
    for other in own.glob(f"*-of-00003.{kind}"):
        other.unlink()
    assert "holds no weights" in refused()


def test_a_pickle_that_would_run_code(own: Path, refused: Callable[..., str]) -> None:
    (own / "model.safetensors").unlink()
    torch.save({"language_model.lm_head.weight": Path("x")}, own / "pytorch_model.bin")
    assert "pytorch_model.bin holds more than tensors (pathlib." in refused()
    torch.save({"step": 3}, own / "pytorch_model.bin")
    assert "no checkpoint" in refused()


def test_tensors_that_are_missing_surplus_or_misshapen(
    own: Path, refused: Callable[..., str]
) -> None:
    norm = "language_model.model.layers.1.input_layernorm.weight"

    def change(tensors: dict[str, Tensor]) -> None:
        del tensors["gen_vision_model.quant_conv.bias"]
        tensors["language_model.surprise"] = torch.zeros(2)
        tensors[norm] = torch.zeros(3)

    rewrite(own, change)
    sentence = refused()
    assert "gen_vision_model.quant_conv.bias is missing" in sentence
    assert "language_model.surprise is surplus" in sentence
    assert f"{norm} has shape [3] instead of [16]" in sentence
    rewrite(own, lambda tensors: tensors.pop(OFFICIAL_EMBEDDINGS))
    assert f"lacks the tensor {OFFICIAL_EMBEDDINGS}" in refused()


@pytest.mark.parametrize(
    ("section", "key", "value", "told"),
    [
        ("language_config", "hidden_size", 17, "says language_config.hidden_size=17"),
        ("language_config", "num_attention_heads", 4, "num_key_value_heads"),
        ("gen_vision_config", "image_token_size", 99, "image_token_size=99"),
        ("gen_head_config", "n_embed", 99, "gen_head_config.params.n_embed=99"),
        ("aligner_config", "depth", 3, "aligner_config.params.depth=3"),
        ("aligner_config", "projector_type", "linear", "'linear' projector"),
        ("vision_config", "image_size", 384, "image_size=384"),
        ("language_config", "num_attention_heads", "many", "make no Janus"),
        ("language_config", "num_attention_heads", 0, "make no Janus"),
        ("language_config", "rms_norm_eps", "small", "make no Janus"),
        ("vision_config", "pixel_mean", [0.5] * 3, "inside the tower"),
    ],
)
def test_configuration_and_tensors_that_disagree(
    own: Path, refused: Callable[..., str], section: str, key: str, value: object, told: str
) -> None:
    def change(config: dict[str, Any]) -> None:
        place = config[section] if section == "language_config" else config[section]["params"]
        place[key] = value

    edit_json(own / "config.json", change)
    assert told in refused()


def test_mixed_dtypes(own: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    name = "language_model.lm_head.weight"
    rewrite(own, lambda tensors: tensors.update({name: tensors[name].bfloat16()}))
    sentence = refused()
    assert "mixes types" in sentence
    assert f"bfloat16 (1, such as {name})" in sentence
    from_official(own, tmp_path / "chosen", dtype="float32", quiet=True)
    rewrite(own, lambda tensors: tensors.update({name: tensors[name].to(torch.int8)}))
    assert "quantised" in refused("--dtype", "float32")


@pytest.mark.parametrize("token", SPECIAL_TOKENS[3:])
def test_a_tokenizer_without_an_image_token(
    own: Path, refused: Callable[..., str], token: str
) -> None:
    write_official_tokenizer(own, without=token)
    assert f"has no image token {token}" in refused()


def test_other_broken_tokenizers(own: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    write_official_tokenizer(own, without=SPECIAL_TOKENS[0])
    assert "has no bos_token" in refused()
    (own / "tokenizer.json").write_text("{")
    assert "cannot be read as a tokenizer" in refused()
    assert "has no tokenizer.json" in refused("--tokenizer", str(tmp_path))


def test_too_little_disk(own: Path, refused: Callable[..., str]) -> None:
    """A checkpoint that the disk has no room for a second time: sparse files, all zeros."""
    tall = (OFFICIAL_EMBEDDINGS, "language_model.lm_head.weight")
    rewrite(own, lambda tensors: [tensors.pop(name) for name in tall])
    (own / "model.safetensors").rename(own / "rest.safetensors")
    rows = shutil.disk_usage(own).free // 128 + 1  # 16 channels of 4 bytes, twice
    header = json.dumps(
        {
            name: {
                "dtype": "F32",
                "shape": [rows, 16],
                "data_offsets": [k * rows * 64, (k + 1) * rows * 64],
            }
            for k, name in enumerate(tall)
        }
    ).encode()
    with (own / "tall.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + rows * 128)
    index = {"weight_map": {"one": "rest.safetensors", "other": "tall.safetensors"}}
    (own / "model.safetensors.index.json").write_text(json.dumps(index))
    edit_json(own / "config.json", lambda config: config["language_config"].pop("vocab_size"))
    assert "too little room" in refused()


def test_a_destination_that_exists(own: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious").write_text("x")
    for destination in (out, out / "precious"):
        assert main(["convert", str(own), str(destination)]) == 2
        assert "not an empty folder" in capsys.readouterr().err
    assert [file.name for file in out.iterdir()] == ["precious"]


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--to-official", "--tokenizer", "x"], "--tokenizer has a meaning only without"),
        (["--to-official", "--vision-heads", "2"], "--vision-heads has a meaning only without"),
        (["--base", "x"], "--base has a meaning only with"),
        (["--eval", "x"], "--eval has a meaning only with"),
        (["--shard-size", "0"], "above 0"),
        (["--vision-heads", "0"], "at least 1"),
        (["--dtype", "int8"], "invalid choice"),
    ],
)
def test_options_that_make_no_sense(
    refused: Callable[..., str], argv: list[str], told: str
) -> None:
    assert told in refused(*argv)


def test_bad_sources_of_a_card(small: Path, tmp_path: Path, capsys: Any) -> None:
    from_official(small, tmp_path / "model", quiet=True)
    (tmp_path / "no.json").write_text("{}")
    for option, told in (
        (["--run", str(tmp_path)], "is no run folder"),
        (["--eval", str(tmp_path / "none.json")], "no evaluation at"),
        (["--eval", str(tmp_path / "no.json")], "is no evaluation"),
    ):
        argv = ["convert", str(tmp_path / "model"), str(tmp_path / "out"), "--to-official"]
        assert main([*argv, *option]) == 2
        assert told in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
