"""Tables beside published rows, and statistics over several images of a prompt."""

from __future__ import annotations

from typing import Any

import pytest

from got_r1.benchmarks.base import sample_prompts_evenly
from got_r1.benchmarks.evaluation import evaluation, prompt_values, summarise
from got_r1.benchmarks.paper_table import paper_table
from got_r1.benchmarks.published import ABLATIONS, PUBLISHED
from got_r1.records import Prompt
from got_r1.statistics import mean


def an_evaluation(name: str, deviations: dict[str, list[str]] | None, **means: float) -> Any:
    metrics = {
        metric: {"overall": {"mean": mean, "low": mean - 0.01, "high": mean + 0.01, "n": 300}}
        for metric, mean in means.items()
    }
    about = {"prompts": 300, "images_per_prompt": 10, "seed": 3, "guidance": 5.0, "model": "m"}
    told = {} if deviations is None else {"deviations": deviations, "scorers": {"vqa": "BLIP x"}}
    return {"name": name, "benchmark": "compbench", "metrics": metrics} | about | told


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def table_of(lines: list[str]) -> dict[str, dict[str, str]]:
    """Rows by name, over all tables and the lines of their cells."""
    rows: dict[str, dict[str, str]] = {}
    for before, line in zip(["", *lines], lines, strict=False):
        if not line.startswith("|") or set(line) <= set("| -"):
            continue
        if not before:
            heading, name = cells(line), ""
            continue
        if not any(cells(line)[1:]):  # the rest of a long name
            continue
        name = cells(line)[0] or name
        row = rows.setdefault(name, {})
        for column, cell in zip(heading, cells(line), strict=True):
            row[column] = f"{row.get(column, '')} {cell}".strip()
    return rows


def test_two_evaluations_of_the_same_prompts_have_their_change() -> None:
    prompts = [Prompt(str(i), "color") for i in range(20)]
    one, two = (
        evaluation("compbench", [{"color": float(i < right)} for i in range(20)], prompts,
                   name=name, split="val", seed=0, guidance=5.0, model="m")
        | {"deviations": {}}
        for name, right in (("before", 5), ("after", 15))
    )  # fmt: skip
    change = table_of(paper_table("compbench", [one, two]).splitlines())["change"]["Color"]
    assert change.startswith("+.5000 [+.")
    assert change.endswith("clear")
    apart = two | {"deviations": {"color": ["another scorer"]}}
    assert "change" not in table_of(paper_table("compbench", [one, apart]).splitlines())


def test_only_numbers_without_deviations_share_a_column_with_published_ones() -> None:
    official = an_evaluation("mine", {}, color=0.8, spatial=0.3)
    other = an_evaluation("theirs", {"spatial": ["detector X, not UniDet"]}, color=0.7, spatial=0.9)
    unknown = an_evaluation("old", None, color=0.6)
    lines = paper_table("compbench", [official, other, unknown]).splitlines()
    assert max(len(line) for line in lines if line.startswith("|")) <= 80
    rows = table_of(lines)
    assert rows["GoT-R1-7B"]["2D-Spatial"] == ".3306"
    assert rows["GoT-R1-7B"]["2D-Spatial (b)"] == "-"
    assert rows["mine"]["2D-Spatial"] == ".3000 [.2900, .3100] n 300"
    assert rows["theirs"]["2D-Spatial"] == "-"
    assert rows["theirs"]["2D-Spatial (b)"] == ".9000 [.8900, .9100] n 300"
    assert rows["theirs"]["Color"] == ".7000 [.6900, .7100] n 300"
    assert rows["old"]["Color"] == "-"
    assert rows["old"]["Color (a)"] == ".6000 [.5900, .6100] n 300"
    assert (
        "(a) not comparable with published numbers: it is not known how it was measured." in lines
    )
    assert "(b) not comparable with published numbers: detector X, not UniDet." in lines
    assert "mine: 3000 images of m, seed 3, guidance 5; vqa: BLIP x." in lines
    assert "old: 3000 images of m, seed 3, guidance 5; scorers not recorded." in lines


def test_the_papers_rows_are_all_there() -> None:
    assert len(PUBLISHED["compbench"]) == 10
    assert len(ABLATIONS["compbench"]) == 11
    plain = paper_table("compbench", [])
    assert len(table_of(plain.splitlines())) == 10
    assert "| 1B, R_RI only" in paper_table("compbench", [], ablations=True)
    assert "(a)" not in plain
    gen = paper_table("geneval", []).splitlines()
    assert table_of(gen)["GoT-R1-7B"]["Overall"] == ".7500"


def test_intervals_are_over_prompts_and_not_over_their_images() -> None:
    # Ten images of each of four prompts, all alike: forty values are still four prompts.
    rows = [{"color": float(prompt % 2)} for prompt in range(4) for _ in range(10)]
    summary = summarise(prompt_values(rows, 10), ["color"] * 4)["color"]["overall"]
    of_four = mean([0.0, 1.0, 0.0, 1.0])
    assert summary == {"mean": 0.5, "low": of_four.low, "high": of_four.high, "n": 4}
    with pytest.raises(ValueError, match="are not 10 for each prompt"):
        prompt_values(rows[:-1], 10)


def test_an_average_is_over_its_metrics_and_needs_them_all() -> None:
    rows = [{"a": 1.0}] * 9 + [{"b": 0.0, "evidence": "a reason, no number"}]
    averages = {"overall": ("a", "b")}
    result = evaluation(
        "x",
        rows,
        [Prompt("p", "t")] * 10,
        averages=averages,
        name="n",
        split="val",
        seed=0,
        guidance=1.0,
    )
    assert set(result["metrics"]) == {"a", "b", "overall"}
    # Nine that agree, and one prompt alone: parts of 0.336 and 0.975 that are not known.
    unknown = ((1 - 0.025 ** (1 / 9)), 0.975)
    assert result["metrics"]["overall"]["overall"] == pytest.approx(
        {"mean": 0.5, "low": 0.5 - unknown[0] / 2, "high": 0.5 + unknown[1] / 2, "n": 10}
    )
    assert "overall" not in summarise(prompt_values(rows[:9]), ["t"] * 9, averages)


def test_prompts_are_spread_over_a_list() -> None:
    assert sample_prompts_evenly(range(10), 3) == [0, 3, 6]
    assert sample_prompts_evenly(range(3), 10) == [0, 1, 2]
    assert len(set(sample_prompts_evenly(range(553), 100))) == 100
