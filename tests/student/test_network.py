"""The student's network: what it reads, what it answers, and its folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel

from got_r1.errors import BadInput
from got_r1.plan.chain import parse
from got_r1.policy import load_policy
from got_r1.policy.tiny import build_policy
from got_r1.records import ImageQuery, Prompt, SemanticQuery, SpatialQuery
from got_r1.student.encoder import Encoder, tiny_encoder
from got_r1.student.network import MARKS, Scored, Student, mark_loss

PROMPT = Prompt("a red heart on the left of a blue star")
CHAIN = parse(
    "A <|obj_start|>red heart<|obj_end|> <|box_start|>(0,300),(400,700)<|box_end|> on the left of "
    "a <|obj_start|>blue star<|obj_end|> <|box_start|>(600,300),(999,700)<|box_end|>."
)
MOVED = parse(CHAIN.text.replace("(0,300),(400,700)", "(0,0),(300,300)"))
OTHER = parse(CHAIN.text.replace("red heart", "green moon"))
IMAGE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def make_encoder(longest: int = 32) -> Encoder:
    return tiny_encoder(
        [PROMPT.text, OTHER.text], seed=0, image_size=16, width=32, layers=1, longest=longest
    )


@pytest.fixture(scope="module")
def student() -> Student:
    torch.manual_seed(0)
    return Student(make_encoder(), width=32, layers=1).eval()


def queries() -> list[Scored]:
    return [
        ImageQuery(PROMPT, IMAGE),
        SemanticQuery(PROMPT, CHAIN),
        SpatialQuery(PROMPT, CHAIN),
        SpatialQuery(Prompt("a green moon"), parse("nothing at all")),
        SemanticQuery(Prompt("a green moon"), OTHER),
    ]


# -- marks -----------------------------------------------------------------------------------------


@given(st.floats(0, 1))
def test_the_best_distribution_for_a_score_has_it_as_its_mean(score: float) -> None:
    logits = torch.zeros(1, MARKS, requires_grad=True)
    (slope,) = torch.autograd.grad(mark_loss(logits, torch.tensor([score])), logits)
    wanted = logits.softmax(dim=-1) - slope  # the gradient of cross-entropy
    assert float(wanted.detach() @ (torch.arange(MARKS) / 10)) == pytest.approx(score, abs=1e-5)
    assert int((wanted.detach() > 1e-5).sum()) <= 2


def test_the_loss_by_hand() -> None:
    logits = torch.zeros(1, MARKS)
    assert mark_loss(logits, torch.tensor([0.3])).item() == pytest.approx(np.log(MARKS), abs=1e-5)


# -- what it reads ---------------------------------------------------------------------------------


def test_an_answer_does_not_depend_on_its_batch(student: Student) -> None:
    together = student.probabilities(queries())
    alone = torch.cat([student.probabilities([query]) for query in queries()])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(together.sum(dim=1), torch.ones(len(together)))
    assert student.probabilities([]).shape == (0, MARKS)


def test_boxes_are_read_for_the_layout_alone(student: Student) -> None:
    def answer(query: Scored) -> torch.Tensor:
        return student.probabilities([query])

    assert torch.equal(answer(SemanticQuery(PROMPT, CHAIN)), answer(SemanticQuery(PROMPT, MOVED)))
    assert not torch.equal(answer(SpatialQuery(PROMPT, CHAIN)), answer(SpatialQuery(PROMPT, MOVED)))
    for kind in (SemanticQuery, SpatialQuery):
        assert not torch.equal(answer(kind(PROMPT, CHAIN)), answer(kind(PROMPT, OTHER)))
        assert not torch.equal(
            answer(kind(PROMPT, CHAIN)), answer(kind(Prompt("a blue star"), CHAIN))
        )


def test_a_long_text_is_read_in_pieces() -> None:
    encoder = make_encoder(longest=8).eval()
    words = "a red heart on the left of a blue star"
    states, there = encoder.texts([words, "a star"])
    assert there.sum(dim=1).tolist() == [10 + 2 * 2, 2 + 2]
    first, _ = encoder.texts(["a red heart on the"])
    torch.testing.assert_close(states[0, :7], first[0], atol=1e-5, rtol=0)


# -- its folder ------------------------------------------------------------------------------------


def save(student: Student, folder: Path) -> Path:
    folder.mkdir()
    student.save_state(folder, dict(student.merged_tensors()))
    return folder


def test_a_saved_student_answers_the_same(student: Student, tmp_path: Path) -> None:
    student.temperature[:] = torch.tensor([0.5, 1.0, 2.0])
    found = Student.load(save(student, tmp_path / "student"))
    assert torch.equal(found.probabilities(queries()), student.probabilities(queries()))
    student.temperature[:] = 1.0


@pytest.mark.parametrize("damage", ["settings", "head", "version", "gone"])
def test_a_damaged_folder_is_refused(student: Student, tmp_path: Path, damage: str) -> None:
    folder = save(student, tmp_path / "student")
    settings = folder / "student.json"
    match damage:
        case "settings":
            settings.write_text("{}")
        case "head":
            (folder / "head.safetensors").write_bytes(b"no weights")
        case "version":
            settings.write_text(json.dumps(json.loads(settings.read_text()) | {"format": 9}))
        case "gone":
            settings.unlink()
    with pytest.raises(BadInput):
        Student.load(folder)


def siglip(folder: Path) -> Path:
    """A random SigLIP, with the tokenizer of a tiny encoder (the real one is not needed here)."""
    tower = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
    }
    tokenizer = make_encoder().tokenizer
    text = tower | {"vocab_size": len(tokenizer), "max_position_embeddings": 16}
    config = SiglipConfig(
        text_config=text, vision_config=tower | {"image_size": 16, "patch_size": 8}
    )
    torch.manual_seed(1)
    SiglipModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


def janus(folder: Path) -> Path:
    """A small policy with random weights."""
    texts = [PROMPT.text, OTHER.text]
    sizes = {"codebook_size": 64, "hidden_size": 64, "layers": 1, "heads": 4, "mlp_size": 64}
    build_policy(texts, seed=0, image_size=16, **sizes).save(folder)
    return folder


def clip(folder: Path) -> Path:
    make_encoder().save(folder)
    return folder


@pytest.mark.parametrize("make", [clip, siglip, janus])
def test_an_encoder_of_others_stays_as_it_is(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    source = make(tmp_path / "encoder")
    student = Student(Encoder.load(str(source)), source=str(source), width=32, layers=1)
    assert not any(name.startswith("encoder.") for name in student.trainable())
    folder = save(student, tmp_path / "student")
    assert not (folder / "encoder").exists()
    before = student.eval().probabilities(queries())
    torch.testing.assert_close(Student.load(folder).probabilities(queries()), before)
    weights = source / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    with pytest.raises(BadInput, match="other weights than the student"):
        Student.load(folder)


def test_an_encoder_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(BadInput, match="'bert'; give a folder of CLIP, SigLIP or Janus"):
        Encoder.load(str(tmp_path))


def test_a_policy_lends_its_eyes_and_its_words(tmp_path: Path) -> None:
    policy = load_policy(janus(tmp_path / "policy"))
    encoder = Encoder.load(str(tmp_path / "policy"))
    pixels = policy.processor.image_processor([IMAGE], return_tensors="pt")["pixel_values"]
    seen = policy.model.model.vision_model(pixels).last_hidden_state
    torch.testing.assert_close(encoder.images([IMAGE]), seen)
    assert encoder.images([IMAGE]).shape[-1] == encoder.image_width

    words = "a red heart a red heart"
    states, there = encoder.texts([words, "a red heart"])
    assert states.shape[-1] == encoder.text_width
    assert encoder.tokenizer.decode(encoder.tokenizer(words).input_ids) == words
    # Of one text behind another: the same words in other places.
    assert there[0].sum() > there[1].sum()
    length = int(there[1].sum()) - 1
    torch.testing.assert_close(states[0, :length], states[1, :length])
    assert not torch.isclose(states[0, 1:length], states[0, length : 2 * length - 1]).all()
    assert Encoder.load("icons").image_width == 32


def test_a_policy_without_its_eyes_is_refused(tmp_path: Path) -> None:
    weights = janus(tmp_path / "policy") / "model.safetensors"
    kept = {name: one for name, one in load_file(weights).items() if "vision" not in name}
    save_file(kept, weights, {"format": "pt"})
    with pytest.raises(BadInput, match=r"lack model\.vision_model"):
        Encoder.load(str(tmp_path / "policy"))


def test_images_of_any_size_are_read(student: Student) -> None:
    wide = np.zeros((20, 60, 3), dtype=np.uint8)
    assert student.probabilities([replace(ImageQuery(PROMPT, IMAGE), image=wide)]).shape == (1, 11)
