"""`load_judge`: every spec, the YAML file, mixtures, and what is said where one cannot be used."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from got_r1 import judges
from got_r1.errors import BadInput, RunFailed
from got_r1.judges import Judge, check_judge, load_judge
from got_r1.judges.cache import CachedJudge
from got_r1.judges.mixture import Mixture, OneAtATime
from got_r1.judges.oracle import OracleJudge
from got_r1.judges.specs import resolve
from got_r1.judges.worker import WorkerJudge
from got_r1.plan.chain import parse
from got_r1.recipes.recipe_file import load_recipe
from got_r1.recipes.sections import JudgeSection
from got_r1.records import (
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
from judges.scripted_server import Action, Reply, Request, ScriptedServer, score

URL = "http://localhost:8000/v1"
PROMPT = Prompt("a red heart", "attribute")
CHAIN = parse("A <|obj_start|>red heart<|obj_end|> <|box_start|>(100,100),(400,400)<|box_end|>.")
IMAGE = np.full((56, 56, 3), 200, dtype=np.uint8)
KINDS: list[Query] = [
    SemanticQuery(PROMPT, CHAIN),
    SpatialQuery(PROMPT, CHAIN),
    GroundingQuery(CHAIN, IMAGE),
    ImageQuery(PROMPT, IMAGE),
    QualityQuery(PROMPT, IMAGE),
]


def served(judge: Judge) -> WorkerJudge:
    assert isinstance(judge, CachedJudge)
    assert isinstance(judge.inner, WorkerJudge)
    return judge.inner


def answer(request: Request) -> Action:
    boxes = "bbox" in request.text
    return Reply('[{"bbox_2d": [0, 0, 28, 28], "label": "x"}]') if boxes else score(8)


# -- specs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "model", "urls"),
    [
        (f"openai:qwen@{URL}", "qwen", [URL]),
        ("openai:org/m@v2@https://h.example/api/v1", "org/m@v2", ["https://h.example/api/v1"]),
        (f"openai:a:b@{URL},http://b:1/v1/", "a:b", [URL, "http://b:1/v1/"]),
        (f"openai:a@{URL}, http://[::1]:2/v1", "a", [URL, "http://[::1]:2/v1"]),
    ],
)
def test_a_served_model_is_named_with_its_urls(spec: str, model: str, urls: list[str]) -> None:
    judge = served(load_judge(spec, terms=("r_pi",)))
    assert (judge.settings.model, judge.settings.urls) == (model, urls)


def test_the_wording_goes_by_the_models_name() -> None:
    older = served(load_judge(f"openai:Qwen/Qwen2.5-VL-7B-Instruct@{URL}")).wording
    newer = served(load_judge(f"openai:Qwen/Qwen3-VL-8B-Instruct@{URL}")).wording
    assert (older.coordinates, older.patch) == ("pixels", 28)
    assert (newer.coordinates, newer.patch) == ("thousand", 32)


@pytest.mark.parametrize(
    ("model", "coordinates"),
    [
        ("Qwen2.5-VL-72B-Instruct-AWQ", "pixels"),
        ("Qwen/Qwen2-VL-7B-Instruct", "thousand"),
        ("qwen3-vl-8b", "thousand"),
        ("Qwen/Qwen3.5-27B", "thousand"),
        ("OpenGVLab/InternVL3-8B", "thousand"),
        ("zai-org/GLM-4.5V", "thousand"),
        ("THUDM/GLM-4.1V-9B-Thinking", "thousand"),
        ("deepseek-ai/deepseek-vl2-small", "thousand"),
        ("openbmb/MiniCPM-V-4_5", "thousand"),
        ("gemini-2.5-flash", "thousand_yx"),
    ],
)
def test_known_families_have_their_coordinates(model: str, coordinates: str) -> None:
    judge = served(load_judge(f"openai:{model}@{URL}"))
    assert judge.wording.coordinates == coordinates


@pytest.mark.parametrize(
    "model", ["judge", "qwen", "llava-1.6", "gpt-4o", "deepseek-vl-7b", "qwen-vl"]
)
def test_unknown_coordinates_are_refused_where_boxes_are_asked_for(
    tmp_path: Path, model: str
) -> None:
    spec = f"openai:{model}@{URL}"
    told = r"set wording\.coordinates .*to pixels or thousand or .*got-r1 audit grounding"
    with pytest.raises(BadInput, match=told):
        load_judge(spec)
    with pytest.raises(BadInput, match=told):
        load_judge(JudgeSection(spec="oracle", r_ri=spec))
    file = write(tmp_path, f"openai: {{model: {model}, urls: {URL}}}")
    with pytest.raises(BadInput, match=told):
        load_judge(file)
    # Not asked for boxes: by the reward's terms, or since another judge is.
    assert served(load_judge(spec, terms=("r_sem", "r_pi"))).settings.model == model
    assert isinstance(load_judge(JudgeSection(spec=spec, r_ri="oracle")), Mixture)
    file = write(tmp_path, f"openai: {{model: {model}, urls: {URL}}}\nr_ri: oracle\n")
    assert isinstance(load_judge(file), Mixture)
    # Given.
    text = f"openai: {{model: {model}, urls: {URL}}}\nwording: {{coordinates: thousand}}\n"
    assert served(load_judge(write(tmp_path, text))).wording.coordinates == "thousand"


def test_unknown_coordinates_of_a_local_model_are_refused_before_it_is_loaded(
    tmp_path: Path,
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llava"}')
    with pytest.raises(BadInput, match=r"wording\.coordinates"):
        load_judge(f"transformers:{tmp_path}")
    with pytest.raises(BadInput, match="processor"):  # known or not asked: it goes on
        load_judge(f"transformers:{tmp_path}", terms=("r_pi",))


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("", "unknown judge ''"),
        (
            "orakel",
            "unknown judge 'orakel': did you mean 'oracle'. It must be 'oracle', openai",
        ),
        ("oracle:x", "unknown judge 'oracle:x'"),
        ("openai", "unknown judge 'openai'"),
        ("transformers", "unknown judge 'transformers'"),
        ("experts:x", "unknown judge 'experts:x'"),
        ("openai:", "must be openai:MODEL@URL"),
        ("openai:qwen", "must be openai:MODEL@URL, such as openai:Qwen"),
        ("openai:qwen@localhost:8000/v1", "must be openai:MODEL@URL"),
        ("openai:@http://h/v1", "must be openai:MODEL@URL"),
        ("openai:q@http://localhost:8000", "up to and including /v1, such as http://localhost:80"),
        ("openai:q@http://h:1/v1/chat/completions", "such as http://h:1/v1$"),
        (f"openai:q@{URL},", "'' is not a valid URL"),
        (f"openai:q@{URL},b/v1", "'b/v1' is not a valid URL"),
        ("openai:q@http://h:port/v1", "is not a valid URL"),
        ("transformers:", "no model folder at ''"),
        ("transformers:nowhere", "no model folder at 'nowhere'; give a folder"),
        ("nowhere.yaml", r"there is no judge file at nowhere\.yaml"),
    ],
)
def test_a_spec_that_cannot_be_used_is_told(spec: str, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        load_judge(spec)


def test_a_missing_client_is_told_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(judges, "find_spec", lambda name: None if name == "openai" else real(name))
    with pytest.raises(BadInput, match=r"pip install 'got-r1\[judge\]'"):
        load_judge(f"openai:Qwen2.5-VL@{URL}")


def test_a_missing_key_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(BadInput, match="export MY_KEY="):
        load_judge(
            write(tmp_path, f"openai: {{model: Qwen2.5-VL, urls: {URL}, api_key_env: MY_KEY}}")
        )


# -- the YAML file ---------------------------------------------------------------------------------


def write(folder: Path, text: str) -> str:
    path = folder / "judge.yaml"
    path.write_text(text)
    return str(path)


def test_a_file_sets_everything(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        openai:
          model: Qwen/Qwen3-VL-8B-Instruct
          urls: [http://a:1/v1, http://b:2/v1]
          concurrency: 8
          extra_body: {top_k: 1, chat_template_kwargs: {enable_thinking: false}}
        wording: {coordinates: pixels, max_tokens: 300}
        r_ri: oracle
        """,
    )
    judge = load_judge(path)
    assert isinstance(judge, Mixture)
    assert isinstance(judge.judges["r_ri"], OracleJudge)
    settings, wording = served(judge.otherwise).settings, served(judge.otherwise).wording
    assert (settings.concurrency, settings.timeout) == (8, 120.0)
    assert settings.extra_body == {"top_k": 1, "chat_template_kwargs": {"enable_thinking": False}}
    # What the file says stands; what it leaves open goes by the model's name.
    assert (wording.coordinates, wording.patch, wording.max_tokens) == ("pixels", 32, 300)


