"""Parts of speech and noun chunks for the benchmark's sentences, without a model.

Made for what T2I-CompBench is made of: "a green bench and a blue bowl", "The red hat was on top of
the brown coat rack.", "a mouse on side of a key". Words of closed classes are listed, as are the
adjectives and verbs that such sentences use; endings and neighbours decide on the rest, and what
nothing speaks against is a noun. On free prose it errs; docs/benchmarks.md has the figures.

It stands in for spaCy where the official scripts ask spaCy, and is not the project's reader of
prompts (`got_r1.plan.reading`): what counts is that it agrees with spaCy's tags and noun chunks,
also where these are not what the sentence means.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from got_r1.benchmarks.compbench.tagger import Token

__all__ = ["FallbackTagger"]

VERSION = 2  # to be raised with every change of what a sentence gives

DETERMINERS = "a an the this these some each every all both another no"
POSSESSIVES = "its his her their my your our"
PRONOUNS = "it he she they him them which who that what others something everyone itself"
PREPOSITIONS = (
    "of on in to with by for from at near behind above below under over inside into onto through "
    "between against beside beneath across along around past toward towards down up off out upon "
    "during like atop within among without underneath amidst about per as after before"
)
CONJUNCTIONS = "and or but"
SUBORDINATORS = "while when where if because than though until"
AUXILIARIES = "is are was were be been being has have had can could will would may must did does do"
NUMBERS = "one two three four five six seven eight nine ten"
ADVERBS = (
    "next nearby very not too also just still away together upright otherwise even here there then "
    "outdoors indoors apart so back-to-back far only once"
)
# Words in "ly" are adverbs but for these, the first of which are nouns.
NOUNS_LY = "butterfly dragonfly firefly fly lily family jelly belly monopoly ally"
ADJECTIVES_LY = (
    "prickly bubbly curly fluffly friendly lively lovely cuddly crumbly wrinkly smelly wobbly "
    "bristly heavenly ghostly early daily"
)
ADJECTIVES = (
    # colours
    "red orange yellow green blue purple pink brown black white grey gray beige tan gold golden "
    "silver turquoise violet maroon navy colorful multicolored vivid pale dark bright light "
    # shapes and sizes
    "round square rectangular circular triangular oval cubic spherical cylindrical conical "
    "pyramidal pentagonal hexagonal octagonal oblong teardrop diamond big small tall short large "
    "tiny huge long wide narrow thick thin flat little slim deep low high bulky massive vast "
    "straight curved sharp blunt pointed jagged crescent "
    # textures and surfaces
    "wooden metallic plastic fluffy leather rubber fabric woolen soft hard smooth rough shiny "
    "glossy matte dull fuzzy furry hairy bumpy spiky prickly silky satiny velvety sticky slimy "
    "slippery wet dry damp dusty sandy rocky grassy mossy icy muddy greasy oily sleek coarse "
    "grainy crunchy crispy crisp creamy gooey juicy rusty plush sturdy rigid brittle fragile "
    "translucent transparent opaque clear clean dirty "
    # everything else that the sentences use
    "old new young fresh ripe raw warm hot cold cool frosty chilly cozy comfortable sweet sour "
    "spicy bitter savory delicious fragrant hungry sleepy quiet loud calm busy empty full heavy "
    "delicate elegant intricate ornate modern ancient vintage rustic natural urban wild gentle "
    "bold rich plain simple beautiful pretty vibrant lush majestic powerful graceful playful "
    "curious happy sad tired lazy brave strong weak healthy sunny cloudy stormy foggy rainy "
    "snowy starry gnarled steep open closed other same different fancy serene peaceful "
    "stainless sore luxurious dim stylish lumpy thorny angular rugged spacious whitish"
)
PLACES = "left right top bottom side front back middle center"  # nouns, whatever they look like
VERBS = (
    "sit sits sat stand stands stood lie lies lay rest rests rested hang hangs hung hold holds "
    "held lean leans leaned float floats fly flies flew fell falls run runs ran drive drove ride "
    "rides rode swim swam eat eats ate drink drinks drank grow grows grew shine shines shone glow "
    "glows reads made make makes kept keep keeps wears wore takes took gives gave brought bring "
    "came come comes went goes looks adds seen saw has spun flows wrote drew set put hidden "
    "cut covers lit woke flowed blew cast hit felt slept sank flit sped swung bore wove led spread"
)
# Of these the ones that are no nouns, whatever stands before them ("the warm yellow light shone").
VERBS_ALONE = (
    "sat stood hung held ran drove rode swam ate drank grew shone made kept wore took gave brought "
    "came went seen flew fell wrote drew lit woke blew slept sank swung wove led"
)
# Endings of adjectives, and nouns that end so.
ENDINGS_ADJ = ("ous", "ful", "less", "ic", "ish", "esque")
NOUNS_DESPITE = (
    "music comic mosaic garlic picnic attic clinic mechanic arctic topic fish goldfish starfish "
    "jellyfish swordfish catfish dish radish polish finish mouthful spoonful handful"
)
NOUNS_ED_ING = (
    "bed sled shed seed speed weed reed breed ring king string spring wing building ceiling "
    "painting earring clothing evening morning lightning railing wedding pudding frosting stuffing "
    "topping awning sibling duckling dumpling setting seating lighting flooring opening thing "
    "icing bedding carving wrapping"
)


def lexicon() -> dict[str, str]:
    """What a word is where nothing speaks against it; a later entry wins."""
    classes = [
        (VERBS, "VERB"),
        (ADJECTIVES, "ADJ"),
        (NOUNS_LY, "NOUN"),
        (NOUNS_ED_ING, "NOUN"),
        (ADJECTIVES_LY, "ADJ"),
        (PLACES, "NOUN"),
        (ADVERBS, "ADV"),
        (NUMBERS, "NUM"),
        (AUXILIARIES, "AUX"),
        (SUBORDINATORS, "SCONJ"),
        (CONJUNCTIONS, "CCONJ"),
        (PREPOSITIONS, "ADP"),
        (PRONOUNS, "PRON"),
        (POSSESSIVES, "PRON"),
        (DETERMINERS, "DET"),
    ]
    return {word: pos for words, pos in classes for word in words.split()}


LEXICON = lexicon()
POSSESSIVE = frozenset(POSSESSIVES.split())
VERB_ALONE = frozenset(VERBS_ALONE.split())
NOUN_DESPITE = frozenset(NOUNS_DESPITE.split())

# Words (with the clitic "'s" apart), numbers, and each other sign alone; hyphens split words.
_PIECES = re.compile(r"'s\b|[^\W\d_]+(?:'(?!s\b)[^\W\d_]+)?|\d+(?:[.:,]\d+)*|\S")


class Piece(NamedTuple):
    """A token and where it stands in its sentence."""

    text: str
    start: int
    end: int
    pos: str


class FallbackTagger:
    """A `Tagger` by word lists, endings and neighbours."""

    version = f"fallback tagger {VERSION}"
    is_official = False

    def tokens(self, text: str) -> list[Token]:
        """As `Tagger.tokens`."""
        return [Token(piece.text, piece.pos) for piece in tag(text)]

    def noun_chunks(self, text: str) -> list[str]:
        """As `Tagger.noun_chunks`."""
        return [text[start:end] for start, end in chunks(tag(text))]


# -- parts of speech -------------------------------------------------------------------------------


def tag(text: str) -> list[Piece]:
    """The sentence in pieces with their parts of speech."""
    found = list(_PIECES.finditer(text))
    texts = [match.group() for match in found]
    tags: list[str] = []
    for place in range(len(texts)):
        tags.append(part_of_speech(texts, place, tags))
    return [
        Piece(match.group(), match.start(), match.end(), pos)
        for match, pos in zip(found, tags, strict=True)
    ]


def part_of_speech(texts: Sequence[str], place: int, before: Sequence[str]) -> str:
    """Of the word at `place`; `before`: the tags of the words before it."""
    text = texts[place]
    word = text.lower()
    last = before[-1] if before else ""
    following = texts[place + 1].lower() if place + 1 < len(texts) else ""
    other = "NUM" if following[:1].isdigit() else "PUNCT"
    follows = LEXICON.get(following, "NOUN" if following[:1].isalpha() else other)
    if word == "'s":
        return "PART"
    if text[0].isdigit():
        return "NUM"
    if not text[0].isalpha():
        return "PUNCT"
    inside_phrase = last in ("DET", "ADJ", "NUM", "PART") or (
        last == "PRON" and texts[place - 1].lower() in POSSESSIVE
    )
    known = LEXICON.get(word)
    ends = follows == "PUNCT" and following not in (",", "-")
    ends = ends or (follows == "CCONJ" and texts[place + 2 : place + 3] in (["a"], ["an"], ["the"]))
    if known in ("VERB", "AUX") and (inside_phrase or (ends and last == "NOUN")):
        known = None  # "a fly", "a soda can"
    elif known == "ADJ" and last in ("ADJ", "DET", "NOUN"):
        # "a red orange and", "a traffic light above": an adjective that nothing follows is a noun.
        open_ended = follows in ("NOUN", "ADJ", "PUNCT", "CCONJ", "VERB", "NUM")
        if ends or not open_ended or following in VERB_ALONE:
            known = "NOUN"
    elif known == "PRON" and place and texts[place - 1] == "-":
        known = None  # "a post-it"
    if known is not None:
        return known
    if word.endswith("ly") and len(word) > 4:
        return "ADV"
    if word.endswith(("ed", "ing")) and len(word) > 4:
        # "the clouds drift, casting patches of shade": what a comma parts from a noun is no part of
        # a list of adjectives.
        after_clause = word.endswith("ing") and texts[place - 1] == "," and "NOUN" in before[-2:-1]
        return participle("NOUN" if after_clause else last, follows, inside_phrase, following)
    if last in ("NOUN", "PROPN") and (follows == "DET" or following in POSSESSIVE):
        return "VERB"  # "the wooden spoon stirs the soup": nothing else stands between them
    if place and texts[place - 1] == "to" and (follows == "DET" or following in POSSESSIVE):
        return "VERB"  # "to unleash their fury"
    if word.endswith(ENDINGS_ADJ) and word not in NOUN_DESPITE and follows in ("NOUN", "ADJ"):
        return "ADJ"
    if text[0].isupper() and before and texts[place - 1] not in (".", "!", "?"):
        return "PROPN"
    return "NOUN"


def participle(last: str, follows: str, inside_phrase: bool, following: str) -> str:
    """Of a word in "ed" or "ing": it describes a noun that follows, or says what happens."""
    if inside_phrase and following == ",":
        return "ADJ"  # "the jagged, towering cliffs"
    describes = inside_phrase or last in ("", "PUNCT", "CCONJ", "ADP")
    if describes and follows in ("NOUN", "ADJ", "VERB"):
        return "ADJ"
    return "NOUN" if inside_phrase else "VERB"


# -- noun chunks -----------------------------------------------------------------------------------


def chunks(pieces: Sequence[Piece]) -> list[tuple[int, int]]:
    """Where the noun chunks start and end in the sentence: each from the first word that can begin
    one up to the last noun that follows without a break."""
    found: list[tuple[int, int]] = []
    place = 0
    while place < len(pieces):
        end = chunk_end(pieces, place)
        if end is None:
            place += 1
            continue
        found.append((pieces[place].start, pieces[end].end))
        place = end + 1
    return found


def chunk_end(pieces: Sequence[Piece], start: int) -> int | None:
    """The place of the last noun of a chunk that begins at `start`, or None where none does."""
    first = pieces[start]
    if first.pos == "PRON" and first.text.lower() not in POSSESSIVE:
        return start
    end = None
    for place in range(start, len(pieces)):
        piece = pieces[place]
        match piece.pos:
            case "NOUN" | "PROPN":
                end = place
            case "DET" | "PRON" if place > start:
                break
            case "DET" | "PRON":
                pass
            case "ADJ" | "NUM" | "ADV" if end is None or pieces[place - 1].text in ("'s", "-"):
                pass
            case "PART" if end == place - 1:
                pass
            case "PUNCT" if piece.text == "-" and place > start:
                pass
            case "PUNCT" | "CCONJ" if joins_adjectives(pieces, place, end):
                pass
            case _:
                break
    return end


def joins_adjectives(pieces: Sequence[Piece], place: int, noun: int | None) -> bool:
    """Whether a comma or "and" stands between two words that describe one noun."""
    if noun is not None or not 0 < place < len(pieces) - 1 or pieces[place - 1].pos != "ADJ":
        return False
    match pieces[place].text:
        case ",":
            return pieces[place + 1].pos in ("ADJ", "NOUN")
        case "and" | "or":
            return pieces[place + 1].pos == "ADJ"
    return False
