"""The judge in this process: real models of real classes, small enough to be made on the spot."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, Qwen2_5_VLProcessor, Qwen2VLImageProcessorPil

from got_r1.errors import BadInput, RunFailed
from got_r1.judges.base import Judge
from got_r1.judges.mllm import Question, question
from got_r1.judges.settings import MLLMSettings, TransformersSettings
from got_r1.judges.transformers_local import TransformersJudge
from got_r1.plan.chain import parse
from got_r1.records import (
    Box,
    FoundObject,
    GroundingQuery,
    ImageQuery,
    JudgeFailure,
    Prompt,
    QualityQuery,
    Query,
    SemanticQuery,
    SpatialQuery,
    Verdict,
)
from judges.tiny_mllm import make_llava, make_qwen2_5_vl, make_qwen3_vl

PROMPT = Prompt("a red heart on the left of a blue star")
GOOD = parse(
    "A <|obj_start|>red heart<|obj_end|> <|box_start|>(50,300),(400,700)<|box_end|> left of a "
    "<|obj_start|>blue star<|obj_end|> <|box_start|>(600,300),(950,700)<|box_end|>."
)
BAD = parse("A <|obj_start|>red heart<|obj_end|> <|box_start|>(600,300),(950,700)<|box_end|>.")
WHITE, BLACK = (np.full((56, 56, 3), value, np.uint8) for value in (255, 0))
STRIPES = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
ASKS: list[Query] = [
    SemanticQuery(PROMPT, GOOD),
    GroundingQuery(GOOD, STRIPES),
    SpatialQuery(PROMPT, GOOD),
    ImageQuery(PROMPT, STRIPES),
    SemanticQuery(PROMPT, BAD),
    ImageQuery(PROMPT, WHITE),
]


def wording(**settings: Any) -> MLLMSettings:
    """Small images, and gibberish kept short."""
    usual = {"min_pixels": 56 * 56, "canvas": 112, "max_tokens": 16, "retries_unreadable": 0}
    return MLLMSettings(**{**usual, **settings})


def load(folder: Path, batch: int = 8, **settings: Any) -> TransformersJudge:
    where = TransformersSettings(model=str(folder), device="cpu", dtype="float32", batch=batch)
    return TransformersJudge(where, wording(**settings))


@pytest.fixture(scope="session")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2.5-VL with random weights."""
    return make_qwen2_5_vl(tmp_path_factory.mktemp("qwen2_5_vl"))


# -- models that know nothing ----------------------------------------------------------------------


@pytest.mark.parametrize("make", [make_qwen2_5_vl, make_qwen3_vl, make_llava])
def test_gibberish_is_a_failure_and_batching_changes_no_reply(
    make: Callable[[Path], Path], tmp_path: Path
):
    """At temperature 1, so that replies differ; noise belongs to the question. That rounding in a
    batch flips one of about 100 samples of 1,200 tokens has odds of about one in a thousand, and
    the seeds are fixed."""
    judge = load(make(tmp_path), temperature=1.0)
    assert isinstance(judge, Judge)
    together = judge.judge(ASKS)
    assert all(isinstance(answer, JudgeFailure) for answer in together)
    replies = [answer.reply for answer in together if isinstance(answer, JudgeFailure)]
    assert len(set(replies)) == len(ASKS)
    assert [judge.judge([query])[0] for query in ASKS] == together
    assert judge.judge(ASKS[::-1]) == together[::-1]


def test_the_wording_suits_itself_to_the_model(qwen: Path, tmp_path: Path):
    assert load(qwen).wording.patch == 28
    judge = load(make_qwen3_vl(tmp_path))
    assert (judge.wording.patch, judge.wording.coordinates) == (32, "thousand")


