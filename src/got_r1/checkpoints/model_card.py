"""The README.md of a released model: what it was made from and how it scores, as far as recorded.

Nothing is invented: facts come from the run folder beside the model (its recipe, evaluations and
last metrics), from `made_by.json`, or from whoever releases it; the rest is "not recorded".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from got_r1.errors import BadInput
from got_r1.files.inputs import read_json, read_text
from got_r1.files.parsing import json_lines, parse_json, parse_yaml
from got_r1.files.redaction import redact

__all__ = ["CardFacts", "model_card"]

UNKNOWN = "not recorded"
# By the side of a model's images in pixels: 40 are the icon world's.
EXAMPLES: Mapping[object, str] = {40: "a red heart on the left of a blue star"}
HUB_ID = re.compile(r"([\w.-]+/[\w.-]+)(@[\w./-]+)?")


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What the releaser says; None where the records are to speak."""

    base: str | None = None
    data: str | None = None
    judge: str | None = None
    run: Path | None = None  # the run folder, where it is not above the model
    evals: tuple[Path, ...] = ()  # evaluations, instead of the run's


def model_card(
    title: str,
    model: Path,
    facts: CardFacts,
    *,
    guidance: float | None,
    temperature: float | None,
    repository: str | None = None,
) -> str:
    """The card of the model in folder `model`, as Markdown with the hub's header.

    `repository` is where a transformers folder will be found; without it the card is one of a
    folder in the official form.

    Raises BadInput where a file that was named, or a record that is there, cannot be read.
    """
    run = find_run(model, facts.run)
    recipe = read_recipe(run / "config.yaml") if run else {}
    made_by = model / "made_by.json"
    stages = read_json(made_by, "record of the model's making") if made_by.is_file() else {}
    stages = {
        stage: without_folders(made["recipe"])
        for stage, made in stages.items()
        if isinstance(made, dict) and "recipe" in made
    }
    base = facts.base or base_model(recipe)
    named = {
        "Base": base,
        "Recipe": "below" if recipe or stages else None,
        "Data": facts.data or data_of(recipe),
        "Judge": facts.judge or judge_of(recipe, run),
        "Scores": "below" if (scores := score_tables(run, facts.evals)) else None,
    }
    header = {
        "pipeline_tag": "text-to-image",
        "tags": ["janus", "got-r1", "generation-chain-of-thought"],
    }
    if base and (found := HUB_ID.fullmatch(base)):
        header["base_model"] = found[1]
    if repository is None:
        form, first = "official `multi_modality`", "got-r1 convert THIS_FOLDER MODEL\n"
        readers = "The files are laid out as the official inference code reads them."
    else:
        form, first = "transformers", ""
        readers = "transformers reads the files as a `JanusForConditionalGeneration`."
    settings = [f"guidance {guidance:g}"] if guidance is not None else []
    settings += [f"image temperature {temperature:g}"] if temperature is not None else []
    blocks = [
        f"---\n{yaml.safe_dump(header, sort_keys=True)}---",
        f"# {title}",
        f"A Janus model in the {form} form, to be sampled as GoT-R1 is: first a "
        "Generation Chain-of-Thought, a plan with a box for every object, then the image.",
        "\n".join(f"- **{name}**: {value or UNKNOWN}" for name, value in named.items()),
        "## How to sample\n\n"
        f"Settings: {', '.join(settings) or UNKNOWN}. The prompt stands in the sentence that the "
        "model was trained with; `got-r1` adds it.\n\n"
        f"```\n{first}got-r1 sample --model {repository or 'MODEL'} "
        f'--prompt "{example_prompt(model)}" --out samples\n```\n\n{readers}',
    ]
    if scores:
        blocks.append("## Scores\n\n" + scores)
    if recipe:
        text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
        blocks.append(f"## Recipe\n\n```yaml\n{text}```")
    if stages:
        text = yaml.safe_dump(stages, sort_keys=False, allow_unicode=True)
        blocks.append(f"## Earlier stages\n\n```yaml\n{text}```")
    return redact("\n\n".join(blocks) + "\n")


