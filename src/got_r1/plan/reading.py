"""What a prompt asks for, read from its words: objects, their numbers, and one relation.

This is the one general reader of prompts; `wordings` lists how relations and numbers are said.
`icons.prompts.parse` is a strict grammar of the icon world's sentences over the
same wordings; `benchmarks.compbench` reproduces the official scripts' reading with all its quirks.

`read` knows a small grammar of English for prompts like T2I-CompBench's, of any objects:

    sentence := [opening] (list | link | with) [.]
    list     := phrase {(","| "and" | ", and") phrase}
    link     := phrase [verb] relation phrase [tail] | relation phrase [","] [verb] phrase
    tail     := (", with" | ", and" | "with" | "and") list
    with     := phrase "with" phrase ("to its left" | "below it" | ...) [tail]
    phrase   := [a | an | the | one .. ten | 1 .. 10] up to five words, no verb or preposition

What it cannot read is None, never a guess: "a man is walking his dog" has no plan to compare with,
and "no red heart" asks for nothing that a plan could name.
`relation_asked` is for those who need the
relation only: it also takes the words around it from sentences outside the grammar. (Our choice
throughout.)
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass, field

from got_r1.plan.layout import Relation
from got_r1.plan.wordings import (
    CONVERSES,
    COUNT_WORDS,
    NEGATIONS,
    RELATION_OF_WITH_WORDS,
    RELATION_OF_WORDS,
    RELATION_WORDS,
)

__all__ = [
    "OPENING",
    "AskedObject",
    "PromptSpec",
    "content_words",
    "find_relation_words",
    "head_word",
    "likeness",
    "paraphrases",
    "read",
    "relation_asked",
]

OPENING = re.compile(
    r"(?:there (?:is|are|was|were)"
    r"|(?:an? )?(?:picture|image|photo|photograph|painting|drawing) of) "
)
"""What may stand before a sentence, in lower case, and says nothing of what is asked."""

_LONGEST = 400  # characters; longer texts are descriptions, not sentences of this grammar
_MOST_WORDS = 5  # of a name
_IRREGULAR = {
    "people": "person",
    "men": "man",
    "women": "woman",
    "children": "child",
    "mice": "mouse",
    "geese": "goose",
    "feet": "foot",
    "teeth": "tooth",
    "knives": "knife",
    "wolves": "wolf",
    "leaves": "leaf",
    "shelves": "shelf",
    "loaves": "loaf",
}


@dataclass(frozen=True, slots=True)
class AskedObject:
    """One object of a prompt: its singular name without an article, and how many. `determiner` is
    the word before it ("a", "the", "" for none), for saying it again."""

    name: str
    count: int = 1
    determiner: str = field(default="a", compare=False)


@dataclass(frozen=True, slots=True)
class PromptSpec:
    """What a prompt asks: `objects[0]` is in `relation` to `objects[1]`, where there is one."""

    objects: tuple[AskedObject, ...]
    relation: Relation | None = None

    @property
    def singles(self) -> tuple[str, ...]:
        """The name of every single object: "two hearts" are two."""
        return tuple(one.name for one in self.objects for _ in range(one.count))


# -- text -> what is asked -----------------------------------------------------------------------

_ANY_RELATION = "|".join(map(re.escape, sorted(RELATION_OF_WORDS, key=len, reverse=True)))
_RELATION = re.compile(rf"(?<![\w-])(?:{_ANY_RELATION})(?![\w-])")
_DETERMINER = rf"(?:an?|the|{'|'.join(COUNT_WORDS)}|10|[1-9])"
_BE = "is|are|was|were|stands?|stood|sits?|sat|lies|lay|rests?|rested|hangs?|hung|floats?|floated"
_DOING = "standing|sitting|lying|resting|hanging|hung|placed|parked|positioned|located|perched|seen"
_VERB = re.compile(rf"(?: (?:{_BE}))?(?: (?:{_DOING}))?$")
_LEADING_VERB = re.compile(rf"^(?:there )?(?:{_BE}) ")
_PHRASE = re.compile(rf"(?:(?P<determiner>{_DETERMINER}) )?(?P<name>[a-z'-]+(?: [a-z'-]+)*)")
_SEPARATOR = re.compile(r",? and |, ")
_TAIL = re.compile(r",? (?:with|and) |, ")
_WITH = re.compile(
    r"(?P<second>.+?) with (?P<first>.+?) "
    rf"(?P<words>{'|'.join(RELATION_OF_WITH_WORDS)})(?:(?:,? (?:with|and) |, )(?P<tail>.+))?"
)
# "to the left of the dog is a cat": where the place ends and the thing begins.
_INVERSION = re.compile(rf",? (?=(?:there )?(?:{_BE}) {_DETERMINER} )|, ")
_COLOR = (
    "(?:black|white|grey|gray|brown|beige|red|orange|yellow|green|blue|purple|pink|gold|silver)"
)
_TWO_COLORS = re.compile(rf"\b({_COLOR}) and ({_COLOR})\b(?= [a-z])")
_CLAUSE_END = re.compile(r"[,.;:]| and | with ")
# str.lower may change a text's length, and with it the places of its words.
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_PAST = re.compile(r"[a-z]{4,}ed")  # "the flower bloomed"
# Words that no name holds: what has one of them is a clause, not a thing.
_CLAUSE = re.compile(
    r"(?<![\w-])(?:an?|the|is|are|was|were|be|being|been|has|have|had|on|in|at|to|with|from|by|that|which|who"
    r"|it|its|his|her|their|into|onto|behind|front|through|while|as|for|there|this|these|those|and"
    r"|each|every|some|many|several|all)(?![\w-])"
)
# "no red heart" asks for a picture without one: it is not the name of what is to be drawn.
_NEGATION = re.compile(rf"(?<![\w-])(?:{'|'.join(NEGATIONS)})(?![\w-])|n't\b")


def read(text: str) -> PromptSpec | None:
    """What a prompt asks, or None where the grammar does not know the sentence.

    Case, white space and a final dot do not matter. A sentence with two relations is not read.
    """
    if len(text) > _LONGEST:
        return None
    sentence = " ".join(text.lower().split()).removesuffix(".").rstrip().replace(" ,", ",")
    sentence = _TWO_COLORS.sub(r"\1-and-\2", OPENING.sub("", sentence, count=1))
    if with_ := _WITH.fullmatch(sentence):
        first, second, tail = (with_[part] or "" for part in ("first", "second", "tail"))
        relation = RELATION_OF_WITH_WORDS[with_["words"]]
        return _link(_VERB.sub("", first), relation, second, tail)
    found = list(_RELATION.finditer(sentence))
    if not found:
        objects = _list(sentence)
        return PromptSpec(objects) if objects else None
    if len(found) > 1:
        return None
    relation = RELATION_OF_WORDS[found[0][0]]
    before, after = sentence[: found[0].start()].strip(), sentence[found[0].end() :].strip()
    if before:
        second, _, tail = _partition(_TAIL, after)
        return _link(_VERB.sub("", before), relation, second, tail)
    second, found_verb, rest = _partition(_INVERSION, after)
    first, _, tail = _partition(_TAIL, _LEADING_VERB.sub("", rest, count=1))
    return _link(first, relation, second, tail) if found_verb else None


def relation_asked(text: str) -> tuple[str, Relation, str] | None:
    """The one relation that a text states: (first, relation, second), "first is <relation> of
    second". None where it states no relation or several.

    `first` and `second` are the names of the objects where `read` knows the sentence; else the
    words before and after the relation up to the next clause, in lower case ("two cats asleep",
    "top", "the sofa"), and None where a side has no words.
    """
    asked = read(text)
    if asked is not None and asked.relation is not None:
        first, second = asked.objects[:2]
        return first.name, asked.relation, second.name
    sentence = " ".join(text.lower().split())
    found = find_relation_words(sentence)
    if len(found) != 1:
        return None
    relation, start, end = found[0]
    before = _CLAUSE_END.split(OPENING.sub("", sentence[:start], count=1))[-1].strip()
    after = _CLAUSE_END.split(sentence[end:])[0].strip()
    if _NEGATION.search(before) or _NEGATION.search(after):  # "a cat that is not on the sofa"
        return None
    return (before, relation, after) if content_words(before) and content_words(after) else None


def find_relation_words(text: str) -> list[tuple[Relation, int, int]]:
    """Every relation that a text names: which, and where its words begin and end."""
    return [
        (RELATION_OF_WORDS[found[0]], found.start(), found.end())
        for found in _RELATION.finditer(text.translate(_LOWER))
    ]


def _partition(pattern: re.Pattern[str], text: str) -> tuple[str, bool, str]:
    """str.partition at the first match."""
    found = pattern.search(text)
    return (text[: found.start()], True, text[found.end() :]) if found else (text, False, "")


def _link(first: str, relation: Relation, second: str, tail: str) -> PromptSpec | None:
    """A relation between two single things, with what else the sentence names.

    A tail that is no list of things is left out: it says how the scene looks.
    """
    one, two = _phrase(first), _phrase(second)
    if one is None or two is None or one.count > 1 or two.count > 1:
        return None
    return PromptSpec((one, two, *_list(tail)), relation)


def _list(text: str) -> tuple[AskedObject, ...]:
    """The things of a list; empty where one of them is none."""
    things = [_phrase(piece) for piece in _SEPARATOR.split(text)]
    return tuple(thing for thing in things if thing) if all(things) else ()


def _phrase(text: str) -> AskedObject | None:
    found = _PHRASE.fullmatch(text.strip())
    if found is None:
        return None
    words = found["name"].split()
    if len(words) > _MOST_WORDS or "of" in (words[0], words[-1]):
        return None
    if _CLAUSE.search(found["name"]) or _PAST.fullmatch(words[-1]):
        return None
    if _NEGATION.search(found["name"]):
        return None
    determiner = found["determiner"] or ""
    count = COUNT_WORDS.index(determiner) + 1 if determiner in COUNT_WORDS else 1
    if determiner.isdigit():
        count = int(determiner)
    if count > 1:
        words[-1] = _singular(words[-1])
    return AskedObject(" ".join(words), count, determiner)


# -- names ---------------------------------------------------------------------------------------


def likeness(asked: str, planned: str) -> float:
    """How well a planned name is what was asked, in [0, 1].

    0 where the thing itself (the last word, or the one before "of") is not named; else the share of
    the asked words that the planned name holds. Numbers do not matter, further words do not cost.
    """
    wanted, there = content_words(asked), content_words(planned)
    if not wanted or head_word(wanted) not in there:
        return 0.0
    return sum(word in there for word in wanted) / len(wanted)


def content_words(name: str) -> list[str]:
    """The words of a name in order: lower case, singular, without articles and "and"."""
    plain = re.findall(r"[^\W_]+(?:'[^\W_]+)*", name.lower())
    return [_singular(word) for word in plain if word not in ("a", "an", "the", "and")]


def head_word(words: Sequence[str]) -> str:
    """The noun among a name's words (at least one): the one before "of", else the last."""
    return words[words.index("of") - 1] if "of" in words[1:] else words[-1]


