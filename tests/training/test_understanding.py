"""The policy's base model as its own judge: no weights of its own, and blind to what is trained."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from got_r1.errors import BadInput
from got_r1.icons.data import triples
from got_r1.judges import load_judge
from got_r1.judges.settings import MLLMSettings, TransformersSettings
from got_r1.judges.transformers_local import TransformersJudge
from got_r1.plan.chain import parse
from got_r1.policy import load_policy
from got_r1.policy.janus import Policy
from got_r1.recipes.sections import LoraSection
from got_r1.records import ImageQuery, JudgeFailure, Query, SemanticQuery, SpatialQuery, Verdict
from got_r1.training import rl
from got_r1.training.understanding import UnderstandingJudge
from small_runs import MakeRecipe, metrics

TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {% for c in m.content %}{% if c.type == 'image' %}"
    "<image_placeholder>{% else %}{{ c.text }}{% endif %}{% endfor %}\n{% endfor %}assistant:"
)


@pytest.fixture(scope="module")
def talker(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The random model, with a chat template: it replies, though with nothing that can be read."""
    folder = tmp_path_factory.mktemp("talker")
    policy = load_policy(model_folder)
    policy.processor.chat_template = TEMPLATE
    policy.save(folder)
    return folder


def queries() -> list[Query]:
    found: list[Query] = []
    for triple in triples(2, seed=4):
        chain = parse(triple.chain)
        found += [
            SemanticQuery(triple.prompt, chain),
            SpatialQuery(triple.prompt, chain),
            ImageQuery(triple.prompt, triple.image),
        ]
    return found


def bound(policy: Policy, rank: int) -> UnderstandingJudge:
    policy.prepare_training(LoraSection(rank=rank))
    policy.freeze_reference()
    judge = UnderstandingJudge(batch=2)
    judge.wording = MLLMSettings(max_tokens=16, retries_unreadable=1)
    judge.bind(policy)
    return judge


@pytest.fixture(params=[0, 4], ids=["full", "lora"])
def judged(talker: Path, request: pytest.FixtureRequest) -> tuple[Policy, UnderstandingJudge]:
    torch.manual_seed(0)
    policy = load_policy(talker)
    return policy, bound(policy, request.param)


def test_it_replies_as_the_same_model_in_a_folder(
    judged: tuple[Policy, UnderstandingJudge], talker: Path
) -> None:
    settings = TransformersSettings(model=str(talker), dtype="float32", batch=2)
    other = TransformersJudge(settings, MLLMSettings(max_tokens=16, retries_unreadable=1))
    answers = judged[1].judge(queries())
    assert answers == other.judge(queries())
    assert all(isinstance(answer, JudgeFailure) and answer.reply for answer in answers)


def test_what_is_trained_does_not_change_the_judge(
    judged: tuple[Policy, UnderstandingJudge],
) -> None:
    policy, judge = judged
    before = judge.judge(queries())
    with torch.no_grad():
        for parameter in policy.trainable().values():
            parameter.add_(torch.randn_like(parameter))
    sampling = policy.model.generation_config
    assert judge.judge(queries()) == before
    assert policy.model.generation_config is sampling
    assert policy.tokenizer.padding_side == "right" or not hasattr(policy.tokenizer, "padding_side")


def test_no_further_weights_are_in_memory(talker: Path) -> None:
    policy = load_policy(talker)
    judge = bound(policy, rank=4)
    own = {id(parameter) for parameter in policy.model.parameters()}
    assert judge._judge is not None
    assert {id(parameter) for parameter in judge._judge.model.parameters()} == own


def test_it_waits_while_the_policy_draws(judged: tuple[Policy, UnderstandingJudge]) -> None:
    policy, judge = judged
    done = threading.Event()

    def ask() -> None:
        judge.judge(queries()[:1])
        done.set()

    with policy.in_use:
        asking = threading.Thread(target=ask)
        asking.start()
        assert not done.wait(1)
    asking.join(300)
    assert done.is_set()


def test_a_model_without_a_chat_template_is_refused(model_folder: Path) -> None:
    with pytest.raises(BadInput, match="has no chat template"):
        bound(load_policy(model_folder), rank=4)


def test_it_judges_in_training_only() -> None:
    with pytest.raises(BadInput, match="judges in train rl only"):
        load_judge("self")


def test_it_does_not_find_boxes() -> None:
    with pytest.raises(BadInput, match="in which coordinates the judge 'self' gives boxes"):
        load_judge("self", understanding=UnderstandingJudge())


def test_a_run_is_judged_by_its_own_policy(
    make_recipe: MakeRecipe, talker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The replies of a random model cannot be read, so they are read as a mark by their length."""
    read = TransformersJudge._read

    def by_length(judge: TransformersJudge, asked: object, reply: str, ended: bool) -> Verdict:
        assert isinstance(read(judge, asked, reply, ended), JudgeFailure)  # type: ignore[arg-type]
        return Verdict(len(reply) % 11 / 10, reply=reply)

    monkeypatch.setattr(TransformersJudge, "_read", by_length)
    recipe = make_recipe(
        "run",
        model={"path": str(talker), "lora": {"rank": 4}},
        judge={"spec": "self", "r_ri": "oracle"},
        eval={"prompts": 0},
        rl={"steps": 2, "prompts": 2, "group": 2},
    )
    rl.train(recipe, quiet=True)
    rows = metrics(Path(recipe.run.dir))
    assert len(rows) == 2
    assert all(np.isfinite(row["loss"]) for row in rows)