def test_one_url_may_stand_alone(tmp_path: Path) -> None:
    path = write(tmp_path, f"openai: {{model: Qwen2.5-VL, urls: {URL}}}")
    assert served(load_judge(path)).settings.urls == [URL]


def test_of_two_judges_in_a_file_one_must_be_chosen(tmp_path: Path) -> None:
    both = f"openai: {{model: Qwen2.5-VL, urls: {URL}}}\nexperts: {{same_object: 0.4}}\n"
    with pytest.raises(BadInput, match="sets up openai and experts: say which one judges, as spec"):
        load_judge(write(tmp_path, both))
    judge = load_judge(write(tmp_path, f"{both}spec: openai\nr_hps: experts\n"))
    assert isinstance(judge, Mixture)
    experts = judge.judges["r_hps"]
    assert isinstance(experts, CachedJudge)
    assert isinstance(experts.inner, OneAtATime)
    assert experts.inner.inner.settings.same_object == 0.4  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "sets up no judge"),
        (
            "openai: {modell: m}",
            r"unknown key 'openai\.modell' in .*judge\.yaml; the nearest is "
            r"'openai\.model'\.$",
        ),
        ("opnai: {}", "the nearest is 'openai'"),
        ("openai: {model: m}", "no openai.urls: give both"),
        (f"openai: {{urls: {URL}}}", "no openai.model"),
        ("openai: {model: '', urls: x}", r"openai\.model must be text"),
        ("openai: {model: m, urls: x}", "the judge's 'x' is not a valid URL"),
        (f"openai: {{model: m, urls: {URL}, concurrency: 0}}", "a whole number, at least 1, not 0"),
        (f"openai: {{model: m, urls: {URL}, timeout: yes}}", r"openai\.timeout must be a number"),
        ("wording: {spatial: words}", "one of drawing, text"),
        ("wording: {min_pixels: 400, max_pixels: 1000}", "wording in .*: max_pixels must be at"),
        ("openai: http", r"openai must be a section of settings, not 'http'"),
        ("- a", "the judge file .* must be sections of settings, not a list"),
        ("a: [", "the judge file .* is not valid YAML"),
        ("spec: other.yaml", "there is no judge file at other.yaml"),
        ("spec: self", r"the judge file .*judge\.yaml names 'self', .* set judge\.spec=self"),
        ("spec: oracle\nr_ri: nobody", "unknown judge 'nobody'"),
        ("spec: openai", "no openai.model"),
    ],
)
def test_a_file_that_cannot_be_used_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        load_judge(write(tmp_path, text))


