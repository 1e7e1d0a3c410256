"""A person's sentence, checked: what the image contradicts is put right, what lacks is added."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from napari_patchioner.decoders import CaptionOptions
from napari_patchioner.decoders.grounded.vocabulary import article
from napari_patchioner.errors import RegionError
from napari_patchioner.grids import FeatureGrid
from napari_patchioner.regions import Region

from .arguments import check_captioner
from .sentence import Word, ends_in_denial, is_clause, is_mass, kind_of, plural_of, read_words
from .words import GroundedWord, WordGrounder

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner

ChangeKind: TypeAlias = Literal["replaced", "added", "named"]
Edit: TypeAlias = "tuple[int, int, str, Change]"

# A noun is replaced only where it has less support than the one, and another thing of its kind,
# such as a cat for a dog, has as much as the other: a right sentence that is spoilt is worse than a
# wrong one that is missed. Chosen for that on captions of COCO's development images.
_GONE, _SURE = 0.2, 0.9
# What a sentence speaks of first may also be another kind of thing, of which one has to be surer.
_GONE_FIRST, _SURER = 0.1, 0.97
# What is added has as much support, or as much as the second where the sentence has another thing
# of its kind, such as a truck where the model sees a car.
_MISSING, _MISSING_TOO = 0.985, 0.99
# Of these people say one or another: what stands in a field stands in grass.
_SURROUNDINGS = ("scene", "stuff", "building", "plant", "")
_MOST_ADDED = 1
_LONGEST_NAME = 3
_NO_NAMES = ("a", "an", "the", "some", "one", "two", "three", "several", "many")
_RELATION = re.compile(r"^ (?:and|with|on|in|at|near|under|over|in front of|of)\b")
_END = re.compile(r"[\s.,;!?]*$")
_OWNERS = "my|our|your|his|her|its|their"
_DETERMINER = re.compile(rf"\b(an?|the|one|{_OWNERS}|this|that)(\s+)$", re.IGNORECASE)
# What a name begins with that needs no other article
_OWN = re.compile(rf"an?|the|{_OWNERS}|this|that|[^\W_]+['’]s", re.IGNORECASE)
# "a brown", "the very small", before a noun
_PHRASE = re.compile(
    rf"\b(an?|the|{_OWNERS}|this)\s+((?!(?:of|and|or|in|on|at|with|to|for|is|are|was|has)\b)[\w-]+"
    rf"(?:\s+(?!(?:of|and|or|in|on|at|with|to|for|is|are|was|has|an?|the|{_OWNERS})\b)[\w-]+)"
    r"{0,2})\s+$",
    re.IGNORECASE,
)
_QUANTIFIER = re.compile(r"\b(?:such|what|many|quite|half|all|both|of all)\s+$", re.IGNORECASE)
# A noun without an article may stand after these, and so may a name.
_BARE = re.compile(
    r"(?:[,;:.!?]|\b(?:and|or|with|of|by|near|beside|for|at|on|to|from|like|is|about))\s+$",
    re.IGNORECASE,
)
_NAMED_ALREADY = re.compile(r",?\s+(?:named|called|nicknamed)\b", re.IGNORECASE)
# Words in marks are somebody's; behind a measure stands what it holds, as in "a glass of wine".
_QUOTED = re.compile(r"“[^”]*”|\"[^\"]*\"|«[^»]*»|„[^“”]*[“”]|(?<!\w)['‘][^'’]*['’](?!\w)")
_MEASURING = re.compile(r"\s+of\s+(?!(?:mine|yours|his|hers|ours|theirs)\b)", re.IGNORECASE)
# After these an owner goes on, as in "my brown cat's ears".
_MARKS = ("'", "’", "‘", "`", "´")


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that a checked sentence says in another way.

    Attributes
    ----------
    kind : {"replaced", "added", "named"}
        A noun that the image contradicts has another one in its place; something was missing; a
        noun has the name that a person gave the thing.
    before, after : str
        The words; nothing before an addition.
    why : str
        The reason, in one sentence.
    """

    kind: ChangeKind
    before: str
    after: str
    why: str


