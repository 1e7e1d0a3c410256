"""Several things in one phrase: "a bus or a car", "dogs and cats", each with how it looks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from .phrase import ADJECTIVES, ANYTHING, LONGEST, RELATIONS, read_phrase

Joined: TypeAlias = Literal[",", "and", "or"]

# What stands between things of a list; 24/7 and 1,5 are numbers.
_BETWEEN = re.compile(
    r"\s+(?:and\s?/\s?or|or|and|as\s+well\s+as|[&+])\s+(?:also\s+)?"
    r"|\s*(?:[;|]|(?<!\d),|,(?!\d)|(?<!\d)/|/(?!\d))\s*(?:(?:and\s?/\s?or|or|and)\s+)?",
    re.IGNORECASE,
)
_LEADING = re.compile(r"^(?:either|both|any\s+of|all\s+of|each\s+of)\s+", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:(?:a|an|the|some|any|all|my|your|his|her|its|our|their)\s+)+", re.I)
# What says how a thing is and names none, besides what can be measured.
_QUALITIES = frozenset(
    re.findall(
        r"\w+",
        "big small large little tiny huge tall short long wide narrow thin thick old young new "
        "round oval square rectangular flat irregular even uneven coarse fine pale coloured "
        "colored colorful colourful empty full clean dirty wet dry open closed parked wooden "
        "metal plastic shiny bluish brownish greenish pinkish purplish reddish yellowish darker "
        "brighter mottled checkered happy sad fat cute beautiful pretty ugly broken two three "
        "four five six several many few",
    )
)
# Colours by which things are called as well
_THINGS_TOO = frozenset(("orange", "rose", "light"))
# "A cat, sleeping" is one thing, where "a dog, a building" are two.
_DOING = re.compile(r"[a-z]{3,}ing")
_THINGS_ING = frozenset(
    re.findall(
        r"\w+",
        "building clothing painting ceiling railing awning earring bedding flooring drawing string "
        "spring wedding pudding dressing stuffing landing crossing parking lightning duckling "
        "sibling clearing opening swing icing topping frosting lettering writing evening morning",
    )
)


@dataclass(frozen=True, slots=True)
class Alternatives:
    """What a phrase asks for, one by one.

    Attributes
    ----------
    texts : tuple of str
        Each thing with its adjectives; one where the phrase is no list.
    together : bool
        Whether they are joined by "and", so that an image as a whole is to show all of them.
    """

    texts: tuple[str, ...]
    together: bool = False


class _Piece(NamedTuple):
    text: str
    joined: Joined
    # As it was typed, what joins it to the one before
    mark: str


def alternatives(text: str) -> Alternatives:
    """Part what is wanted into things that are wanted one by one, each with its own adjectives.

    Commas, semicolons and strokes part them, "or" does, and "and" where it joins things rather than
    adjectives, or what follows "in", "with" and the like.

    Examples
    --------
    >>> alternatives("bus, car").texts, alternatives("a dog / a cat").texts
    (('bus', 'car'), ('a dog', 'a cat'))
    >>> alternatives("dogs and cats")
    Alternatives(texts=('dogs', 'cats'), together=True)
    >>> alternatives("a red or blue bus").texts, alternatives("a big, red bus").texts
    (('a red bus', 'a blue bus'), ('a big, red bus',))
    >>> alternatives("a man in a hat and gloves").texts
    ('a man in a hat and gloves',)
    """
    plain = " ".join(text[:LONGEST].split())
    pieces = _with_relations(_pieces(plain))
    if len(pieces) < 2:
        return Alternatives((pieces[0].text if pieces else plain,))
    things: list[_Piece] = []
    pending: list[_Piece] = []
    for number, piece in enumerate(pieces):
        if _is_modifier(piece.text, pieces[number + 1 :]):
            pending.append(piece)
        else:
            things += _of_one_noun(pending, piece)
            pending = []
    things = _followed(things, pending)
    distinct: dict[object, _Piece] = {}
    for thing in things:
        read = read_phrase(thing.text)
        distinct.setdefault((read.thing, frozenset(read.adjectives), read.beside), thing)
    joins = {thing.joined for thing in things[1:]}
    together = len(distinct) > 1 and "and" in joins and "or" not in joins
    return Alternatives(tuple(thing.text for thing in distinct.values()), together)


def _pieces(text: str) -> list[_Piece]:
    """Part a phrase at all marks of a list."""
    pieces, mark, start = [], ",", 0
    for match in [*_BETWEEN.finditer(text), None]:
        part = text[start : match.start() if match else len(text)].strip(" \"'“”‘’().")
        if re.search(r"\w", part):
            pieces.append(_Piece(part, _join(mark), mark))
            mark = ","
        if match:
            # Of several marks in a row, an "and" or "or" says how they are joined.
            mark = match[0] if mark == "," or _join(match[0]) != "," else mark
            start = match.end()
    if len(pieces) > 1 and _LEADING.match(pieces[0].text):
        pieces[0] = pieces[0]._replace(text=_LEADING.sub("", pieces[0].text))
    return pieces


def _join(mark: str) -> Joined:
    words = mark.casefold()
    if "or" in words or any(sign in words for sign in "/;|"):
        return "or"
    return "and" if re.search(r"and|as|[&+]", words) else ","


def _with_relations(pieces: Sequence[_Piece]) -> list[_Piece]:
    """Leave together what follows "in", "with" and the like, up to the next comma."""
    whole: list[_Piece] = []
    for piece in pieces:
        before = whole[-1] if whole else None
        # "A cat on a chair or a dog on a sofa" are two, each where it is.
        if (
            before is not None
            and _has_relation(before.text)
            and not _has_relation(piece.text)
            and not re.search("[,;/|]", piece.mark)
        ):
            whole[-1] = before._replace(text=f"{before.text}{piece.mark}{piece.text}")
            continue
        whole.append(piece)
    return whole


def _has_relation(text: str) -> bool:
    return any(word in RELATIONS for word in _words(text)[1:])


def _words(text: str) -> list[str]:
    return re.findall(r"[\w'’-]+", text.casefold())


def _is_modifier(text: str, rest: Sequence[_Piece]) -> bool:
    """Whether a piece only says how something is; `rest` are the pieces after it."""
    words = _words(_ARTICLE.sub("", f"{text} "))
    if len(words) == 1 and _DOING.fullmatch(words[0]) and words[0] not in _THINGS_ING:
        return True
    if not words or not all(word in ADJECTIVES or word in _QUALITIES for word in words):
        return False
    if words[-1] not in _THINGS_TOO:
        return True
    # "Orange and white cats" are no fruits, "apples, orange and kiwi" hold one.
    following = _words(rest[0].text) if rest else []
    is_more = len(following) > 1 and following[0] in ADJECTIVES
    return is_more and not _ARTICLE.match(text)


def _of_one_noun(pending: Sequence[_Piece], noun: _Piece) -> list[_Piece]:
    """Join adjectives with the noun that follows: all of them say how it is, or any of them."""
    if not pending:
        return [noun]
    run = [*pending, noun]
    joins = [piece.joined for piece in run[1:]]
    each_own = "and" in joins and all(_ARTICLE.match(piece.text) for piece in run[1:])
    colours = sum(any(word in ADJECTIVES for word in _words(piece.text)) for piece in run)
    if "or" not in joins and not each_own and not ("and" in joins and colours > 2):
        text = "".join(f"{piece.mark if row else ''}{piece.text}" for row, piece in enumerate(run))
        return [noun._replace(text=text, joined=run[0].joined, mark=run[0].mark)]
    article, own = _articled(noun.text)
    first = _articled(pending[0].text)[0]
    base = own.split()
    while len(base) > 1 and _is_adjective(base[0]):
        base = base[1:]
    named = [
        piece._replace(
            text=" ".join([*_own_article(piece, first), _articled(piece.text)[1], *base])
        )
        for piece in pending
    ]
    begin = [article or first] if article or first else []
    return [*named, noun._replace(text=" ".join([*begin, own]))]


def _own_article(piece: _Piece, first: str) -> list[str]:
    article = _articled(piece.text)[0] or first
    return [article] if article else []


def _articled(text: str) -> tuple[str, str]:
    """Return the article that a text begins with, and the rest."""
    match = _ARTICLE.match(text)
    return (match[0].strip(), text[match.end() :]) if match else ("", text)


def _is_adjective(word: str) -> bool:
    return word.casefold() in ADJECTIVES or word.casefold() in _QUALITIES


def _followed(things: list[_Piece], pending: Sequence[_Piece]) -> list[_Piece]:
    """Join adjectives at the end with the thing before: "a bus, red", "something red or blue"."""
    if not pending:
        return things
    if not things:
        if all(piece.joined == "and" for piece in pending[1:]):
            text = " and ".join(piece.text for piece in pending)
            return [pending[0]._replace(text=text)]
        return list(pending)
    last = things[-1]
    is_choice = any(piece.joined == "or" for piece in pending)
    own = " ".join(word for word in last.text.split() if word.casefold() not in ADJECTIVES)
    described = [_described(own if is_choice else last.text, [piece]) for piece in pending]
    if is_choice:
        is_described = own != last.text
        return [
            *things[: None if is_described else -1],
            *(piece._replace(text=text) for piece, text in zip(pending, described, strict=True)),
        ]
    return [*things[:-1], last._replace(text=_described(last.text, pending))]


def _described(text: str, pending: Sequence[_Piece]) -> str:
    """Say of a thing how it is."""
    adjectives = " ".join(_articled(piece.text)[1] for piece in pending)
    article, own = _articled(text)
    if own.split()[0].casefold() in ANYTHING:
        return f"{text} {adjectives}"
    return " ".join(filter(None, (article, adjectives, own)))