def test_a_retry_is_another_reply_and_repeats_itself(qwen: Path):
    replies = []
    for retries in (0, 1, 2, 2):
        judge = load(qwen, retries_unreadable=retries)
        (answer,) = judge.judge(ASKS[:1])
        assert isinstance(answer, JudgeFailure)
        assert answer.tokens is not None
        assert 1 + retries <= answer.tokens <= (1 + retries) * judge.wording.max_tokens
        replies.append(answer.reply)
    assert len(set(replies)) == 3
    assert replies[2] == replies[3]


def test_the_global_random_state_is_left_alone(qwen: Path):
    judge = load(qwen, temperature=1.0)
    before = torch.get_rng_state()
    judge.judge(ASKS[:2])
    assert torch.equal(torch.get_rng_state(), before)


def test_r_hps_is_a_failure_and_no_ask_no_answer(qwen: Path):
    judge = load(qwen)
    assert judge.judge([]) == []
    (answer,) = judge.judge([QualityQuery(PROMPT, WHITE)])
    assert isinstance(answer, JudgeFailure)
    assert "experts" in answer.reason


def test_texts_and_images_become_what_qwens_own_processor_makes_of_them(qwen: Path):
    class WithoutVideo(Qwen2_5_VLProcessor):
        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
            return None

    tokenizer = AutoTokenizer.from_pretrained(qwen, padding_side="left")
    images = Qwen2VLImageProcessorPil.from_pretrained(qwen)
    theirs = WithoutVideo(images, tokenizer, None)
    judge = load(qwen)
    asked = [one for query in ASKS for one in question(query, judge.wording)]
    messages = [
        [
            {"role": "system", "content": [{"type": "text", "text": one.system}]},
            {
                "role": "user",
                "content": [
                    *({"type": "image"} for _ in one.images),
                    {"type": "text", "text": one.text},
                ],
            },
        ]
        for one in asked
    ]
    expected = theirs(
        text=tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True),
        images=[image for one in asked for image in one.images],
        padding=True,
        return_tensors="pt",
    )
    ours = judge.inputs.prepare(asked)
    for name, tensor in expected.items():
        assert torch.equal(ours[name], tensor), name


# -- a model that knows a few answers --------------------------------------------------------------

TAUGHT: list[tuple[Query, list[str], Verdict]] = [
    (SemanticQuery(PROMPT, GOOD), ['{"score": 9}'], Verdict(0.9)),
    (SemanticQuery(PROMPT, BAD), ['{"score": 3}'], Verdict(0.3)),
    (
        SpatialQuery(PROMPT, GOOD),
        ['```json\n{"reasoning": "It is left.", "score": 8}\n```'],
        Verdict(0.8, reasoning="It is left."),
    ),
    # The same words with another image: what tells them apart is what the model sees.
    (ImageQuery(PROMPT, WHITE), ['{"score": 2}'], Verdict(0.2)),
    (ImageQuery(PROMPT, BLACK), ['{"score": 7}'], Verdict(0.7)),
    (
        GroundingQuery(GOOD, WHITE),
        ['[{"bbox_2d": [14, 14, 28, 42]}]', "[]"],
        Verdict(None, (FoundObject("red heart", Box(250, 250, 500, 749)),)),
    ),
]


