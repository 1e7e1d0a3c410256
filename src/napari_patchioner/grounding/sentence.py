"""The words of a sentence that speak of things and of how they look, and where they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Literal, TypeAlias

from napari_patchioner.decoders.grounded.vocabulary import load_concepts
from napari_patchioner.models.embedded import FOLDER

from .negation import absent, denied
from .phrase import ADJECTIVES, RELATIONS, SINGULAR

Kind: TypeAlias = Literal["thing", "part", "look", ""]
LONGEST_SENTENCE = 2000
"""Letters of a sentence that are read."""

_WORD = re.compile(r"[^\W_]+(?:['’‘`´-][^\W_]+)*")
_APOSTROPHES = str.maketrans(dict.fromkeys("’‘`´\u02bc", "'"))
_DETERMINERS = frozenset(
    re.findall(
        r"\w+", "a an the his her its their my your our this that these those some two three four"
    )
)
# Of what follows "of" they say how much there is; and "top" and the like are places.
_AMOUNTS = frozenset(
    re.findall(
        r"\w+",
        "couple group bunch pair piece slice set team family crowd row pack packet range stand "
        "stack box roll",
    )
)
# Names that more often are something else in a sentence.
_NOT_THINGS = frozenset(
    re.findall(
        r"\w+",
        "individual light lights pick match dip fly flies semi range scale slot wave stand play "
        "bay female male letter can safe produce combine tick home stage page limb bar switch hook "
        "graduate someone swing track knot fire drill post back photograph picture pictures "
        "photographer stole safes reel scales steps semi wrap iron tap cap seal ram male mortar "
        "compass organ couple",
    )
)
# Who looks there looks at the photographer.
_INTO_THE_LENS = [[word, "the"] for word in ("at", "for", "to", "toward", "towards", "into")]
_OWNING = re.compile(r"^['’‘`´\u02bc]s\b|\s+", re.IGNORECASE)
# A name of a person or an animal follows.
_NAMING = frozenset(re.findall(r"\w+", "named called nicknamed mr mrs ms miss dr sir saint st"))
_COUNTED = frozenset(re.findall(r"\w+", "a an some any no every each two three four"))
_MOST_WORDS = 4
# After these stands what a thing is on, at or beside.
_PLACES = frozenset(
    re.findall(
        r"\w+",
        "on in at near by beside behind under below beneath above over against along alongside "
        "across outside around between among amid atop toward towards through before past",
    )
) | frozenset(("next to", "close to", "front of", "top of", "side of", "middle of"))
# Of these words a clause is made, others but these and names of things of a noun with what it has.
_SUBJECTS = frozenset(re.findall(r"\w+", "i you he she it we they there who which"))
_FINITE = frozenset(
    re.findall(
        r"\w+",
        "is are was were am be been has have had do does did can could will would may might must "
        "shall should isnt arent wasnt werent dont doesnt didnt cant wont "
        "sat stood lay slept ran rode held wore ate drank went came saw got took made left fell "
        "threw flew swam grew hung kept led met spoke "
        "sit stand lie sleep look play run walk ride hold wear eat drink watch wait go come see "
        "get take make fall throw fly swim graze grow hang lean jump smile show seem talk read "
        "drive enjoy carry cross face fill gather move pose prepare rest share surf skate pull "
        "push cook",
    )
)
_ENDS_IN_S = frozenset(
    re.findall(
        r"\w+",
        "this his hers its us across towards besides as plus less various always perhaps previous "
        "famous delicious enormous gorgeous curious grass glass glasses bus dress class series "
        "species pants jeans shorts scissors sunglasses binoculars tennis christmas canvas "
        "stainless brass cross upstairs downstairs outdoors indoors lots pieces kinds types others "
        "ones leaves",
    )
)


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a sentence, or several that name one thing.

    Attributes
    ----------
    text : str
        As it is written.
    start, end : int
        Where it stands in the sentence, in letters.
    kind : {"thing", "part", "look", ""}
        The name of a thing; a name that only says of which kind the next one is ("pizza" in
        "pizza box"); a colour or texture that can be measured; nothing of these.
    name : str
        What is looked for: in lower case, singular where that is known.
    absent : bool
        Whether the sentence says, or may say, that it is not there ("without a hat").
    denied : bool
        Whether the sentence says so outright, and of a thing: "there is no bus", but not "waiting
        for a bus".
    placed : bool
        Whether it is what the thing before it stands on, at or beside: it may lie outside of a
        region of that thing.
    is_name : bool
        Whether it would name a thing or a colour, but is what somebody is called: "Mr Bush".
    """

    text: str
    start: int
    end: int
    kind: Kind = ""
    name: str = ""
    absent: bool = False
    denied: bool = False
    placed: bool = False
    is_name: bool = False


