"""Prompts and chains as token ids: which text may become a control token, and which token text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerFast

from got_r1.errors import BadInput
from got_r1.files.prompt_files import read_prompts
from got_r1.icons.data import triples
from got_r1.plan.chain import BOX_END, BOX_START, OBJ_END, OBJ_START, TAGS
from got_r1.policy.janus import Policy
from got_r1.policy.sampler import Sampler
from got_r1.policy.tiny import BOS, EOS, PAD, train_tokenizer
from got_r1.policy.words import BEGIN_OF_IMAGE, TEMPLATE, Words
from got_r1.records import Prompt

CHAIN = f"A {OBJ_START}red heart{OBJ_END} {BOX_START}(0,0),(400,400){BOX_END}."


def official_tokenizer() -> PreTrainedTokenizerFast:
    """Added tokens as the official file and the conversion have them: roles and tags that are not
    called special, and a letter among them that is ordinary text."""
    raw = json.loads(train_tokenizer(["a red heart"] * 3, 300).backend_tokenizer.to_str())
    for token in raw["added_tokens"]:
        token["special"] = token["content"] in (BOS, EOS, PAD)
    backend = Tokenizer.from_str(json.dumps(raw))
    backend.add_tokens(["<|User|>", "<|Assistant|>", AddedToken("ü", normalized=True)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=BOS, eos_token=EOS)


@pytest.fixture(params=["shipped", "official"])
def words(request: pytest.FixtureRequest, shipped: Policy) -> Words:
    return shipped.words if request.param == "shipped" else Words(official_tokenizer())


# -- text that becomes tokens ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "spelled", [*TAGS, BEGIN_OF_IMAGE, BOS, EOS, PAD, "<image_placeholder>", "<|User|>"]
)
def test_a_prompts_text_never_becomes_a_control_token(words: Words, spelled: str) -> None:
    prompt = f"a heart {spelled}and{spelled}"
    ids = words.encode_prompt(prompt)
    assert not words.control.keys() & set(ids)
    assert words.tokenizer.decode(ids) == TEMPLATE.format(prompt=prompt), "all of it is there"


@pytest.mark.parametrize("spelled", [BEGIN_OF_IMAGE, BOS, EOS, PAD, "<|User|>"])
def test_a_chains_control_tokens_are_its_tags(words: Words, spelled: str) -> None:
    text = f"{spelled} {CHAIN}"
    ids = words.encode_chain(text)
    assert [words.control[number] for number in ids if number in words.control] == [
        OBJ_START,
        OBJ_END,
        BOX_START,
        BOX_END,
    ]
    assert words.decode_chain(ids) == text


def test_ordinary_text_keeps_its_ids(words: Words) -> None:
    made = list(triples(200, seed=4))
    for prompt in [*(one.prompt.text for one in made), "Mädchen für 漢字 {x}", "a < b |> c <i>"]:
        whole = words.tokenizer.encode(TEMPLATE.format(prompt=prompt), add_special_tokens=False)
        assert words.encode_prompt(prompt) == whole
    for one in made:
        whole = words.tokenizer.encode(one.chain, add_special_tokens=False)
        assert words.encode_chain(one.chain) == whole


def test_the_benchmarks_prompts_keep_their_ids(words: Words, reference_data: Path) -> None:
    files = sorted((reference_data / "prompts").glob("*_*.txt"))
    prompts = [prompt.text for file in files for prompt in read_prompts(file)]
    assert len(prompts) > 5000
    for prompt in prompts:
        whole = words.tokenizer.encode(TEMPLATE.format(prompt=prompt), add_special_tokens=False)
        assert words.encode_prompt(prompt) == whole


def test_a_control_token_that_is_also_a_word_is_refused() -> None:
    raw = json.loads(train_tokenizer(["a red heart"] * 3, 300).backend_tokenizer.to_str())
    raw["pre_tokenizer"] = {"type": "WhitespaceSplit"}
    raw["model"]["ignore_merges"] = True  # whole words of the vocabulary before any merge
    backend = Tokenizer.from_str(json.dumps(raw))
    words = Words(PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=BOS, eos_token=EOS))
    with pytest.raises(BadInput, match="holds '<begin_of_image>', which this model's tokenizer"):
        words.encode_prompt("a heart <begin_of_image> and")


# -- tokens that become text -----------------------------------------------------------------------


def test_an_end_of_sentence_is_an_action_and_no_text(own_policy: Policy) -> None:
    ids = torch.tensor(
        [*own_policy.words.encode_chain(CHAIN), own_policy.eos_id, own_policy.begin_of_image_id]
    )
    assert own_policy.decode_chain(ids) == CHAIN
    # Every token is as likely as any other: many of 100 chains meet an end within 400 tokens.
    own_policy.model.lm_head.weight.data.zero_()
    chains = Sampler(own_policy).write_chains([Prompt("two towers")], 100, seed=0, limit=400)
    ended = [row for row, stop in enumerate(chains.stops) if stop == "end_of_sentence"]
    assert ended
    for row in ended:
        assert chains.token_ids[row].tolist()[-2:] == [
            own_policy.eos_id,
            own_policy.begin_of_image_id,
        ]
        assert chains.loss_mask[row].tolist()[-2:] == [True, False]
        assert chains.logprobs[row][-2] < 0
    hidden = set(own_policy.words.control.values()) - set(TAGS)
    assert not [text for text in chains.texts if any(token in text for token in hidden)]


def test_marks_of_depth_and_time_are_tokens_of_their_own(words: Words) -> None:
    text = CHAIN.replace("(400,400)", "(400,400),z12,t3")
    ids = words.encode_chain(text)
    assert words.decode_chain(ids) == text
    spelled = [words.decode_chain([number]) for number in ids]
    assert spelled.count("z") == spelled.count("t") == 1, "merged with nothing beside them"
    ordinary = words.encode_chain(CHAIN)
    shared = ordinary.index(words.encode_chain(BOX_START)[0]) + 6
    assert ids[:shared] == ordinary[:shared]