def teach(judge: TransformersJudge, lessons: list[tuple[Question, str]]) -> None:
    """Trains all weights until each question gets its reply; a few hundred steps at most."""
    tokenizer, model = judge.inputs.tokenizer, judge.model.requires_grad_(True)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    batches = []
    for asked, reply in lessons:
        inputs = dict(judge.inputs.prepare([asked]))
        answer = torch.tensor([[*tokenizer(reply)["input_ids"], tokenizer.eos_token_id]])
        inputs["labels"] = torch.cat([torch.full_like(inputs["input_ids"], -100), answer], dim=1)
        inputs["input_ids"] = torch.cat([inputs["input_ids"], answer], dim=1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        if "mm_token_type_ids" in inputs:
            types = inputs["mm_token_type_ids"]
            inputs["mm_token_type_ids"] = torch.cat([types, torch.zeros_like(answer)], dim=1)
        batches.append(inputs)
    for _ in range(400):
        losses = [model(**inputs).loss for inputs in batches]
        torch.stack(losses).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if max(loss.item() for loss in losses) < 0.01:
            break
    else:
        raise AssertionError(f"not learned: {[loss.item() for loss in losses]}")
    model.requires_grad_(False)


@pytest.fixture(scope="module")
def taught(qwen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2.5-VL that has learned the answers of `TAUGHT`, saved."""
    folder = tmp_path_factory.mktemp("taught")
    shutil.copytree(qwen, folder, dirs_exist_ok=True)
    judge = load(folder)
    lessons = []
    for query, replies, _ in TAUGHT:
        lessons += zip(question(query, judge.wording), replies, strict=True)
    teach(judge, lessons)
    judge.model.save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_learned_replies_become_scores_and_boxes(taught: Path):
    judge = load(taught, max_tokens=64)
    for answer, (_, replies, expected) in zip(
        judge.judge([query for query, _, _ in TAUGHT]), TAUGHT, strict=True
    ):
        assert isinstance(answer, Verdict), answer
        assert (answer.score, answer.found) == (expected.score, expected.found)
        assert answer.reply == "\n".join(replies)
        tokenizer = judge.inputs.tokenizer
        assert answer.tokens == sum(len(tokenizer(reply)["input_ids"]) + 1 for reply in replies)
        if expected.reasoning:
            assert answer.reasoning == expected.reasoning


@pytest.mark.slow
def test_a_reply_that_is_cut_off_is_not_read(taught: Path):
    (answer,) = load(taught, max_tokens=16).judge([SpatialQuery(PROMPT, GOOD)])
    assert isinstance(answer, JudgeFailure)
    assert "cut off after 16 tokens" in answer.reason
    assert answer.reply.startswith("```json")


@pytest.mark.slow
def test_a_readable_answer_is_not_asked_again(taught: Path):
    """A known question beside an unknown one: only the unknown one is put three times."""
    judge = load(taught, max_tokens=64, retries_unreadable=2)
    asked: list[int] = []
    forward = judge.model.generate

    def counting(**inputs: Any) -> Any:
        asked.append(len(inputs["input_ids"]))
        return forward(**inputs)

    judge.model.generate = counting
    known, unknown = judge.judge([TAUGHT[0][0], SemanticQuery(Prompt("xyzzy " * 40), GOOD)])
    assert isinstance(known, Verdict)
    if isinstance(unknown, JudgeFailure):
        assert asked == [2, 1, 1]
    else:  # it may have generalised
        assert asked[0] == 2


# -- folders that cannot be used -------------------------------------------------------------------


@contextmanager
def refused(match: str) -> Iterator[None]:
    with pytest.raises(BadInput, match=match) as caught:
        yield
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_model_is_one_sentence(tmp_path: Path):
    with refused("config"):
        load(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with refused("'llama' as no model that takes images"):
        load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llava"}))
    with refused("processor"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("missing", "match"),
    [
        ("tokenizer.json", "tokenizer"),
        ("chat_template.jinja", "chat template"),
        ("preprocessor_config.json", "image processor"),
        ("model.safetensors", "holds no weights"),
    ],
)
def test_an_incomplete_folder_is_one_sentence(qwen: Path, tmp_path: Path, missing: str, match: str):
    shutil.copytree(qwen, tmp_path, dirs_exist_ok=True)
    (tmp_path / missing).unlink()
    with refused(match):
        load(tmp_path)


def test_a_patch_that_is_not_the_models_is_refused(qwen: Path):
    with refused("patches of 28"):
        load(qwen, patch=32)


def test_too_little_memory_says_what_to_lower(qwen: Path):
    judge = load(qwen)

    def full(**inputs: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    judge.model.generate = full
    with pytest.raises(RunFailed, match=r"transformers\.batch"):
        judge.judge(ASKS)
