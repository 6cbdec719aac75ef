"""Every reader of what others wrote, on noise: an answer, or the error that its docs name."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from got_r1.errors import BadInput
from got_r1.files.inputs import read_chain_text, read_json
from got_r1.files.parsing import parse_json
from got_r1.files.prompt_files import read_prompts
from got_r1.judges.judge_file import JudgeFile
from got_r1.judges.replies import Unreadable, read_boxes, read_score
from got_r1.plan import chain
from got_r1.recipes.recipe_file import load_recipe, load_section
from judges.scripted_server import score

LONG = os.environ.get("GOT_R1_DRILLS") == "long"
bounded = settings(
    max_examples=int(os.environ.get("GOT_R1_DRILL_EXAMPLES", 20_000)) if LONG else 100,
    derandomize=not LONG,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

Count = Callable[[str, object], None]
if LONG:
    pytestmark = pytest.mark.timeout(3600)


def mixed(*words: str) -> st.SearchStrategy[str]:
    """Noise of these words, other text, and any character: surrogates and NUL too."""
    word = st.one_of(st.sampled_from(words), st.text(max_size=4), st.characters())
    return st.lists(word, max_size=30).map("".join)


MARKS = ("{", "}", "[", "]", "(", ")", '"', "'", ",", ":", "\\", "\n", " ", "\t", "-", "#", "\r\n")
NUMBERS = ("0", "7", "-1", "1e999", "NaN", "10/10", "4/5", "seven", "9" * 20, "٣", "true", "null")
PLANNED = "<|obj_start|>heart<|obj_end|> <|box_start|>(1,2),(300,400)<|box_end|>"
chains = mixed(PLANNED, *chain.TAGS, "(1,2),(300,400)", "heart", *NUMBERS, *MARKS)
replies = mixed('{"score": ', "score", "Score:", '"bbox_2d": ', "[1, 2, 30, 40]", *NUMBERS, *MARKS)
replies |= st.builds(lambda text, cut: text[:cut], st.just(score().text), st.integers(0, 60))
files = mixed("prompt", "a red heart", '{"prompt": "x"}', "id,text", *NUMBERS, *MARKS)
settings_words = (
    "2001-99-99",
    "!!int abc",
    "&a ",
    "*a",
    "? ",
    "<<: ",
    "rl:",
    "steps:",
    "  ",
    "judge: ",
    "openai: ",
    "urls: ",
    "- ",
    "model:",
)
yamls = mixed(*settings_words, *NUMBERS, *MARKS)


@bounded
@given(chains)
def test_chains(text: str) -> None:
    read = chain.parse(text)
    for planned in read.objects:
        assert all(0 <= value <= chain.COORDINATE_MAX for value in astuple(planned.box)[:4])
        assert chain.parse(chain.format_object(planned)).objects == (planned,)
    stripped = chain.strip_boxes(text)
    assert not any(tag in stripped for tag in chain.TAGS)


@bounded
@given(replies)
def test_scores(reply: str) -> None:
    """And never a score from a text without a number."""
    with suppress(Unreadable):
        assert 0 <= read_score(reply).score <= 1
        words = "zero|one|two|three|four|five|six|seven|eight|nine|ten"
        assert re.search(rf"[0-9]|{words}", reply, re.IGNORECASE)


@bounded
@given(replies)
def test_boxes(reply: str) -> None:
    with suppress(Unreadable):
        for x1, y1, x2, y2 in read_boxes(reply, "red heart", (640, 480)):
            assert 0 <= x1 < x2 <= 640
            assert 0 <= y1 < y2 <= 480


@contextmanager
def written(content: bytes, suffix: str) -> Iterator[Path]:
    """A file with this content, as long as it is looked at."""
    with TemporaryDirectory() as folder:
        path = Path(folder, f"some{suffix}")
        path.write_bytes(content)
        yield path


def any_file(strategy: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    return st.one_of(strategy.map(lambda text: text.encode("utf-8", "surrogatepass")), st.binary())


@bounded
@given(any_file(files), st.sampled_from([".txt", ".json", ".jsonl", ".csv", ".tsv", ".parquet"]))
def test_prompt_files(content: bytes, suffix: str) -> None:
    with written(content, suffix) as path, suppress(BadInput):
        assert all(prompt.text.strip() for prompt in read_prompts(path))


@bounded
@given(any_file(files))
def test_json_files(content: bytes) -> None:
    with written(content, ".json") as path:
        for read in (lambda: read_json(path, "file"), lambda: read_chain_text(path)):
            with suppress(BadInput):
                read()
    with suppress(ValueError):  # RecursionError is none
        parse_json(content)


@bounded
@given(any_file(yamls))
def test_recipes_and_judge_files(content: bytes) -> None:
    with written(content, ".yaml") as path:
        with suppress(BadInput):
            load_recipe(path)
        with suppress(BadInput):
            load_section(path, JudgeFile, "judge file")


KEYS = st.sampled_from(["rl.steps", "run.dir", "judge", "judge.patience", "data.prompts.0.path"])


@bounded
@given(st.builds("{}={}".format, KEYS, yamls) | yamls)
def test_overrides(override: str) -> None:
    with suppress(BadInput):
        load_recipe(os.devnull, [override])


@pytest.fixture(autouse=True)
def counted(request: pytest.FixtureRequest, record_property: Count) -> None:
    """The examples, in the summary."""
    record_property("examples at most", bounded.max_examples)
