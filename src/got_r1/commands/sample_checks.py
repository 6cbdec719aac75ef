"""What `sample` says of its prompts and images: what was not understood, and what is not as
asked (`got_r1.sampling.checks`)."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from got_r1.errors import BadInput, RunFailed, quoted
from got_r1.files.inputs import read_json
from got_r1.plan.planning import explain_choice
from got_r1.records import Prompt

if TYPE_CHECKING:
    from got_r1.sampling.checks import Checks

__all__ = ["read_record", "refuse_faults", "tell", "tell_doubts", "tell_pictures"]

MOST_LINES = 20  # on stderr, of each kind; the files hold all of them


def tell_doubts(
    checks: Checks, prompts: Sequence[Prompt], strict: bool
) -> dict[str, tuple[str, ...]]:
    """Says on stderr what is not understood, and returns it.

    Raises BadInput instead where `strict`; elsewhere than in the icon world, for prompts whose
    plans cannot be compared with them.
    """
    found = checks.doubts(prompts)
    lines = [f"the prompt {quoted(text)}: {'; '.join(why)}" for text, why in found.items()]
    if strict and lines:
        raise BadInput(
            f"{lines[0]}{more(lines)}; reword it (got-r1 sample --help lists the words), or "
            "leave out --strict to draw what the model makes of it."
        )
    from got_r1.sampling.checks import unread_prompts

    unread = unread_prompts(prompts)
    if strict and unread:
        raise BadInput(
            f"the prompt {quoted(unread[0].text)}{more(unread)} could not be read as objects "
            "and a relation, so that no plan can be compared with it; reword it, or leave out "
            "--strict."
        )
    tell([f"{line}; the image may show anything." for line in lines])
    tell(checks.reworded(prompts))
    return found


def read_record(path: Path) -> dict[str, Any]:
    """A sample's record; one that cannot be read is a fault of the sample, and no end."""
    try:
        return read_json(path, "record")
    except BadInput as error:
        return {"faults": [str(error).removesuffix(".")]}


def tell_pictures(
    images: Sequence[Path], records: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """A line on stderr for every image that is not as asked, and for every choice among plans.

    Returns the same for the command's JSON, with what was found in each image.
    """
    told = []
    for image, record in zip(images, records, strict=True):
        one: dict[str, Any] = {"file": str(image), "faults": faults_of(record)}
        one |= {key: record[key] for key in ("found", "iou") if key in record}
        if choice := explain_choice(record):
            one["choice"] = choice
        told.append(one)
    tell([f"{Path(one['file']).name}: {one['choice']}." for one in told if "choice" in one])
    tell(
        [f"{Path(one['file']).name}: {'; '.join(one['faults'])}." for one in told if one["faults"]]
    )
    return told


def faults_of(record: Mapping[str, Any]) -> list[str]:
    """A record's faults; of an older one, which holds none, the problems of its chain."""
    faults, problems = record.get("faults"), record.get("problems")
    if isinstance(faults, list):
        return [str(fault) for fault in faults]
    some = problems if isinstance(problems, list) else []
    return [f"malformed chain: {problem}" for problem in some]


def refuse_faults(told: Sequence[Mapping[str, Any]]) -> None:
    """Raises RunFailed where an image is not as asked: what `--strict` ends with."""
    faulty = [one for one in told if one["faults"]]
    if faulty:
        raise RunFailed(
            f"{len(faulty)} of {len(told)} images are not as asked (--strict); their records name "
            "why, and another --seed, --plans or --repair may give better ones."
        )


def more(some: Sequence[object]) -> str:
    """How many there are beside the first, to stand behind it."""
    return f" (and {len(some) - 1} more)" if len(some) > 1 else ""


def tell(lines: Sequence[str]) -> None:
    """Lines on stderr, the first `MOST_LINES` of them."""
    for line in lines[:MOST_LINES]:
        # Names come from a model: nothing that moves a terminal's cursor.
        plain = "".join(sign if sign.isprintable() else "\ufffd" for sign in " ".join(line.split()))
        print(plain, file=sys.stderr)  # noqa: T201
    if len(lines) > MOST_LINES:
        rest = len(lines) - MOST_LINES
        print(f"... and {rest} more such lines; the records hold them.", file=sys.stderr)  # noqa: T201
