"""A run folder as one self-contained HTML file. Reads files only; never needs torch."""

from got_r1.report.build import build_report

__all__ = ["build_report"]
