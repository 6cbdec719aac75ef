"""The dry run against arithmetic on the published sizes, and against what training really holds."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import JanusConfig

from got_r1.checkpoints.official_sizes import official_sizes
from got_r1.cli import main
from got_r1.errors import BadInput
from got_r1.policy import load_policy
from got_r1.policy.janus import Policy, TokenBatch
from got_r1.policy.sampler import Sampler
from got_r1.recipes.recipe_file import load_recipe
from got_r1.recipes.sections import Recipe
from got_r1.records import Prompt
from got_r1.sizing import memory
from got_r1.sizing.dry_run import check_room, render, verdict
from got_r1.sizing.estimate import RunEstimate, estimate
from got_r1.sizing.meta import sum_bytes
from got_r1.training.distributed import checkpoint_activations
from got_r1.training.optimizer import make_optimizer, update
from got_r1.training.vq import blank_policy, decode, encode

MakeRecipe = Callable[..., Recipe]
RECIPE = str(Path(__file__).parents[2] / "recipes" / "icons.yaml")
PUBLISHED = {"janus-pro-1b": (2048, 24, 5632), "janus-pro-7b": (4096, 30, 11008)}
WORDS, CODES, SMALL = 102400, 16384, 8


def official(name: str, **sections: dict[str, Any]) -> Recipe:
    model = {"path": name} | sections.pop("model", {})
    return Recipe.model_validate({"model": model, **sections})


def held(found: RunEstimate, phase: str) -> dict[str, int]:
    return next(one.bytes for one in found.phases if one.name == phase)


# -- parameters: pencil and paper ------------------------------------------------------------------


def linear(into: int, out: int) -> int:
    return into * out + out


def residual_block(into: int, out: int) -> int:
    convolutions = linear(9 * into, out) + linear(9 * out, out)
    return 2 * into + 2 * out + convolutions + (linear(into, out) if into != out else 0)


def attention_block(width: int) -> int:
    return 2 * width + 4 * linear(width, width)


def vq_side(widths: list[int], blocks: int, first: int, last: int) -> int:
    """`widths` in the order of the pass: a block's input is what the stage before it put out."""
    count = linear(9 * first, widths[0])
    lowest = max(widths)
    count += 2 * residual_block(lowest, lowest) + attention_block(lowest)
    width = widths[0]
    for stage, out in enumerate(widths):
        for _ in range(blocks):
            count += residual_block(width, out)
            width = out
            if out == lowest:
                count += attention_block(out)
        if stage < len(widths) - 1:
            count += linear(9 * width, width)
    return count + 2 * width + linear(9 * width, last)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_of_the_published_sizes(name: str) -> None:
    d, layers, m = PUBLISHED[name]
    found = estimate(official(name, model={"lora": {"rank": 32}}), "rl", gpu=True)
    count = {part.name: part.parameters for part in found.parts}

    assert count["language model"] == WORDS * d + layers * (4 * d * d + 3 * d * m + 2 * d) + d
    assert count["text head"] == WORDS * d
    assert count["image head"] == linear(d, d) + linear(d, CODES)
    assert count["image embeddings"] == CODES * SMALL + linear(SMALL, d) + linear(d, d)
    adapter = 32 * (4 * (d + d) + 3 * (d + m))
    assert count["adapters"] == layers * adapter
    stages = [128, 128, 256, 256, 512]
    assert count["VQ encoder"] == vq_side(stages, 2, 3, 256) + linear(256, SMALL)
    decoder = vq_side(stages[::-1], 3, 256, 3)
    assert count["VQ decoder"] == CODES * SMALL + linear(SMALL, 256) + decoder
    w = 1024
    tower = linear(3 * 16 * 16, w) + 576 * w + 2 * w
    tower += 24 * (4 * linear(w, w) + linear(w, 4 * w) + linear(4 * w, w) + 4 * w)
    assert count["vision tower"] == tower + linear(w, d) + linear(d, d)
    # The hub says 2.09 and 7.42 billion, with an attention pool that nothing uses.
    total = sum(count.values()) - count["adapters"]
    assert total == pytest.approx({"janus-pro-1b": 2.09e9, "janus-pro-7b": 7.42e9}[name], rel=0.01)

    trained = {part.name: part.trained for part in found.parts if part.trained}
    assert trained == {"adapters": layers * adapter}
    off = {part.name for part in found.parts if not part.on_device}
    assert off == {"VQ encoder", "vision tower"}


