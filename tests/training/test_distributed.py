"""Two real processes against one: the same samples, gradients, checkpoints and runs.

torchrun starts this very file; `main` is what each of the processes does.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from got_r1.cli import leave
from got_r1.errors import BadInput, RunFailed
from got_r1.files.digests import DIGESTS
from got_r1.judges.oracle import OracleJudge
from got_r1.policy import load_policy
from got_r1.policy.janus import Policy, TokenBatch
from got_r1.policy.parameters import whole
from got_r1.recipes.sections import Recipe
from got_r1.records import Prompt
from got_r1.training import rl, sft
from got_r1.training.checkpoint import load_checkpoint, newest_checkpoint, save_checkpoint
from got_r1.training.distributed import (
    ALONE,
    Ranks,
    check_division,
    load_share,
    parallelize,
    processes,
    whole_weights,
)
from got_r1.training.micro_batches import micro_batches
from got_r1.training.optimizer import make_optimizer
from got_r1.training.policy_update import improve
from got_r1.training.rollout import Samples, roll_out
from small_runs import metrics as all_metrics

MakeRecipe = Callable[..., Recipe]
PROMPTS = [
    Prompt("a star on the left of a heart", "spatial"),
    Prompt("three hearts", "numeracy"),
    Prompt("a red circle", "attribute"),
]
SEED = 1
TESTS = Path(__file__).parent.parent


def ready(recipe: Recipe, ranks: Ranks) -> Policy:
    """The recipe's policy as `train` makes it."""
    policy = load_share(recipe.model, recipe.scale, ranks)
    torch.manual_seed(0)
    policy.prepare_training(recipe.model.lora)
    for name, parameter in policy.trainable().items():
        if "lora_B" in name:  # zero at first, which leaves lora_A without a gradient
            torch.nn.init.normal_(parameter, std=0.02)
    policy.freeze_reference()
    parallelize(policy, recipe.model, recipe.scale, ranks, autocast=False)
    return policy


def rl_step(recipe: Recipe, ranks: Ranks) -> tuple[list[Samples], dict[str, float], Policy]:
    """Samples and one plain step down the gradient: the weights then tell the gradient."""
    policy = ready(recipe, ranks)
    with whole_weights(policy):
        samples = roll_out(policy, OracleJudge(), ranks.share(PROMPTS), recipe, SEED, show=False)
    optimizer = torch.optim.SGD(policy.trainable().values(), lr=1.0)
    metrics = improve(policy, optimizer, samples, recipe, 1, ranks)
    return ranks.gather(samples), metrics, policy


def sft_step(recipe: Recipe, batch: TokenBatch, ranks: Ranks) -> tuple[dict[str, float], Policy]:
    """The same of SFT; one row of five has neither prompt nor chain."""
    policy = ready(recipe, ranks)
    optimizer = torch.optim.SGD(policy.trainable().values(), lr=1.0)
    hidden = torch.tensor([False, True, False, False, False])
    return sft.learn(policy, optimizer, batch, hidden, recipe, 1, ranks), policy


