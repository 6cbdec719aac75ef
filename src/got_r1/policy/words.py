"""Text <-> token ids: prompts, chains, and which tokens may come of whose text.

What a user or a data set wrote is encoded as plain text: `<begin_of_image>` in a caption becomes
the letters that spell it, never the token that starts an image. Only the four tags of the chain
grammar are tokens of a chain's text, and only in chains.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import cached_property
from typing import Any

from tokenizers import Tokenizer

from got_r1.errors import BadInput
from got_r1.plan.chain import TAGS

__all__ = ["BEGIN_OF_IMAGE", "TEMPLATE", "Words"]

BEGIN_OF_IMAGE = "<begin_of_image>"
# FACTS: the official instruction, in the Janus conversation template with an empty system prompt.
TEMPLATE = (
    "User: Follow the caption to generate an image through a chain of thought process: "
    "{prompt}\n\nAssistant:"
)


class Words:
    """A policy's tokenizer, as prompts and chains go through it.

    `tokenizer` is the processor's (transformers). Control tokens are its special tokens and every
    added token in angle brackets (`<|User|>`), whether or not its file calls that one special;
    added tokens that are ordinary text (the official vocabulary has single letters among them)
    stay what they are.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.control: dict[int, str] = {
            number: token.content
            for number, token in tokenizer.added_tokens_decoder.items()
            if token.special or (token.content.startswith("<") and token.content.endswith(">"))
        }
        self._hidden = {number for number, word in self.control.items() if word not in TAGS}

    def encode_prompt(self, prompt: str) -> list[int]:
        """Ids of the prompt in the official template, without a begin of sentence.

        Raises BadInput where the vocabulary cannot spell the prompt as plain text.
        """
        ids: list[int] = self._plain.encode(
            TEMPLATE.format(prompt=prompt), add_special_tokens=False
        ).ids
        self._check(ids, self.control, "prompt", prompt)
        return ids

    def encode_chain(self, chain: str) -> list[int]:
        """Ids of a chain's text, its tags as tags. Raises BadInput as `encode_prompt` does."""
        ids: list[int] = self._tagged.encode(chain, add_special_tokens=False).ids
        self._check(ids, self._hidden, "chain", chain)
        return ids

    def decode_chain(self, ids: list[int]) -> str:
        """The text of a chain's ids: of the control tokens only the tags are text."""
        kept = [number for number in ids if number not in self._hidden]
        return str(self.tokenizer.decode(kept, skip_special_tokens=False)).strip()

    def control_token_in(self, text: str) -> str | None:
        """The first control token that a text spells, tags apart."""
        return next((w for n, w in self.control.items() if n in self._hidden and w in text), None)

    # Built when first used: a large vocabulary takes a second to copy.
    @cached_property
    def _plain(self) -> Tokenizer:
        return self._without_control(but=())

    @cached_property
    def _tagged(self) -> Tokenizer:
        return self._without_control(but=TAGS)

    def _without_control(self, but: Collection[str]) -> Tokenizer:
        """A copy that never makes a control token of text, `but` for some. All else is equal."""
        content = json.loads(self.tokenizer.backend_tokenizer.to_str())
        control = set(self.control.values()) - set(but)
        for token in content["added_tokens"]:
            token["special"] = token["content"] in control
        tokenizer = Tokenizer.from_str(json.dumps(content))
        tokenizer.encode_special_tokens = True  # read special tokens in a text as text
        return tokenizer

    def _check(self, ids: list[int], forbidden: Collection[int], what: str, text: str) -> None:
        # A vocabulary may hold a control token as a word of its own, beside the added tokens.
        found = next((number for number in ids if number in forbidden), None)
        if found is not None:
            raise BadInput(
                f"the {what} {text[:60]!r} holds {self.control[found]!r}, which this model's "
                "tokenizer cannot read as plain text; reword it."
            )
