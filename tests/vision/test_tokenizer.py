"""Texts are plain text for every vision model: none of them spells a control token."""

import pytest

from got_r1.vision.pretrained import load_tokenizer


@pytest.mark.parametrize("kind", ["clip", "blip", "grounding_dino", "owlv2"])
def test_a_text_that_spells_control_tokens_is_plain_text(folder, kind):
    tokenizer = load_tokenizer(folder(kind), what="model")
    control = {
        number for number, token in tokenizer.added_tokens_decoder.items() if len(token.content) > 1
    } - {tokenizer.unk_token_id}
    words = [tokenizer.convert_ids_to_tokens(number) for number in control]
    assert words
    for word in words:
        ids = tokenizer(f"a red {word} heart", add_special_tokens=False)["input_ids"]
        assert not control & set(ids), word
    # What a model's own format adds is not text, and stays.
    assert control & set(tokenizer("a red heart")["input_ids"])