def read_words(sentence: str) -> tuple[Word, ...]:
    """Read a sentence word by word; several words that name one thing are one.

    The things are those that the built-in models know by some name; of others nothing is said.

    Examples
    --------
    >>> [(word.text, word.kind) for word in read_words("A dark cat on a park bench.")]
    [('A', ''), ('dark', 'look'), ('cat', 'thing'), ('on', ''), ('a', ''), ('park bench', 'thing')]
    >>> [word.name for word in read_words("two dogs and an orange") if word.kind == "thing"]
    ['dog', 'orange']
    """
    spelt = list(_WORD.finditer(sentence[:LONGEST_SENTENCE]))
    said = [match.group().casefold().translate(_APOSTROPHES) for match in spelt]
    plain = [word.removesuffix("'s") for word in said]
    names = _own_names(sentence, spelt, plain)
    places: list[tuple[int, int, Kind, str]] = []
    place = 0
    while place < len(spelt):
        count, name = _named(plain, place)
        kind: Kind = "thing" if name else ""
        if not name and plain[place] in ADJECTIVES:
            kind, name = "look", ADJECTIVES[plain[place]]
        places.append((place, count, kind, name))
        place += count
    gaps = [sentence[a.end() : b.start()] for a, b in pairwise(spelt)] + [""]
    nouns = {p + n for p, count, kind, _ in places if kind == "thing" for n in range(count)}
    away = absent(said, gaps, nouns)
    # Who asks says nothing.
    gone = set() if sentence.rstrip().endswith("?") else denied(said, gaps, nouns)
    words: list[Word] = []
    is_named = False
    for place, count, kind, name in places:
        last = place + count - 1
        start, end = spelt[place].start(), spelt[last].end()
        if kind and said[last] != plain[last]:
            # "The cat's ears": the noun is the cat.
            end -= 2
        text = sentence[start:end]
        if kind and last in names:
            words.append(Word(text, start, end, is_name=True))
            is_named = True
            continue
        is_away, is_gone = bool(kind) and place in away, kind == "thing" and place in gone
        placed = kind == "thing" and is_named and _is_placed(plain, nouns, place)
        words.append(Word(text, start, end, kind, name, is_away or is_gone, is_gone, placed))
        is_named = is_named or kind == "thing"
    return tuple(_parted(words, sentence))


def ends_in_denial(sentence: str) -> bool:
    """Whether what is added to a sentence might be said not to be there.

    >>> ends_in_denial("a cat, and no bus."), ends_in_denial("a cat")
    (True, False)
    """
    last = re.split(r"[.!?]\s", sentence.strip())[-1]
    words = read_words(f"{last.rstrip(' .!?')} with a cat")
    return any(word.absent for word in [word for word in words if word.kind == "thing"][-2:])


def is_clause(sentence: str) -> bool:
    """Whether a sentence seems to have a verb that says something, rather than to name things.

    In doubt it has: "a man rides" may be written for "a man's rides".

    >>> is_clause("My cat is ill"), is_clause("a brown cat on a table"), is_clause("two dogs play")
    (True, False, True)
    """
    words = [word for word in read_words(sentence) if not word.kind]
    for word in words:
        spelt = word.text.casefold().translate(_APOSTROPHES)
        if "'" in spelt and not spelt.endswith("'s"):
            return True
        bare = spelt.removesuffix("'s")
        may_be_verb = re.search(r"[^s]s$", bare) and not word.is_name
        if may_be_verb and bare not in _ENDS_IN_S and bare not in _DETERMINERS:
            return True
        if bare in _FINITE or bare in _SUBJECTS:
            return True
    return False