def test_full_fine_tuning_trains_what_a_sequence_passes_through() -> None:
    found = estimate(official("janus-pro-1b", model={"lora": {"rank": 0}}), "sft", gpu=True)
    trained = {part.name for part in found.parts if part.trained}
    assert trained == {"language model", "text head", "image head", "image embeddings"}
    assert all(part.trained in (0, part.parameters) for part in found.parts)
    assert sum_of(found, "update", "gradients") == 4 * sum(part.trained for part in found.parts)


def sum_of(found: RunEstimate, phase: str, item: str) -> int:
    return held(found, phase)[item]


def test_a_pattern_decides_which_adapters_there_are() -> None:
    lora = {"rank": 4, "targets": r".*language_model.*\.(q_proj|v_proj)"}
    found = estimate(official("janus-pro-1b", model={"lora": lora}), "rl", gpu=True)
    adapters = next(part for part in found.parts if part.name == "adapters")
    assert adapters.parameters == 24 * 4 * 2 * (2048 + 2048)
    everywhere = estimate(official("janus-pro-1b"), "rl", gpu=True)
    assert sum_of(found, "update", "activations") < sum_of(everywhere, "update", "activations")


def test_a_converted_folder_is_read_like_the_name_of_its_size(tmp_path: Path) -> None:
    official_sizes("janus-pro-1b").save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")  # SFT counts no prompts
    by_folder = estimate(official(str(tmp_path)), "sft", gpu=True).to_json()
    by_name = estimate(official("janus-pro-1b"), "sft", gpu=True).to_json()
    assert by_folder | {"model": ""} == by_name | {"model": ""}


# -- memory: what training really holds ------------------------------------------------------------


def a_batch(policy: Policy, rows: int, prompt: int, chain: int) -> TokenBatch:
    generator = torch.Generator().manual_seed(0)
    words = policy.model.config.text_config.vocab_size
    codes = policy.model.config.vq_config.num_embeddings
    text = torch.randint(words, (rows, prompt + chain), generator=generator)
    image = torch.randint(codes, (rows, policy.image_tokens), generator=generator)
    lengths = torch.full((rows,), prompt), torch.full((rows,), prompt + chain)
    return TokenBatch(text, *lengths, image)


