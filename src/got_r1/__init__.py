"""GoT-R1: reinforcement learning for models that reason before they draw."""

__version__ = "0.1.0"