def things_named() -> tuple[str, ...]:
    """Return the names of all things that a sentence can be read for, each once.

    >>> "dog" in things_named()
    True
    """
    return tuple(dict.fromkeys(_names().values()))


def kind_of(name: str) -> str:
    """Return which kind of thing a name stands for ("animal"), or nothing where that is not known.

    >>> kind_of("dog"), kind_of("qwrtzp")
    ('animal', '')
    """
    return _kinds().get(name, "")


def may_be(caption: str, thing: str) -> bool:
    """Return whether what a caption names may be a thing, as far as the names are known.

    >>> may_be("a bull", "cow"), may_be("my old heifer", "cow"), may_be("Bella eats grass", "cow")
    (True, True, True)
    >>> may_be("a furry animal", "cow"), may_be("a cow", "animal"), may_be("a wall", "cow")
    (True, True, False)
    """
    name = _head_of(caption)
    if not name or name == thing or not _meant().get(thing):
        return True
    return not _meant()[name].isdisjoint(_meant()[thing]) or (
        # A wider word: "animal", "person".
        name == kind_of(thing) or thing == kind_of(name)
    )


def plural_of(name: str) -> str:
    """Return the plural of a name, which is the name itself where it has none.

    >>> plural_of("dog"), plural_of("grass")
    ('dogs', 'grass')
    """
    return _plurals().get(name, name)


def is_mass(name: str) -> bool:
    """Whether a name goes without an article.

    >>> is_mass("grass"), is_mass("dog")
    (True, False)
    """
    return name in _masses()


def _head_of(caption: str) -> str:
    """Return the name of what a caption is of; nothing where that is no known name."""
    words = read_words(caption)
    first = next((n for n, word in enumerate(words) if word.kind == "thing"), None)
    if first is None or words[first].absent or words[first].placed:
        return ""
    if is_clause(caption) and any(word.kind == "part" for word in words[:first]):
        # "A man surfs": what may be a verb.
        return ""
    # "Bella eats grass", "my heifer beside a wall": the first one that is named is another.
    known = _DETERMINERS | {"very"}
    before = [word for word in words[:first] if not word.kind]
    if is_clause(caption) and any(word.text.casefold() not in known for word in before):
        return ""
    if any(word.is_name or word.text.casefold() in RELATIONS | _AMOUNTS for word in before):
        return ""
    # "A cow bell": the name is but a part of another one.
    after = words[first + 1].text.casefold() if first + 1 < len(words) else ""
    return words[first].name if not after or after in RELATIONS or is_clause(caption) else ""


def _own_names(sentence: str, spelt: Sequence[re.Match[str]], plain: Sequence[str]) -> set[int]:
    """Return the places of the words that are written as what somebody is called."""
    capital = [match.group()[0].isupper() for match in spelt]
    # In a headline all words have capitals.
    is_headline = sum(capital) > len(capital) / 2 and len(capital) > 2
    places: set[int] = set()
    for place in range(1, len(spelt)):
        before = place - 1
        gap = sentence[spelt[before].end() : spelt[place].start()]
        is_first = bool(re.search(r"[.:!?\n]", gap)) and plain[before] not in _NAMING
        after_name = before in places and not gap.strip()
        if plain[before] in _NAMING and plain[place] not in _DETERMINERS:
            places.add(place)
        elif not capital[place] or (len(plain[place]) > 1 and spelt[place].group().isupper()):
            continue
        elif after_name or not (is_first or is_headline or plain[before] in _COUNTED):
            places.add(place)
    return places