def example_prompt(model: Path) -> str:
    """A prompt that a model can draw: the icon world's knows no vases."""
    config = model / "config.json"
    content = read_json(config, "model's configuration") if config.is_file() else {}
    vision = content.get("vision_config")
    size = vision.get("image_size") if isinstance(vision, dict) else None
    return EXAMPLES.get(size, "a red vase left of a clock")


def find_run(model: Path, given: Path | None) -> Path | None:
    """The run folder: the one given, else the nearest above `runs/NAME/checkpoints/final`."""
    if given is not None:
        if not (given / "config.yaml").is_file():
            raise BadInput(f"{given} is no run folder: it has no config.yaml.")
        return given
    above = (model, *model.resolve().parents[:2])
    return next((folder for folder in above if (folder / "config.yaml").is_file()), None)


def read_recipe(file: Path) -> dict[str, Any]:
    try:
        recipe = parse_yaml(read_text(file, "recipe"))
    except yaml.YAMLError as error:
        raise BadInput(f"the recipe {file} is not valid YAML ({error}).") from None
    if not isinstance(recipe, dict):
        raise BadInput(f"the recipe {file} must hold sections.")
    cleaned: dict[str, Any] = without_folders(recipe)
    return cleaned


def without_folders(value: Any) -> Any:
    """Absolute paths by their last part: a machine's folders say nothing to others."""
    if isinstance(value, dict):
        return {key: without_folders(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_folders(item) for item in value]
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name
    return value


def base_model(recipe: Mapping[str, Any]) -> str | None:
    path = recipe.get("model", {}).get("path")
    return str(path) if path else None


def data_of(recipe: Mapping[str, Any]) -> str | None:
    said = {key: value for key, value in recipe.get("data", {}).items() if value not in ("", None)}
    return ", ".join(f"{key} {value}" for key, value in said.items()) or None


def judge_of(recipe: Mapping[str, Any], run: Path | None) -> str | None:
    """The judge and the formula; none had a say where the run's metrics hold no reward."""
    if run is None or not recipe.get("judge"):
        return None
    if "reward/total" not in last_metrics(run):
        return "none (a run without rewards)"
    formula = recipe.get("reward", {}).get("formula")
    return f"{recipe['judge'].get('spec')}, reward {formula}"


def last_metrics(run: Path) -> dict[str, Any]:
    file = run / "metrics.jsonl"
    lines = json_lines(read_text(file, "metrics")) if file.is_file() else []
    try:
        row = parse_json(lines[-1][1]) if lines else {}
    except ValueError:
        raise BadInput(f"the last line of {file} is not valid JSON; remove it.") from None
    return row if isinstance(row, dict) else {}


def score_tables(run: Path | None, given: tuple[Path, ...]) -> str:
    """Overall means with their intervals, one table an evaluation."""
    files = list(given) or (sorted((run / "evals").glob("*.json")) if run else [])
    tables = []
    for file in files:
        result = read_json(file, "evaluation")
        metrics = result.get("metrics")
        if not isinstance(metrics, dict):
            if given:
                raise BadInput(f"{file} is no evaluation; give files that got-r1 eval score wrote.")
            continue
        about = ("benchmark", "split", "prompts", "seed", "guidance")
        facts = ", ".join(f"{key} {result[key]}" for key in about if key in result)
        rows = [
            f"| {name} | {one['overall']['mean']:.4f} | "
            f"{one['overall']['low']:.4f} to {one['overall']['high']:.4f} |"
            for name, one in metrics.items()
        ]
        head = f"**{result.get('name', file.stem)}**: {facts}\n\n| metric | mean | 95% |\n|-|-|-|"
        tables.append("\n".join([head, *rows]))
    return "\n\n".join(tables)
