"""Finished folders as the commands write them, with pictures of the icon world."""

import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from got_r1.benchmarks.sample_folder import Manifest, write_manifest
from got_r1.files.sample_files import Layout, SampleFiles, named_box
from got_r1.icons.data import chain_for
from got_r1.icons.prompts import CATEGORIES, draw_prompt
from got_r1.icons.render import render
from got_r1.icons.scenes import draw_scene
from got_r1.icons.world import Scene
from got_r1.plan.chain import parse
from got_r1.records import Prompt

Change = Callable[[int, dict[str, Any]], dict[str, Any]]


def drawn(count: int, seed: int) -> list[tuple[Prompt, np.ndarray, dict[str, Any]]]:
    """The same prompts for any seed, each with a scene and a record of its own."""
    made = []
    for index in range(count):
        rng = random.Random(index)
        prompt, meaning = draw_prompt(rng, CATEGORIES[index % 5], "train")
        layout = draw_scene(random.Random(f"{seed} {index}"), meaning)
        chain = parse(chain_for(rng, layout, meaning))
        record = {
            "prompt": prompt.text,
            "category": prompt.category,
            "chain": chain.text,
            "objects": [named_box(one) for one in chain.objects],
            "seed": 0,
            "sample": 0,
            "variant": 0,
            "guidance": 5.0,
        }
        image = render(Scene(tuple(icon for group in layout for icon in group)))
        made.append((prompt, image, record))
    return made


def sample_folder(
    folder: Path,
    count: int = 6,
    seed: int = 0,
    layout: Layout = "numbered",
    change: Change | None = None,
) -> Path:
    """A folder of `got-r1 sample`; `change` may change each record."""
    files = SampleFiles(folder, layout)
    samples = drawn(count, seed)
    files.begin({"layout": layout, "prompts": [prompt.text for prompt, *_ in samples]})
    for index, (_, image, record) in enumerate(samples):
        png = io.BytesIO()
        Image.fromarray(image).save(png, format="PNG")
        record = change(index, record) if change else record
        files.write(index, Prompt(record["prompt"]), png.getvalue(), record)
    return folder


def benchmark_folder(folder: Path, count: int = 5, seed: int = 0) -> Path:
    """A folder of `got-r1 eval generate`."""
    sample_folder(folder, count, seed)
    (folder / "sampling.yaml").unlink()
    prompts = tuple(prompt for prompt, *_ in drawn(count, seed))
    write_manifest(folder, Manifest("icons", "dev", "icons", 0, 5.0, prompts))
    return folder
