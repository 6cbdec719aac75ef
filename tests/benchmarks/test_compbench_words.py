"""What prompts ask for: the fallback tagger against the stored readings of the benchmark's prompts.

docs/benchmarks.md states the figures that are asserted here.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from got_r1.benchmarks.compbench import numeracy
from got_r1.benchmarks.compbench.benchmark import CATEGORIES
from got_r1.benchmarks.compbench.fallback_tagger import FallbackTagger
from got_r1.benchmarks.compbench.tagger import Token
from got_r1.benchmarks.compbench.words import (
    first_and_last_noun,
    load_tagger,
    without_adjectives,
    words_around,
)
from got_r1.errors import BadInput

TAGGER = FallbackTagger()
PHRASES = ("on top of", "next to", "near")


def stored(reference_data: Path, name: str) -> list[dict]:
    return json.loads((reference_data / "benchmarks" / f"{name}.json").read_text())


def prompts(reference_data: Path, name: str) -> list[str]:
    return (reference_data / "prompts" / f"{name}.txt").read_text().rstrip("\n").split("\n")


# -- against the fixtures --------------------------------------------------------------------------


def test_tokens_and_tags_agree_with_all_stored_ones(reference_data: Path) -> None:
    names = ("compbench_2d_spatial", "compbench_3d_spatial", "compbench_3d_depth_pipeline")
    found = [case for name in names for case in stored(reference_data, name)]
    assert len(found) == 178
    for case in found:
        assert TAGGER.tokens(case["prompt"]) == [Token(*one) for one in case["tokens"]]


def test_token_texts_of_numeracy_agree(reference_data: Path) -> None:
    found = stored(reference_data, "compbench_numeracy")
    assert len(found) == 56
    for case in found:
        assert [token.text for token in TAGGER.tokens(case["prompt"])] == case["tokens"]


def test_noun_chunks_agree_with_23_of_24_stored_ones(reference_data: Path) -> None:
    found = stored(reference_data, "compbench_blip_vqa")
    assert len(found) == 24
    wrong = [c["prompt"] for c in found if TAGGER.noun_chunks(c["prompt"]) != c["noun_chunks"]]
    # A sentence made to test the preparation of questions; no prompt of the benchmark is like it.
    assert wrong == ['the dog\'s red bowl (large) is near a "STOP" sign']


# -- over the whole benchmark ----------------------------------------------------------------------


@pytest.mark.parametrize("split", ["val", "train"])
def test_pairs_of_described_things_are_two_chunks(reference_data: Path, split: str) -> None:
    """ "a green bench and a blue bowl": nearly all prompts of color, shape and texture."""
    pair = re.compile(r"(an? [a-z -]+?) and (an? [a-z -]+)")
    checked, wrong = 0, []
    for name in ("color", "shape", "texture"):
        for prompt in prompts(reference_data, f"{name}_{split}"):
            match = pair.fullmatch(prompt)
            longer = re.search(r"\b(of|with|in|on)\b", prompt) or len(prompt.split()) > 9
            if match is None or longer:
                continue
            checked += 1
            if TAGGER.noun_chunks(prompt) != [match[1], match[2]]:
                wrong.append(prompt)
    assert checked == {"val": 629, "train": 1540}[split]
    # Two training prompts lack a word and name three things.
    assert wrong == [p for p in wrong if "bathroom a sink" in p]
    assert len(wrong) == {"val": 0, "train": 2}[split]


@pytest.mark.parametrize("name", ["spatial", "3d_spatial"])
@pytest.mark.parametrize("split", ["val", "train"])
def test_spatial_prompts_ask_for_their_two_things(
    reference_data: Path, name: str, split: str
) -> None:
    found = prompts(reference_data, f"{name}_{split}")
    assert len(found) == {"val": 300, "train": 700}[split]
    for prompt in found:
        match = re.fullmatch(r"an? ([a-z]+) .* an? ([a-z]+)", prompt)
        assert match is not None
        assert first_and_last_noun(TAGGER.tokens(prompt)) == (match[1], match[2]), prompt


def test_every_numeracy_prompt_can_be_read(reference_data: Path) -> None:
    plurals = numeracy.read_objects((reference_data / "prompts" / "new_objects.txt").read_text())
    for split in ("val", "train"):
        for prompt in prompts(reference_data, f"numeracy_{split}"):
            asked = numeracy.asked_counts([t.text for t in TAGGER.tokens(prompt)], plurals)
            assert asked, prompt


def test_chunks_are_pieces_of_their_sentence_in_order(reference_data: Path) -> None:
    checked = 0
    for category in CATEGORIES:
        for prompt in prompts(reference_data, f"{category}_val") + prompts(
            reference_data, f"{category}_train"
        ):
            at = 0
            chunks = TAGGER.noun_chunks(prompt)
            for chunk in chunks:
                at = prompt.index(chunk, at) + len(chunk)
            # Every prompt names something, in phrases of a few words: without a question an image
            # would score 1, and a chunk that swallows its sentence is a question about all of it.
            assert chunks, prompt
            assert max(len(chunk.split()) for chunk in chunks) <= 7, prompt
            checked += 1
    assert checked == 8000


@given(st.text(alphabet="aThe red-,.'s()\n two", max_size=60) | st.text(max_size=20))
def test_any_text_can_be_read(text: str) -> None:
    tokens = TAGGER.tokens(text)
    assert "".join(token.text for token in tokens) == "".join(text.split())
    assert all(chunk in text for chunk in TAGGER.noun_chunks(text))


# -- by hand ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "chunks"),
    [
        ("a red orange and a brown sheep", ["a red orange", "a brown sheep"]),
        ("a black and white cat sits in a black sink.", ["a black and white cat", "a black sink"]),
        ("fluffy clouds and a glass table", ["fluffy clouds", "a glass table"]),
        ("a cubic block and a cylindrical soda can", ["a cubic block", "a cylindrical soda can"]),
        (
            "The jagged, towering cliffs loomed over the shore.",
            ["The jagged, towering cliffs", "the shore"],
        ),
        (
            "The leather wallet and metallic coin purse hold the plastic cards.",
            ["The leather wallet", "metallic coin purse", "the plastic cards"],
        ),
        ("its square lid and conical base", ["its square lid", "conical base"]),
        (
            "The warm yellow light shone down on the colorful fall leaves.",
            ["The warm yellow light", "the colorful fall leaves"],
        ),
        (
            "The white and yellow clock with a red roof reads 11:44.",
            ["The white and yellow clock", "a red roof"],
        ),
        (
            "The clouds drifted across the sky, casting patches of shade.",
            ["The clouds", "the sky", "patches", "shade"],
        ),
        ("threatening to unleash their fury", ["their fury"]),
        (
            "The sweet, melodic chirping of the songbirds filled the air.",
            ["The sweet, melodic chirping", "the songbirds", "the air"],
        ),
        ("running quickly", []),
        ("", []),
    ],
)
def test_chunks_by_hand(prompt: str, chunks: list[str]) -> None:
    assert TAGGER.noun_chunks(prompt) == chunks


def test_complex_prompts_are_measured_without_adjectives() -> None:
    tokens = TAGGER.tokens("The red hat was on top of the brown coat rack.")
    assert without_adjectives(tokens) == "The hat was on top of the coat rack ."


def test_objects_around_a_phrase() -> None:
    def around(text: str) -> list[str]:
        return words_around(TAGGER.tokens(text), PHRASES)

    assert around("The red hat was on top of the brown coat rack.") == ["hat", "coat"]
    assert around("The dog lay next to the pillow and near the couch.") == [
        "dog", "pillow", "pillow", "couch",
    ]  # fmt: skip
    assert around("It sat near the red book.") == ["book"]
    assert around("The cat is near") == ["cat"]
    assert around("The phone was resting on the charger.") == []
    assert around("The red apple was next to Garfield.") == ["apple", "Garfield"]


def test_taggers_by_name() -> None:
    assert load_tagger("fallback").version == "fallback tagger 2"
    assert not load_tagger("fallback").is_official
    with pytest.raises(BadInput, match="use auto, spacy or fallback"):
        load_tagger("nltk")  # type: ignore[arg-type]


def test_spacy_is_used_where_it_is() -> None:
    pytest.importorskip("spacy", reason="spaCy is not installed")
    tagger = load_tagger("auto")
    if not tagger.is_official:
        pytest.skip("spaCy's English model is not installed")
    assert tagger.noun_chunks("a red hat and a dog") == ["a red hat", "a dog"]


def test_the_absence_of_spacy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)  # as Python marks what cannot be imported
    assert load_tagger("auto").version == FallbackTagger.version
    with pytest.raises(BadInput, match="python -m spacy download en_core_web_sm"):
        load_tagger("spacy")
