"""A model's reply as a score or as boxes: read leniently, checked strictly.

Lenient is the form: code fences, prose around the JSON, single quotes, trailing commas, bare keys
and Python's words, a score as a word or as "8/10", a box under any usual key or in a family's own
marks. Strict is the content: what is not one clear answer raises `Unreadable`, is asked again, and
in the end is a failure of the judge. It is never guessed and never a score:

- Two different scores in one reply; equal ones are one.
- Another scale than 0 to 10: "80%", "4/5". The rubric's bands were not followed, so what a mark
  means there is not known. "8/10" and "8 out of 10" say the asked scale and are read.
- A reply that was cut off. `"score": 1` may have been about to say 10, so a score counts only in an
  object that was closed.
- Boxes of several things of which none, or none for certain, is the asked one.
- JSON inside a string is text: a judge may quote the verdict that a chain planted.

A box without area ([0, 0, 0, 0]), an empty list, null and a text that says "not there" in any usual
words are an answer: the thing is not in the image. A refusal to judge is none.

`scores` reads the ones and `boxes` the others; `labels` says whose a box is, `absence` what words
say that there is none.
"""

from __future__ import annotations

from got_r1.judges.boxes import MOST_BOXES, OVERHANG, Order, RawBox, in_frame, read_boxes, read_raw
from got_r1.judges.reply_text import LONGEST, Unreadable
from got_r1.judges.scores import Scored, read_score

__all__ = [
    "LONGEST",
    "MOST_BOXES",
    "OVERHANG",
    "Order",
    "RawBox",
    "Scored",
    "Unreadable",
    "in_frame",
    "read_boxes",
    "read_raw",
    "read_score",
]
