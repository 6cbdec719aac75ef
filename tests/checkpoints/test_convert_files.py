"""Conversion: layouts of files, words, the model card, the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import JanusForConditionalGeneration, JanusProcessor

from checkpoints.official_checkpoints import pickle_whole, split, weights, write_official_tokenizer
from damage import flip_middle
from got_r1.checkpoints.convert import from_official, to_official
from got_r1.checkpoints.official_names import CODEBOOK
from got_r1.cli import main
from got_r1.errors import BadInput
from got_r1.files.digests import DIGESTS, find_damage
from got_r1.plan.chain import TAGS
from got_r1.policy import SHIPPED, load_policy
from got_r1.policy.tiny import SPECIAL_TOKENS

# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lay_out",
    [
        lambda folder: split(folder, 3, pickled=False),
        lambda folder: split(folder, 3, pickled=True),
        lambda folder: pickle_whole(folder),
        lambda folder: pickle_whole(folder, archive=False),
    ],
    ids=["safetensors shards", "bin shards", "bin", "old bin"],
)
def test_every_layout_of_files_gives_the_same_weights(
    small: Path, own: Path, tmp_path: Path, lay_out: Callable[[Path], None]
) -> None:
    lay_out(own)
    from_official(small, tmp_path / "one", quiet=True)
    from_official(own, tmp_path / "other", quiet=True)
    one, other = weights(tmp_path / "one"), weights(tmp_path / "other")
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_shards_are_bounded_and_load(small: Path, tmp_path: Path) -> None:
    done = from_official(small, tmp_path / "out", shard_size=50_000, quiet=True)
    assert len(done.files) > 3
    for file in done.files:
        with safe_open(tmp_path / "out" / file, "pt") as opened:
            sizes = [opened.get_tensor(name).nbytes for name in opened.keys()]  # noqa: SIM118
        assert sum(sizes) <= 50_000 or len(sizes) == 1
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert len(index["weight_map"]) == done.tensors
    model = load_policy(tmp_path / "out").model
    assert sum(p.numel() for p in model.parameters()) == done.parameters
    # And back, where q, k and v of a layer lie in different files.
    to_official(tmp_path / "out", tmp_path / "back", shard_size=40_000, quiet=True)
    before, after = load_file(small / "model.safetensors"), weights(tmp_path / "back")
    assert all(torch.allclose(after[name], tensor, atol=1e-6) for name, tensor in before.items())


def test_a_chosen_dtype(small: Path, tmp_path: Path) -> None:
    done = from_official(small, tmp_path / "out", dtype="bfloat16", quiet=True)
    found = weights(done.folder)
    assert {t.dtype for name, t in found.items() if name != CODEBOOK} == {torch.bfloat16}
    assert json.loads((done.folder / "config.json").read_text())["dtype"] == "bfloat16"
    # A rounded unit vector is none, so the codebook stays exact; that is no mix of types.
    assert found[CODEBOOK].dtype == torch.float32
    back = to_official(done.folder, tmp_path / "back", quiet=True)
    assert {t.dtype for t in weights(back.folder).values()} == {torch.bfloat16}


def test_conversions_carry_digests_and_compare_those_of_their_source(
    small: Path, tmp_path: Path
) -> None:
    out = from_official(small, tmp_path / "out", shard_size=50_000, quiet=True).folder
    back = to_official(out, tmp_path / "back", quiet=True).folder
    for folder, convert in ((out, to_official), (back, from_official)):
        assert (folder / DIGESTS).is_file()
        assert find_damage(folder) is None
        weights = max(folder.glob("*.safetensors"))
        flip_middle(weights)
        with pytest.raises(BadInput, match=rf"{weights} is damaged"):
            convert(folder, tmp_path / "again", quiet=True)
        assert not (tmp_path / "again").exists()


# -- words -----------------------------------------------------------------------------------------


def test_chain_tokens_take_the_room_there_is(small: Path, tmp_path: Path) -> None:
    done = from_official(small, tmp_path / "out", quiet=True)
    policy = load_policy(done.folder)
    first = len(json.loads((small / "tokenizer.json").read_text())["model"]["vocab"])
    ids = policy.tokenizer.convert_tokens_to_ids(list(TAGS))
    assert ids == list(range(first, first + 4))
    assert policy.model.config.text_config.vocab_size == 320
    assert not any("vocabulary" in note for note in done.notes)
    chain = "A <|obj_start|>red heart<|obj_end|> <|box_start|>(0,100),(500,999)<|box_end|>."
    assert policy.decode_chain(policy.encode_chain(chain)) == chain


def test_a_tokenizer_that_has_the_chain_tokens_stays(own: Path, tmp_path: Path) -> None:
    tokens = write_official_tokenizer(own, chain_tokens=True)
    policy = load_policy(from_official(own, tmp_path / "out", quiet=True).folder)
    assert len(policy.tokenizer) == tokens


def test_words_and_images_are_treated_as_officially(small: Path, tmp_path: Path) -> None:
    folder = from_official(small, tmp_path / "out", quiet=True).folder
    policy = load_policy(folder)
    bos, eos, pad = SPECIAL_TOKENS[:3]
    tokenizer = policy.tokenizer
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (bos, eos, pad)
    assert tokenizer("a star").input_ids[0] == tokenizer.bos_token_id
    image = policy.processor.image_processor
    assert list(image.image_mean) == list(image.image_std) == [0.5] * 3
    assert policy.processor.num_image_tokens == 4
    assert policy.model.config.image_token_id == tokenizer.convert_tokens_to_ids(
        "<image_placeholder>"
    )
    generation = policy.model.generation_config
    assert (generation.guidance_scale, generation.temperature) == (5, 1)
    messages = [
        {
            "role": "user",
            "content": [{"type": "image"}, {"type": "text", "text": "What is this?"}],
        },
        {"role": "assistant", "content": "A star."},
        {"role": "user", "content": "Sure?"},
    ]
    text = policy.processor.apply_chat_template(messages, add_generation_prompt=True)
    assert text == (
        f"User: <image_placeholder>\nWhat is this?\n\nAssistant: A star.{eos}"
        "User: Sure?\n\nAssistant:"
    )


def test_the_official_tokenizer_files_come_back(small: Path, tmp_path: Path) -> None:
    from_official(small, tmp_path / "there", quiet=True)
    back = to_official(tmp_path / "there", tmp_path / "back", quiet=True).folder
    again = from_official(back, tmp_path / "again", quiet=True).folder
    first, second = (JanusProcessor.from_pretrained(f) for f in (tmp_path / "there", again))
    assert first.tokenizer.get_vocab() == second.tokenizer.get_vocab()
    text = "a red heart left of a blue star: <|box_start|>(1,2),(3,4)<|box_end|>"
    assert first.tokenizer(text).input_ids == second.tokenizer(text).input_ids
    for name in ("tokenizer_config", "preprocessor_config", "processor_config"):
        assert (back / f"{name}.json").is_file()
    image = json.loads((back / "preprocessor_config.json").read_text())
    assert (image["image_processor_type"], image["image_size"]) == ("VLMImageProcessor", 5)


# -- the model card --------------------------------------------------------------------------------


def test_the_card_says_what_the_run_recorded(small: Path, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "vases"
    model = run / "checkpoints" / "final"
    from_official(small, model, quiet=True)
    (run / "config.yaml").write_text(
        "run: {dir: /home/somebody/runs/vases}\nmodel: {path: /home/somebody/Janus-Pro-1B}\n"
        "data: {source: jsonl, path: /home/somebody/vases.jsonl}\n"
        "judge: {spec: oracle}\nreward: {formula: product_v2}\n"
    )
    (run / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2, "reward/total": 0.5}\n')
    (run / "evals").mkdir()
    overall = {"mean": 0.75, "low": 0.7, "high": 0.8, "n": 20}
    evaluation = {
        "name": "rl", "benchmark": "icons", "split": "val", "prompts": 20,
        "metrics": {"relation": {"overall": overall, "by_category": {}}},
    }  # fmt: skip
    (run / "evals" / "rl.json").write_text(json.dumps(evaluation))
    card = (to_official(model, tmp_path / "out", quiet=True).folder / "README.md").read_text()
    for said in (
        "- **Base**: Janus-Pro-1B",
        "- **Data**: source jsonl, path vases.jsonl",
        "- **Judge**: oracle, reward product_v2",
        "| relation | 0.7500 | 0.7000 to 0.8000 |",
        "**rl**: benchmark icons, split val, prompts 20",
        "formula: product_v2",
        "guidance 5, image temperature 1",
        "got-r1 sample",
    ):
        assert said in card
    assert "not recorded" not in card
    assert "somebody" not in card, "folders of the machine stay at home"


def test_the_card_of_the_shipped_model_lists_its_stages(tmp_path: Path) -> None:
    done = to_official(SHIPPED["icons"], tmp_path / "out", quiet=True)
    card = (done.folder / "README.md").read_text()
    made_by = json.loads((SHIPPED["icons"] / "made_by.json").read_text())
    assert "## Earlier stages" in card
    assert all(f"\n{stage}:\n" in card for stage in made_by)
    assert "- **Base**: not recorded" in card


def test_the_card_invents_nothing(small: Path, tmp_path: Path, capsys: Any) -> None:
    from_official(small, tmp_path / "model", quiet=True)
    argv = ["convert", tmp_path / "model", tmp_path / "out", "--to-official"]
    assert main([str(word) for word in (*argv, "--base", "deepseek-ai/Janus-Pro-1B")]) == 0
    assert capsys.readouterr().err == ""
    card = (tmp_path / "out" / "README.md").read_text()
    assert "base_model: deepseek-ai/Janus-Pro-1B" in card
    for name in ("Recipe", "Data", "Judge", "Scores"):
        assert f"- **{name}**: not recorded" in card


# -- the command -----------------------------------------------------------------------------------


def test_the_command(small: Path, tmp_path: Path, capsys: Any) -> None:
    assert main(["convert", str(small), str(tmp_path / "out"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["dtype"], said["files"]) == ("float32", ["model.safetensors"])
    load_policy(tmp_path / "out")
    back = ["convert", str(tmp_path / "out"), str(tmp_path / "back"), "--to-official"]
    assert main(back) == 0
    assert "parameters in" in capsys.readouterr().out
    assert json.loads((tmp_path / "back" / "config.json").read_text())["model_type"] == (
        "multi_modality"
    )


def test_a_checkpoint_without_a_tokenizer(official: Path, tmp_path: Path, capsys: Any) -> None:
    assert main(["convert", str(official), str(tmp_path / "out")]) == 0
    assert "has no tokenizer.json" in capsys.readouterr().out
    JanusForConditionalGeneration.from_pretrained(tmp_path / "out")
    with pytest.raises(BadInput, match=r"no tokenizer\.json"):
        load_policy(tmp_path / "out")


def test_a_tokenizer_from_elsewhere(official: Path, small: Path, tmp_path: Path) -> None:
    argv = ["convert", official, tmp_path / "out", "--tokenizer", small]
    assert main([str(word) for word in argv]) == 0
    assert load_policy(tmp_path / "out").image_tokens == 16
