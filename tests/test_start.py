"""What a command needs to start: mistakes are refused before anything slow is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

REFUSE = """
import json, sys
from got_r1.cli import main

for words in json.loads(sys.argv[1]):
    code = main(words)
    slow = sorted({"torch", "transformers", "peft"} & sys.modules.keys())
    print(json.dumps([" ".join(words), code, slow]))
"""


def test_mistakes_are_refused_before_torch_is_imported(tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "note.txt").write_text("in the way")
    binary = tmp_path / "prompts.txt"
    binary.write_bytes(b"\xff\xfe\x00 no text")
    (tmp_path / "judge.yaml").write_text("openai: {modle: x}")
    sample = ["sample", "--prompt", "a red star", "--model"]
    train = ["train", "rl", "icons"]
    new = f"run.dir={tmp_path / 'new'}"
    mistakes = [
        [*sample, "icons", "--out", str(full)],
        [*sample, str(tmp_path / "nowhere"), "--out", str(tmp_path / "new")],
        [*sample, str(full), "--out", str(tmp_path / "new")],
        ["sample", "--prompts", str(binary), "--model", "icons", "--out", str(tmp_path / "new")],
        [*sample, "icons", "--out", str(tmp_path / "new"), "--plans", "2", "--judge", "orakel"],
        ["eval", "run", "--benchmark", "icon", "--model", "icons", "--out", str(tmp_path / "new")],
        ["eval", "plans", "--model", str(full), "--out", str(tmp_path / "new")],
        [*train, f"run.dir={full}"],
        [*train, new, f"model.path={tmp_path / 'nowhere'}"],
        [*train, new, f"model.path={tmp_path / 'nowhere'}", "--dry-run"],
        [*train, new, f"data.prompts={tmp_path / 'nowhere.txt'}"],
        [*train, new, f"data.prompts={binary}"],
        [*train, new, "judge=orakel"],
        [*train, new, f"judge={tmp_path / 'judge.yaml'}"],
        [*train, new, "judge=openai:model@http://localhost:8000"],
        [*train, new, "judge=openai:model@http://localhost:9/v1"],  # in which coordinates?
        [*train, new, "judge=self"],
        [*train, new, "reward.r_hps=1"],
        [*train, new, "rl.lr=1e-4"],
        [*train, new, "rl.group=0"],
        ["train", "rl", "icon"],
        ["train", "sft", "icons", new, f"data.source={tmp_path / 'nowhere'}"],
        ["prepare", "icons", str(tmp_path / "new"), f"model.path={tmp_path / 'nowhere'}"],
        ["score", "--prompt", "x", "--chain", str(binary), "--image", str(binary)],
        ["audit", "judge", "--judge", "orakel"],
        ["convert", str(tmp_path / "nowhere"), str(tmp_path / "new")],
        ["convert", str(full), str(tmp_path / "new"), "--to-official"],
        ["push", str(full), "owner/name"],
        ["report", str(full)],
    ]
    done = subprocess.run(
        [sys.executable, "-c", REFUSE, json.dumps(mistakes)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert found == [[" ".join(words), 2, []] for words in mistakes], done.stderr
    assert not (tmp_path / "new").exists()
