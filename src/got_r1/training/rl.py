"""GRPO on whole answers: the policy learns plans that nobody wrote templates for.

A step is two calls: `roll_out` samples groups of (chain, image) and has them judged, `improve`
updates the policy on them. The reward's formula stands in `rewards.combine`, the algorithm in
`grpo`. Under torchrun each process does both for its share of a step's prompts (`distributed`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from got_r1 import rewards
from got_r1.audit.alarms import Alarm
from got_r1.benchmarks import load_benchmark
from got_r1.benchmarks.base import Sample
from got_r1.benchmarks.evaluation import evaluate
from got_r1.errors import RunFailed
from got_r1.judges import Judge, load_judge
from got_r1.judges.examples import RecordedJudge
from got_r1.policy.janus import Policy
from got_r1.progress import note
from got_r1.recipes.checks import check_settings
from got_r1.recipes.sections import Recipe
from got_r1.records import TERMS, JudgeFailure
from got_r1.report.build import build_report
from got_r1.training.alarming import RunAlarms, stopped
from got_r1.training.distributed import (
    check_division,
    load_share,
    parallelize,
    processes,
    whole_weights,
)
from got_r1.training.drawing import draw_fixed
from got_r1.training.galleries import Probes, probe_prompts, save_gallery
from got_r1.training.held_out import load_held_out
from got_r1.training.lessons import Lessons
from got_r1.training.optimizer import make_optimizer
from got_r1.training.policy_update import improve
from got_r1.training.precision import in_bfloat16
from got_r1.training.prompts import load_prompts
from got_r1.training.rollout import Samples, roll_out
from got_r1.training.run import Run, seed_step
from got_r1.training.watching import Watch

if TYPE_CHECKING:
    from got_r1.training.understanding import UnderstandingJudge

__all__ = ["train"]

UNSEEN_IMAGES = (
    "reward: no term looks at the images, but rl.image_weight is above 0, so their tokens are "
    "trained on what says nothing about them, and drawing may get worse: give reward.r_ri or "
    "reward.r_pi a weight"
)
"""Measured with three seeds: docs/results.md, Ablations."""


def train(recipe: Recipe, resume: bool = False, quiet: bool = False) -> dict[str, object]:
    """Trains `model.path` by `recipe.rl`, evaluates it before and after, and writes the report.

    Returns a summary: run folder, steps, model folder, report.
    """
    check_settings(recipe, "rl")
    rewards.check_config(recipe.reward)
    section = recipe.rl
    with processes(recipe.scale) as ranks:
        check_division(section.prompts, ranks)
        terms = rewards.active_terms(recipe.reward)
        understanding = own_understanding(recipe)
        judge = load_judge(recipe.judge, cache_folder(recipe), terms, understanding)
        rewards.check_judge(judge, recipe.reward)
        scorer = recorded(judge, recipe)
        lessons = Lessons(judge, recipe, ranks)
        silent = quiet or not ranks.main
        held_out = load_held_out(recipe, silent)
        prompts = load_prompts(recipe.data, silent, section.paraphrases)
        if section.image_weight and not rewards.reads_images(recipe.reward) and not silent:
            note(UNSEEN_IMAGES)
        policy = load_share(recipe.model, recipe.scale, ranks)
        seed_step(recipe.run.seed, 0)  # adapters begin at random
        policy.prepare_training(recipe.model.lora)
        policy.freeze_reference()
        low_precision = in_bfloat16(section.autocast, recipe.model.dtype, ranks.device.type)
        parallelize(policy, recipe.model, recipe.scale, ranks, autocast=low_precision)
        if understanding is not None:
            understanding.bind(policy)
        optimizer = make_optimizer(policy.trainable().values(), section)

        with Run.open(
            recipe,
            section,
            policy,
            optimizer,
            title="GRPO",
            resume=resume,
            quiet=quiet,
            ranks=ranks,
            judge=lessons.learner,
        ) as run:
            probes = Probes(run, judge, probe_prompts(recipe, prompts))
            watch, alarms = Watch(run, judge, held_out), RunAlarms(run)
            if run.fresh:
                evaluate_policy(run, "sft")
                probes.save(0)
                _, look = watch.look(0)
                if look:
                    alarms.see(0, None, look)
            alarm: Alarm | None = None
            for step in run.steps():
                seed = seed_step(recipe.run.seed, step)
                groups = prompts.draw_groups(section.prompts, seed, section.paraphrases)
                mine = [prompt for group in ranks.share(groups) for prompt in group]
                shown = step == 1 or step % section.sample_every == 0
                with whole_weights(policy):
                    samples = roll_out(policy, scorer, mine, recipe, seed, show=shown)
                stop_on_failures(run, step, samples)
                metrics = improve(policy, optimizer, samples, recipe, step, ranks)
                seen, look = watch.look(step, samples)
                if "skipped_updates" not in metrics:  # else this step changes nothing
                    metrics |= lessons.learn(samples)
                if everything := ranks.gather(samples):
                    samples = Samples.join(everything)
                    row = samples.metrics() | metrics | seen
                    run.log(step, row | alarms.see(step, row, look))
                    # Plans alone have images in the steps that are shown, and in no other.
                    if shown or (alarms.rang and samples.images.size):
                        save_gallery(run, step, samples, alarms.rang)
                    alarms.tell()
                if step % section.sample_every == 0 or step == section.steps:
                    probes.save(step)
                run.watch(step, metrics)
                if (alarm := alarms.act(step)) is not None:
                    break
            policy.carry_sampling(recipe.rollout)
            model = run.finish()
            lessons.save(run.folder / "student")
            if alarm is None:
                evaluate_policy(run, "rl")
            report = ranks.run_on_rank0(lambda: build_report(run.folder))
            if alarm is not None:
                stopped(run, alarm, model, report)
            return run.summary(model=str(model), report=str(report))


# -- beside the loop -------------------------------------------------------------------------------


def cache_folder(recipe: Recipe) -> Path | None:
    """Where the judge keeps its answers, by `judge.cache`."""
    match recipe.judge.cache:
        case "off":
            return None
        case "run":
            return Path(recipe.run.dir) / "judge_cache"
        case folder:
            return Path(folder)


def own_understanding(recipe: Recipe) -> UnderstandingJudge | None:
    """The policy as its own judge, where the recipe names it; to be bound to the policy."""
    if "self" not in {recipe.judge.teacher, *map(recipe.judge.spec_of, TERMS)}:
        return None
    from got_r1.training.understanding import UnderstandingJudge  # slow to import

    return UnderstandingJudge()


def recorded(judge: Judge, recipe: Recipe) -> Judge:
    """The judge of a step's samples, whose answers are kept for a student by `judge.record`; fixed
    prompts, which are never trained on, are no examples."""
    match recipe.judge.record:
        case "off":
            return judge
        case "run":
            folder = Path(recipe.run.dir) / "judge_examples"
        case named:
            folder = Path(named)
    return RecordedJudge(judge, folder, recipe.judge)


def stop_on_failures(run: Run[Policy], step: int, samples: Samples) -> None:
    """Logs the judge's failures of a step, whose update is still to come.

    Raises RunFailed, on every rank, when too many samples got no reward; the step before is then
    saved, and the run resumes where it stopped.
    """
    ranks, recipe = run.ranks, run.recipe
    failures = [failure for share in ranks.gather(judge_failures(samples)) for failure in share]
    if ranks.main:
        run.records.log_judge_failures(step, failures)
    lost = int(ranks.sum(sum(reward.total is None for reward in samples.rewards)))
    asked = int(ranks.sum(len(samples.rewards)))
    if lost <= recipe.judge.max_failure_share * asked:
        return
    done, section = step - 1, recipe.rl
    if done > run.start and done % section.save_every:
        run.save_checkpoint(done)
    first = failures[0]["reason"] if failures else "the first process says why"
    raise RunFailed(
        f"the judge failed on {lost} of {asked} samples of step {step} ({first}): "
        f"{f'the run is saved up to step {done}' if done else 'nothing was trained yet'}, "
        f"{run.folder / 'judge_failures.jsonl'} holds the replies; fix the judge, then --resume"
    )


def judge_failures(samples: Samples) -> list[dict[str, object]]:
    """Everything the judge could not answer about a step's samples, as `runlog` keeps it."""
    written = samples.rollout.chains
    return [
        {
            "prompt": written.prompts[row].text,
            "sample": written.sample_ids[row],
            "term": term,
            "reason": verdict.reason,
            "reply": verdict.reply,
        }
        for row, reward in enumerate(samples.rewards)
        for term, verdict in reward.verdicts.items()
        if isinstance(verdict, JudgeFailure)
    ]


def evaluate_policy(run: Run[Policy], name: str) -> None:
    """Samples held-out prompts once each, a share on each rank, and saves `evals/<name>.json`."""
    recipe, ranks = run.recipe, run.ranks
    section = recipe.eval
    if section.prompts == 0:
        return
    benchmark = load_benchmark("icons")
    prompts = ranks.share(benchmark.prompts(section.split, section.prompts, 0))
    run.progress.note(f"evaluating on {section.prompts} prompts of {section.split} ({name})")
    mine = [Sample(one.prompt, one.chain, one.image) for one in draw_fixed(run, prompts)]
    everything = ranks.gather(mine)
    if not everything:
        return
    result = evaluate(
        benchmark,
        [sample for share in everything for sample in share],
        name=name,
        split=section.split,
        seed=section.seed,
        guidance=recipe.rollout.guidance,
        model=recipe.model.path if name == "sft" else str(run.folder),
    )
    run.records.save_eval(name, result)