def kept_bytes(policy: Policy, action: Callable[[], object]) -> int:
    """What autograd keeps while `action` runs, weights aside."""
    weights = {p.untyped_storage()._cdata for p in policy.model.state_dict().values()}
    seen: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        seen[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        kept = action()
    del kept
    return sum(t.untyped_storage().nbytes() for key, t in seen.items() if key not in weights)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize(("guided", "checkpointing"), [(False, False), (True, False), (True, True)])
def test_activations_against_what_autograd_keeps(
    model_folder: Path, dtype: str, rank: int, autocast: bool, guided: bool, checkpointing: bool
) -> None:
    recipe = official(
        str(model_folder),
        model={"dtype": dtype, "lora": {"rank": rank, "dropout": 0.1 if guided else 0.0}},
        scale={"checkpoint_activations": checkpointing},
    )
    policy = load_policy(model_folder, getattr(torch, dtype))
    policy.prepare_training(recipe.model.lora)
    policy.model.train()
    if checkpointing:
        checkpoint_activations(policy)
    rows, prompt, chain = 2, 12, 30
    batch = a_batch(policy, rows, prompt, chain)

    def replay() -> object:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            return policy.replay(batch, mode="guided", guidance=2.0 if guided else 1.0)

    measured = kept_bytes(policy, replay)
    names = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    tuning = memory.Tuning(
        weights=policy.model.lm_head.weight.element_size(),
        autocast=autocast,
        adapted=memory.Counter(names) if rank else None,
        rank=rank,
        dropout=guided,
        flash=False,
        checkpointing=checkpointing,
    )
    sequences = memory.Sequences(rows, prompt + chain, policy.image_tokens, chain)
    config = policy.model.config
    layers, rest = memory.replay_bytes(config, tuning, sequences, guided=guided)
    if checkpointing:  # the one layer that is made again is not kept meanwhile
        once = memory.layer_bytes(config.text_config, tuning, sequences.length)
        layers -= once * sequences.tokens + memory.weight_copies(config.text_config, tuning)
    kept, _ = memory.logits_bytes(config, tuning, sequences, guided=guided, at_once=1 << 26)
    assert layers + rest + kept == pytest.approx(measured, rel=0.15)


def test_the_image_tokenizer_keeps_what_is_said() -> None:
    recipe = official("", vq={"batch": 2})
    found = estimate(recipe, "vq", gpu=False)
    policy = blank_policy(0)
    policy.model.requires_grad_(False)
    policy.model.model.vqmodel.requires_grad_(True)
    pixels = torch.rand(2, 3, 40, 40)
    measured = kept_bytes(policy, lambda: decode(policy, encode(policy, pixels)))
    assert sum_of(found, "update", "activations") == pytest.approx(measured, rel=0.01)


@pytest.mark.parametrize("rank", [0, 4])
def test_weights_gradients_and_optimizer_are_exact(
    make_recipe: MakeRecipe, model_folder: Path, rank: int
) -> None:
    recipe = make_recipe("r", model={"lora": {"rank": rank}})
    found = estimate(recipe, "sft", gpu=False)
    policy = load_policy(model_folder)
    weights = sum_bytes(policy.model.parameters())
    policy.prepare_training(recipe.model.lora)
    optimizer = make_optimizer(policy.trainable().values(), recipe.sft)
    replay = policy.replay(a_batch(policy, 2, 8, 12))
    (replay.chain_logprobs.mean() + replay.image_logprobs.mean()).backward()
    trained = policy.trainable().values()
    gradients = sum_bytes(p.grad for p in trained if p.grad is not None)
    update(optimizer, recipe.sft, 1)
    moments = [
        value
        for state in optimizer.state.values()
        for name, value in state.items()
        if name != "step"
    ]
    adapters = sum_bytes(trained) if rank else 0
    assert held(found, "optimizer") | {"temporaries": 0} == {
        "weights": weights + adapters,
        "gradients": gradients,
        "optimizer state": sum_bytes(moments),
        "temporaries": 0,
    }
    assert found.checkpoint_bytes == sum_bytes(trained) + sum_bytes(moments)


@pytest.fixture
def live_bytes(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "bench"))
    from live_bytes import LiveBytes

    return LiveBytes


@pytest.mark.parametrize("at_once", [0, 4])
def test_the_phases_of_a_step_against_living_tensors(
    make_recipe: MakeRecipe, model_folder: Path, live_bytes: Any, at_once: int
) -> None:
    """Peaks of the phases: every tensor alive is counted at every operation."""
    recipe = make_recipe(
        "r",
        model={"lora": {"rank": 4}},
        rl={"prompts": 4, "group": 4, "micro_batch": 4},
        data={"prompts": ""},
        scale={"rollout_batch": at_once},
    )
    found = {phase.name: phase for phase in estimate(recipe, "rl", gpu=False).phases}
    policy = load_policy(model_folder)
    policy.prepare_training(recipe.model.lora)
    never = 10**6  # no token: chains run to the limit
    policy.begin_of_image_id = policy.eos_id = never
    optimizer = make_optimizer(policy.trainable().values(), recipe.rl)
    for parameter in policy.trainable().values():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    moments = [v for state in optimizer.state.values() for v in state.values()]
    peaks: dict[str, int] = {}
    with live_bytes([*policy.model.state_dict().values(), *moments]) as live:

        def measured(name: str) -> None:
            peaks[name] = live.peak
            live.reset_peak()

        sampler = Sampler(policy, at_once=at_once)
        limit = recipe.rollout.chain_limit
        prompts = [Prompt(f"a photo of a red star, number {i}, and nothing else") for i in range(4)]
        written = sampler.write_chains(prompts, 4, seed=0, limit=limit)
        measured("chains")
        token_ids = tuple(ids.where(ids != never, 1) for ids in written.token_ids)
        object.__setattr__(written, "token_ids", token_ids)
        policy.begin_of_image_id = 4
        rollout = sampler.draw_images(written, guidance=recipe.rollout.guidance)
        measured("images")
        policy.decode_images(rollout.image_ids)
        measured("pixels")
        del sampler
        policy.model.train()
        replay = policy.replay(
            TokenBatch.from_rollout(rollout, policy.pad_id)[torch.arange(4)],
            mode="guided",
            guidance=recipe.rollout.guidance,
        )
        (replay.chain_logprobs.mean() + replay.image_logprobs.mean()).backward()
        measured("update")
    told = {name: found[name].total for name in peaks}
    assert told == pytest.approx(peaks, rel=0.15)


