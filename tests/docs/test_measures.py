"""One key and one label for what is measured, in results, terminal, reports and documentation."""

from __future__ import annotations

import re

import pytest

from docs.commands import ROOT
from got_r1.benchmarks import load_benchmark
from got_r1.benchmarks.base import Sample
from got_r1.benchmarks.compbench.benchmark import CATEGORIES
from got_r1.benchmarks.geneval.benchmark import TAGS, GenEval
from got_r1.benchmarks.plans.summary import RATIOS
from got_r1.benchmarks.published import PUBLISHED
from got_r1.icons.data import triples
from got_r1.icons.render import render
from got_r1.measures import LABELS, label
from got_r1.plan.chain import parse
from got_r1.records import TERMS

PAGES = sorted(
    path
    for pattern in ("README.md", "docs/*.md", "src/got_r1/recipes/packaged/*.yaml",
                    "src/got_r1/report/assets/*.html")
    for path in ROOT.glob(pattern)
    if path.name != "log.md"  # the lab book keeps the words of its day
)  # fmt: skip

# What the same measures have been called.
ABANDONED = (
    r"(plan|image) relation",
    r"plan attributes",
    r"attributes right",
    r"relation right(?! in the)",
    r"objects? right(?! in the)",
    r"count right(?! in the)",
    r"everything right(?! in the)",
    r"(entirely|wholly) right",
    r"image right\b",
    r"(?<!with every )plan right\b",  # what would be if every plan were right is no measure
    r"IoU of planned and detected",
    r"\| (attributes|iou|count|plan_relation|image_relation) \|",  # a key heads a column
)


def test_every_key_of_a_result_has_a_label_of_its_own():
    (one,) = triples(1, seed=0)
    sample = Sample(one.prompt, parse(one.chain), render(one.scene))
    keys = {*load_benchmark("icons").score([sample])[0], *RATIOS, *TERMS}
    keys |= {*CATEGORIES, *TAGS, *GenEval.averages}
    keys |= {key for rows in PUBLISHED.values() for row in rows for key in row.values}
    assert keys <= LABELS.keys()
    assert len(set(LABELS.values())) == len(LABELS)
    assert label("of_another_version") == "of another version"


def test_the_table_of_the_documentation_is_that_of_the_code():
    text = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[a-z_`, ]+) \| ([^|]+) \|", text, re.MULTILINE)
    found = {
        key: words
        for keys, labels in rows
        for key, words in zip(re.findall(r"`(\w+)`", keys), labels.split(", "), strict=True)
    }
    assert {"plan_relation", "image_relation", "attributes", "count", "iou"} < found.keys()
    assert found == {key: LABELS[key] for key in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_no_page_uses_another_name(page):
    text = " ".join(page.read_text(encoding="utf-8").split())
    found = [m[0] for words in ABANDONED for m in re.finditer(words, text, re.IGNORECASE)]
    assert not found, f"{page.name} uses names that docs/results.md (names of the measures) has not"


def test_no_label_is_written_twice_in_the_code():
    long = [words for words in LABELS.values() if " right" in words]
    for folder in ("src", "experiments", "bench"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            repeated = [words for words in long if f'"{words}"' in text]
            assert not repeated or path.name == "measures.py", path