def state(policy: Policy, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Trained weights and AdamW's state, in one piece each."""
    found = {}
    for name, parameter in policy.trainable().items():
        found[name] = whole(parameter.detach()).clone()
        for key, value in optimizer.state[parameter].items():
            found[f"{name}/{key}"] = whole(value).clone()
    return found


def adam_step(
    recipe: Recipe, folder: Path, batch: TokenBatch, ranks: Ranks, *, step: int
) -> tuple[list[dict[str, Tensor]], float]:
    """One step of AdamW, from the checkpoint of the step before if there is one, to its own.

    Returns the state before and after, and the loss.
    """
    gently = recipe.sft.model_copy(update={"learning_rate": 1e-3})
    recipe = recipe.model_copy(update={"sft": gently})
    policy = ready(recipe, ranks)
    optimizer = make_optimizer(policy.trainable().values(), recipe.sft)
    if step > 1:
        before = folder / "checkpoints" / f"step_{step - 1:06d}"
        assert load_checkpoint(before, policy, optimizer, ranks).step == step - 1
    states = [state(policy, optimizer)]
    hidden = torch.zeros(len(batch), dtype=torch.bool)
    metrics = sft.learn(policy, optimizer, batch, hidden, recipe, step, ranks)
    save_checkpoint(folder, step, policy, optimizer, ranks)
    return [*states, state(policy, optimizer)], metrics["loss"]


def weights(policy: Policy) -> dict[str, Tensor]:
    """The trained weights, in one piece each."""
    return {name: whole(p.detach()).clone() for name, p in policy.trainable().items()}


def sft_batch(policy: Policy) -> TokenBatch:
    """Five sequences of various lengths."""
    generator = torch.Generator().manual_seed(0)
    chains = [torch.randint(20, 200, (12 + 7 * i,), generator=generator) for i in range(5)]
    codes = policy.model.config.vq_config.num_embeddings
    image_ids = torch.randint(codes, (5, policy.image_tokens), generator=generator)
    return TokenBatch.pack([policy.encode_prompt("a heart")] * 5, chains, image_ids, policy.pad_id)


def main(folder: Path) -> None:
    """Writes `<case>.pt`, and the checkpoint of step 2 from that of step 1."""
    recipes = yaml.safe_load((folder / "recipes.yaml").read_text())
    cases = {name: Recipe.model_validate(recipe) for name, recipe in recipes.items()}
    with processes(cases["lora"].scale) as ranks:
        batch = sft_batch(load_policy(cases["lora"].model.path))
        for name, recipe in cases.items():
            loaded = load_share(recipe.model, recipe.scale, ranks)
            read = ranks.gather(loaded.model.lm_head.weight.device.type)
            samples, metrics, policy = rl_step(recipe, ranks)
            found: dict[str, Any] = {"engine": type(policy.engine).__name__, "read": read}
            found |= {"rl": weights(policy), "rl metrics": metrics}
            if samples:
                rollout = Samples.join(samples).rollout
                found |= {"chains": rollout.chains.texts, "image_ids": rollout.image_ids}
            metrics, policy = sft_step(recipe, batch, ranks)
            found |= {"sft": weights(policy), "sft metrics": metrics}
            found["adam"], _ = adam_step(recipe, folder / name, batch, ranks, step=2)
            if ranks.main:
                torch.save(found, folder / f"{name}.pt")


# -- two processes against one ---------------------------------------------------------------------


def torchrun(*arguments: str | Path, log: Path) -> subprocess.Popen[bytes]:
    """Starts two processes on the CPU; what they say goes to `stdout.txt` and `stderr.txt`."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    # `small_runs` lies in the folder of all tests, which pytest alone has on its path.
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    with (log / "stdout.txt").open("wb") as stdout, (log / "stderr.txt").open("wb") as stderr:
        return subprocess.Popen(
            [*command, *map(str, arguments)],
            stdout=stdout,
            stderr=stderr,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        )


@pytest.fixture(scope="module")
def cases() -> dict[str, Recipe]:
    """LoRA and all weights, on the shipped model: its samples have rewards to tell apart."""

    def recipe(rank: int, dtype: str = "float32", plans: bool = False, **scale: object) -> Recipe:
        exact = {"learning_rate": 1.0, "max_grad_norm": 1e9}  # a step is then the plain gradient
        reward = {"r_ri": 0, "r_pi": 0} if plans else {}
        return Recipe.model_validate(
            {
                "model": {"path": "icons", "dtype": dtype, "lora": {"rank": rank}},
                "rollout": {"chain_limit": 120, "guidance": 2.0},
                "rl": {"group": 4, "kl_coef": 0.1, "image_weight": 0 if plans else 1, **exact},
                "reward": reward,
                "sft": exact,
                "scale": scale,
            }
        )

    return {
        "lora": recipe(4),
        # Two sequences fit: the ranks then have unlike numbers of micro-batches.
        "full": recipe(0, micro_tokens=500, checkpoint_activations=True),
        "sharded lora": recipe(4, sharding="fsdp"),
        "plans": recipe(0, plans=True, micro_tokens=500),
        "plans lora": recipe(4, plans=True),
        "bfloat16": recipe(0, dtype="bfloat16"),
    }


@pytest.fixture(scope="module")
def two(cases: dict[str, Recipe], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which one process made step 1 of each case, and two the rest."""
    folder = tmp_path_factory.mktemp("two")
    recipes = {name: recipe.model_dump() for name, recipe in cases.items()}
    (folder / "recipes.yaml").write_text(yaml.safe_dump(recipes))
    batch = sft_batch(load_policy("icons"))
    for name, recipe in cases.items():
        adam_step(recipe, folder / name, batch, ALONE, step=1)
    code = torchrun(__file__, folder, log=folder).wait()
    assert code == 0, (folder / "stderr.txt").read_text()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "engine"),
    [
        ("lora", "DistributedDataParallel"),
        ("full", "FSDPReplayer"),
        ("sharded lora", "FSDPReplayer"),
        ("plans", "FSDPReplayer"),
        ("plans lora", "DistributedDataParallel"),
    ],
)
def test_two_processes_learn_what_one_learns(
    case: str, engine: str, cases: dict[str, Recipe], two: Path
) -> None:
    found = torch.load(two / f"{case}.pt", weights_only=False)
    assert found["engine"] == engine
    # Weights that will be divided are read by one process.
    assert found["read"] == ["cpu", "meta" if engine == "FSDPReplayer" else "cpu"]
    start = weights(ready(cases[case], ALONE))

    samples, metrics, policy = rl_step(cases[case], ALONE)
    # Other batches round otherwise, which moves a token only where its noise falls within about
    # 1e-6 of a boundary: odds of a false alarm about 1 in 500.
    assert found["chains"] == samples[0].rollout.chains.texts
    assert found["image_ids"].equal(samples[0].rollout.image_ids)
    alone = {"rl": weights(policy)}
    assert metrics["skipped_groups"] < len(PROMPTS), "some group must have something to learn"
    known = {key: value for key, value in metrics.items() if not key.startswith("seconds")}
    for key, value in known.items():
        assert found["rl metrics"][key] == pytest.approx(value, rel=1e-3, abs=1e-5), key

    metrics, policy = sft_step(cases[case], sft_batch(policy), ALONE)
    alone["sft"] = weights(policy)
    assert found["sft metrics"] == pytest.approx(metrics, rel=1e-4)
    for stage, after in alone.items():
        assert max((after[name] - start[name]).abs().max() for name in start) > 1e-3
        for name, weight in after.items():
            torch.testing.assert_close(found[stage][name], weight, atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["lora", "full"])
