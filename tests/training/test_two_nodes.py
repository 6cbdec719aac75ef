"""Two machines: `torchrun --nnodes 2` in two network namespaces that only a cable joins."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import yaml

from training.test_distributed import torchrun

ADDRESSES = ("10.77.0.1", "10.77.0.2")
PORT = 29500


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def nodes() -> Iterator[list[str]]:
    """The names of two network namespaces with one interface each, `cable`, beside loopback."""
    names = [f"gotr1-{os.getpid()}-{number}" for number in (0, 1)]
    if shutil.which("ip") is None:
        pytest.skip("there is no `ip` (iproute2) to make network namespaces with")
    try:
        try:
            for name in names:
                ip("netns", "add", name)
            first, second = names
            cable = ("link", "add", "cable", "netns", first, "type", "veth")
            ip(*cable, "peer", "name", "cable", "netns", second)
            for name, address in zip(names, ADDRESSES, strict=True):
                ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
                for interface in ("lo", "cable"):
                    ip("-n", name, "link", "set", interface, "up")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces cannot be made here ({error.stderr.decode().strip()})")
        yield names
    finally:
        for name in names:
            with suppress(subprocess.CalledProcessError):
                ip("netns", "delete", name)


@pytest.mark.slow
def test_a_run_on_two_nodes_is_the_run_on_one(nodes: list[str], tmp_path: Path) -> None:
    """The launch line of docs/janus.md for plain ssh, with `ip netns exec` in ssh's place."""
    settings = {
        "model": {"path": "icons"},
        "rollout": {"chain_limit": 120, "guidance": 1.0},
        "rl": {"steps": 2, "prompts": 2, "group": 4, "save_every": 1},
        "eval": {"prompts": 0},
    }
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(settings))
    train = ["-m", "got_r1", "train", "rl", str(recipe)]
    alone = torchrun(*train, f"run.dir={tmp_path / 'one'}", log=tmp_path)
    assert alone.wait() == 0, (tmp_path / "stderr.txt").read_text()
    with ExitStack() as logs:
        running = [
            subprocess.Popen(
                [
                    *("ip", "netns", "exec", name),
                    *(sys.executable, "-m", "torch.distributed.run"),
                    *("--nnodes=2", f"--node-rank={number}", "--nproc-per-node=1"),
                    *(f"--master-addr={ADDRESSES[0]}", f"--master-port={PORT}"),
                    *(*train, f"run.dir={tmp_path / 'two'}"),
                ],
                stderr=logs.enter_context((tmp_path / f"node-{number}.txt").open("wb")),
                env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "cable"},
            )
            for number, name in enumerate(nodes)
        ]
        codes = [node.wait() for node in running]
    assert codes == [0, 0], [(tmp_path / f"node-{number}.txt").read_text() for number in (0, 1)]
    one, two = (
        [json.loads(line) for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()]
        for run in ("one", "two")
    )
    assert len(one) == len(two) == 2
    timed = ("seconds", "memory", "time", "tokens_per_second")
    for before, after in zip(one, two, strict=True):
        kept = [key for key in before if not key.startswith(timed)]
        assert {key: before[key] for key in kept} == {key: after[key] for key in kept}
