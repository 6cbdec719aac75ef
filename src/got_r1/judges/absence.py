"""Does a text say that the asked thing is not in the image, or refuse to judge?

A text is read clause by clause. A clause says "not there" where a negation governs a word of
presence ("does not contain", "could not be found", "there is no") or stands right before a name
("no red heart"), and what is negated is the asked thing, or has no name ("it", "no objects"). That
another thing is absent says nothing. A refusal negates an ability ("cannot help") or the sight of
the image itself ("cannot see the image", "no image was provided"). A text that says both "not
there" and "there", or refuses anywhere, says nothing that can be used.

English is read by this grammar. Other languages are read by their usual phrases, without knowing
whose absence they state: the asked name is seldom translated the same way.
"""

from __future__ import annotations

import re

from got_r1.judges.labels import Match, compare, content
from got_r1.judges.phrases import ABSENT_ABROAD, REFUSED_ABROAD

__all__ = ["denies", "refuses", "says_absent"]


def says_absent(text: str, name: str) -> bool:
    """Whether a text without boxes says that there is no `name`."""
    if _BARE.fullmatch(text.strip(" \t\n.!*`\"'()[]<>")):
        return True
    if refuses(text):
        return False
    clauses = _clauses(text)
    if any(_states_presence(clause, name) for clause in clauses):
        return False
    if any(_denies(clause, name) for clause in clauses):
        return True
    small = text.casefold()
    return not _ENGLISH.search(small) and bool(ABSENT_ABROAD.search(small))


def denies(text: str, name: str) -> bool:
    """Whether a text says by name that there is no `name`; for texts around boxes."""
    return any(_denies(clause, name, by_name=True) for clause in _clauses(text))


def refuses(text: str) -> bool:
    """Whether a text refuses to judge, or says that it cannot see the image."""
    if REFUSED_ABROAD.search(text.casefold()):
        return True
    return any(_REFUSAL.search(clause) for clause in _clauses(text))


# -- words -----------------------------------------------------------------------------------------

