"""The plan itself: whether the planner or the drawer makes the mistakes.

`cases.py` which prompts are asked, `sight.py` what is seen in a plan and an image, `summary.py` the
numbers.
"""