def test_a_checkpoint_moves_from_one_process_to_two_and_back(
    case: str, cases: dict[str, Recipe], two: Path, tmp_path: Path
) -> None:
    recipe, batch = cases[case], sft_batch(load_policy("icons"))
    on_two = torch.load(two / f"{case}.pt", weights_only=False)["adam"]
    alone = [adam_step(recipe, tmp_path, batch, ALONE, step=step) for step in (1, 2, 3)]
    moved = adam_step(recipe, two / case, batch, ALONE, step=3)
    # Loaded as saved, to the bit: by two what one wrote, by one what two wrote.
    for read, written in ((on_two[0], alone[0][0][1]), (moved[0][0], on_two[1])):
        assert read.keys() == written.keys()
        assert all(read[name].equal(written[name]) for name in read)
    assert moved[1] == pytest.approx(alone[2][1], rel=1e-3)


@pytest.mark.slow
def test_bfloat16_is_what_sampler_and_replay_compute_in(
    cases: dict[str, Recipe], two: Path
) -> None:
    exact, rounded = (
        torch.load(two / f"{case}.pt", weights_only=False) for case in ("full", "bfloat16")
    )
    assert all(weight.dtype == torch.float32 for weight in rounded["rl"].values())
    assert exact["rl metrics"]["ratio_gap"] < 1e-4 < rounded["rl metrics"]["ratio_gap"] < 0.1
    before, after = exact["sft metrics"]["grad_norm"], rounded["sft metrics"]["grad_norm"]
    assert after == pytest.approx(before, rel=0.1)
    assert after != before


