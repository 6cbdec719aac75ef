"""Comparing two finished folders: their pairs in any order, what changed, and each pair whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from fastapi import FastAPI
from fastapi.responses import FileResponse, StreamingResponse

from got_r1 import rewards
from got_r1.errors import BadInput
from got_r1.files.inputs import read_image
from got_r1.files.sample_files import named_box
from got_r1.judges.base import Judge
from got_r1.measures import label
from got_r1.plan.chain import parse, without_end
from got_r1.recipes.sections import RewardSection
from got_r1.records import TERMS, Chain, FoundObject, Prompt
from got_r1.report.gallery import named_boxes
from got_r1.statistics import Estimate, paired_difference
from got_r1.studio.answers import as_json
from got_r1.studio.pairs import Seen, Source, category_of, match
from got_r1.studio.views import found_boxes, plan_changes, view_plan
from got_r1.studio.worker import Event, Job

if TYPE_CHECKING:
    from got_r1.studio.app import Studio

__all__ = ["TwoFolders"]

_AT_ONCE = 8  # images that the judge is asked about before it is said how far it is
_SETTINGS = ("drawn_as", "guidance", "stop")

Values = dict[str, float]


class TwoFolders:
    """The pairs of two folders, in the order of the first; `judge` scores those without scores."""

    page: ClassVar[str] = "pairs.html"

    def __init__(self, a: Source, b: Source, judge: Judge | None = None) -> None:
        """Pair the folders' samples. Raises BadInput where they have none in common."""
        self.a, self.b, self.judge = a, b, judge
        self.pairs = match(a, b)
        self.categories = [category_of(one) for one, _ in self.pairs]
        self.world = a.world

    def close(self) -> None:
        """Nothing is open."""

    def about(self) -> dict[str, Any]:
        """What the page shows from the start."""
        sources = (self.a, self.b)
        notes = [f"{source.name}: {note}" for source in sources for note in source.notes]
        notes += [
            f"{source.name}: {alone} samples have no partner and are left out."
            for source in sources
            if (alone := len(source.samples) - len(self.pairs))
        ]
        reworded = sum(_words(one) != _words(other) for one, other in self.pairs)
        if reworded:
            notes.append(f"{reworded} pairs were drawn from other words, and so from other noise.")
        return {
            "names": [self.a.name, self.b.name],
            "abouts": [self.a.about, self.b.about],
            "pairs": len(self.pairs),
            "notes": notes,
            "small": self.world,
        }

    def listed(self) -> dict[str, Any]:
        """All pairs with their values in the order of `terms`, None where there is none; `unjudged`
        counts the pictures that a judge at hand could score."""
        keys = self._keys()
        pairs = [
            {
                "prompt": one.prompt,
                "category": category,
                "seed": one.record.get("seed"),
                "values": [[side.terms.get(key) for key in keys] for side in (one, other)],
            }
            for (one, other), category in zip(self.pairs, self.categories, strict=True)
        ]
        return {
            "terms": list(map(label, keys)),
            "pairs": pairs,
            "unjudged": len(self._unjudged()) if self.judge is not None else 0,
        }

    def changes(self, category: str = "") -> list[dict[str, Any]]:
        """Each term's mean on both sides and its paired change with the 95% interval over prompts
        (`{"term", "a", "b", "change", "clear"}`), of one category or of all."""
        some = [
            pair
            for pair, of in zip(self.pairs, self.categories, strict=True)
            if not category or of == category
        ]
        rows = []
        for key in self._keys():
            both = [
                (one.prompt, one.terms[key], other.terms[key])
                for one, other in some
                if key in one.terms and key in other.terms
            ]
            if both:
                prompts, before, after = map(list, zip(*both, strict=True))
                change = _change(key, before, after, prompts)
                rows.append(
                    {
                        "term": label(key),
                        "a": sum(before) / len(before),
                        "b": sum(after) / len(after),
                        "change": as_json(change),
                        "clear": change.excludes_zero,
                    }
                )
        return rows

    def pair(self, index: int) -> dict[str, Any]:
        """A pair whole: pictures, plans, chains, terms with their evidence, and what differs.
        Raises BadInput where there is none of that number."""
        one, other = self._pair(index)
        chains = [_chain(one), _chain(other)]
        differing = [
            f"{name.replace('_', ' ')}: {one.record.get(name)} and {other.record.get(name)}"
            for name in _SETTINGS
            if one.record.get(name) != other.record.get(name)
        ]
        return {
            "prompt": one.prompt,
            "category": self.categories[index],
            "seed": one.record.get("seed"),
            "sides": [
                self._side(seen, chain, f"/compare/pictures/{index}/{side}.png")
                for seen, chain, side in zip((one, other), chains, "ab", strict=True)
            ],
            "changes": [*plan_changes(chains[0].objects, chains[1].objects), *differing],
        }

    def picture(self, index: int, side: Literal["a", "b"]) -> Path:
        """The file of a picture. Raises BadInput where there is none of that number."""
        return self._pair(index)["ab".index(side)].image

    def score(self, job: Job) -> Event:
        """Has the judge score the pictures that have no scores; what it said is kept in memory."""
        if self.judge is None:
            raise BadInput("no judge is at hand: start the studio with --judge SPEC.")
        waiting = self._unjudged()
        for first in range(0, len(waiting), _AT_ONCE):
            job.emit("progress", share=first / len(waiting), done=first, of=len(waiting))
            some = waiting[first : first + _AT_ONCE]
            chains = list(map(_chain, some))
            judged = rewards.score(
                self.judge,
                [Prompt(seen.prompt) for seen in some],
                chains,
                [read_image(seen.image) for seen in some],
                RewardSection(),
            )
            for seen, chain, reward in zip(some, chains, judged, strict=True):
                total: Values = {} if reward.total is None else {"total": reward.total}
                # Other threads read these: each is replaced as a whole.
                seen.evidence = {**seen.evidence, **rewards.evidence(reward)}
                found = rewards.found_objects(chain, reward)
                if found is not None:
                    seen.record = {**seen.record, "found": list(map(named_box, found))}
                seen.terms = {**seen.terms, **reward.terms, **total}
                seen.judged = True
        return {"judged": len(waiting)}

    def add_routes(self, app: FastAPI, studio: Studio) -> None:
        """What the page asks for."""

        @app.get("/api/compare/pairs")
        def listed() -> dict[str, Any]:
            return self.listed()

        @app.get("/api/compare/changes")
        def changes(category: str = "") -> list[dict[str, Any]]:
            return self.changes(category)

        @app.get("/api/compare/pairs/{index}")
        def pair(index: int) -> dict[str, Any]:
            return self.pair(index)

        @app.post("/api/compare/judge")
        async def judge() -> StreamingResponse:
            return studio.stream(self.score)

        @app.get("/compare/pictures/{index}/{side}.png")
        def picture(index: int, side: Literal["a", "b"]) -> FileResponse:
            return FileResponse(self.picture(index, side), media_type="image/png")

    # -- parts -------------------------------------------------------------------------------------

    def _pair(self, index: int) -> tuple[Seen, Seen]:
        if not 0 <= index < len(self.pairs):
            raise BadInput(f"there is no pair {index}: there are {len(self.pairs)}.")
        return self.pairs[index]

    def _unjudged(self) -> list[Seen]:
        return [seen for pair in self.pairs for seen in pair if not seen.judged]

    def _keys(self) -> list[str]:
        """The terms that any sample has: the reward's, their total, and then a benchmark's."""
        known = dict.fromkeys(key for pair in self.pairs for seen in pair for key in seen.terms)
        first = [key for key in (*TERMS, "total") if key in known]
        return [*first, *(key for key in known if key not in first)]

    def _side(self, seen: Seen, chain: Chain, picture: str) -> dict[str, Any]:
        faults = seen.record.get("faults")
        if not isinstance(faults, list):
            view = view_plan(seen.prompt, chain.text, world=self.world, marks=seen.marks)
            faults = view["faults"]
        located = seen.record.get("found")
        found = [FoundObject(*one) for one in named_boxes(located)]
        return {
            "picture": picture,
            "chain": chain.text,
            "objects": [named_box(one) for one in chain.objects],
            "faults": list(map(str, faults)),
            "found": None if located is None else found_boxes(chain, found),
            "terms": {label(key): seen.terms[key] for key in self._keys() if key in seen.terms},
            "evidence": {label(key): text for key, text in seen.evidence.items()},
        }


def _chain(seen: Seen) -> Chain:
    """What the picture was drawn from; a record without a chain has an empty one."""
    text = seen.record.get("chain")
    return parse(without_end(text if isinstance(text, str) else ""), marks=seen.marks)


def _words(seen: Seen) -> object:
    """The prompt as the model was told it."""
    return seen.record.get("drawn_as", seen.prompt)


def _change(
    key: str, before: Sequence[float], after: Sequence[float], prompts: Sequence[str]
) -> Estimate:
    """The paired change of a term. A total has no bound of 1: it is brought into [0, 1] by the
    paper's largest, and back."""
    largest = max(2.0 if key == "total" else 1.0, *before, *after)
    found = paired_difference(
        [value / largest for value in before], [value / largest for value in after], prompts
    )
    value, low, high = (
        None if bound is None else bound * largest for bound in (found.value, found.low, found.high)
    )
    return Estimate(value, low, high, found.n, found.items)
