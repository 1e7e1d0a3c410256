"""Which words of a sentence are said, or may be said, not to be there."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Sequence

# "isn't", and as many write it, "isnt"
_NOT = re.compile(
    r"(?:is|are|was|were|do|does|did|ca|can|could|wo|would|should|has|have|had|must|need|might|ai)"
    r"(?:n't|nt)|not|cannot|never|nor|neither|none|nobody|nothing|no-one|nowhere|no|zero|0"
    r"|(?:hard|bare|scarce|rare)ly|lack(?:s|ed|ing)?|fail(?:s|ed)?|unable|hides|concealed"
)
# After "with" and the like, and here, only the nouns that are listed next are not there.
_LISTED = frozenset(
    re.findall(r"\w+", "without excluding minus except sans unlike than too imagine")
) | frozenset(
    (
        *("instead of", "rather than", "other than", "apart from", "devoid of", "free of"),
        *("anything but", "all but", "far from", "opposed to", "place of", "if only"),
        *("similar to", "shaped like", "statue of", "sculpture of"),
    )
)
# Who waits for something, or dreams of it, has it not; who is dressed as something is none.
_THOUGHT = re.compile(
    r"(?:wish(?:es|ed|ing)?|want(?:s|ed|ing)?|need(?:s|ed|ing)|await(?:s|ed|ing)?"
    r"|expect(?:s|ed|ing)?|pretend(?:s|ed|ing)?|remember(?:s|ed|ing)?|remind(?:s|ed|ing)?"
    r"|resembl(?:es?|ed|ing)) \w*"
    r"|(?:dream(?:s|t|ed|ing)?|think(?:s|ing)?|thought) (?:of|about)"
    r"|(?:wait|look|search|ask|beg|long)(?:s|ed|ing)? for|hop(?:es?|ed|ing) for"
    r"|(?:dress|disguis)ed (?:as|like|up)"
)
# What such a word stands right before is none.
_NOT_REAL = frozenset(re.findall(r"\w+", "toy stuffed plush fake inflatable miniature lego"))
# Whatever a clause with one of these speaks of may be what is not there.
_GONE = frozenset(
    re.findall(
        r"\w+",
        "missing absent absence gone hidden invisible unseen nowhere vanished disappeared removed "
        "lost",
    )
) | frozenset(
    (
        *("no longer", "no more", "used to", "has left", "have left", "just left"),
        *("drove away", "went away", "taken away", "where is", "where are", "where's"),
    )
)
_OUT = re.compile(r"out of (?:the |our )?(?:sight|view|frame|picture|image|photo|shot)\b")
_BEFORE_A_LIST = ("with", "and", "but", "of", "has", "have", "having")
# "not only a cat"; "no doubt a cat"
_STILL = ("only", "just", "merely", "simply", "doubt")
_JOINING = ("or", "nor", "and", "of")
_TURNS = ("but", "although", "though", "while", "whereas", "because", "since", "yet")
_SUBJECTS = frozenset(re.findall(r"\w+", "it there this that they these those he she we i you who"))
_END = re.compile(r"[.:;!?\n\u2013\u2014()]")


def denied(plain: Sequence[str], gaps: Sequence[str], nouns: Collection[int]) -> set[int]:
    """Return the places of the words that a sentence says, or may say, are not there.

    From "not" and the like on it is all up to the end of the clause, and what stands before it as
    well: "a bus isn't here". After "without" and the like it is the nouns that are listed.

    Parameters
    ----------
    plain : sequence of str
        The words in lower case.
    gaps : sequence of str
        The letters after each of them, as many.
    nouns : collection of int
        The places of those that name things.

    Examples
    --------
    >>> sorted(denied(["no", "bus", "a", "cat"], [" ", ", ", " ", "."], {1, 3}))
    [0, 1]
    """
    places: set[int] = set()
    for place, word in enumerate(plain):
        after = plain[place + 1] if place + 1 < len(plain) else ""
        before = plain[place - 1] if place else ""
        both = f"{word} {after}"
        if word in _NOT_REAL:
            places.update(itertools.takewhile(nouns.__contains__, range(place + 1, len(plain))))
        if word in _LISTED or both in _LISTED or _THOUGHT.fullmatch(both):
            # "But" may be one of the two.
            last = place + (both in _LISTED)
            places.update(range(place, _end_of_list(plain, gaps, nouns, last)))
        elif word in _GONE or both in _GONE or _OUT.match(" ".join(plain[place : place + 4])):
            start = _start(plain, gaps, nouns, place)
            places.update(range(start, _end(plain, gaps, place)))
        elif _NOT.fullmatch(word) and after not in _STILL:
            # "A no entry sign" is a thing.
            if word == "no" and before in ("a", "an", "the"):
                continue
            if word == "no" and before in _BEFORE_A_LIST:
                places.update(range(place, _end_of_list(plain, gaps, nouns, place)))
                continue
            is_said_of_all = word != "no" and not _opens_clause(gaps, place)
            start = _start(plain, gaps, nouns, place) if is_said_of_all else place
            places.update(range(start, _end(plain, gaps, place)))
    return places


def _opens_clause(gaps: Sequence[str], place: int) -> bool:
    """Whether a word follows a mark: "a cat, not a bus"."""
    return place == 0 or bool(re.search(r"[,.:;!?\n\u2013\u2014()]", gaps[place - 1]))


def _last(plain: Sequence[str], gaps: Sequence[str], place: int) -> int:
    """Return where the sentence, or what stands against the rest of it, ends."""
    for end in range(place + 1, len(plain)):
        if _END.search(gaps[end - 1]) or plain[end] in _TURNS:
            return end
    return len(plain)


def _end(plain: Sequence[str], gaps: Sequence[str], place: int) -> int:
    """Return where the clause of a word ends; a comma within a list ends none."""
    last = _last(plain, gaps, place)
    for end in range(place + 1, last):
        if "," in gaps[end - 1] and not {"or", "nor"} & set(plain[end:last]):
            return end
    return last


def _end_of_list(
    plain: Sequence[str], gaps: Sequence[str], nouns: Collection[int], place: int
) -> int:
    """Return where the nouns end that are listed from a word on."""
    end = _end(plain, gaps, place)
    if {"or", "nor"} & set(plain[place:end]):
        return end
    is_named = False
    for number in range(place + 1, end):
        if number in nouns:
            is_named = True
        elif plain[number] in _JOINING:
            is_named = False
        elif is_named:
            return number
    return end


def _start(plain: Sequence[str], gaps: Sequence[str], nouns: Collection[int], place: int) -> int:
    """Return where the clause of a word begins: "the bus, it seems, is gone" is one."""
    start, is_whole = place, False
    while start and not _END.search(gaps[start - 1]) and plain[start - 1] not in _TURNS:
        if "," in gaps[start - 1] and not is_whole:
            if any(n in nouns or plain[n] in _SUBJECTS for n in range(start, place)):
                break
            # What it is said of stands before the comma, or before the one before that.
            is_whole = True
        start -= 1
    return start