# -- processes -------------------------------------------------------------------------------------


def test_full_sharding_divides_what_stays() -> None:
    recipe = official("janus-pro-1b", model={"lora": {"rank": 0}})
    alone, eight = (estimate(recipe, "rl", gpu=True, processes=n) for n in (1, 8))
    assert (alone.sharding, eight.sharding) == ("none", "fsdp")
    for item in ("weights", "gradients", "optimizer state", "KL reference"):
        assert 8 * sum_of(eight, "update", item) == pytest.approx(
            sum_of(alone, "update", item), rel=1e-6
        )
    # Sampling reads whole weights.
    whole = sum_of(alone, "chains", "weights")
    assert sum_of(eight, "chains", "gathered weights") == pytest.approx(whole, rel=0.05)
    caches = [sum_of(found, "images", "key-value cache") for found in (alone, eight)]
    assert caches[1] == pytest.approx(caches[0] / 8, rel=0.03)


def test_copies_under_ddp_keep_their_weights_and_hold_gradients_twice() -> None:
    recipe = official("janus-pro-1b")
    alone, two = (estimate(recipe, "rl", gpu=True, processes=n) for n in (1, 2))
    assert two.sharding == "ddp"
    assert sum_of(two, "update", "weights") == sum_of(alone, "update", "weights")
    assert sum_of(two, "update", "gradients") == 2 * sum_of(alone, "update", "gradients")
    assert two.work == alone.work


def test_scale_settings_make_the_update_smaller() -> None:
    def update_bytes(**scale: object) -> int:
        recipe = official("janus-pro-7b", model={"dtype": "bfloat16"}, scale=scale)
        return sum_of(estimate(recipe, "rl", gpu=True), "update", "activations")

    plain, few, again = (
        update_bytes(),
        update_bytes(micro_tokens=4096),
        update_bytes(checkpoint_activations=True),
    )
    assert few == pytest.approx(plain * 3 / 64, rel=0.1)  # 3 rows of 1241 tokens, not 64
    assert again < plain / 8


# -- a step's work ---------------------------------------------------------------------------------


def test_tokens_and_judge_calls_of_a_step() -> None:
    recipe = official(
        "janus-pro-7b",
        rollout={"chain_limit": 600, "guidance": 5.0},
        rl={"prompts": 8, "group": 16, "steps": 1000},
        reward={"r_spa": 0.0},
    )
    found = estimate(recipe, "rl", gpu=True)
    length = 64 + 600 + 1 + 576 - 1
    assert found.steps == 1000
    assert found.work == {
        "samples": 128,
        "chain tokens, at most": 128 * 600,
        "image tokens": 128 * 576,
        "forward tokens, sampling": 128 * (600 + 2 * 576),
        "forward tokens, KL reference": 128 * 2 * length,
        "forward and backward tokens": 128 * 2 * length,
        "judge calls, r_sem": 128,
        "judge calls, r_ri": 4 * 128,
        "judge calls, r_pi": 128,
        "judge calls": 6 * 128,
    }