@dataclass(frozen=True, slots=True)
class Realigned:
    """A sentence that was checked.

    Attributes
    ----------
    text : str
        The sentence as the image bears it out; the very same where nothing was changed.
    changes : tuple of Change
        What was changed, in the order of the sentence.
    words : tuple of GroundedWord
        What the region says to every word of the sentence as it was.
    sought : bool
        Whether it was looked for what the sentence lacks.
    shown : str
        What the region surely shows where nothing of the sentence is borne out; may be empty.
    """

    text: str
    changes: tuple[Change, ...]
    words: tuple[GroundedWord, ...]
    sought: bool = False
    shown: str = ""

    def kept_wrong(self) -> tuple[GroundedWord, ...]:
        """Return the words that the region contradicts and the text still has."""
        # An article goes with what has a name in its place.
        gone = {change.before.split(" ", 1)[-1] for change in self.changes if change.before}
        gone |= {change.before for change in self.changes}
        return tuple(
            word
            for word in self.words
            if word.verdict == "contradicted" and (word.word.text not in gone or word.word.denied)
        )


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A thing that the region shows, and how the model's caption joins it, if it does."""

    name: str
    support: float
    joined: str = ""

    @property
    def is_thing(self) -> bool:
        """Whether it is no surroundings of things."""
        return kind_of(self.name) not in _SURROUNDINGS


