"""Peak memory of `got-r1 convert` against the size of a shard.

Makes a checkpoint with the widths of Janus-Pro-7B and fewer layers (random numbers, bfloat16, in
shards), converts it in a process of its own, and back, and prints what those processes held:

    python bench/convert_memory.py --layers 4 --shard-gb 1

"resident" is the kernel's high-water mark (VmHWM); it counts the pages of mapped files that were
touched, which the kernel can take back at any time. "own" is the largest anonymous memory
(RssAnon, looked at every 20 ms), which it cannot. What Python and its libraries take before any
tensor is read is printed as well.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from transformers import JanusConfig, JanusVisionConfig, JanusVQVAEConfig, LlamaConfig

from got_r1.checkpoints.convert_checks import model_shapes
from got_r1.checkpoints.official_config import official_config
from got_r1.checkpoints.official_names import correspondence, official_shapes
from got_r1.checkpoints.shards import byte_size, write_shards

GB = 10**9


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=4, help="of the language model (7B has 30)")
    parser.add_argument("--shard-gb", type=float, default=1.0, help="of the source and the result")
    parser.add_argument("--pickled", action="store_true", help="the source in .bin files")
    parser.add_argument("--dir", type=Path, help="where to write (the temporary folder)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.dir) as folder:
        measure(Path(folder), args.layers, args.shard_gb, args.pickled)


def measure(folder: Path, layers: int, shard_gb: float, pickled: bool) -> None:
    """Makes, converts both ways, prints."""
    config = seven_b(layers)
    pairs = correspondence(shapes := model_shapes(config))
    official = official_shapes(pairs, shapes)
    sizes = {name: byte_size(shape, "bfloat16") for name, shape in official.items()}
    total = sum(sizes.values())
    if shutil.disk_usage(folder).free < 3.5 * total:
        sys.exit(f"{3.5 * total / GB:.0f} GB are needed in {folder}; choose another --dir.")
    source = folder / "source"
    source.mkdir()
    noise = torch.randn(1 << 20).bfloat16()

    def make(name: str) -> torch.Tensor:
        count = torch.Size(official[name]).numel()
        return noise.repeat(-(-count // len(noise)))[:count].view(official[name])

    files = write_shards(source, sizes, make, int(shard_gb * GB), lambda _: None)
    if pickled:
        pickle_shards(source, files)
    (source / "config.json").write_text(json.dumps(official_config(config, "bfloat16")))
    shard = max(file.stat().st_size for file in source.iterdir())
    kind = ".bin" if pickled else "safetensors"
    print(f"source: {total / GB:.2f} GB in {len(files)} {kind} shards of up to {shard / GB:.2f} GB")

    started = [sys.executable, "-c", "import got_r1.checkpoints.convert"]
    show("imports alone", *run(started), shard)
    command = [sys.executable, "-m", "got_r1", "convert", "--shard-size", str(shard_gb)]
    show("official to transformers", *run([*command, str(source), str(folder / "there")]), shard)
    back = [*command, "--to-official", str(folder / "there"), str(folder / "back")]
    show("and back", *run(back), shard)


def seven_b(layers: int) -> JanusConfig:
    """Janus-Pro-7B with fewer layers."""
    return JanusConfig(
        text_config=LlamaConfig(
            vocab_size=102400, num_hidden_layers=layers, max_position_embeddings=16384
        ),
        vision_config=JanusVisionConfig(projection_dim=4096),
        vq_config=JanusVQVAEConfig(projection_dim=4096, image_token_embed_dim=4096),
        tie_word_embeddings=False,
    )


def pickle_shards(source: Path, files: list[str]) -> None:
    """Turns safetensors shards into `.bin` ones."""
    from safetensors.torch import load_file

    weight_map = {}
    for file in files:
        tensors = load_file(source / file)
        name = file.replace("model-", "pytorch_model-").replace(".safetensors", ".bin")
        torch.save(tensors, source / name)
        weight_map |= dict.fromkeys(tensors, name)
        (source / file).unlink()
    (source / "model.safetensors.index.json").unlink(missing_ok=True)
    index = json.dumps({"weight_map": weight_map})
    (source / "pytorch_model.bin.index.json").write_text(index)


def run(command: list[str]) -> tuple[float, int, int]:
    """Seconds, peak resident bytes and peak anonymous bytes of a process."""
    start, resident, own = time.perf_counter(), 0, 0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except FileNotFoundError:
            break
        kilobytes = {
            key: int(n) for key, n in re.findall(r"^(\w+):\s+(\d+) kB", status, re.MULTILINE)
        }
        resident = max(resident, 1024 * kilobytes.get("VmHWM", 0))
        own = max(own, 1024 * kilobytes.get("RssAnon", 0))
        time.sleep(0.02)
    if process.wait():
        sys.exit(f"{' '.join(command)} failed")
    return time.perf_counter() - start, resident, own


def show(what: str, seconds: float, resident: int, own: int, shard: int) -> None:
    """Prints one process's figures."""
    print(
        f"{what}: resident {resident / GB:.2f} GB ({resident / shard:.2f} shards), "
        f"own {own / GB:.2f} GB ({own / shard:.2f} shards), {seconds:.0f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
