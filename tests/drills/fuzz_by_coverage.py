"""The properties of `test_fuzz`, with inputs that are chosen by the lines that they reach.

    pip install atheris
    python tests/drills/fuzz_by_coverage.py --minutes 60

shares the minutes among the properties, one after the other, and prints how many inputs each was
given. Ends with 1 where one failed; libFuzzer then writes the input to `crash-...`.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

PROPERTIES = (
    *("test_chains", "test_scores", "test_boxes", "test_prompt_files"),
    *("test_json_files", "test_recipes_and_judge_files", "test_overrides"),
)


def fuzz(name: str, seconds: int) -> None:
    """Never returns: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["got_r1"]):
        from drills import test_fuzz
    test = getattr(test_fuzz, name).hypothesis.fuzz_one_input
    atheris.Setup([name, f"-max_total_time={seconds}", "-max_len=4096", "-verbosity=1"], test)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--only", choices=PROPERTIES, help="this property, in this process")
    given = parser.parse_args()
    if given.only:
        fuzz(given.only, round(60 * given.minutes))
    failed = 0
    for name in PROPERTIES:
        command = [sys.executable, __file__, "--only", name]
        command += ["--minutes", str(given.minutes / len(PROPERTIES))]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        runs = re.findall(r"^Done (\d+) runs", ended.stderr, re.MULTILINE)
        reached = re.findall(r"cov: (\d+)", ended.stderr)
        if runs and not ended.returncode:
            print(f"{int(runs[-1]):12,} inputs, {reached[-1]:>6} edges: {name}", flush=True)
        else:
            failed += 1
            print(f"{name} failed:\n{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
