"""What a prompt asks for and a plan, or an image, does not have: in phrases, for people.

A policy may write any plan. `differences` says where it is not what the prompt asks for, as far as
names and boxes tell; `chain_faults` what is wrong with a chain by itself.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from got_r1.plan.chain import BOX_END, OBJ_START
from got_r1.plan.layout import assign, relation_holds
from got_r1.plan.reading import PromptSpec, find_relation_words, likeness
from got_r1.plan.wordings import RELATION_WORDS
from got_r1.records import Chain, PlannedObject

__all__ = ["chain_faults", "differences"]

_OBJECT = re.compile(f"{re.escape(OBJ_START)}.*?{re.escape(BOX_END)}", re.DOTALL)


def differences(
    asked: PromptSpec,
    objects: Sequence[PlannedObject],
    *,
    done: str = "planned",
    alike: Callable[[str, str], float] = likeness,
    complete: bool = False,
) -> tuple[str, ...]:
    """Where objects are not what is asked for; nothing where they are.

    `done` says what was done to the objects ("planned", "drawn"). `alike` compares an asked name
    with theirs, in [0, 1]. Further objects are a difference where the prompt names everything that
    there is to be (`complete`), else only those of a kind that it gives a number above one of.
    """
    singles = asked.singles
    scores = np.array([[alike(one, thing.name) for thing in objects] for one in singles])
    pairs = dict(assign(scores.reshape(len(singles), len(objects))))
    found = []
    lacking = Counter(one for index, one in enumerate(singles) if index not in pairs)
    wanted = Counter(singles)
    for name, count in lacking.items():
        some = f"only {wanted[name] - count} of {wanted[name]} " if count < wanted[name] else ""
        number = f"{count} " if count > 1 and not some else ""
        verb = "are" if some or count > 1 else "is"
        negation = "" if some else "not "
        found.append(f'{some}{number}"{name}" {verb} {negation}{done}')
    found += [
        f'"{singles[i]}" is {done} as "{objects[j].name}"'
        for i, j in pairs.items()
        if scores[i, j] < 1
    ]
    numbered = {thing.name for thing in asked.objects if thing.count > 1}
    for index, thing in enumerate(objects):
        if index not in pairs.values() and (
            complete or any(alike(name, thing.name) > 0 for name in numbered)
        ):
            found.append(f'a further "{thing.name}" is {done}')
    if asked.relation is not None and {0, 1} <= pairs.keys():
        first, second = (objects[pairs[index]] for index in (0, 1))
        if not relation_holds(asked.relation, first.box, second.box):
            words = RELATION_WORDS[asked.relation][0]
            found.append(f'"{first.name}" is not {done} {words} "{second.name}"')
    return tuple(dict.fromkeys(found))


def chain_faults(chain: Chain) -> tuple[str, ...]:
    """What is wrong with a chain, whatever was asked: its problems, or words against its boxes.

    The words count where the prose between two neighbouring objects states one relation.
    """
    if chain.problems:
        return tuple(f"malformed chain: {problem}" for problem in chain.problems)
    found = []
    spans = [match.span() for match in _OBJECT.finditer(chain.text)]
    for index in range(len(spans) - 1):
        stated = find_relation_words(chain.text[spans[index][1] : spans[index + 1][0]])
        one, other = chain.objects[index], chain.objects[index + 1]
        if len(stated) == 1 and not relation_holds(stated[0][0], one.box, other.box):
            words = RELATION_WORDS[stated[0][0]][0]
            found.append(
                f'the chain says "{one.name}" {words} "{other.name}", and its boxes do not'
            )
    return tuple(found)
