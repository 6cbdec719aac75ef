"""The table of planted judges in docs/audit.md: does the audit tell each rightly, on every term?

    .venv/bin/python experiments/planted_judges.py
    .venv/bin/python experiments/planted_judges.py --only noise persuaded --seed 1  # by names

Exit code 1 where one is not told rightly.
"""

from __future__ import annotations

import argparse
import sys

from got_r1.audit.judge import audit_judge
from got_r1.audit.planted import PLANTED
from got_r1.audit.settings import PAIRS, TERMS
from got_r1.benchmarks.evaluation import markdown_table


def main() -> int:
    """Audits the judges one after the other and prints a row for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--only", nargs="+", default=[""], help="judges whose name has one of these"
    )
    args = parser.parse_args()
    rows, right = [], True
    for name, planted in PLANTED.items():
        if not any(words in name for words in args.only):
            continue
        audit = audit_judge(planted.make(), pairs=args.pairs, seed=args.seed)
        verdicts = {term: audit["terms"][term]["verdict"] for term in TERMS}
        wrong = [
            term
            for term, verdict in verdicts.items()
            if verdict != ("not fit" if term in planted.unfit else "fit")
        ]
        right = right and not wrong
        rows.append([name, *verdicts.values(), ", ".join(wrong) or "–"])
        print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
        for term in wrong:
            for why in audit["terms"][term]["why"]:
                print("   ", term, why["state"], why["text"], file=sys.stderr, flush=True)
    print(*markdown_table([["Planted", *TERMS, "told wrong"], *rows]), sep="\n")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