class Realigner:
    """Checks sentences about regions and suggests better ones; it keeps people's own words.

    A noun is replaced where the region clearly contradicts it, by one that the model's own caption
    of the region has and the region clearly supports, of the same kind of thing where there is one.
    What that caption has, and the sentence lacks, is added at the end where it is surer still. The
    result is a suggestion: nothing is overwritten.

    Parameters
    ----------
    captioner : Captioner
        A model with a text tower; a ModelError otherwise.
    grounder : WordGrounder, optional
        One of the same captioner that is at hand already.

    Examples
    --------
    >>> from napari_patchioner import load_model  # doctest: +SKIP
    >>> realigner = Realigner(load_model("mini"))  # doctest: +SKIP
    >>> realigner.check(grid, region, "a dog on a sofa", [("Rex", rex)]).text  # doctest: +SKIP
    'Rex on a sofa'
    """

    def __init__(self, captioner: Captioner, grounder: WordGrounder | None = None) -> None:
        check_captioner(captioner)
        self._captioner = captioner
        self.grounder = grounder or WordGrounder(captioner)

    def check(
        self,
        grid: FeatureGrid,
        region: Region,
        text: str,
        names: Sequence[tuple[str, Region]] = (),
        *,
        add: bool = True,
        options: CaptionOptions | None = None,
        **changes: Any,
    ) -> Realigned:
        """Check a sentence about a region.

        Parameters
        ----------
        grid : FeatureGrid
            From ``encode`` of the captioner.
        region : Region
            In image pixels, ``(row, column)``.
        text : str
            The sentence, a person's or a model's.
        names : sequence of (str, Region)
            What people call things, and where these are: "Rex" takes the place of "a dog" where
            its region shows one, "beaker" that of "cup".
        add : bool
            Whether what is missing is added.
        options, **changes
            For the model's own caption of the region, as `Captioner.caption` takes them.

        Returns
        -------
        Realigned
            The sentence as it was, without changes, where there is nothing to put right.
        """
        words = self.grounder.words(grid, region, text)
        if not any(word.word.kind == "thing" for word in words):
            return Realigned(text, (), words)
        said = {name for word in words if word.word.kind for name in self._meant(word.word.name)}
        shown = self._shown(grid, region, options, changes)
        edits, replaced = self._replaced(text, words, shown, said)
        result, done = _edited(text, edits), [change for *_, change in edits]
        known = said | {name for new in replaced for name in self._meant(new)}
        is_affirmed = bool(edits) or any(word.verdict == "borne out" for word in words)
        left = Realigned(text, tuple(done), words).kept_wrong()
        sought = add and is_affirmed and not left and not ends_in_denial(text)
        # Nothing that is added to a question is an answer.
        sought = sought and not text.rstrip().endswith("?")
        if sought:
            kinds = {kind_of(name) for name in known}
            missing = self._missing(shown, known, kinds, _kinds_in_doubt(words, edits))
            for candidate in missing[:_MOST_ADDED]:
                result, change = _with_addition(result, candidate)
                done.append(change)
        for name, place in names:
            result, named = self._named(grid, result, name, place)
            done += named
        surest = shown[0] if shown and shown[0].support >= _SURER else None
        is_said = surest is None or bool(is_affirmed or self._meant(surest.name) & known)
        return Realigned(
            result, tuple(done), words, sought, surest.name if surest and not is_said else ""
        )

    # details

    def _meant(self, name: str) -> set[str]:
        return self.grounder.meaning(name)

    def _shown(
        self,
        grid: FeatureGrid,
        region: Region,
        options: CaptionOptions | None,
        changes: dict[str, Any],
    ) -> list[_Candidate]:
        """Return what the model's own caption of a region says it shows, the surest first."""
        [caption] = self._captioner.caption(grid, [region], options, **changes)
        joined: dict[str, str] = {}
        for own in (caption.text, *caption.alternatives):
            end = 0
            for word in read_words(own):
                if word.kind == "thing" and not word.absent:
                    joined.setdefault(word.name, own[end : word.end] if end else "")
                    end = word.end
        for name, _ in caption.concepts:
            joined.setdefault(name, "")
        supports = self.grounder.supports(grid, region, list(joined))
        shown = [
            _Candidate(name, supports[name], how if _RELATION.match(how) else "")
            for name, how in joined.items()
            if not math.isnan(supports[name])
        ]
        return sorted(shown, key=lambda candidate: -candidate.support)

    def _replaced(
        self,
        text: str,
        words: Sequence[GroundedWord],
        shown: Sequence[_Candidate],
        said: set[str],
    ) -> tuple[list[Edit], list[str]]:
        """Return what is put in the place of which letters, and the new names."""
        edits: list[Edit] = []
        used: list[str] = []
        things = [grounded for grounded in words if grounded.word.kind == "thing"]
        for place, grounded in enumerate(things):
            word = grounded.word
            if word.absent or not grounded.support < _GONE:
                continue
            left = [
                candidate
                for candidate in shown
                if not self._meant(candidate.name) & (said | set(used))
            ]
            kind = kind_of(word.name)
            new = None
            if kind not in _SURROUNDINGS:
                alike = (c for c in left if kind_of(c.name) == kind and c.support >= _SURE)
                new = next(alike, None)
            if new is None and place == 0 and grounded.support < _GONE_FIRST:
                new = next((c for c in left if c.is_thing and c.support >= _SURER), None)
            if new is None:
                continue
            used.append(new.name)
            spelt = plural_of(new.name) if _is_plural(word) else new.name
            why = (
                f"Hardly anything in the region looks like {word.text!r} (support "
                f"{grounded.support:.2f}); it shows {new.name!r} (support {new.support:.2f})."
            )
            start, before = _article_before(text, word, new.name, spelt)
            edits.append(
                (start, word.end, before + spelt, Change("replaced", word.text, spelt, why))
            )
        return edits, used

    def _missing(
        self, shown: Iterable[_Candidate], known: set[str], kinds: set[str], doubtful: set[str]
    ) -> list[_Candidate]:
        """Return what is plain to see but not said, unless it may be what the sentence means."""
        return [
            candidate
            for candidate in shown
            if candidate.support >= (_MISSING_TOO if kind_of(candidate.name) in kinds else _MISSING)
            and candidate.is_thing
            and kind_of(candidate.name) not in doubtful
            and not self._meant(candidate.name) & known
        ]

    def _named(
        self, grid: FeatureGrid, text: str, name: str, place: Region
    ) -> tuple[str, list[Change]]:
        """Put a person's name for a thing in the place of the noun that its region shows."""
        name = " ".join(name.split())
        if not name or re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE):
            return text, []
        things = [w for w in read_words(text) if w.kind == "thing" and not w.absent]
        things = [word for word in things if not (_is_plural(word) or _is_fixed(text, word))]
        try:
            [caption] = self._captioner.caption(grid, [place])
        except RegionError:
            return text, []
        # What the named thing is taken for first of all
        own = [word.name for word in read_words(caption.text) if word.kind == "thing"][:1]
        own += [concept for concept, _ in caption.concepts[:1]]
        meant = {other for first in own for other in self._meant(first)}
        word = next((word for word in things if self._meant(word.name) & meant), None)
        if word is None:
            return text, []
        why = f"What you call {name!r} is where the model sees {word.text!r}."
        placed = _name_in_place(text, word, name)
        if placed is None:
            return text, []
        start, new = placed
        edit = start, word.end, new, Change("named", text[start : word.end], new, why)
        return _edited(text, [edit]), [edit[3]]


def _kinds_in_doubt(words: Sequence[GroundedWord], edits: Sequence[Edit]) -> set[str]:
    """Return the kinds of the nouns that are neither borne out nor replaced."""
    ends = {end for _, end, *_ in edits}
    return {
        kind_of(word.word.name)
        for word in words
        if word.word.kind == "thing" and word.verdict != "borne out" and word.word.end not in ends
    }


