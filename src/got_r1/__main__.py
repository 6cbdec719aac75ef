"""`python -m got_r1` is `got-r1`."""

from got_r1.cli import run

run()