def test_plans_alone_cost_their_chains() -> None:
    recipe = official(
        "janus-pro-7b",
        rollout={"chain_limit": 600, "guidance": 5.0},
        rl={"prompts": 8, "group": 16, "image_weight": 0},
        reward={"r_ri": 0, "r_pi": 0},
    )
    found = estimate(recipe, "rl", gpu=True)
    assert found.work == {
        "samples": 128,
        "chain tokens, at most": 128 * 600,
        "image tokens": 0,
        "forward tokens, sampling": 128 * 600,
        "forward tokens, KL reference": 128 * (64 + 600 + 1),
        "forward and backward tokens": 128 * (64 + 600 + 1),
        "judge calls, r_sem": 128,
        "judge calls, r_spa": 128,
        "judge calls": 2 * 128,
    }
    assert any("plans alone" in note for note in found.assumptions)


def test_the_cache_of_a_rollout() -> None:
    """128 rows of up to 64 + 600 tokens of text and 576 of image, and as many without the text."""
    recipe = official("janus-pro-1b", model={"dtype": "bfloat16"}, rl={"prompts": 8, "group": 16})
    found = estimate(recipe, "rl", gpu=True)
    token = 24 * 2 * 2048 * 2
    slots = 128 * (672 + 576) + 128 * 576 + 665
    assert sum_of(found, "images", "key-value cache") == token * slots
    unguided = recipe.model_copy(
        update={"rollout": recipe.rollout.model_copy(update={"guidance": 1.0})}
    )
    alone = estimate(unguided, "rl", gpu=True)
    assert sum_of(alone, "images", "key-value cache") == token * 128 * (672 + 576)


def test_parts_of_a_rollout_hold_their_own_cache_alone() -> None:
    recipes = [
        official("janus-pro-1b", model={"dtype": "bfloat16"}, scale={"rollout_batch": at_once})
        for at_once in (0, 48, 1000)
    ]
    whole, parts, more = (estimate(recipe, "rl", gpu=True) for recipe in recipes)
    token = 24 * 2 * 2048 * 2
    slots = 48 * (672 + 576) + 48 * 576 + 665
    assert sum_of(parts, "images", "key-value cache") == token * slots
    assert 128 * sum_of(parts, "chains", "key-value cache") == 48 * sum_of(
        whole, "chains", "key-value cache"
    )
    for phase in ("pixels", "update", "optimizer"):
        assert held(parts, phase) == held(whole, phase)
    assert parts.work == whole.work
    assert more.phases == whole.phases, "no more are drawn than there are"


def test_the_7b_recipe_is_for_one_gpu_of_80_gb() -> None:
    recipe = Path(RECIPE).with_name("janus_7b.yaml")
    settings = ["model.path=janus-pro-7b", "data.prompts=icons", "data.held_out="]
    card = 80 * 10**9
    found = estimate(load_recipe(recipe, settings), "rl", gpu=True)
    assert found.peak.total < card
    together = estimate(load_recipe(recipe, [*settings, "scale.rollout_batch=0"]), "rl", gpu=True)
    assert together.peak.total > 1.5 * card
    assert "fewer samples at once (scale.rollout_batch)" in verdict(together, card)


# -- too little room -------------------------------------------------------------------------------


def test_too_little_memory_is_refused_with_the_remedy(tmp_path: Path) -> None:
    recipe = official("janus-pro-7b", model={"lora": {"rank": 0}})
    found = estimate(recipe, "rl", gpu=True)
    with pytest.raises(BadInput, match=r"alone take .* GiB .* LoRA \(model.lora.rank=32\)"):
        check_room(found, tmp_path / "run", 80 * 2**30)
    assert "but there are 80.0 GiB: a smaller rl.micro_batch" in verdict(found, 80 * 2**30)
    assert verdict(found, None).endswith("a GPU.")


@pytest.mark.parametrize(
    ("memory_bytes", "told"),
    [(200 * 2**30, "of 200.0 GiB."), (24 * 2**30, "a smaller rl.micro_batch")],
)
def test_the_verdict_names_what_would_help(memory_bytes: int, told: str) -> None:
    recipe = official("janus-pro-1b", model={"dtype": "bfloat16"}, rl={"micro_batch": 16})
    found = estimate(recipe, "rl", gpu=True)
    assert found.peak.name == "update"
    assert told in verdict(found, memory_bytes)
    assert told in " ".join(render(found, memory_bytes).split())


