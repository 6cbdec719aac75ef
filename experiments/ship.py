"""Puts a trained icon policy into the package as the shipped checkpoint.

    .venv/bin/python experiments/ship.py runs/icons-vq runs/icons-sft runs/icons-sft2

The last run's model is shipped. Weights are stored in half precision; beside them lie the recipes,
seeds and last metrics of the runs that made it, in `made_by.json`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
import yaml

from got_r1.atomic import replace_folder
from got_r1.policy import SHIPPED, load_policy
from got_r1.recipe_file import load_recipe

LIMIT = 8_000_000  # bytes


def provenance(run: Path) -> dict[str, Any]:
    """A run's recipe, its last metrics and its evaluations."""
    return {
        "recipe": yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8")),
        "last_metrics": json.loads((run / "metrics.jsonl").read_text().splitlines()[-1]),
        "evals": {
            p.stem: json.loads(p.read_text()) for p in sorted((run / "evals").glob("*.json"))
        },
    }


def main(vq: Path, *sft: Path) -> None:
    """Casts, writes and weighs the checkpoint."""
    policy = load_policy(sft[-1] / "checkpoints" / "final")
    policy.carry_sampling(load_recipe("recipes/icons.yaml").rollout)
    with replace_folder(SHIPPED["icons"]) as folder:
        policy.save(folder, dtype=torch.float16)
        made_by = {"vq": provenance(vq)}
        made_by |= {f"sft-{n}": provenance(run) for n, run in enumerate(sft, start=1)}
        (folder / "made_by.json").write_text(json.dumps(made_by, indent=1), encoding="utf-8")
    size = sum(file.stat().st_size for file in SHIPPED["icons"].rglob("*"))
    print(f"{SHIPPED['icons']}: {size / 1e6:.2f} MB")
    if size > LIMIT:
        sys.exit(f"the checkpoint is larger than {LIMIT / 1e6:g} MB")


if __name__ == "__main__":
    main(*(Path(run) for run in sys.argv[1:]))
