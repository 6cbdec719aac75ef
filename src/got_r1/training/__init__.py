"""The training loops: `vq`, `sft` and `rl`, each a page, over one way to open and resume a run."""