def _is_fixed(text: str, word: Word) -> bool:
    """Whether no name takes the place of a word: it is quoted, or a measure ("glass of wine")."""
    is_quoted = any(m.start() < word.start and word.end < m.end() for m in _QUOTED.finditer(text))
    return is_quoted or _MEASURING.match(text, word.end) is not None


def is_given_name(text: str) -> bool:
    """Whether a caption is what somebody calls a thing: a few words without article or verb.

    >>> is_given_name("Rex"), is_given_name("espresso cup"), is_given_name("a cup")
    (True, True, False)
    >>> is_given_name("My dog sleeps")
    False
    """
    words = text.split()
    if not 0 < len(words) <= _LONGEST_NAME or words[0].casefold() in _NO_NAMES:
        return False
    return len(words) == 1 or not is_clause(text)


def lies_in(region: Region, other: Region) -> bool:
    """Whether the middle of a region lies within the bounds of another."""
    if other.kind == "image":
        return True
    own, bounds = region.bounds(), other.bounds()
    row, column = (own.top + own.bottom) / 2, (own.left + own.right) / 2
    return bounds.top <= row <= bounds.bottom and bounds.left <= column <= bounds.right


def _is_plural(word: Word) -> bool:
    spelt = word.text.casefold()
    return spelt != word.name and spelt == plural_of(word.name)


def _article_before(text: str, word: Word, name: str, spelt: str) -> tuple[int, str]:
    """Return where the article before a word begins, and what stands there before another word."""
    determiner = _DETERMINER.search(text[: word.start])
    if determiner is None or determiner[1].casefold() not in ("a", "an"):
        return word.start, ""
    if is_mass(name):
        return determiner.start(), ""
    own = article(spelt)
    return determiner.start(), (
        own.capitalize() if determiner[1][0].isupper() else own
    ) + determiner[2]


def _name_in_place(text: str, word: Word, name: str) -> tuple[int, str] | None:
    """Return from where on a name replaces a word, and what stands there instead.

    A proper name, or one with an article of its own, takes the place of the article too; before "a
    brown dog" it stands beside it. None where nothing that is surely grammatical is known.
    """
    first, *others = name.split()
    brings_own = bool(others) and _OWN.fullmatch(first) is not None
    named = [other for other in read_words(name) if other.kind == "thing"]
    is_uncountable = bool(named) and (_is_plural(named[-1]) or is_mass(named[-1].name))
    if _NAMED_ALREADY.match(text, word.end) or (is_uncountable and not brings_own):
        return None
    if brings_own:
        name = " ".join((first.lower(), *others))
    ahead = text[: word.start]
    determiner = _DETERMINER.search(ahead)
    if not brings_own and not name[0].isupper():
        if determiner is not None and determiner[1].casefold() in ("a", "an"):
            own = article(name)
            own = own.capitalize() if determiner[1][0].isupper() else own
            return determiner.start(), f"{own}{determiner[2]}{name}"
        return word.start, name
    if determiner is not None:
        if _QUANTIFIER.search(ahead[: determiner.start()]):
            return None
        return determiner.start(), name
    if not ahead.strip() or _BARE.search(ahead):
        return word.start, name
    rest = text[word.end :]
    before = _PHRASE.search(ahead)
    if before is None or _QUANTIFIER.search(ahead[: before.start()]) or rest[:1] in _MARKS:
        return None
    between = before[2]
    if not all(other.kind in ("look", "") for other in read_words(between)):
        return None
    phrase = text[before.start() : word.end]
    phrase = phrase[0].lower() + phrase[1:]
    comma = "," if rest.strip(" .!?") and rest[:1] not in ",;:" else ""
    return before.start(), f"{name}, {phrase}{comma}"


def _edited(text: str, edits: Sequence[Edit]) -> str:
    """Return a text with other letters in some places, given from left to right."""
    for start, end, new, _ in reversed(edits):
        if start == 0 and text[:1].isupper():
            new = new[:1].upper() + new[1:]
        text = text[:start] + new + text[end:]
    return text


def _with_addition(text: str, candidate: _Candidate) -> tuple[str, Change]:
    """Return a text with what is missing at its end, before the full stop."""
    ending = _END.search(text)
    end = ending.start() if ending is not None else len(text)
    name = candidate.name
    called = name if is_mass(name) else f"{article(name)} {name}"
    # Behind a whole sentence only what stands by itself is grammatical, whatever it says.
    phrase = f"; also {called}" if is_clause(text) else candidate.joined or f" with {called}"
    why = f"The region shows {name!r} (support {candidate.support:.2f})."
    return text[:end] + phrase + text[end:], Change("added", "", phrase.strip(" ;"), why)