def test_a_file_may_name_another_for_a_term(tmp_path: Path) -> None:
    inner, third = tmp_path / "inner.yaml", tmp_path / "third.yaml"
    inner.write_text("spec: oracle\nr_hps: experts\nexperts: {same_object: 0.4}\n")
    text = f"openai: {{model: Qwen2.5-VL, urls: {URL}}}\nr_hps: {inner}\nr_pi: {inner}"
    section = JudgeSection(spec=write(tmp_path, text))
    check_judge(section)
    judge = load_judge(section)
    assert isinstance(judge, Mixture)
    assert judge.judges["r_hps"] is judge.judges["r_pi"]
    resolved = resolve(section)
    assert {term: resolved.of(term).kind for term in ("r_sem", "r_pi", "r_hps")} == {
        "r_sem": "openai",
        "r_pi": "oracle",
        "r_hps": "experts",
    }
    assert resolved.of("r_hps").experts.same_object == 0.4  # type: ignore[union-attr]

    for text in (f"spec: {third}", f"spec: oracle\nr_hps: {inner}"):  # a third, or itself
        inner.write_text(text)
        for use in (load_judge, check_judge):
            with pytest.raises(BadInput, match=r"inner\.yaml is named by another .* a third"):
                use(section)


def test_every_served_judge_of_a_file_is_checked_beforehand(tmp_path: Path) -> None:
    for text in (
        "spec: oracle\nr_pi: openai:m@http://h",
        f"student: {{model: {tmp_path}, teacher: openai}}\nspec: student\n"
        "openai: {model: m, urls: http://h}",
    ):
        (tmp_path / "student.json").touch()
        with pytest.raises(BadInput, match="must go up to and including /v1"):
            check_judge(JudgeSection(spec=write(tmp_path, text)), terms=("r_pi",))


def test_the_file_of_the_manual_is_one(tmp_path: Path) -> None:
    manual = Path(__file__).parents[2] / "docs" / "judges.md"
    text, *_ = re.findall(r"```yaml\n(.*?)```", manual.read_text(encoding="utf-8"), re.DOTALL)
    judge = load_judge(write(tmp_path, text))
    assert isinstance(judge, Mixture)
    assert judge.judges.keys() == {"r_hps"}
    assert len(served(judge.otherwise).settings.urls) == 2


# -- mixtures --------------------------------------------------------------------------------------


