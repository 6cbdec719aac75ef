"""Which files of a folder are its weights: the first complete set, with every weight in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPModel, DPTForDepthEstimation

from checkpoints.official_checkpoints import pickle_whole, rewrite, split
from got_r1.checkpoints.completeness import load_complete
from got_r1.checkpoints.convert import to_official
from got_r1.checkpoints.shards import Source
from got_r1.cli import main
from got_r1.errors import BadInput
from got_r1.files.digests import DIGESTS
from got_r1.policy import load_encoder, load_policy
from got_r1.policy.tiny import build_policy
from got_r1.vision import load_depth
from got_r1.vision.settings import DepthSettings
from vision.tiny import build

RECIPE = Path(__file__).parents[2] / "recipes" / "icons.yaml"
POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small policy's folder, its weights in one file."""
    folder = tmp_path_factory.mktemp("policy")
    build_policy(["a red heart"] * 3, seed=0, hidden_size=32, layers=1, heads=2, mlp_size=48).save(
        folder
    )
    (folder / DIGESTS).unlink()  # others' folders have none
    return folder


@pytest.fixture
def folder(model: Path, tmp_path: Path) -> Path:
    """A copy that a test may rearrange."""
    return Path(shutil.copytree(model, tmp_path / "folder"))


def index_of_absent_shards(folder: Path) -> None:
    names = load_file(folder / "model.safetensors")
    index = {"weight_map": dict.fromkeys(names, "model-00001-of-00002.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def absent_shards_and_bin(folder: Path) -> None:
    index_of_absent_shards(folder)
    pickle_whole(folder)


def absent_shards_and_bin_shards(folder: Path) -> None:
    index_of_absent_shards(folder)
    split(folder, 3, pickled=True)


def shards_without_an_index(folder: Path) -> None:
    split(folder, 3, pickled=False)
    (folder / "model.safetensors.index.json").unlink()


def bin_shards_without_an_index(folder: Path) -> None:
    split(folder, 2, pickled=True)
    (folder / "pytorch_model.bin.index.json").unlink()


def broken_index_of_numbered_shards(folder: Path) -> None:
    split(folder, 2, pickled=False)
    (folder / "model.safetensors.index.json").write_text("{")


def pointer_and_bin(folder: Path) -> None:
    pickle_whole(folder)
    (folder / "model.safetensors").write_text(POINTER)


def truncated_and_bin(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    pickle_whole(folder)
    (folder / "model.safetensors").write_bytes(whole[:-100])


LAYOUTS: list[Callable[[Path], None]] = [
    index_of_absent_shards,
    absent_shards_and_bin,
    absent_shards_and_bin_shards,
    shards_without_an_index,
    bin_shards_without_an_index,
    broken_index_of_numbered_shards,
    pointer_and_bin,
    truncated_and_bin,
]


@pytest.mark.parametrize("arrange", LAYOUTS, ids=lambda arrange: arrange.__name__)
def test_the_first_complete_set_is_read(
    model: Path, folder: Path, tmp_path: Path, arrange: Callable[[Path], None]
) -> None:
    arrange(folder)
    expected = load_policy(model).model.state_dict()
    for name, tensor in load_policy(folder).model.state_dict().items():
        assert tensor.equal(expected[name]), name
    codebook = "model.vqmodel.quantize.embedding.weight"
    assert load_encoder(folder).model.state_dict()[codebook].equal(expected[codebook])
    assert to_official(folder, tmp_path / "official", quiet=True).tensors > 10


def test_what_lies_there_is_said_where_no_set_is_complete(folder: Path) -> None:
    index_of_absent_shards(folder)
    (folder / "model.safetensors").write_text(POINTER)
    with pytest.raises(BadInput) as refused:
        load_policy(folder)
    sentence = str(refused.value)
    assert f"{folder} holds no complete set of weights" in sentence
    assert "model.safetensors is a git-lfs pointer, not the weights: run `git lfs pull`" in sentence
    assert "model-00001-of-00002.safetensors is missing, model.safetensors.index.json" in sentence
    for file in folder.glob("model*"):
        file.unlink()
    (folder / "flax_model.msgpack").write_bytes(b"")
    with pytest.raises(BadInput, match=r"holds no weights: .* \(it has .*flax_model\.msgpack"):
        load_policy(folder)


def test_a_shard_that_is_missing_is_named_without_an_index_too(folder: Path) -> None:
    shards_without_an_index(folder)
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(BadInput, match=r"model-00002-of-00003\.safetensors is missing; fetch it"):
        Source(folder)


@pytest.mark.parametrize("archive", [True, False])
def test_nobody_is_told_to_let_a_pickle_run_code(folder: Path, archive: bool) -> None:
    pickle_whole(folder)
    file = folder / "pytorch_model.bin"
    torch.save({"lm_head.weight": Path("x")}, file, _use_new_zipfile_serialization=archive)
    with pytest.raises(BadInput, match=r"holds more than tensors \(pathlib\.") as refused:
        load_policy(folder)
    assert "weights_only" not in str(refused.value)


# -- every weight ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["lm_head.weight", "model.generation_head.vision_head.bias", "model.vqmodel.quant_conv.weight"],
)
def test_a_policy_that_lacks_a_weight_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    rewrite(folder, lambda tensors: tensors.pop(name))
    out = str(tmp_path / "out")
    argv = ["sample", "--model", str(folder), "--prompt", "a red heart", "--out", out]
    assert main(argv) == 2
    assert f"is incomplete: its files lack {name}, which would be" in capsys.readouterr().err
    overrides = [f"model.path={folder}", f"run.dir={out}", "sft.steps=1"]
    assert main(["train", "sft", str(RECIPE), *overrides]) == 2
    assert f"lack {name}" in capsys.readouterr().err
    assert not Path(out).exists()


def test_an_encoder_that_lacks_a_weight_is_refused(folder: Path) -> None:
    rewrite(folder, lambda tensors: tensors.pop("model.vqmodel.quant_conv.weight"))
    with pytest.raises(BadInput, match=r"lack model\.vqmodel\.quant_conv\.weight"):
        load_encoder(folder)
    rewrite(folder, lambda tensors: tensors.pop("lm_head.weight"))  # which it does not read


def test_a_depth_model_may_lack_what_it_never_uses_and_nothing_else(tmp_path: Path) -> None:
    folder = build("dpt", tmp_path / "dpt")
    unused = "neck.fusion_stage.layers.0.residual_layer1."

    def drop(start: str) -> None:
        tensors = load_file(folder / "model.safetensors")
        kept = {name: value for name, value in tensors.items() if not name.startswith(start)}
        assert len(kept) < len(tensors)
        save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})

    drop(unused)
    load_depth(DepthSettings(model=str(folder)))
    with pytest.raises(BadInput, match="its files lack neck"):
        load_complete(DPTForDepthEstimation, folder)
    drop("head.head.0.bias")
    with pytest.raises(BadInput, match=r"the DPT model .* lack head\.head\.0\.bias, which"):
        load_depth(DepthSettings(model=str(folder)))


def test_what_a_model_makes_itself_is_no_weight(tmp_path: Path) -> None:
    """Tied weights and buffers of whole numbers are in no file of many models on the hub."""
    folder = build("clip", tmp_path / "clip")
    tensors = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in tensors.items() if "position_ids" not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    load_complete(CLIPModel, folder)