@pytest.mark.slow
def test_a_whole_run_on_two_processes(tmp_path: Path) -> None:
    settings = [
        *("rl.steps=2", "rl.prompts=3", "rl.group=4", "rl.save_every=1", "eval.prompts=5"),
        f"run.dir={tmp_path / 'run'}",
    ]
    recipe = Path(__file__).parents[2] / "recipes" / "icons.yaml"
    run = torchrun("-m", "got_r1", "train", "rl", recipe, *settings, "--json", log=tmp_path)
    assert run.wait() == 0, (tmp_path / "stderr.txt").read_text()
    summary = json.loads((tmp_path / "stdout.txt").read_text())  # said once
    assert summary["steps"] == 2
    folder = tmp_path / "run"
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert all(0 <= line["reward/total"] <= 2 for line in lines)
    assert len(list((folder / "samples/step_000001").glob("*.png"))) == 3
    evals = {one["name"]: one for one in summary["evals"]}
    assert evals.keys() == {"sft", "rl"}
    assert evals["rl"]["prompts"] == 5
    trained, shipped = load_policy(summary["model"]), load_policy("icons")
    moved = trained.model.lm_head.weight - shipped.model.lm_head.weight
    assert 0 < moved.abs().max() < 0.1


# -- a lost process --------------------------------------------------------------------------------


def child_of_rank(parent: int, rank: int) -> int | None:
    """The process id of a rank that torchrun started, once it is there."""
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            return int(child)
    return None


def kill_rank_1(run: subprocess.Popen[bytes], is_time: Callable[[], bool], errors: Path) -> None:
    """Kills the second process once it is time; the whole run then ends with a failure."""
    deadline = time.monotonic() + 400
    while not is_time():
        assert run.poll() is None, errors.read_text()
        assert time.monotonic() < deadline, "the run has not come so far"
        time.sleep(0.005)
    victim = child_of_rank(run.pid, 1)
    assert victim is not None
    os.kill(victim, signal.SIGKILL)
    assert run.wait() != 0


@pytest.mark.slow
def test_a_killed_process_leaves_a_message_and_a_run_that_resumes(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    settings = {"steps": 24, "batch": 6, "save_every": 2}
    whole_run, broken = make_recipe("whole", sft=settings), make_recipe("broken", sft=settings)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(broken.model_dump()))
    errors, folder = tmp_path / "stderr.txt", Path(broken.run.dir)
    run = torchrun("-m", "got_r1", "train", "sft", tmp_path / "recipe.yaml", log=tmp_path)
    metrics = folder / "metrics.jsonl"
    kill_rank_1(
        run, lambda: metrics.exists() and len(metrics.read_bytes().splitlines()) >= 3, errors
    )
    said = errors.read_text()
    assert "got-r1: process 0" in said
    assert "--resume" in said
    assert newest_checkpoint(folder) is not None

    sft.train(broken, resume=True, quiet=True)  # on one process
    sft.train(whole_run, quiet=True)
    lines = [all_metrics(Path(one.run.dir)) for one in (broken, whole_run)]
    assert [line["step"] for line in lines[0]] == list(range(1, 25))
    for resumed, uninterrupted in zip(*lines, strict=True):
        assert resumed == pytest.approx(uninterrupted, rel=1e-2)


LATE = """
import os, time
from pathlib import Path
from got_r1.cli import run
from got_r1.training.run import Run

if os.environ["RANK"] == "1":  # opens the run after the other rank made its folder, if it can
    opened = Run.open.__func__

    def late(cls, recipe, *args, **kwargs):
        until = time.monotonic() + 10
        while not Path(recipe.run.dir, "config.yaml").exists() and time.monotonic() < until:
            time.sleep(0.05)
        return opened(cls, recipe, *args, **kwargs)

    Run.open = classmethod(late)
run()
"""


@pytest.mark.slow
def test_a_late_process_does_not_take_a_new_run_for_one_to_resume(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    """One rank decides whether there is a run: ranks that look by themselves wait for each other
    for ever."""
    recipe = make_recipe("run", sft={"steps": 1}, scale={"timeout": 60})
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump()))
    (tmp_path / "late.py").write_text(LATE)
    command = (tmp_path / "late.py", "train", "sft", tmp_path / "recipe.yaml", "--resume")
    code = torchrun(*command, log=tmp_path).wait()
    assert code == 0, (tmp_path / "stderr.txt").read_text()
    assert len((Path(recipe.run.dir) / "metrics.jsonl").read_text().splitlines()) == 1