class Named:
    """Says who it is."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.batches: list[list[str]] = []

    def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
        self.batches.append([query.term for query in queries])
        return [Verdict(0.5, reasoning=f"{self.name} {query.term}") for query in queries]


def test_asks_go_by_their_kind_and_come_back_in_order() -> None:
    a, b, c = Named("a"), Named("b"), Named("c")
    mixture = Mixture({"r_ri": a, "r_hps": a, "r_pi": b}, c)
    said = [getattr(one, "reasoning", "") for one in mixture.judge([*KINDS, *KINDS[::-1]])]
    once = ["c r_sem", "c r_spa", "a r_ri", "b r_pi", "a r_hps"]
    assert said == [*once, *once[::-1]]
    assert a.batches == [["r_ri", "r_hps", "r_hps", "r_ri"]]  # one batch for each judge
    assert mixture.judge([]) == []


def test_judges_of_a_mixture_work_at_the_same_time() -> None:
    """Each waits for the other: one after the other would wait for ever."""
    meeting = threading.Barrier(2, timeout=60)

    class Meets(Named):
        def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
            meeting.wait()
            return super().judge(queries)

    assert len(Mixture({"r_sem": Meets("a")}, Meets("b")).judge(KINDS)) == len(KINDS)


def test_a_mixture_names_the_judge_that_loses_an_answer() -> None:
    class Forgetful(Named):
        def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
            return super().judge(queries)[1:]

    with pytest.raises(RunFailed, match="Forgetful gave 0 answers to 1 queries"):
        Mixture({"r_sem": Forgetful("a")}, Named("b")).judge(KINDS)


def test_one_at_a_time_means_one_at_a_time() -> None:
    inside, most = 0, 0
    gate = threading.Semaphore(1)

    class Counted(Named):
        def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
            nonlocal inside, most
            with gate:
                inside += 1
                most = max(most, inside)
            answers = super().judge(queries)
            with gate:
                inside -= 1
            return answers

    judge = OneAtATime(Counted("a"))
    threads = [threading.Thread(target=judge.judge, args=(KINDS,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_recipe_may_name_a_judge_for_a_term(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"judge: {{spec: 'openai:Qwen2.5-VL@{URL}', r_ri: oracle, r_spa: oracle}}")
    judge = load_judge(load_recipe(recipe, ["judge.r_hps=experts"]).judge)
    assert isinstance(judge, Mixture)
    assert judge.judges.keys() == {"r_ri", "r_spa", "r_hps"}
    assert judge.judges["r_ri"] is judge.judges["r_spa"]
    assert served(judge.otherwise).settings.model == "Qwen2.5-VL"
    # A term that names the judge of all is no mixture.
    assert isinstance(load_judge(JudgeSection(spec="oracle", r_ri="oracle")), OracleJudge)


# -- with a cache ----------------------------------------------------------------------------------


def test_nothing_is_asked_twice_and_another_wording_asks_again(tmp_path: Path) -> None:
    with ScriptedServer(answer) as server, ScriptedServer(answer) as elsewhere:

        def asked(url: str, settings: str = "") -> int:
            text = f"openai: {{model: Qwen2.5-VL, urls: {url}}}\n{settings}"
            before = len(server.requests) + len(elsewhere.requests)
            answers = load_judge(write(tmp_path, text), tmp_path / "kept").judge(KINDS * 2)
            assert isinstance(answers[4], JudgeFailure)  # R_HPS: not for a language model
            assert all(isinstance(one, Verdict) for one in answers[:4])
            return len(server.requests) + len(elsewhere.requests) - before

        assert asked(server.url) == 4
        assert asked(server.url) == 0
        assert asked(elsewhere.url) == 0  # the same model in another place
        assert asked(server.url, "wording: {max_tokens: 700}") == 4


def test_without_a_cache_folder_only_a_batch_is_asked_once() -> None:
    with ScriptedServer(answer) as server:
        judge = load_judge(f"openai:Qwen2.5-VL@{server.url}")
        for asked in (4, 8):
            judge.judge(KINDS * 3)
            assert len(server.requests) == asked


def test_experts_are_known_by_their_weights_wherever_they_lie(tmp_path: Path) -> None:
    def identity(folder: Path) -> str:
        sections = "".join(f"\n  {name}: {{model: {folder}}}" for name in ("clip", "detector"))
        judge = load_judge(write(tmp_path, f"experts:{sections}"), tmp_path / "kept")
        assert isinstance(judge, CachedJudge)
        return judge.identity

    one, moved = tmp_path / "one", tmp_path / "moved"
    one.mkdir()
    (one / "model.safetensors").write_bytes(b"\0" * 5000 + b"weights")
    shutil.copytree(one, moved)
    before = identity(one)
    assert identity(moved) == before
    stat = (moved / "model.safetensors").stat()
    (moved / "model.safetensors").write_bytes(b"\0" * 5000 + b"others!")
    os.utime(moved / "model.safetensors", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert identity(moved) != before
