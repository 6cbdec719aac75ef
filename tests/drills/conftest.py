"""How long the drills are, and what they counted."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from small_runs import make_recipe, model_folder

__all__ = ["make_recipe", "model_folder"]


@pytest.fixture
def long_form() -> bool:
    """`GOT_R1_DRILLS=long pytest tests/drills`, or `make drills`."""
    return os.environ.get("GOT_R1_DRILLS") == "long"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The counts of `record_property`, summed over a test's parameters."""
    counts: Counter[tuple[str, str]] = Counter()
    for report in terminalreporter.getreports("passed"):
        for what, number in report.user_properties:
            if "drills" in report.nodeid and isinstance(number, int):
                counts[report.nodeid.rpartition("::")[2], what] += number
    if counts:
        terminalreporter.section("drills")
    for (test, what), number in counts.items():
        terminalreporter.write_line(f"{number:8,} {what}: {test}")