SILENT = """
import os
from got_r1.cli import run
from got_r1.judges.oracle import OracleJudge
from got_r1.records import ImageQuery, JudgeFailure
from got_r1.training import rl

class Silent(OracleJudge):
    step = 0

    def judge(self, queries):
        answers = super().judge(queries)
        if any(isinstance(query, ImageQuery) for query in queries):
            self.step += 1
            if self.step >= 2:
                answers = [JudgeFailure("it is gone") for _ in answers]
        return answers

if os.environ["RANK"] == "1":  # the other rank's judge answers
    rl.load_judge = lambda *_: Silent()
run()
"""


@pytest.mark.slow
def test_a_judge_that_fails_on_one_process_stops_all_and_the_run_resumes(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    """The share counts samples of all processes; none goes on with the update or waits for it."""
    recipe = make_recipe(
        "run",
        model={"path": "icons"},
        rollout={"chain_limit": 120, "guidance": 1.0},
        rl={"steps": 3, "prompts": 2, "group": 4, "save_every": 3},
        eval={"prompts": 0},
        scale={"timeout": 120},
    )
    folder = Path(recipe.run.dir)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump()))
    (tmp_path / "silent.py").write_text(SILENT)
    command = (tmp_path / "silent.py", "train", "rl", tmp_path / "recipe.yaml")
    assert torchrun(*command, log=tmp_path).wait() != 0
    said = (tmp_path / "stderr.txt").read_text()
    # The process whose judge is gone has four; nobody is asked about malformed chains.
    assert re.search(r"the judge failed on [2-4] of 8 samples of step 2 \(it is gone\)", said)
    assert "the run is saved up to step 1" in said
    assert "Traceback" not in said.split("the judge failed")[0]
    failures = (folder / "judge_failures.jsonl").read_text().splitlines()
    assert {json.loads(line)["step"] for line in failures} == {2}
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["step_000001"]

    rl.train(recipe, resume=True, quiet=True)  # on one process, with a judge that answers
    steps = [
        json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()
    ]
    assert steps == [1, 2, 3]


# -- one process -----------------------------------------------------------------------------------


def test_micro_batches_hold_every_row_once_and_no_more_tokens_than_asked() -> None:
    lengths = torch.tensor([30, 10, 25, 90, 12, 11])
    rows = torch.tensor([0, 1, 3, 4, 5])
    parts = micro_batches(rows, lengths, samples=4, tokens=60)
    assert sorted(torch.cat(parts).tolist()) == rows.tolist()
    sizes = [len(part) * int(lengths[part].max()) for part in parts]
    assert sizes == [90, 60, 22], "a row that is too long by itself stands alone"
    assert [part.tolist() for part in micro_batches(rows, lengths, samples=4)] == [
        [0, 1, 3, 4],
        [5],
    ]
    assert micro_batches(rows[:0], lengths, samples=4, tokens=60) == ()


def test_shares_are_all_and_in_order() -> None:
    parts = [Ranks(rank, 3).share(range(8)) for rank in range(3)]
    assert [list(part) for part in parts] == [[0, 1], [2, 3, 4], [5, 6, 7]]


def test_more_processes_than_prompts_are_refused() -> None:
    with pytest.raises(BadInput, match=r"rl\.prompts=2"):
        check_division(2, Ranks(0, 3))


def test_a_damaged_or_older_checkpoint_is_named(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("run", sft={"steps": 2})
    sft.train(recipe, quiet=True)
    newest = newest_checkpoint(Path(recipe.run.dir))
    assert newest is not None
    (data,) = newest.glob("*.distcp")
    data.write_bytes(data.read_bytes()[:1000])
    for digests in Path(recipe.run.dir).rglob(DIGESTS):
        digests.unlink()
    with pytest.raises(RunFailed, match="move it away"):
        sft.train(recipe, resume=True, quiet=True)
    (newest / ".metadata").unlink()
    with pytest.raises(BadInput, match="older version"):
        sft.train(recipe, resume=True, quiet=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    leave(0)  # as the command does: gloo's threads may abort a process that ends otherwise