def _is_placed(plain: Sequence[str], nouns: set[int], place: int) -> bool:
    """Whether a word of place stands between the noun before and a noun."""
    before = max((number for number in nouns if number < place), default=place)
    between = plain[before + 1 : place]
    pairs = {f"{first} {second}" for first, second in pairwise(between)}
    return not _PLACES.isdisjoint({*between, *pairs})


def _named(plain: Sequence[str], place: int) -> tuple[int, str]:
    """Return how many words from here on name one thing, and its name; (1, "") where none does."""
    names = _names()
    for count in range(min(_MOST_WORDS, len(plain) - place), 0, -1):
        name = names.get(" ".join(plain[place : place + count]))
        if name is None or (count == 1 and (name in _NOT_THINGS or _is_no_thing(plain, place))):
            continue
        return count, name
    return 1, ""


def _is_no_thing(plain: Sequence[str], place: int) -> bool:
    """Whether a word that may name a thing does not do it here."""
    word = plain[place]
    before = plain[place - 1] if place else ""
    after = plain[place + 1] if place + 1 < len(plain) else ""
    if word in _NOT_THINGS or (word in _AMOUNTS and after == "of"):
        return True
    if word == "camera" and plain[max(place - 2, 0) : place] in _INTO_THE_LENS:
        return True
    if word in ADJECTIVES and (after in _names() or after in ADJECTIVES or after == "and"):
        # "An orange" is a fruit, "an orange cat" is none.
        return True
    # "A man watches a film": a verb between a thing and what it is done to.
    is_verb = word.endswith("s") and before in _names() and after in _DETERMINERS
    # "to ski", "to park"
    return is_verb or before == "to"


def _parted(words: Sequence[Word], sentence: str) -> Iterator[Word]:
    """Take names that only say of which kind the next one is for parts of it."""
    for number, word in enumerate(words):
        after = words[number + 1] if number + 1 < len(words) else None
        adjacent = after is not None and not _OWNING.sub("", sentence[word.end : after.start])
        if word.kind == "thing" and after is not None and adjacent and after.kind == "thing":
            yield replace(word, kind="part", denied=False, placed=False)
        else:
            yield word


@cache
def _names() -> dict[str, str]:
    """Spellings in lower case and the names that they stand for, singular where there is one."""
    names: dict[str, str] = {}
    concepts = load_concepts(FOLDER / "concepts.json")
    for concept in concepts:
        names.setdefault(concept.plural, concept.name)
    for concept in concepts:
        for word in concept.synonyms:
            names.setdefault(word, SINGULAR.get(word, word))
    for concept in concepts:
        names[concept.name] = concept.name
    for spelt in list(names):
        name = names[spelt]
        if spelt == name and not name.endswith("s") and name not in _masses():
            names.setdefault(_regular_plural(name), name)
    return names


@cache
def _kinds() -> dict[str, str]:
    kinds: dict[str, str] = {}
    for concept in load_concepts(FOLDER / "concepts.json"):
        for word in (concept.name, *concept.synonyms):
            kinds.setdefault(SINGULAR.get(word, word), concept.kind)
    return kinds


@cache
def _meant() -> dict[str, frozenset[str]]:
    """Names, and the concepts that each of them stands for."""
    meant: dict[str, set[str]] = {}
    for concept in load_concepts(FOLDER / "concepts.json"):
        for word in (concept.name, *concept.synonyms):
            meant.setdefault(SINGULAR.get(word, word), set()).add(concept.name)
    return {name: frozenset(concepts) for name, concepts in meant.items()}


@cache
def _plurals() -> dict[str, str]:
    known = {c.name: c.plural for c in load_concepts(FOLDER / "concepts.json")}
    return {name: known.get(name) or _regular_plural(name) for name in _kinds()}


@cache
def _masses() -> frozenset[str]:
    return frozenset(c.name for c in load_concepts(FOLDER / "concepts.json") if c.mass)


def _regular_plural(name: str) -> str:
    """Return the plural by rule."""
    if re.search(r"[^aeiou]y$", name):
        return f"{name[:-1]}ies"
    return f"{name}es" if re.search(r"(s|x|z|ch|sh)$", name) else f"{name}s"
