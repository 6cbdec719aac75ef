"""More of what tests/training/test_damage.py and `small_disk` show: every class of byte of a
checkpoint, and a disk that is full under each command."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from damage import damages
from drills.forks import run
from got_r1.files.digests import find_damage
from got_r1.icons.data import triples
from got_r1.training import sft
from got_r1.training.checkpoint import newest_checkpoint
from small_runs import MakeRecipe

Record = Callable[[str, object], None]
FLIPS = 1000  # single bits of each file, in the long form


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_damage_to_every_file_of_a_checkpoint_is_noticed(
    make_recipe: MakeRecipe, long_form: bool, record_property: Record
) -> None:
    if not long_form:
        pytest.skip("in the long form; tests/training/test_damage.py is the short one")
    recipe = make_recipe("run", sft={"steps": 2, "batch": 4})
    sft.train(recipe, quiet=True)
    newest, count = newest_checkpoint(Path(recipe.run.dir)), 0
    assert newest is not None
    files = [path for path in sorted(newest.iterdir()) if path.is_file()]
    for number, path in enumerate(files):
        content, other = path.read_bytes(), files[number - 1].read_bytes()
        for what, damaged in damages(content, other, seed=1000 + number, flips=FLIPS):
            path.write_bytes(damaged)
            assert find_damage(newest) is not None, f"{path.name}: {what}"
            count += 1
        path.write_bytes(content)
    assert find_damage(newest) is None
    record_property("damages", count)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["sample", "prepare", "eval run", "audit judge", "convert"])
def test_a_full_disk_is_one_sentence_and_nothing_is_lost(
    name: str,
    model_folder: Path,
    make_recipe: MakeRecipe,
    long_form: bool,
    tmp_path: Path,
    small_disk: Path,
    record_property: Record,
) -> None:
    """`train` is in tests/training/test_resume.py, the run folder in tests/files/test_runlog.py."""
    if not long_form and name != "prepare":
        pytest.skip("in the long form: make drills")
    out, recipe, prompts = small_disk / "out", tmp_path / "recipe.yaml", tmp_path / "prompts.txt"
    data = {"size": 24, "shard_records": 4}
    recipe.write_text(yaml.safe_dump(make_recipe("run", data=data).model_dump()))
    prompts.write_text("".join(f"{t.prompt.text}\n" for t in triples(4, seed=5)))
    drawing = ["--model", str(model_folder), "--guidance", "1", "--batch", "2", "--out", str(out)]
    again = ["--resume"] if name in ("sample", "eval run") else []
    argv = {
        "sample": ["sample", "--prompts", str(prompts), "--n", "2", *drawing],
        "eval run": ["eval", "run", "--prompts", "4", *drawing],
        "prepare": ["prepare", str(recipe), str(out)],
        "audit judge": ["audit", "judge", "--pairs", "2", "--out", str(out)],
        "convert": ["convert", "--to-official", str(model_folder), str(out)],
    }[name]
    disks = 0
    for free in (0, 4096, 24_576):  # bytes: the first write fails, or a later one
        filler = small_disk / "filler"
        filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - free))
        ended = run([*argv, *(again if out.exists() else [])], tmp_path / "log")
        filler.unlink()
        if ended.code == 0 and free:
            break
        assert ended.code in (1, 2), ended.said
        told = [line for line in ended.said.splitlines() if line.startswith("got-r1: ")]
        assert len(told) == 1, ended.said
        assert "disk" in told[0], ended.said
        assert "Traceback" not in ended.said
        disks += 1
    subprocess.run(["mount", "-o", "remount,size=256m", str(small_disk)], check=True)
    ended = run([*argv, *(again if out.exists() else [])], tmp_path / "log")
    assert ended.code == 0, ended.said
    record_property("full disks", disks)