_ENGLISH = re.compile(r"\b(?:the|there|and|cannot|not)\b|n't\b")
_IMAGE = r"(?:image|picture|photo|photograph|scene|drawing|frame|illustration|canvas|screenshot)s?"
_HERE = re.compile(
    rf"\b(?:(?:any ?where |present |visible )?(?:in|on|within|inside|from|at|throughout|across)"
    rf"|any ?where|any part of|of) "
    rf"(?:(?:the|this|that|your|any|an?|part|of|given|provided|uploaded|attached|supplied|whole"
    rf"|entire|current|shown) )*{_IMAGE}\b"
)
_BARE = re.compile(
    r"none|null|nil|nothing|n/a|absent|missing|empty|(?:an )?empty (?:list|array)|not applicable"
    r"|not (?:there|here|found|present|visible|detected|seen|shown)|undetected|invisible|无|無",
    re.IGNORECASE,
)
_TOLD = re.compile(rf"[:=→] ?(?:{_BARE.pattern})(?= ?(?:[.,;\n]|$))")  # "red heart: none"
_SHORT_FORMS = [
    ("’", "'"),
    (r"\b(?:can'?t|cannot|unable to|not able to|fail(?:s|ed)? to)\b", "can not"),
    (r"\bcouldn'?t\b", "could not"),
    (r"\bwon'?t\b", "will not"),
    (r"n't\b", " not"),
    (r"\bnowhere\b", "not found"),
    (r"\bneither\b", "no"),
    (r"\bnor\b", "or no"),
    (r"'(?:s|re)\b", " is"),
    (r"'m\b", " am"),
    (r"'ve\b", " have"),
]
_CLAUSE = re.compile(
    r"(?:[.!?。！？]+(?:\s|$)|[;:\n—–]|(?<=[a-z]), (?=(?:i|it|there|the|this|that|so|but|and) )"
    r"|\b(?:but|however|although|though|yet|whereas|while|because|since|instead)\b)"
)
_CONDITION = re.compile(r"^\W*(?:if|unless|whether|when|should|where|in case)\b")
# What may stand between a negation and its word of presence. No adverb of degree: "not fully
# visible" and "not only" say that it is there.
_BETWEEN = (
    r"(?: (?:to|be|been|being|have|has|seem|seems|appear|appears|actually|really|currently|able"
    r"|even|see|find|think|believe|that|there|is|are|or|a|any|of|clearly|immediately|readily"
    r"|contain|include|show)){0,5}"
)
_SEEN = (
    r"(?:contain(?:s|ed)?|includ(?:e|es|ed|ing)|show(?:s|n|ing)?|depict(?:s|ed|ing)?"
    r"|pictured|portray(?:s|ed)?|featur(?:e|es|ed|ing)|display(?:s|ed)?|ha(?:ve|s)|see|seen|find"
    r"|found|detect(?:ed)?|locat(?:e|ed)|spot(?:ted)?|identif(?:y|ied)|observ(?:e|ed)"
    r"|recogni[sz](?:e|ed)|discern(?:ed)?|notice(?:d)?|present|visible|appear(?:s|ing)?|exist(?:s)?"
    r"|occur(?:s)?|among|there|any|part|here)"
)
_NOT_SEEN = re.compile(
    rf"\b(?:not|never){_BETWEEN} {_SEEN}\b|\bthere \w+ not (?:seem|appear) to be\b"
)
_NO_THING = re.compile(
    r"\b(?:no|zero|0|without(?: any)?|devoid of|free of|lack(?:s|ing)?|none of|not (?:an?|the|any))"
    r"(?: single)?(?: (?P<thing>.*)|$)"
)
_NOTHING = re.compile(
    r"\b(?:nothing|none)\b(?! (?:but|else|other|less|short|is missing|missing))"
    r".*\b(?:match\w*|found|detect\w*|visible|there|see\w*|fit\w*|here|present|correspond\w*)\b"
)
_GONE = re.compile(
    r"^(?P<thing>.*?) ?\b(?:(?:is|are|was|were|seems?(?: to be)?|appears?(?: to be)?)"
    r"(?: \w+ly| both)? (?:missing|absent|invisible|lacking)\b|(?:missing|absent)$)"
)
_DOUBLED = re.compile(
    r"\bnot (?:only|just|merely|simply|solely)\b"
    r"|\b(?:no|not|nothing|without|never) (?:\w+ ){0,2}(?:missing|absent|doubt|hard"
    r"|difficult|question|problem|longer|fewer|less|more|mistak\w+)\b"
)
_UNSURE = re.compile(r"\b(?:might|may|perhaps|maybe|possibly)\b|\bno (?:one|body|reason|way)\b")
_PREDICATE = re.compile(r" (?:is|are|was|were|can|could|has|have|that|which|who|only|just) ")
_ONE_MORE = re.compile(r"\b(?:other|second|third|another|additional|further|more|extra)s?\b")
_PRESENT = re.compile(
    r"\b(?:is|are|was|were|can be|sits?|lies?|stands?|appears?) (?:\w+ly )?(?:at|in|on|near|to"
    r"|located|visible|present|found|seen|placed|positioned|situated|shown|here|there)\b"
)
_THERE_IS = re.compile(
    r"\b(?:there (?:is|are)|i (?:can )?(?:see|found|find|spot)|contains?|shows?) "
    r"(?P<thing>(?:an?|one|two|three|some|the|exactly) .*)"
)
# Words of such sentences that name nothing.
_TALK = re.compile(
    rf"\b(?:{_SEEN}|match\w*|you|asked|looking|unfortunately|sorry|apolog\w+|afraid|however"
    r"|anywhere|at all|either|after|careful\w*|look\w*|examin\w+|inspect\w+|review\w+"
    r"|anything|something|seems?"
    r"|appears?|currently|instances?|kind|sort|like|such|mentioned|question|description"
    r"|describ\w+|search\w*|exact\w*|thorough\w*|contents?|be|been|being|able|detail|elements?"
    r"|shapes?|figures?|symbols?|things?|candidates?|results?|detections?)\b"
)
_REFUSAL = re.compile(
    r"\bas an? (?:[\w-]+ ){0,3}(?:ai|model|assistant|llm|chatbot)\b"
    r"|\b(?:can|could|will|would|am|must|shall|may) not(?: be)?(?: \w+ly)? (?:help|assist|comply"
    r"|fulfil\w*|provide|process|answer|judge|analy[sz]e|view|access|open|load|perform|complete"
    r"|support|do|engage|continue|discuss|determine\w*|tell|told|say|verif\w+|confirm\w*|sure"
    r"|certain|look|interpret|respond|read|examine|evaluate|decide|allowed|permitted)\b"
    rf"|\b(?:no|not|without)(?: \w+){{0,3}}? (?:{_IMAGE}|attachments?|visual input)\b(?! of\b)"
    rf"|\b{_IMAGE} (?:is|was|were|has|have|did|does) not (?:been )?(?:provided|attached|uploaded"
    r"|load\w*|available|accessible|given|included|visible|received|found|display\w*)\b"
    rf"|\b{_IMAGE} (?:(?:is|was) )?(?:not found|missing)\b|\b{_IMAGE} can not load\b"
    r"|\bplease (?:provide|upload|share|attach|send|try)\b"
    r"|\b(?:policy|policies|guidelines)\b|\bagainst my\b"
    r"|\bdo not have (?:the )?(?:ability|access|capability|eyes|vision)\b"
)

