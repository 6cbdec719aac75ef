"""A tokenizer that is not the model's is refused."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from got_r1.errors import BadInput
from got_r1.files.digests import DIGESTS
from got_r1.policy import load_encoder, load_policy
from got_r1.policy.janus import Policy

Change = Callable[[dict[str, Any]], object]


def without_added_tokens(tokenizer: dict[str, Any]) -> None:
    tokenizer["added_tokens"] = []


def without_the_tags(tokenizer: dict[str, Any]) -> None:
    tokenizer["added_tokens"] = [
        t for t in tokenizer["added_tokens"] if "_start|>" not in t["content"]
    ]


def with_shifted_ids(tokenizer: dict[str, Any]) -> None:
    vocabulary = tokenizer["model"]["vocab"]
    tokenizer["model"]["vocab"] = {token: number + 1 for token, number in vocabulary.items()}
    for token in tokenizer["added_tokens"]:
        token["id"] += 1


def with_two_tokens_exchanged(one: str, other: str) -> Change:
    def change(tokenizer: dict[str, Any]) -> None:
        vocabulary = tokenizer["model"]["vocab"]
        vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]
        for token in tokenizer["added_tokens"]:
            token["id"] = vocabulary.get(token["content"], token["id"])

    return change


def with_one_more(tokenizer: dict[str, Any]) -> None:
    last = tokenizer["added_tokens"][-1]
    more = {**last, "content": "<more>", "id": last["id"] + 1}
    tokenizer["added_tokens"].append(more)


def with_two_tokens_of_one_id(tokenizer: dict[str, Any]) -> None:
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["a"] = vocabulary["b"]


BOS, PAD, PLACEHOLDER = "<｜begin▁of▁sentence｜>", "<｜▁pad▁｜>", "<image_placeholder>"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (without_added_tokens, r"does not read <\|box_start\|>, .* as one token"),
        (without_the_tags, r"does not read <\|box_start\|>, <\|obj_start\|> as one token"),
        (with_shifted_ids, rf"text_config.bos_token_id in \S+ is the id 0 of {BOS}, .* the id 1"),
        (
            with_two_tokens_exchanged(PAD, "<|box_end|>"),
            rf"text_config.pad_token_id in \S+ is the id 2 of {PAD}, .* the id 7",
        ),
        (
            with_two_tokens_exchanged(PLACEHOLDER, "<end_of_image>"),
            rf"image_token_id in \S+ is the id 3 of {PLACEHOLDER}, .* the id 5",
        ),
        (with_one_more, r"gives '<more>' the id \d+, .* embeddings for ids below \d+ only"),
        # transformers 5.17's reader refuses the merges of the lost token by itself.
        (
            with_two_tokens_of_one_id,
            r"gives '[ab]' the id \d+, which is that of '[ab]'|cannot be read: .*out of vocabulary",
        ),
    ],
)
def test_a_tokenizer_that_is_not_the_models(
    policy: Policy, tmp_path: Path, change: Change, told: str
) -> None:
    policy.save(tmp_path)
    (tmp_path / DIGESTS).unlink()
    load_encoder(tmp_path)
    file = tmp_path / "tokenizer.json"
    tokenizer = json.loads(file.read_text(encoding="utf-8"))
    change(tokenizer)
    file.write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    for load in (load_policy, load_encoder):
        with pytest.raises(BadInput, match=told) as refusal:
            load(tmp_path)
        if "cannot be read" not in str(refusal.value):
            assert ": take the tokenizer that was saved with" in str(refusal.value)


def test_where_images_begin_is_compared_with_the_generation_settings(
    policy: Policy, tmp_path: Path
) -> None:
    policy.save(tmp_path)
    (tmp_path / DIGESTS).unlink()
    settings = tmp_path / "generation_config.json"
    content = json.loads(settings.read_text())
    for number in (policy.begin_of_image_id, 9):
        content["generation_kwargs"] = {"boi_token_id": number}
        settings.write_text(json.dumps(content))
        if number == policy.begin_of_image_id:
            load_encoder(tmp_path)
    with pytest.raises(BadInput, match=r"boi_token_id in \S+ is the id 9 of <begin_of_image>"):
        load_encoder(tmp_path)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_tokenizer_that_cannot_be_read(policy: Policy, tmp_path: Path, name: str) -> None:
    policy.save(tmp_path)
    (tmp_path / DIGESTS).unlink()
    (tmp_path / name).write_text("{}")
    with pytest.raises(BadInput, match=r"the tokenizer or processor in \S+ cannot be read"):
        load_policy(tmp_path)


def test_a_tokenizers_own_code_is_not_run(policy: Policy, tmp_path: Path) -> None:
    """transformers 5.23 refuses it; 5.17 reads tokenizer.json, whose ids are then compared."""
    policy.save(tmp_path)
    (tmp_path / DIGESTS).unlink()
    own = {
        "tokenizer_config.json": {
            "tokenizer_class": "Own",
            "auto_map": {"AutoTokenizer": ["own.Own"] * 2},
        },
        "processor_config.json": {"auto_map": {"AutoProcessor": "own.Own"}},
    }
    for name, settings in own.items():
        content = json.loads((tmp_path / name).read_text(encoding="utf-8"))
        (tmp_path / name).write_text(json.dumps(content | settings), encoding="utf-8")
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'touched')!r}, 'w')\nclass Own: pass\n")
    with contextlib.suppress(BadInput):
        load_policy(tmp_path)
    assert not (tmp_path / "touched").exists()