def _singular(word: str) -> str:
    """A noun's singular, by its ending; wrong ones are at least the same for asked and planned."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if re.search(r"(?:ch|sh|x|ss|z)es$", word):
        return word[:-2]
    return word[:-1] if re.search(r"[^sui]s$", word) else word


# -- what is asked -> text -----------------------------------------------------------------------


def paraphrases(asked: PromptSpec) -> dict[str, str]:
    """Sentences that all say the relation of `asked`, by the name of their form.

    The first is T2I-CompBench's own. "converse" forms name the second object first. All are
    sentences of this grammar, and of the icon world's for its own things.
    """
    relation = asked.relation
    if relation is None:
        raise ValueError("paraphrases are of a relation")
    first, second, *others = asked.objects
    one, two = (_with_article(thing, "a") for thing in (first, second))
    the_one, the_two = (_with_article(thing, "the") for thing in (first, second))
    is_one, is_two = ("are" if _is_plural(thing) else "is" for thing in (first, second))
    words, other_words = RELATION_WORDS[relation][:2]
    converse = RELATION_WORDS[CONVERSES[relation]][0]
    tail = f", with {' and '.join(_with_article(other, 'a') for other in others)}" if others else ""
    return {
        "plain": f"{one} {words} {two}{tail}",
        "other words": f"{one} {other_words} {two}{tail}",
        "picture of": f"a picture of {one} {words} {two}{tail}",
        "full sentence": f"{the_one} {is_one} {words} {the_two}{tail}",
        "converse": f"{two} {converse} {one}{tail}",
        "converse, full sentence": f"{the_two} {is_two} {converse} {the_one}{tail}",
    }


def _with_article(thing: AskedObject, article: str) -> str:
    """The thing as a sentence names it; one without a determiner ("rubber gloves") keeps none."""
    if thing.count > 1:
        return f"{COUNT_WORDS[thing.count - 1]} {thing.name}s"
    if article == "the":
        return f"the {thing.name}"
    if not thing.determiner:
        return thing.name
    return f"{'an' if thing.name[0] in 'aeiou' else 'a'} {thing.name}"


def _is_plural(thing: AskedObject) -> bool:
    return not thing.determiner and _singular(thing.name.split()[-1]) != thing.name.split()[-1]
