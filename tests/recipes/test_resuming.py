"""Every setting says on purpose whether it may change when a run is resumed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from got_r1.audit.alarms import ALARMS
from got_r1.judges.specs import JudgeSettings
from got_r1.recipes.recipe_file import explain
from got_r1.recipes.resuming import (
    CACHE,
    HARMLESS,
    LOOKING_ON,
    ROUNDING,
    SAME_JUDGE,
    UNUSED,
    MayChange,
    compare,
    may_change,
)
from got_r1.recipes.sections import Recipe, RLSection, Section, SFTSection, VQSection

MAY_CHANGE = {
    HARMLESS: "run.dir run.track run.project judge.max_failure_share judge.patience judge.record "
    "vq.save_every sft.save_every student.save_every rl.save_every rl.sample_every eval.probes "
    "scale.timeout "
    "watch.every watch.prompts watch.size watch.samples watch.window "
    + "".join(f"watch.alarms.{name} " for name in ALARMS)
    + "vq.max_skipped_updates sft.max_skipped_updates student.max_skipped_updates "
    "rl.max_skipped_updates",
    ROUNDING: "run.threads rl.micro_batch scale.sharding scale.micro_tokens scale.rollout_batch "
    "scale.checkpoint_activations eval.batch",
    CACHE: "judge.cache",
    LOOKING_ON: "watch.judge",
    SAME_JUDGE: "judge.spec judge.r_sem judge.r_spa judge.r_ri judge.r_pi judge.r_hps "
    "judge.teacher",
}
OPTIMIZER = "steps learning_rate warmup final_lr weight_decay beta1 beta2 max_grad_norm autocast "
CHANGES_RESULTS = {
    "run": "seed",
    "model": "path dtype lora.rank lora.alpha lora.dropout lora.targets",
    "data": "prompts held_out size relation_noise attribute_noise count_noise depth source split "
    "prompt_column chain_column image_column image_root bad_chains max_text_tokens encode_batch "
    "shard_records shards wordings",
    "rollout": "chain_limit chain_temperature image_temperature guidance marks",
    "judge": "model ask_above learn learning_rate",
    "student": OPTIMIZER + "examples encoder encoder_width encoder_layers start width layers batch "
    "held_out",
    "reward": "formula r_sem r_spa r_ri r_pi r_hps",
    "vq": OPTIMIZER + "batch",
    "sft": OPTIMIZER + "batch condition_dropout chain_loss_weight image_loss_weight",
    "rl": OPTIMIZER
    + "prompts group paraphrases inner_epochs clip_low clip_high kl_coef std_normalisation "
    "aggregation chain_weight image_weight logprob_mode",
    "eval": "prompts split seed",
}

JUDGE_MAY_CHANGE = {
    HARMLESS: "openai.urls openai.concurrency openai.timeout openai.retries openai.first_wait "
    "openai.api_key_env openai.rename",
    ROUNDING: "transformers.device transformers.batch experts.clip.device experts.clip.batch "
    "experts.detector.device experts.detector.batch experts.quality.device experts.quality.batch "
    "student.device student.batch",
    SAME_JUDGE: "own.file student.teacher",
}
JUDGE_CHANGES_RESULTS = {
    "student": "model ask_above",
    "openai": "model extra_body profile system structured",
    "transformers": "model dtype",
    "experts": "clip.model clip.dtype detector.kind detector.model detector.threshold "
    "quality.model quality.tokenizer quality.dtype r_sem.low r_sem.high r_spa.low r_spa.high "
    "r_pi.low r_pi.high r_hps.low r_hps.high same_object",
    "wording": "coordinates patch min_pixels max_pixels canvas spatial max_tokens temperature "
    "retry_temperature retries_unreadable",
    "own": "module sha256 name settings",
}


def marks(section: type[Section], key: str = "") -> Iterator[tuple[str, MayChange | None]]:
    """Every setting at or below a section, with its mark."""
    for name, field in section.model_fields.items():
        kinds = [field.annotation, *get_args(field.annotation)]
        inner = [k for k in kinds if isinstance(k, type) and issubclass(k, Section)]
        if inner and getattr(field.annotation, "__origin__", None) is not list:
            yield from marks(inner[0], f"{key}{name}.")
        else:
            yield f"{key}{name}", may_change(field)


def table(allowed: dict[MayChange, str], refused: dict[str, str]) -> dict[str, MayChange | None]:
    known: dict[str, MayChange | None] = {
        f"{section}.{name}": None for section, names in refused.items() for name in names.split()
    }
    return known | {name: mark for mark, names in allowed.items() for name in names.split()}


def test_every_setting_of_a_recipe_is_classified() -> None:
    """A new setting has to be put into one of the tables above."""
    assert dict(marks(Recipe)) == table(MAY_CHANGE, CHANGES_RESULTS)


def test_every_setting_of_a_judge_is_classified() -> None:
    known = table(JUDGE_MAY_CHANGE, JUDGE_CHANGES_RESULTS)
    assert dict(marks(JudgeSettings)) == known | {"kind": None}


def test_what_a_run_uses_exists() -> None:
    for section in (VQSection, SFTSection, RLSection):
        for use in section.uses:
            assert any(f"{key}.".startswith(f"{use}.") for key, _ in marks(Recipe)), use


def test_the_help_tells() -> None:
    text = " ".join(explain().split())
    assert "rl.micro_batch = 64 (a whole number, at least 1; may change on --resume, up" in text
    assert "rl.save_every = 100 (a whole number, at least 1; may change on --resume)" in text
    assert "rl.group = 16 (a whole number, at least 2)" in text


def test_only_what_a_run_uses_must_stay() -> None:
    before = Recipe()
    now = Recipe.model_validate({"rl": {"group": 4}, "model": {"lora": {"rank": 3}}})
    told = {
        kind: {c.setting: c.allowed for c in compare(before, now, kind.uses)}
        for kind in (VQSection, SFTSection, RLSection)
    }
    assert told[VQSection] == {"model.lora.rank": UNUSED, "rl.group": UNUSED}
    assert told[SFTSection] == {"model.lora.rank": None, "rl.group": UNUSED}
    assert told[RLSection] == {"model.lora.rank": None, "rl.group": None}
