"""How long a save takes when many people rate one study at once, and whether any is lost.

    python bench/raters.py --raters 50 --items 20

Makes a study of the icon world, starts `got-r1 studio --study` on this machine, and rates as that
many raters at once, each in a thread with a connection of its own, with a pause between two scores
as people have it. Prints the median, 95th percentile and maximum of a save, the load of the machine
before and after, and compares the database with what was answered. The target, 100 ms at the 95th
percentile, is for two cores with nothing else to do. Exit code 1 where it is missed or a save lost.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from got_r1.audit.ratings import QUESTIONS, database_ratings
from got_r1.audit.sheets import read_items, study_id
from got_r1.audit.study import build_study
from got_r1.files.runlog import RunLog
from got_r1.files.trackers.base import Tracking

TARGET = 0.1  # seconds at the 95th percentile
CHAIN = (
    "A <|obj_start|>red heart<|obj_end|> <|box_start|>(0,300),(400,700)<|box_end|> on the left of "
    "a <|obj_start|>blue star<|obj_end|> <|box_start|>(600,300),(999,700)<|box_end|>."
)


def make_study(folder: Path, items: int) -> Path:
    """A study of noise; what it shows does not matter here."""
    rng = np.random.default_rng(0)
    log = RunLog.create(folder / "run", "run: {}\n", tracking=Tracking(()))
    for index in range(items):
        terms = {term: float(rng.random()) for term in ("r_sem", "r_spa", "r_ri", "r_pi")}
        record = {
            "prompt": f"a red heart on the left of a blue star, {index}",
            "category": "spatial",
            "chain": CHAIN,
            "problems": [],
            "reward": {"total": terms["r_sem"], "terms": terms},
            "evidence": {},
        }
        image = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        log.save_sample(1, index, np.asarray(Image.fromarray(image)), record)
    build_study([("run", folder / "run")], folder / "study")
    return folder / "study"


def rate(link: str, ids: list[str], seed: int, pause: float) -> list[tuple[str, str, int, float]]:
    """Rates every question of every item; (item, question, score, seconds) of each."""
    rng = random.Random(seed)
    place, _ = link.split("?")
    saves = []
    transport = httpx.HTTPTransport(retries=12)
    with httpx.Client(transport=transport, timeout=300, follow_redirects=True) as client:
        page = client.get(link)
        found = re.search('name="studio-token" content="([^"]+)"', page.text)
        assert found is not None, page.text
        origin = "/".join(link.split("/")[:3])
        client.headers.update({"Origin": origin, "X-Studio-Token": found[1]})
        for at, item in enumerate(ids):
            for question in QUESTIONS:
                time.sleep(rng.uniform(0, 2 * pause))
                score = rng.randrange(11)
                body = {"at": at, "items": {item: {question: score, "seconds": at}}}
                start = time.perf_counter()
                client.post(f"{place}/state", json=body).raise_for_status()
                saves.append((item, question, score, time.perf_counter() - start))
    return saves


def main() -> int:
    """Runs the raters against one server."""
    parser = argparse.ArgumentParser(description="Saves of many raters at once.")
    parser.add_argument("--raters", type=int, default=50)
    parser.add_argument("--items", type=int, default=20)
    parser.add_argument("--pause", type=float, default=2.0, help="mean seconds before a score")
    args = parser.parse_args()
    names = [f"r{number}" for number in range(args.raters)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        study = make_study(Path(folder), args.items)
        command = [sys.executable, "-m", "got_r1", "studio", "--study", str(study)]
        server = subprocess.Popen(
            [*command, "--raters", ",".join(names), "--port", str(port)],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert server.stdout is not None
            server.stdout.readline()
            lines = [server.stdout.readline().split() for _ in names]
            links = {words[0]: words[-1] for words in lines}
            ids = [item["id"] for item in read_items(study)]
            before = os.getloadavg()[0]
            with ThreadPoolExecutor(len(names)) as pool:
                futures = [
                    pool.submit(rate, links[name], ids, seed, args.pause)
                    for seed, name in enumerate(names)
                ]
                saves = dict(zip(names, [one.result() for one in futures], strict=True))
        finally:
            server.kill()
            server.wait()
        kept = database_ratings(study, study_id(study))
    seconds = 1000 * np.array([save[3] for some in saves.values() for save in some])
    lost = sum(
        kept[name][item][question] != score
        for name, some in saves.items()
        for item, question, score, _ in some
    )
    middle, high = np.percentile(seconds, [50, 95])
    print(
        f"{args.raters} raters, {len(seconds)} saves: median {middle:.0f} ms, p95 {high:.0f} ms, "
    )
    print(f"slowest {seconds.max():.0f} ms; {lost} lost; load {before:.1f}", end="")
    print(f" before, {os.getloadavg()[0]:.1f} after, {os.cpu_count()} cores")
    return int(lost > 0 or high > 1000 * TARGET)


if __name__ == "__main__":
    sys.exit(main())