# -- clauses ---------------------------------------------------------------------------------------


def _clauses(text: str) -> list[str]:
    """Clauses without short forms, punctuation and case; "in the image" and the like is "here"."""
    plain = re.sub(r"[*_`\"“”‘()\[\]<>|]", " ", text.casefold())
    plain = _TOLD.sub(" is missing", re.sub(r"[^\S\n]+", " ", plain))
    for form, long in _SHORT_FORMS:
        plain = re.sub(form, long, plain)
    clauses = []
    for part in _CLAUSE.split(plain):
        clause = " ".join(re.sub(r"[^\w/' -]", " ", part).split())
        if clause and not _CONDITION.search(clause):
            clauses.append(_HERE.sub("here", clause))
    return clauses


def _denies(clause: str, name: str, by_name: bool = False) -> bool:
    """Whether a clause says that `name`, or what has no name, is not there."""
    if _DOUBLED.search(clause) or _UNSURE.search(clause):
        return False
    least = Match.PART if by_name else Match.NONE
    if found := _NOT_SEEN.search(clause):
        before, after = clause[: found.start()], clause[found.end() :]
        if _fit(after if _things(after, name) else before, name) >= least:
            return True
    if found := _NO_THING.search(clause):
        fit = _fit(_PREDICATE.split(found["thing"] or "")[0], name)
        if fit is Match.NONE and _fit(clause[: found.start()], name) >= Match.PART:
            return False  # "the red heart has no label"
        if fit >= least:
            # "no red heart", "no objects detected"; "is no red cup" speaks of something else.
            return not re.search(r"\b(?<!there )(?:is|are) no\b", clause) or "here" in clause
    if found := _GONE.search(clause):
        return _fit(found["thing"], name) >= least
    return not by_name and bool(_NOTHING.search(clause))


def _states_presence(clause: str, name: str) -> bool:
    """Whether a clause says that `name` is there, or somewhere."""
    if re.search(r"\b(?:no|not|never|nothing|none|without)\b", clause):
        return bool(_DOUBLED.search(clause)) and _fit(clause, name) >= Match.PART
    if (found := _THERE_IS.search(clause)) and _fit(found["thing"], name) >= Match.PART:
        return True
    if found := _PRESENT.search(clause):
        subject = clause[: found.start()]
        pronoun = re.fullmatch(r"(?:\w+ )?(?:it|they|one) ?", subject)
        return pronoun is not None or _fit(subject, name) >= Match.PART
    return False


def _fit(text: str, name: str) -> Match:
    """The best fit of the things in a text; of one more than is there, none."""
    if _ONE_MORE.search(text) and not _ONE_MORE.search(name):
        return Match.OTHER
    return max((compare(thing, name) for thing in _things(text, name)), default=Match.NONE)


def _things(text: str, name: str) -> list[str]:
    """The parts of "a star, a red heart or a moon" that name something."""
    parts = re.split(r" (?:or(?: no)?|and|that|which|who|only|just|is|are|was|were) ", f" {text} ")
    return [part for part in parts if content(_TALK.sub(" ", part), name)]
