"""GenEval: the decision rules, the summary, and the benchmark that runs them.

`rules` judges one image by what a detector found, `colours` prepares what the colour classifier
sees, `summary` adds the verdicts up; `benchmark` brings in images and models.
"""
