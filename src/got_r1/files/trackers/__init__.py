"""Experiment trackers: where a run's metrics and galleries are shown beside its own files.

`base.py` is the interface; `tensorboard.py`, `wandb_run.py` and `trackio_run.py` implement it. A
new tracker is a module here, a case in `process.connect` and a name in `RunSection.track` of
`recipes/sections.py`. `process.py` runs a tracker in a process of its own, so that it never slows
or stops a training run; `opening.py` opens those that a run asks for, and continues them when it is
resumed.
"""
