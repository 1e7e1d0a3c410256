"""Which words of a sentence are said not to be there, and which may be meant so."""

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
# The nouns that are listed right after these are said outright not to be there.
_NONE_OF = frozenset(
    re.findall(r"\w+", "no zero 0 without neither nor sans lacks lack lacking")
) | {*("instead of", "rather than", "devoid of", "free of", "anything but")}
_IS_NOT = re.compile(
    r"not|cannot|(?:is|are|was|were|do|does|did|ca|can|could|has|have|had)(?:n't|nt)"
)
# "Is not a bus", but not "is not the bus that I took"
_ANY = ("a", "an", "any", "one", "single")
_SHOWING = frozenset(
    re.findall(r"\w+", "see show contain have include find feature depict spot got")
)
_HERE = re.compile(
    r"(?:(?:even|really|actually) )?(?:(?:be |to be )?(?:here|there|present|visible|around|anywhere"
    r"|shown|pictured|seen|found)\b|(?:in|on|within) (?:(?:the|this|our|any) )?(?:picture|image"
    r"|photo|photograph|frame|region|view|sight|scene|box|shot)\b)"
)
_VANISHED = frozenset(
    re.findall(r"\w+", "missing absent gone invisible nowhere vanished disappeared")
)
_IS = frozenset(re.findall(r"\w+", "is are was were has have had been be got"))
_OWNERS = frozenset(
    re.findall(r"\w+", "a an the my our your his her its their this that these those")
)
_PREPOSITIONS = frozenset(
    re.findall(
        r"\w+", "in on at near with of behind under over by beside from to for like as about"
    )
)
_MOST_BETWEEN = 3


def denied(plain: Sequence[str], gaps: Sequence[str], nouns: Collection[int]) -> set[int]:
    """Return the places of the nouns that a sentence says outright are not there.

    Fewer than `absent` returns: who isn't looking at a bus, waits for one, or is not on it, does
    not say that there is none. The parameters are those of `absent`.

    Examples
    --------
    >>> sorted(denied(["no", "bus", "a", "cat"], [" ", ", ", " ", "."], {1, 3}))
    [1]
    """
    places: set[int] = set()
    for place, word in enumerate(plain):
        after = plain[place + 1] if place + 1 < len(plain) else ""
        before = plain[place - 1] if place else ""
        both, rest = f"{word} {after}", " ".join(plain[place + 1 : place + 6])
        if word in _NONE_OF or both in _NONE_OF:
            # "A no entry sign", "a sign says no dogs", "with or without a bus"
            is_sign = word == "no" and (before in _ANY or before == "the" or "sign" in plain)
            if not is_sign and before != "or" and after not in _STILL:
                last = place + (both in _NONE_OF)
                places |= _listed(plain, gaps, nouns, last, (*_ANY, "the"))
            is_away = word == "no" and after in ("longer", "more")
            if is_away and _HERE.match(" ".join(plain[place + 2 : place + 7])):
                places |= _subject(plain, gaps, nouns, place)
        elif _IS_NOT.fullmatch(word) and after not in _STILL:
            if _HERE.match(rest):
                places |= _subject(plain, gaps, nouns, place)
            elif after in _SHOWING:
                places |= _listed(plain, gaps, nouns, place + 1, _ANY)
            elif word == "not" or word.startswith(("is", "are", "was", "were", "has", "have")):
                places |= _listed(plain, gaps, nouns, place, _ANY)
        elif word in _VANISHED and before in _IS:
            # "A man is missing a tooth"
            if after in ("", "from", "to", "in", "now") or _opens_clause(gaps, place + 1):
                places |= _subject(plain, gaps, nouns, place)
        elif before in _IS and _OUT.match(" ".join(plain[place : place + 4])):
            places |= _subject(plain, gaps, nouns, place)
    return places


def absent(plain: Sequence[str], gaps: Sequence[str], nouns: Collection[int]) -> set[int]:
    """Return the places of the words that a sentence says, or may say, are not there.

    Of those it cannot be told what the image should show; of a few more is known, see `denied`.

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
    >>> sorted(absent(["no", "bus", "a", "cat"], [" ", ", ", " ", "."], {1, 3}))
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


def _listed(
    plain: Sequence[str],
    gaps: Sequence[str],
    nouns: Collection[int],
    place: int,
    determiners: Collection[str],
) -> set[int]:
    """Return the nouns that stand right after a word, with nothing that narrows them down."""
    places: set[int] = set()
    end = _end(plain, gaps, place)
    for number in range(place + 1, end):
        if number in nouns:
            places.add(number)
        elif plain[number] == "and" and number + 1 < end and number + 1 not in nouns and places:
            # "A truck with no bed and a man in it"; subjects are "the cat and the dog".
            if "the" not in determiners or plain[number + 1] in _ANY:
                break
        elif plain[number] not in determiners and plain[number] not in ("or", "nor", "and"):
            break
    return places


def _subject(
    plain: Sequence[str], gaps: Sequence[str], nouns: Collection[int], place: int
) -> set[int]:
    """Return the nouns that a clause begins with: "the cat on the sofa isn't here"."""
    start = _start(plain, gaps, nouns, place)
    while start < place and plain[start] in _TURNS:
        start += 1
    first = next((n for n in range(start, place) if n in nouns), place)
    ahead = plain[start:first]
    if first == place or len(ahead) > _MOST_BETWEEN or _PREPOSITIONS & set(ahead):
        return set()
    return {first} | _listed(plain, gaps, [n for n in nouns if n < place], first, _OWNERS)


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
