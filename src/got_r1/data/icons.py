"""The icon world's triples as one more source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from got_r1.data.base import Record
from got_r1.icons.data import triples
from got_r1.recipes.sections import DataSection

__all__ = ["IconSource"]


class IconSource:
    """`data.size` triples, rendered as they are asked for."""

    def __init__(self, data: DataSection, seed: int) -> None:
        self.size = data.size
        self.seed = seed
        self.wordings = data.wordings
        self.noise = {
            "relation_noise": data.relation_noise,
            "attribute_noise": data.attribute_noise,
            "count_noise": data.count_noise,
        }
        if data.depth:  # sources of before have no such entry in their identity
            self.noise["depth"] = data.depth

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides the triples. The default wordings are not named, as before there were
        others: shards that were prepared then stay valid."""
        named = {} if self.wordings == "shipped" else {"wordings": self.wordings}
        return {"kind": "icons", "size": self.size, "seed": self.seed, **self.noise, **named}

    def __len__(self) -> int:
        return self.size

    def records(self, start: int = 0) -> Iterator[Record]:
        """The triples from number `start` on."""
        made = triples(self.size, self.seed, **self.noise, start=start, wordings=self.wordings)
        for number, triple in enumerate(made, start=start):
            yield Record(f"triple {number}", triple.prompt.text, triple.chain, triple.image)
