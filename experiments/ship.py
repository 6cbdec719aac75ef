"""Puts a trained icon policy into the package as the shipped checkpoint.

    .venv/bin/python experiments/ship.py runs/icons-vq runs/icons-sft runs/icons-sft2
    .venv/bin/python experiments/ship.py --further runs/icons-sft2

The last run's model is shipped; `--further` where the first run went on from the checkpoint that is
shipped now. Weights are stored in half precision; beside them lie the recipes, seeds and last
metrics of all the runs that made it, in `made_by.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
import yaml

from got_r1.files.atomic import replace_folder
from got_r1.files.digests import write_digests
from got_r1.policy import SHIPPED, load_policy
from got_r1.recipes.recipe_file import load_recipe

LIMIT = 8_000_000  # bytes
MADE_BY = "made_by.json"


def provenance(run: Path) -> dict[str, Any]:
    """A run's recipe, its last metrics and its evaluations."""
    return {
        "recipe": yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8")),
        "last_metrics": json.loads((run / "metrics.jsonl").read_text().splitlines()[-1]),
        "evals": {
            p.stem: json.loads(p.read_text()) for p in sorted((run / "evals").glob("*.json"))
        },
    }


def main(runs: list[Path], further: bool) -> None:
    """Casts, writes and weighs the checkpoint."""
    shipped = SHIPPED["icons"]
    made_by = json.loads((shipped / MADE_BY).read_text(encoding="utf-8")) if further else {}
    for run in runs:
        made_by[f"sft-{len(made_by)}" if made_by else "vq"] = provenance(run)
    policy = load_policy(runs[-1] / "checkpoints" / "final")
    policy.carry_sampling(load_recipe("icons").rollout)
    with replace_folder(shipped) as folder:
        policy.save(folder, dtype=torch.float16)
        (folder / MADE_BY).write_text(json.dumps(made_by, indent=1), encoding="utf-8")
        write_digests(folder)
    size = sum(file.stat().st_size for file in shipped.rglob("*"))
    print(f"{shipped}: {size / 1e6:.2f} MB")
    if size > LIMIT:
        sys.exit(f"the checkpoint is larger than {LIMIT / 1e6:g} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Ships a trained icon policy.")
    parser.add_argument("runs", nargs="+", type=Path, help="run folders: VQ, then each SFT round")
    parser.add_argument(
        "--further", action="store_true", help="the first run went on from the shipped checkpoint"
    )
    arguments = parser.parse_args()
    main(arguments.runs, arguments.further)
