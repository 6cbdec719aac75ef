"""Comparing two models: the same prompts, told the same noise, and what people found better.

One job draws both sides, one after the other. In a blind comparison nothing that the page is told
before an answer names a side's model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from got_r1.errors import BadInput
from got_r1.files.weights import fingerprint
from got_r1.plan.chain import parse
from got_r1.studio.answers import Answer, AnswersDatabase, Side, Winner, statistic
from got_r1.studio.model import Emit, Model, data_uri
from got_r1.studio.requests import AnswerRequest, PairRequest, PlanRequest
from got_r1.studio.views import plan_changes
from got_r1.studio.worker import Event, Job

if TYPE_CHECKING:
    from got_r1.studio.app import Studio

__all__ = ["TwoModels"]

Better = Literal["left", "right", "tie"]


@dataclass(frozen=True, slots=True)
class TwoModels:
    """Two models and the answers about them; `weights` are their fingerprints."""

    a: Model
    b: Model
    weights: tuple[str, str]
    answers: AnswersDatabase
    page: ClassVar[str] = "compare.html"

    @classmethod
    def of(cls, a: Model, b: Model) -> TwoModels:
        """Opens the answers that are kept beside the history of `a`."""
        weights = (fingerprint(a.policy.model), fingerprint(b.policy.model))
        return cls(a, b, weights, AnswersDatabase(a.history.folder))

    @property
    def names(self) -> tuple[str, str]:
        """What the user calls them."""
        return self.a.name, self.b.name

    def close(self) -> None:
        """Closes the answers."""
        self.answers.close()

    def about(self) -> dict[str, Any]:
        """What the page needs to know before anybody draws."""
        sizes = [one.policy.model.config.vision_config.image_size for one in (self.a, self.b)]
        return {
            "names": self.names,
            "same": self.weights[0] == self.weights[1],
            "small": max(sizes) < 128,
            "examples": self.a.about()["examples"],
            "judge": self.a.judge is not None,
        }

    def draw(self, asked: PairRequest, job: Job) -> Event:
        """Draws both sides, shown as they grow ("chain", "progress", "image", each with its `side`,
        "left" or "right"); keeps nothing.

        The noise of both is keyed by the words that the first model is told, so that its pictures
        are those of `got-r1 sample`, whatever words the second is told.
        """
        left = self.answers.left(asked.prompt, asked.seed, blind=asked.blind)
        models = (self.a, self.b) if left == "a" else (self.b, self.a)
        key = self.a.told(asked.prompt).text
        drawn = {
            side: self._side(model, asked, key, partial(job.emit, side=side))
            for side, model in zip(("left", "right"), models, strict=True)
        }
        plans = [
            parse(drawn[side]["chain"], marks=model.rollout.marks).objects
            for side, model in zip(("left", "right"), models, strict=True)
        ]
        earlier = [
            one.winner
            for one in self.answers.answers(self.weights)
            if (one.prompt, one.seed) == (asked.prompt, asked.seed)
        ]
        return {
            **asked.model_dump(exclude={"judge"}),
            **drawn,
            "changes": plan_changes(*plans),
            "names": None if asked.blind else list(self.names),
            "better": _better(earlier[-1], left) if earlier else None,
        }

    def answer(self, given: AnswerRequest) -> dict[str, Any]:
        """Keeps an answer, which is on the disk when this returns, and tells who stood where."""
        left = self.answers.left(given.prompt, given.seed, blind=given.blind)
        winner: Winner = "tie"
        if given.better != "tie":
            winner = left if given.better == "left" else _other(left)
        kept = Answer(given.prompt, given.seed, winner, given.blind, left)
        self.answers.save(self.weights, self.names, kept)
        names = self.names if left == "a" else self.names[::-1]
        return {"winner": winner, "names": list(names)}

    def results(self) -> dict[str, Any]:
        """All answers about the two models and what they come to: of all, and of those that were
        given blind."""
        found = self.answers.answers(self.weights)
        return {
            "models": dict(zip("ab", self.names, strict=True)),
            "all": statistic(found),
            "blind": statistic([one for one in found if one.blind]),
            "answers": [{name: getattr(one, name) for name in Answer.__slots__} for one in found],
        }

    def _side(self, model: Model, asked: PairRequest, key: str, emit: Emit) -> dict[str, Any]:
        plan = PlanRequest(prompt=asked.prompt, seed=asked.seed)
        written = model.chains(plan, 1, emit, keyed_by=key)
        (text,) = written.texts
        (image,) = model.pictures(
            written,
            emit,
            guidance=model.rollout.guidance,
            temperature=model.rollout.image_temperature,
            keyed_by=key,
        )
        seen = model.look(asked.prompt, text, image)
        cut = ["the chain was cut at its limit of tokens"] if written.stops[0] == "length" else []
        side = {
            **{name: model.view(asked.prompt, text)[name] for name in ("chain", "objects")},
            "picture": data_uri(image),
            "faults": [*cut, *seen.get("not_understood", ()), *seen["faults"]],
            "found": seen.get("found"),
        }
        if asked.judge:
            if self.a.judge is None:
                raise BadInput("no judge is at hand: start the studio with --judge SPEC.")
            emit("judging")
            chain = parse(text, marks=model.rollout.marks)
            side |= self.a.verdict(asked.prompt, chain, image)
        return side

    def add_routes(self, app: FastAPI, studio: Studio) -> None:
        """What the page asks for."""

        @app.post("/api/compare/draw")
        async def draw(asked: PairRequest) -> StreamingResponse:
            return studio.stream(lambda job: self.draw(asked, job))

        @app.post("/api/compare/answers")
        def answer(given: AnswerRequest) -> dict[str, Any]:
            return self.answer(given)

        @app.get("/api/compare/answers")
        def results() -> dict[str, Any]:
            return self.results()


def _other(side: Side) -> Side:
    return "b" if side == "a" else "a"


def _better(winner: Winner, left: Side) -> Better:
    """An answer as it is to be seen where `left` stands on the left."""
    if winner == "tie":
        return "tie"
    return "left" if winner == left else "right"
