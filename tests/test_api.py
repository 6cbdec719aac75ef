"""The public names: where they come from, that they do what the commands do, and their page."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

import got_r1
from got_r1.cli import main

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
PROMPT = "a red heart on the left of a blue star"


@pytest.fixture(scope="module")
def policy() -> got_r1.Policy:
    return got_r1.load_policy("icons")


# -- names -----------------------------------------------------------------------------------------


def test_the_list_the_page_the_types_and_the_names_agree() -> None:
    table = PAGE[PAGE.index("| Name |") : PAGE.index("`help(got_r1.sample)`")]
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == got_r1.__all__
    assert set(got_r1.__all__) <= set(dir(got_r1))
    with pytest.raises(AttributeError, match="no attribute 'smaple'"):
        _ = got_r1.smaple  # type: ignore[attr-defined]

    typed = {}
    for node in ast.walk(ast.parse(Path(got_r1.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("got_r1."):
            names = {one.asname or one.name: (node.module, one.name) for one in node.names}
            typed |= names
    assert sorted({*typed, "__version__"}) == got_r1.__all__
    for name, (module, there) in typed.items():
        home = __import__(str(module), fromlist=[there])
        assert isinstance(home, ModuleType)
        assert getattr(got_r1, name) is getattr(home, there)


def test_torch_waits_until_it_is_needed() -> None:
    program = (
        "import sys, got_r1; dir(got_r1); got_r1.Box, got_r1.sample, got_r1.score, got_r1.train\n"
        "got_r1.parse_chain('x'); got_r1.read_prompt('a cat'); got_r1.load_judge('oracle')\n"
        "print(sorted({'torch', 'transformers', 'peft'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


# -- sampling and scoring --------------------------------------------------------------------------


def commanded(tmp_path: Path, *more: object) -> list[tuple[np.ndarray, dict[str, Any]]]:
    """The images and records of `got-r1 sample`."""
    argv = ["sample", "--model", "icons", "--out", tmp_path / "out", "--json", *more]
    assert main(list(map(str, argv))) == 0
    records = sorted((tmp_path / "out").glob("[0-9]*.json"))
    return [
        (np.asarray(Image.open(one.with_suffix(".png"))), json.loads(one.read_text()))
        for one in records
    ]


def assert_same(
    samples: list[got_r1.Sample], made: list[tuple[np.ndarray, dict[str, Any]]]
) -> None:
    assert len(samples) == len(made) > 0
    for one, (image, record) in zip(samples, made, strict=True):
        np.testing.assert_array_equal(one.image, image)
        assert (one.prompt.text, one.chain.text) == (record["prompt"], record["chain"])
        assert (one.stop, list(one.faults)) == (record["stop"], record["faults"])
        assert list(one.not_understood) == record["not_understood"]
        assert one.drawn_as == record.get("drawn_as", record["prompt"])


def test_samples_are_those_of_the_command(policy: got_r1.Policy, tmp_path: Path) -> None:
    prompts = ["RED HEART", "three blue stars", PROMPT]
    (tmp_path / "prompts.txt").write_text("\n".join(prompts))
    settings = {"n": 2, "seed": 3, "guidance": 1.5, "temperature": 0.8, "image_temperature": 0.6}
    settings |= {"plans": 2, "images_per_chain": 2, "chain_limit": 60, "margin": 0.1}
    options = [
        word
        for name, value in settings.items()
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]
    more = ["--repair", "--judge", "oracle", "--prompts", tmp_path / "prompts.txt", *options]
    made = commanded(tmp_path, *more)
    samples = got_r1.sample(policy, prompts, repair=True, judge="oracle", **settings)  # type: ignore[arg-type]
    assert_same(samples, made)


def test_a_changed_plan_is_drawn_as_by_the_command(policy: got_r1.Policy, tmp_path: Path) -> None:
    plan = got_r1.Plan(
        (
            got_r1.PlannedObject("Red heart", got_r1.Box(0, 310, 395, 700)),
            got_r1.PlannedObject("blue star", got_r1.Box(600, 300, 999, 700)),
        ),
        prompt=PROMPT,
    )
    (tmp_path / "plan.json").write_text(plan.text)
    moved = plan.moved("star", [600, 600])
    more = ["--prompt", PROMPT, "--chain", tmp_path / "plan.json", "--move", "star=600,600"]
    made = commanded(tmp_path, *more)
    for given in (moved, moved.chain, moved.chain.text):
        assert_same(got_r1.sample(policy, PROMPT, chain=given), made)
    assert got_r1.load_plan(tmp_path / "plan.json").objects == plan.objects


def test_rewards_are_those_of_the_command(
    policy: got_r1.Policy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commanded(tmp_path, "--prompt", PROMPT)
    capsys.readouterr()
    files = [str(tmp_path / "out" / f"000.{kind}") for kind in ("json", "png")]
    argv = ["score", "--prompt", PROMPT, "--chain", files[0], "--image", files[1], "--json"]
    assert main(argv) == 0
    told = json.loads(capsys.readouterr().out)
    plan, picture = got_r1.load_plan(files[0]), Image.open(files[1])
    rewards = [got_r1.score(PROMPT, plan, image) for image in (picture, files[1])]
    rewards += got_r1.score_samples(got_r1.sample(policy, PROMPT))
    for reward in rewards:
        assert (reward.total, reward.terms) == (told["total"], told["terms"])
        assert {name: one.reasoning for name, one in reward.verdicts.items()} == {  # type: ignore[union-attr]
            name: one["reasoning"] for name, one in told["verdicts"].items()
        }
    malformed = got_r1.score(PROMPT, "no plan", picture, settings={"formula": "sum"})
    assert malformed.total == 0


def test_a_sample_is_shown_and_saved(policy: got_r1.Policy) -> None:
    one, other = got_r1.sample(policy, ["a red heart", "a zebra"])
    assert one.not_understood == ()
    assert '"zebra" is no word' in other.not_understood[0]
    assert one.picture(3).size == (120, 120)
    assert one._repr_png_().startswith(b"\x89PNG")
    assert one.plan.chain == one.chain
    assert len(repr(one)) < 1000


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"prompts": " "}, "the prompt is empty"),
        ({"prompts": []}, "there are no prompts"),
        ({"n": 0}, "n is 0; give at least 1"),
        ({"plans": 0}, "plans is 0; give at least 1"),
        ({"seed": -1}, "seed is -1; give at least 0"),
        ({"guidance": 0.5}, "guidance is 0.5: input should be greater than or equal to 1"),
        ({"temperature": 0}, "chain_temperature is 0: input should be greater than 0"),
        ({"chain_limit": 0}, "chain_limit is 0: input should be greater"),
        ({"chain_limit": 10**5}, "tokens of the model's context"),
        ({"chain": "A heart."}, "the chain holds no plan to draw from"),
        ({"chain": "A heart.", "plans": 2}, "leave out plans"),
        ({"chain": "A heart.", "prompts": ["a", "b"]}, "give one prompt"),
        ({"margin": 0.1}, "margin is of a repair"),
        ({"margin": 1, "repair": True}, "margin is 1; give a share"),
        ({"judge": "oracle"}, "say how many with plans"),
        ({"judge": "orakel", "plans": 2}, "unknown judge 'orakel'"),
    ],
)
def test_wrong_arguments_are_told(
    policy: got_r1.Policy, arguments: dict[str, Any], told: str
) -> None:
    with pytest.raises(got_r1.BadInput, match=re.escape(told)):
        got_r1.sample(policy, **{"prompts": "a heart", **arguments})


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: got_r1.load_policy("nowhere"), "nowhere"),
        (lambda: got_r1.load_policy("icons", dtype="half"), "dtype is 'half'"),  # type: ignore[arg-type]
        (lambda: got_r1.score("a", "b", np.zeros((4, 4))), "the image is float64 [4, 4]"),  # type: ignore[arg-type]
        (lambda: got_r1.score_samples([], settings={"formul": "sum"}), "unknown key 'formul'"),
        (lambda: got_r1.score_samples([], settings={"r_hps": 1}), "product_v1 has no place for it"),
        (lambda: got_r1.train("ppo", "icons"), "the stage is 'ppo'"),  # type: ignore[arg-type]
        (lambda: got_r1.train("rl", "icons", {"rl.group": 0}), "rl.group must be"),
        (lambda: got_r1.train("rl", "icons", ["rl.lr=1"]), "unknown key 'rl.lr'"),
        (lambda: got_r1.evaluate(None, "out", vqq="x"), "unknown setting 'vqq'"),  # type: ignore[arg-type]
    ],
)
def test_wrong_names_and_settings_are_told(call: Any, told: str) -> None:
    with pytest.raises(got_r1.BadInput, match=re.escape(told)):
        call()


def test_settings_are_what_an_override_would_make_them() -> None:
    from got_r1.api import read_recipe

    values = {"run.dir": Path("a=b"), "rl.learning_rate": 1e-5, "rl.autocast": False}
    lists = {"run.track": ["wandb"], "judge": "oracle"}
    words = ["run.dir=a=b", "rl.learning_rate=1e-5", "rl.autocast=false", "run.track=[wandb]"]
    made = read_recipe("icons", {**values, **lists})
    assert made == read_recipe("icons", [*words, "judge=oracle"])
    assert (made.run.dir, made.rl.learning_rate, made.run.track) == ("a=b", 1e-5, ["wandb"])
    with pytest.raises(got_r1.BadInput, match="takes no overrides"):
        read_recipe(made, ["rl.steps=1"])


# -- the page --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_page_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 5
    for number, block in enumerate(blocks, 1):
        exec(compile(block, f"block {number} of docs/api.md", "exec"), names)
    with Image.open("heart.png") as picture:
        assert picture.size == (320, 320)
    assert len(names["samples"]) == 4
    assert names["moved"].objects[0].box.x1 == 100
    np.testing.assert_array_equal(names["canvas"].shape, (256, 256, 3))
    assert names["reward"].total is not None
    assert Path(names["summary"]["report"]).is_file()
    assert json.loads(Path("evals/mine/eval.json").read_text())["metrics"].keys() == (
        names["result"]["metrics"].keys()
    )
