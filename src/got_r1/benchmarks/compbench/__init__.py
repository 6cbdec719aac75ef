"""T2I-CompBench(++): the arithmetic of its scorers, and the benchmark that runs them.

One module a scorer, numbers in and numbers out: `spatial` (2D), `depth` (3D), `numeracy`, `vqa`
(color, shape, texture), `complex` (3-in-1); non-spatial prompts are a plain cosine. `words` reads
prompts, `quirks` names the official code's faults, `benchmark` brings in images and models.
"""
