"""What every test shares: a quiet, offline, repeatable process."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Set before anything imports torch, and inherited by the processes that tests start.
# One thread: processes that share the suite would wait, busily, for each other's threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["HF_HUB_OFFLINE"] = "1"  # no test may depend on a hub

# The same examples on every machine, and no deadline: a slow machine is not a wrong program.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: processes that share the suite (`make test`) end together."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """Prompt lists of the benchmarks, and what their official code answers to made-up cases."""
    return Path(__file__).parent / "fixtures"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of reference files kept beside the repository, too large to live in it."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the reference files (../shared/data beside the repository) are not here")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium, the system's own (`CHROMIUM` may name it), driven by Playwright. Not for
    the session: its loop would be in the way of tests that run one of their own."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="Playwright for Python is not installed"
    )
    names = ("chromium", "chromium-browser", "google-chrome")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("no Chromium is installed (CHROMIUM=PATH names one)")
    with playwright.sync_playwright() as started:
        minutes = 300_000  # milliseconds; a crowded machine is slow, not wrong
        chromium = started.chromium.launch(
            executable_path=path, args=["--no-sandbox"], timeout=minutes
        )
        yield chromium
        chromium.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 KiB; `mount -o remount,size=...` makes room on it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small tmpfs needs root; the file-size limit tests cover the rest")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)