def test_too_little_disk_is_refused(
    make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = estimate(make_recipe("r"), "sft", gpu=False)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, found.disk_bytes - 1))
    with pytest.raises(BadInput, match=r"the disk of run\.dir="):
        check_room(found, tmp_path / "not" / "there", None)
    # A run that goes on has some of its checkpoints already.
    saved = tmp_path / "run" / "checkpoints" / "step_000002" / "weights"
    saved.parent.mkdir(parents=True)
    saved.write_bytes(b"x")
    check_room(found, tmp_path / "run", None)


def test_checkpoints_take_what_is_said(make_recipe: MakeRecipe) -> None:
    from got_r1.training import sft

    recipe = make_recipe("r")
    found = estimate(recipe, "sft", gpu=False)
    sft.train(recipe, quiet=True)
    folder = Path(recipe.run.dir) / "checkpoints"
    files = [f for f in (folder / "step_000006").rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files) == pytest.approx(found.checkpoint_bytes, rel=0.15)


# -- the command -----------------------------------------------------------------------------------


def test_a_dry_run_prints_and_writes_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "rl", RECIPE, "--dry-run"]) == 0
    text = capsys.readouterr().out
    for words in (
        "language model",
        "key-value cache",
        "judge calls",
        "The largest phase",
        "tensorboard",
    ):
        assert words in text
    assert max(map(len, text.splitlines())) <= 80
    assert list(tmp_path.iterdir()) == []


def test_a_plan_for_other_hardware_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["train", "rl", RECIPE, "--dry-run", "--json", "model.path=janus-pro-7b"]
    argv += ["model.dtype=bfloat16", "model.lora.rank=32"]
    assert main([*argv, "--gpu-memory", "80", "--processes", "4"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["device"], found["processes"], found["sharding"]) == ("gpu", 4, "ddp")
    assert found["device_bytes"] == 80 * 2**30
    assert found["parameters_trained"] == found["parameters"]["adapters"]["total"]
    peak = found["peak"]
    assert found["bytes_per_device"][peak["phase"]]["total"] == peak["bytes"]


def test_a_recipe_whose_model_nobody_has_made_yet(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    argv = ["train", "rl", "janus-7b", "--dry-run", "--json", "--gpu-memory", "80"]
    assert main(argv) == 0
    found = json.loads(capsys.readouterr().out)
    assert main([*argv, "model.path=janus-pro-7b"]) == 0
    named = json.loads(capsys.readouterr().out)
    told = "the sizes of janus-pro-7b, as there is no folder models/janus-pro-7b-got"
    assert found.pop("assumptions") == [told, *named.pop("assumptions")]
    assert found.pop("model") == "models/janus-pro-7b-got"
    assert found == {name: value for name, value in named.items() if name != "model"}
    # A folder that is there counts, whatever its name.
    (tmp_path / "janus-pro-7b-empty").mkdir()
    assert main([*argv, "model.path=janus-pro-7b-empty"]) == 2
    assert "has no config.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--processes", "2"], "give them with --dry-run"),
        (["--dry-run", "model.path=janus-pro-70b"], "has no config.json"),
        (["--dry-run", "model.lora.rank=4", "model.lora.targets=nothing"], "model.lora.targets="),
        (["--dry-run", "--gpu-memory", "0"], "must be a number above 0"),
    ],
)
def test_mistakes(capsys: pytest.CaptureFixture[str], argv: list[str], told: str) -> None:
    assert main(["train", "rl", RECIPE, *argv]) == 2
    assert told in capsys.readouterr().err


def test_the_official_sizes_are_written_as_transformers_has_them() -> None:
    config = official_sizes("janus-pro-7b")
    assert isinstance(config, JanusConfig)
    assert (config.text_config.head_dim, config.vq_config.num_patches) == (128, 24)
    assert not config.tie_word_embeddings
