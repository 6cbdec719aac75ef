"""What every judge keeps, held for every judge there is: models, served or not, tiny and random.

For a new kind of judge, add a function to `JUDGES` that yields it; nothing else is needed. A judge
of the user's own is held to the same by `got-r1 audit contract`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import torch
import yaml

import got_r1.judges
from got_r1.audit.contract import CHECKS, Finding, contract
from got_r1.icons.data import triples
from got_r1.judges import Judge, load_judge
from got_r1.judges.cache import CachedJudge
from got_r1.judges.mixture import Mixture
from got_r1.judges.oracle import OracleJudge
from got_r1.judges.settings import MLLMSettings
from got_r1.recipes.sections import JudgeSection
from judges.scripted_server import Action, Reply, Request, ScriptedServer, score

DOUBT = 0.333  # between the doubts of this new student: .30 to .32 about plans, from .34 on images
TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {% for c in m.content %}{% if c.type == 'image' %}"
    "<image_placeholder>{% else %}{{ c.text }}{% endif %}{% endfor %}\n{% endfor %}assistant:"
)

# -- the judges ------------------------------------------------------------------------------------


@contextmanager
def oracle(folder: Path) -> Iterator[Judge]:
    yield OracleJudge()


def sensible(request: Request) -> Action:
    """What a model might say: a score by what it reads, a box where it is asked for one."""
    if "bbox" in request.text:
        return Reply('```json\n[{"bbox_2d": [10, 10, 60, 50], "label": "it"}]\n```')
    return score(len(request.text) % 11)


@contextmanager
def served(folder: Path) -> Iterator[Judge]:
    with ScriptedServer(sensible) as server:
        yield load_judge(f"openai:Qwen2.5-VL@{server.url}")


@contextmanager
def served_badly(folder: Path) -> Iterator[Judge]:
    with ScriptedServer(lambda request: Reply("I cannot help with that.")) as server:
        yield load_judge(f"openai:Qwen2.5-VL@{server.url}")


@contextmanager
def in_process(folder: Path) -> Iterator[Judge]:
    from judges.tiny_mllm import make_qwen2_5_vl

    make_qwen2_5_vl(folder / "model")
    file = folder / "judge.yaml"
    settings = {"model": str(folder / "model"), "device": "cpu", "dtype": "float32"}
    wording = {"max_tokens": 16, "min_pixels": 3136, "max_pixels": 50176, "canvas": 64}
    file.write_text(yaml.safe_dump({"transformers": settings, "wording": wording}))
    yield load_judge(str(file))


@contextmanager
def experts(folder: Path) -> Iterator[Judge]:
    from vision import tiny

    clip = {"model": str(tiny.build("clip", folder / "clip")), "device": "cpu"}
    detector = {
        "kind": "owlv2",
        "model": str(tiny.build("owlv2", folder / "owlv2")),
        "device": "cpu",
    }
    file = folder / "judge.yaml"
    settings = {"experts": {"clip": clip, "detector": detector}, "r_hps": "oracle"}
    file.write_text(yaml.safe_dump(settings))
    yield load_judge(str(file))


@contextmanager
def cached(folder: Path) -> Iterator[Judge]:
    with served(folder) as judge:
        yield CachedJudge(judge, folder / "cache", "scripted")


@contextmanager
def mixed(folder: Path) -> Iterator[Judge]:
    with served(folder) as judge:
        yield Mixture({"r_ri": OracleJudge()}, judge)


@contextmanager
def student(folder: Path) -> Iterator[Judge]:
    """One that answers some queries, and asks its teacher about the others."""
    from got_r1.student.encoder import tiny_encoder
    from got_r1.student.network import Student

    made = list(triples(50, seed=4))
    texts = [text for one in made for text in (one.prompt.text, one.chain)]
    torch.manual_seed(0)
    untaught = Student(tiny_encoder(texts, seed=0, image_size=40, width=32, layers=1), width=32)
    (folder / "student").mkdir()
    untaught.save_state(folder / "student", dict(untaught.merged_tensors()))
    section = {"spec": "student", "model": str(folder / "student"), "teacher": "oracle"}
    yield load_judge(JudgeSection.model_validate(section | {"ask_above": DOUBT}))


@contextmanager
def understanding(folder: Path) -> Iterator[Judge]:
    """The policy as its own judge, 'self'."""
    from got_r1.policy.tiny import build_policy
    from got_r1.recipes.sections import LoraSection
    from got_r1.training.understanding import UnderstandingJudge

    # With the rubrics' words in its tokenizer: in single bytes they would take most of the time.
    rubrics = Path(got_r1.judges.__file__).with_name("prompts").glob("*.txt")
    texts = [path.read_text(encoding="utf-8") for path in sorted(rubrics)]
    policy = build_policy(
        texts, seed=0, codebook_size=64, hidden_size=32, layers=1, heads=2, mlp_size=32
    )
    policy.processor.chat_template = TEMPLATE
    policy.prepare_training(LoraSection(rank=4))
    policy.freeze_reference()
    own = UnderstandingJudge(batch=64)
    own.wording = MLLMSettings(max_tokens=16, retries_unreadable=0)
    own.bind(policy)
    terms = ("r_sem", "r_spa", "r_pi")  # it does not say in which coordinates it gives boxes
    yield load_judge(JudgeSection(spec="self"), terms=terms, understanding=own)


@contextmanager
def documented(folder: Path) -> Iterator[Judge]:
    """The judge of docs/judges.md, as it stands there."""
    text = (Path(__file__).parents[2] / "docs" / "judges.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    file = folder / "contrast.py"
    file.write_text(code, encoding="utf-8")
    yield load_judge(f"{file}:ContrastJudge")


JUDGES = [
    oracle,
    served,
    served_badly,
    in_process,
    experts,
    student,
    understanding,
    cached,
    mixed,
    documented,
]


@pytest.fixture(scope="module", params=JUDGES, ids=lambda function: function.__name__)
def judge(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Judge]:
    with ExitStack() as stack:
        yield stack.enter_context(request.param(tmp_path_factory.mktemp("judge")))


@pytest.fixture(scope="module")
def findings(judge: Judge) -> dict[str, Finding]:
    return {finding.name: finding for finding in contract(judge)}


def test_it_is_a_judge(judge: Judge) -> None:
    assert isinstance(judge, Judge)


@pytest.mark.parametrize("name", CHECKS)
def test_it_keeps_the_contract(findings: dict[str, Finding], name: str) -> None:
    assert findings[name].passed, findings[name].sentence
