"""The work on one image: what is drawn on it, what is said about that, and who vouches for it."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, Literal, NamedTuple, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from napari_patchioner.annotations.record import (
    MACHINES,
    SOURCES,
    Annotation,
    Source,
    with_human_caption,
)
from napari_patchioner.decoders import Caption
from napari_patchioner.errors import counted
from napari_patchioner.regions import Mask, Region, RegionSet

RecordKind: TypeAlias = Literal["shape", "group", "image"]
LABEL = "label"
# Keys of the layers whose regions are drawn by hand, and come back with the image.
OWN_LAYERS = ("regions", "traces", "points")
# A record outlines a region on one plane of its image only; see `Record`.
_NO_PLANE = RegionSet(())


class Plane(NamedTuple):
    """One displayed plane of an image: the axes of its rows and columns, and where it lies.

    `index` is the position along each other axis, in ascending order of the axes.
    """

    axes: tuple[int, int] = (0, 1)
    index: tuple[int, ...] = ()  # type: ignore[assignment]

    @property
    def upright(self) -> Plane:
        """The same plane with its axes in ascending order, as no display has turned it."""
        low, high = sorted(self.axes)
        return Plane((low, high), self.index)


class Appearance(NamedTuple):
    """How a shape is drawn: width in data units, colours as RGBA from 0 to 1."""

    edge_width: float
    edge_color: tuple[float, ...]
    face_color: tuple[float, ...]
    z_index: int


@dataclass(frozen=True, eq=False, slots=True)
class Seen:
    """One finished shape as it lies on the image, of one of napari's shape types.

    Attributes
    ----------
    shape_type : str
        What napari calls it; ``"point"`` or ``"label"`` for what is no shape there.
    vertices : ndarray of float, shape (n, ndim)
        In image pixels, pixel centres at integers, all axes of the image.
    value, digest
        Of a painted label: its number, and a hash of its pixels and their place.
    drawn : ndarray, optional
        The vertices in the coordinates of the layer, digit for digit; None where it lies exactly
        on the image.
    appearance : Appearance, optional
        How it is drawn.
    """

    shape_type: str
    vertices: npt.NDArray[np.float64]
    value: int | None = None
    digest: str = ""
    drawn: npt.NDArray[Any] | None = field(default=None, kw_only=True)
    appearance: Appearance | None = field(default=None, kw_only=True)
    _hash: str = field(default="", init=False, repr=False)

    @property
    def outline(self) -> npt.NDArray[Any]:
        """The vertices in the coordinates of the layer."""
        return self.vertices if self.drawn is None else self.drawn

    def same_outline(self, other: Seen) -> bool:
        """Whether both are drawn alike on their layer, what is no number included."""
        return self.shape_type == other.shape_type and np.array_equal(
            self.outline, other.outline, equal_nan=True
        )

    def same(self, other: Seen) -> bool:
        """Whether nothing about both differs, digit for digit."""
        return self is other or (
            self.same_outline(other)
            and self.fingerprint == other.fingerprint
            and (self.appearance, self.value) == (other.appearance, other.value)
        )

    @property
    def fingerprint(self) -> str:
        """The same for the same geometry, or the same pixels at the same place, and only then."""
        if self.digest:
            return self.digest
        if not self._hash:
            digest = blake2b(self.shape_type.encode(), digest_size=12)
            digest.update(repr(self.vertices.shape).encode())
            # Zero has two signs, which are the same point.
            digest.update((np.ascontiguousarray(self.vertices, float) + 0.0).tobytes())
            object.__setattr__(self, "_hash", digest.hexdigest())
        return self._hash

    def overlap(self, other: Seen) -> float:
        """Return the intersection over union of the bounding boxes, a pixel thick at least."""
        if self.vertices.shape[1] != other.vertices.shape[1]:
            return 0.0
        low_a, high_a = self.vertices.min(axis=0) - 0.5, self.vertices.max(axis=0) + 0.5
        low_b, high_b = other.vertices.min(axis=0) - 0.5, other.vertices.max(axis=0) + 0.5
        shared = np.clip(np.minimum(high_a, high_b) - np.maximum(low_a, low_b), 0, None).prod()
        union = (high_a - low_a).prod() + (high_b - low_b).prod() - shared
        return float(shared / union)


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class SeenMask(Seen):
    """A painted label with its pixels, on one plane of the image; a project file has none.

    Its vertices are the first and the last pixel of its bounding box; ``pixels``, shape
    (height, width), are the label within that box, ``axes`` those of its rows and columns.
    """

    value: int
    pixels: npt.NDArray[np.bool_]
    axes: tuple[int, int]

    @classmethod
    def of(
        cls,
        pixels: npt.NDArray[np.bool_],
        first: npt.NDArray[np.float64],
        axes: tuple[int, int],
        value: int,
    ) -> SeenMask:
        """Return a label that begins at an image pixel, shape (ndim,)."""
        last = np.array(first, float)
        last[list(axes)] += np.array(pixels.shape) - 1
        corners = np.stack([np.asarray(first, float), last])
        digest = blake2b(repr((LABEL, pixels.shape, axes)).encode(), digest_size=12)
        digest.update(corners.tobytes())
        digest.update(np.packbits(pixels).tobytes())
        return cls(LABEL, corners, value=value, digest=digest.hexdigest(), pixels=pixels, axes=axes)

    def mask(self, axes: tuple[int, int]) -> Mask:
        """Return the region, as it lies on a plane with these axes."""
        top, left = (int(np.round(self.vertices[0, axis])) for axis in axes)
        pixels = self.pixels if tuple(axes) == tuple(self.axes) else self.pixels.T
        return Mask(pixels, (top, left))


# What belongs to the text of a record, and not to the region.
_TEXT = (
    *("caption", "score", "source", "model", "reviewed", "locked", "rejected"),
    *("wanted", "problem", "details", "origin", "example", "example_name"),
)
# All that makes a difference to a person, but for the shape itself and other people's columns.
_CONTENT = (*_TEXT, "uid", "fingerprint", "layer", "members", "plane", "outlined")


TAUGHT = "taught"
"""Where the ``origin`` of a record says what gave it its name."""

FOUND_BY = "found_by"
"""Where the ``origin`` of a record says by which phrase it was found."""

REWORDED = "reworded"
"""Where the ``origin`` of a record says how a machine's text was put in other words."""

SUGGESTED = "suggested"
"""Where the ``origin`` of a record says which texts were offered to a person, and by what."""

WORDINGS = "wordings"
"""Where the ``origin`` of a record says whose its other wordings are, if not its own maker's."""

ABOUT = "about"
"""Where the ``origin`` of a record says which outline its text is about, if not the one it has."""
REPLACED = "another image"
"""What stands there where it is about an image that was replaced."""


OUTLINED, PROPOSED = "outlined", "proposed"
CLICKS, NEGATIVE, SIZE = "clicks", "negative", "size"
"""What files call how an outline came about, and its parts: clicks, or a proposal's score."""
SEGMENTER = "segmenter"
"""The part that names the model for outlines that made it."""

Place: TypeAlias = tuple[float, float]

SERVER = "server"
"""Where the ``origin`` of a record says which server described it, and what that was asked."""

# Between the guesses of a caption that is unsure.
_GUESSES = re.compile(r", | or ")
_ARTICLE = re.compile(r"(?:an?|the) ")


def server_host(origin: Mapping[str, Any]) -> str:
    """Return the host of the server that an origin names; empty where it names none."""
    made = origin.get(SERVER)
    host = made.get("host", "") if isinstance(made, Mapping) else ""
    return host if isinstance(host, str) else ""


def joined_caption(name: str, own: str) -> str:
    """Return a name with what the model says by itself, unless that is no more than the name.

    >>> joined_caption("leaf", "one green round spot"), joined_caption("table", "a table")
    ('leaf: one green round spot', 'table')
    >>> joined_caption("cup", "cup or bowl?"), joined_caption("beaker", "cup or bowl?")
    ('cup', 'beaker: cup or bowl?')
    """
    said = _GUESSES.split(own[:-1]) if own.endswith("?") else [_ARTICLE.sub("", own, count=1)]
    is_more = name.casefold() not in map(str.casefold, said)
    return f"{name}: {own}" if own and is_more else name


@dataclass(frozen=True, slots=True)
class TaughtName:
    """A name that examples gave a region.

    How likely it is right, from 0 to 1, how many examples there are of it, and the digest of the
    lexicon.
    """

    name: str
    score: float
    examples: int
    lexicon: str


@dataclass(frozen=True, slots=True)
class Maker:
    """Who made a text: a ``source`` as records have it, a model, and what that made it from."""

    source: Source
    model: str
    origin: Mapping[str, Any]

    def to_json(self, texts: Sequence[str]) -> dict[str, Any]:
        """Return it as a record keeps it of texts."""
        kept = {"source": self.source, "model": self.model, "origin": dict(self.origin)}
        return {**kept, "texts": list(texts)}


def _noted_makers(origin: Mapping[str, Any]) -> dict[str, Maker]:
    """Return who made which wordings, as far as an origin says so; files may say anything."""
    noted: dict[str, Maker] = {}
    entries = origin.get(WORDINGS)
    for entry in entries if isinstance(entries, list | tuple) else ():
        given = entry if isinstance(entry, Mapping) else {}
        source, model, made, texts = map(given.get, ("source", "model", "origin", "texts"))
        sound = source in SOURCES and isinstance(model, str) and isinstance(made, Mapping)
        if sound and isinstance(texts, list | tuple):
            maker = Maker(
                cast("Source", source), cast("str", model), cast("Mapping[str, Any]", made)
            )
            noted |= {text: maker for text in texts if isinstance(text, str)}
    return noted


@dataclass(frozen=True, eq=False, slots=True)
class Record(Annotation):
    """An annotation on an image of any number of axes, with all that is decided about it.

    A session works with it, and a project file holds it. Records never change: whatever is decided
    makes a new one, so that two are the same thing only if they are the same object.

    What it describes is one of ``seen``, ``members`` and ``plane``. Its ``region`` is a set without
    members, which no format takes, until an export asks for the region on one plane. Its ``extra``
    holds feature columns of other people, of any type.

    Attributes
    ----------
    layer : str
        Key of the layer a shape lies on, ``"regions"`` or ``"traces"``.
    seen : Seen, optional
        The shape, point or painted label.
    members : tuple of str
        Uids of the shapes of a group, captioned together.
    plane : Plane, optional
        The whole plane that is described.
    reviewed, locked, rejected : bool
        A person accepted the text; no model may touch it, even where it is empty; a person
        refused it, and only they may ask for another.
    wanted : bool
        Whether a model is still to caption it, or at it.
    problem : str
        Why there is no caption, in one sentence.
    details : Caption, optional
        What else the model said: alternatives, concepts.
    origin : mapping
        What the model made the text or its draft from: grid key, how the image was displayed.
    outlined : mapping
        How a machine had a part in its outline: the clicks that it was grown from, or that it was
        proposed; nothing of what was drawn, or changed, by hand.
    example : bool or None
        Whether what a person calls it is taught, so that regions alike get that name; None where
        nobody has said so.
    example_name : str
        The name that it was taught by, whatever its text says since; empty where that is its text.
    newer : mapping
        Fields of a newer version of the project file, written again.
    fingerprint : str
        Of the geometry that the text is about, in a session; not saved.
    """

    image: str = ""
    region: Region = _NO_PLANE
    extra: Mapping[str, Any] = field(default_factory=dict)
    layer: str = ""
    seen: Seen | None = None
    members: tuple[str, ...] = ()
    plane: Plane | None = None
    reviewed: bool = False
    locked: bool = False
    rejected: bool = False
    wanted: bool = False
    problem: str = ""
    details: Caption | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)
    outlined: Mapping[str, Any] = field(default_factory=dict)
    example: bool | None = None
    example_name: str = ""
    newer: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: str = ""

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other

    @property
    def subject(self) -> RecordKind:
        """What the caption describes: one shape, several together, or a whole plane."""
        return "group" if self.members else "shape" if self.plane is None else "image"

    @property
    def protected(self) -> bool:
        """Whether no model may touch the text, see `is_protected`."""
        return is_protected(self.caption, self.source, self.reviewed or self.locked)

    @property
    def vouched(self) -> bool:
        """Whether a person wrote or accepted the text, so that it may be taught."""
        return bool(self.caption) and is_protected(self.caption, self.source, self.reviewed)

    @property
    def teaches(self) -> str:
        """What a person calls it: the name that it was taught by, or else their text for it."""
        return self.example_name or (self.caption if self.vouched else "")

    @property
    def familiarity(self) -> float | None:
        """The share of known regions that are as unlike, 0 to 1; None where nobody knows."""
        return self.details.familiarity if self.details is not None else None

    @property
    def alternatives(self) -> tuple[str, ...]:
        """Other texts to choose from; beside a taught name, first what the model said itself."""
        if self.details is None:
            return ()
        own = self.details.alternatives
        is_taught = self.source == "taught" and self.details.text
        return (self.details.text, *own) if is_taught else own

    def maker_of(self, text: str) -> Maker:
        """Return who made one of its wordings: whoever is noted, else its own model."""
        if text == self.caption and self.is_human:
            return Maker(self.source, self.model, self._own_origin)
        noted = {} if text == self.caption else _noted_makers(self.origin)
        return noted.get(text, Maker("model", self.model, self._own_origin))

    @property
    def _own_origin(self) -> dict[str, Any]:
        """What its text was made from, without what is said of other wordings."""
        others = (WORDINGS, SUGGESTED, ABOUT)
        return {name: value for name, value in self.origin.items() if name not in others}

    def _handed(self, text: str, maker: Maker, *more: tuple[str, Maker]) -> dict[str, Any]:
        """Return the origin of a text that takes the place of the one it has.

        What it had to choose from before, and ``more``, stays known as its makers'.
        """
        known = {other: self.maker_of(other) for other in (self.caption, *self.alternatives)}
        known |= dict(more)
        texts: list[tuple[Maker, list[str]]] = []
        for other, made in known.items():
            own = made.source == "model" and (made.model, made.origin) == (
                maker.model,
                maker.origin,
            )
            if not other or other == text or own:
                continue
            same = next((named for before, named in texts if before == made), None)
            if same is None:
                texts.append((made, [other]))
            else:
                same.append(other)
        kept = {name: self.origin[name] for name in (SUGGESTED, ABOUT) if name in self.origin}
        entries = {WORDINGS: [made.to_json(named) for made, named in texts]} if texts else {}
        return {**maker.origin, **kept, **entries}

    # what becomes of it

    def asked(self) -> Record:
        """Return it asked of the models, unless it is none of their business."""
        wanted = not self.protected
        return replace(self, wanted=wanted, rejected=self.rejected and not wanted)

    def left(self) -> Record:
        """Return it asked of nobody."""
        return replace(self, wanted=False) if self.wanted else self

    def emptied(self) -> Record:
        """Return it without its text, whoever wrote it."""
        return replace(self, caption="", score=None, source="", model="", reviewed=False, origin={})

    def blanked(self) -> Record:
        """Return it without a text that no longer describes the shape; a protected one stays."""
        kept = self if self.protected else self.emptied()
        return replace(kept, problem="", details=None)

    def with_text(self, text: str) -> Record:
        """Return it with the text of a person; the model's own, typed again, is the model's."""
        if text == self.caption:
            return self
        if self.example and not self.example_name and self.teaches:
            # What is written over a name that was taught is no other name.
            return replace(self, example_name=self.teaches).with_text(text)
        if self.source == "edited" and self.details is not None and text == self.details.text:
            score = score_of(self.details)
            return replace(self, caption=text, score=score, source="model", problem="")
        said = with_human_caption(self, text) if text else self.emptied()
        # What there is to choose from stays whose it was.
        offered = self._handed(text, Maker("model", said.model, {})) if self.details else {}
        return replace(
            said,
            origin=self.origin if said.source == "edited" else offered,
            reviewed=self.reviewed and bool(text),
            problem="",
            wanted=False,
        )

    def chosen(self, index: int) -> Record:
        """Return it with one of its alternatives, accepted; itself if there is none.

        In the place of a person's text it is theirs as well, who chose it, and the text that it
        replaces can be chosen again. Whoever made the wording is its model then.
        """
        others = list(self.alternatives)
        if self.details is None or not 0 <= index < len(others):
            return self
        text = others[index]
        maker = self.maker_of(text)
        origin = self._handed(text, maker)
        if self.is_human or maker.source not in MACHINES:
            others[index] = self.caption
            kept = replace(self.details, alternatives=tuple(others))
            source: Source = maker.source if maker.source == "human" else "edited"
            said = replace(self, caption=text, score=None, source=source, details=kept)
            said = replace(said, model=maker.model, origin=origin)
            return replace(said, reviewed=True, problem="", wanted=False)
        is_taught = self.source == "taught"
        others[index] = self.caption if is_taught else self.details.text
        return replace(
            self,
            caption=text,
            score=None,
            source="model",
            model=maker.model,
            origin=origin,
            details=replace(self.details, text=text, score=math.nan, alternatives=tuple(others)),
            reviewed=True,
            problem="",
            wanted=False,
        )

    def taught(self, name: str) -> Record:
        """Return it as an example of a name, which a person gives it."""
        said = self.with_text(name)
        if said.source == "taught":
            # The name that it has from examples; now it is one, and the name a person's word.
            said = replace(said, source="edited", score=None)
        # Where the model has said the same, the person agrees with it.
        said = replace(said, reviewed=said.reviewed or said.source in MACHINES)
        return replace(said, example=True, example_name=name, wanted=False, rejected=False)

    def named(self, name: TaughtName, model: str, *, joined: bool = False) -> Record:
        """Return it with a name that examples give it; itself where a person has the say.

        What the model said stays as an alternative; ``joined``, it follows the name.
        """
        if self.protected or self.rejected or self.is_described:
            return self
        before = self.taught_name
        if self.reworded_by and before is not None and before.name == name.name:
            # The same name, in words that somebody asked for.
            learned = {"name": name.name, "examples": name.examples, "lexicon": name.lexicon}
            return replace(self, origin={**self.origin, TAUGHT: learned})
        own = self.details.text if self.details is not None else ""
        learned = {"name": name.name, "examples": name.examples, "lexicon": name.lexicon}
        return replace(
            self,
            caption=joined_caption(name.name, own) if joined else name.name,
            score=round(name.score, 4),
            source="taught",
            model=self.model or model,
            origin={**self.origin, TAUGHT: learned},
            problem="",
        )

    def reworded(
        self, text: str, score: float | None, by: str, made: Mapping[str, Any] | None = None
    ) -> Record:
        """Return it with a text that was made of a machine's; itself where a person has the say.

        ``by`` says how, as in "told apart from 3 others", and ``made`` what else belongs to the
        provenance. The text that it had becomes an alternative, and stays the only one of its
        kind however often it is reworded.
        """
        if self.protected or self.rejected or not text:
            return self
        details = self.details or Caption("", math.nan)
        before = details.alternatives if self.reworded_by else (self.caption, *details.alternatives)
        others = tuple(dict.fromkeys(other for other in before if other and other != text))
        # Beside a name that examples gave, it is what the model says by itself.
        own = details.text if self.source == "taught" else text
        maker = self._rewording_maker(text, (made or {}).get("model"))
        origin = self._handed(text, maker) if maker is not None else self.origin
        return replace(
            self,
            caption=text,
            score=None if score is None or math.isnan(score) else round(score, 4),
            source=self.source or "model",
            model=maker.model if maker is not None else self.model,
            details=replace(details, text=own, alternatives=others),
            origin={**origin, REWORDED: {**(made or {}), "by": by, "text": text}},
            problem="",
            wanted=False,
        )

    def _rewording_maker(self, text: str, model: object) -> Maker | None:
        """Return who made a text in other words; None where that is whoever made the text it had.

        ``model`` put it in these words, empty where none did: they are its own unless they go on
        from words of others.
        """
        if self.source != "model":
            return None
        known = (self.caption, *self.alternatives)
        if text in known:
            return self.maker_of(text)
        is_own = not isinstance(model, str) or model == self.model
        if is_own or any(own and text.startswith(own.rstrip(".")) for own in known):
            return None
        return Maker("model", str(model), {})

    @property
    def reworded_by(self) -> str:
        """How a machine's text was put in the words that it has, if it was."""
        made = self.origin.get(REWORDED)
        if not isinstance(made, Mapping) or made.get("text") != self.caption:
            return ""
        by = made.get("by")
        return by if isinstance(by, str) else ""

    def described(
        self, text: str, model: str, origin: Mapping[str, Any], *, accepted: bool = False
    ) -> Record:
        """Return it with what a model on a server says of it; itself where a person has the say.

        The text that it had is its first alternative. ``accepted`` by a person, it stays.
        """
        if self.protected or self.rejected or not text:
            return self
        before = dict.fromkeys((self.caption, *self.alternatives))
        others = tuple(other for other in before if other and other != text)
        handed = self._handed(text, Maker("model", model, dict(origin)))
        return replace(
            self,
            caption=text,
            score=None,
            source="model",
            model=model,
            reviewed=accepted,
            details=Caption(text, math.nan, alternatives=others),
            origin={name: value for name, value in handed.items() if name != ABOUT},
            problem="",
            wanted=False,
        )

    @property
    def server_host(self) -> str:
        """The host of the server whose model wrote the text, if one did."""
        return server_host(self.origin) if self.source == "model" else ""

    @property
    def is_described(self) -> bool:
        """Whether a server described it because a person asked for that, whatever model is in use.

        A model on a server that is in use as any other has a grid.
        """
        return bool(self.server_host) and "grid" not in self.origin

    def suggested(self, texts: Sequence[str], by: str = "", maker: Maker | None = None) -> Record:
        """Return it with texts to choose from before all others; what it says stays.

        ``by`` says what they come from, as in "check of the sentence", and is kept with them. They
        take the place of those of the same origin that nobody has taken. ``maker`` says who made
        them; its own model by default.
        """
        if maker is not None:
            own = Maker("model", self.model, self._own_origin)
            news = [(text, maker) for text in texts if text != self.caption]
            return replace(self, origin=self._handed(self.caption, own, *news)).suggested(texts, by)
        if by:
            return self._suggested_anew(texts, by)
        details = self.details or Caption("", math.nan)
        all_texts = dict.fromkeys((*texts, *details.alternatives))
        others = tuple(text for text in all_texts if text and text != self.caption)
        if others == details.alternatives:
            return self
        return replace(self, details=replace(details, alternatives=others))

    def _suggested_anew(self, texts: Sequence[str], by: str) -> Record:
        """Return it with texts of one origin in the place of earlier ones of that origin."""
        known = self.origin.get(SUGGESTED)
        made = known if isinstance(known, Mapping) and known.get("by") == by else {}
        earlier, open_before = made.get("texts"), made.get("open")
        earlier = earlier if isinstance(earlier, list | tuple) else ()
        open_before = open_before if isinstance(open_before, list | tuple) else earlier
        # What it says now was taken, and stays to be chosen after it is changed for another.
        stale = {text for text in open_before if text != self.caption}
        if not texts and not stale:
            return self
        details = self.details or Caption("", math.nan)
        left = tuple(text for text in details.alternatives if text not in stale)
        taken = [text for text in earlier if text not in stale and text not in texts]
        # What others offer as well stays when these are replaced.
        fresh = [text for text in texts if text not in left and text != self.caption]
        noted = {"by": by, "texts": [*taken, *texts], "open": fresh}
        origin = {name: value for name, value in self.origin.items() if name != SUGGESTED}
        if noted["texts"]:
            origin[SUGGESTED] = noted
        kept = replace(self, origin=origin, details=replace(details, alternatives=left))
        return kept.suggested(texts)

    @property
    def suggested_by(self) -> str:
        """What the words that it has were suggested by, if they were."""
        made = self.origin.get(SUGGESTED)
        by = made.get("by") if isinstance(made, Mapping) else ""
        return by if isinstance(by, str) and self.caption in self.offered else ""

    @property
    def offered(self) -> tuple[str, ...]:
        """The texts that were offered to a person, by whatever `suggested` them."""
        made = self.origin.get(SUGGESTED)
        texts = made.get("texts") if isinstance(made, Mapping) else ()
        return tuple(map(str, texts)) if isinstance(texts, list | tuple) else ()

    @property
    def distinguished_by(self) -> str:
        """How its words tell it apart from others, if a person was offered them and took them."""
        by = self.suggested_by
        return by if self.source == "model" and by.startswith("told apart") else ""

    def unnamed(self) -> Record:
        """Return it without the name that examples gave it: with what the model says, or asked."""
        if self.source != "taught" or self.protected:
            return self
        origin = {name: value for name, value in self.origin.items() if name != TAUGHT}
        if self.details is None or not self.details.text:
            return replace(self.emptied(), wanted=True)
        text, score = self.details.text, score_of(self.details)
        return replace(self, caption=text, score=score, source="model", origin=origin)

    @property
    def taught_name(self) -> TaughtName | None:
        """The name that examples gave it, if they did."""
        learned = self.origin.get(TAUGHT)
        if self.source != "taught" or not isinstance(learned, Mapping):
            return None
        name, examples, lexicon = map(learned.get, ("name", "examples", "lexicon"))
        if not (isinstance(name, str) and isinstance(examples, int) and isinstance(lexicon, str)):
            return None
        return TaughtName(name, self.score or 0.0, examples, lexicon)

    @property
    def found_by(self) -> str:
        """The phrase by which its place was found, if it was; that is its caption, too."""
        phrase = self.origin.get(FOUND_BY, "")
        return phrase if self.source == "model" and isinstance(phrase, str) else ""

    @property
    def clicks(self) -> tuple[list[Place], list[Place]]:
        """The clicks that its outline was grown from, in and out of it, in image pixels."""
        inside, outside = (self.outlined.get(name) for name in (CLICKS, NEGATIVE))
        return _places(inside), _places(outside)

    @property
    def grown_size(self) -> int:
        """How many steps larger it was grown than is likeliest meant by its clicks."""
        size = self.outlined.get(SIZE, 0)
        return size if type(size) is int else 0

    @property
    def outlined_by(self) -> str:
        """How a machine had a part in its outline, such as "grown from 3 clicks"; else empty."""
        inside, outside = self.clicks
        model = self.outlined.get(SEGMENTER, "")
        by = f" by {model}" if model and isinstance(model, str) else ""
        if inside:
            return f"grown from {counted(len(inside) + len(outside), 'click')}{by}"
        if by:
            return f"sharpened{by}"
        return "proposed" if PROPOSED in self.outlined else ""

    @property
    def made_from(self) -> dict[str, Any]:
        """What its text and its outline were made from, as files have it."""
        return {**self.origin, **({OUTLINED: dict(self.outlined)} if self.outlined else {})}

    def about(self, fingerprint: str) -> Record:
        """Return it about this geometry; a text about another one is wanted anew.

        One that somebody had asked for, of a server or in other words, stays, outdated: another
        model would say something else in its place.
        """
        if self.fingerprint == fingerprint:
            return self
        if not self.is_asked_for:
            return replace(self.blanked(), fingerprint=fingerprint).asked()
        about = self.origin.get(ABOUT, self.fingerprint)
        origin = {name: value for name, value in self.origin.items() if name != ABOUT}
        origin |= {ABOUT: about} if about and about != fingerprint else {}
        return replace(self, fingerprint=fingerprint, origin=origin)

    def of_another_image(self) -> Record:
        """Return it with what a server said of it marked as about an image that is replaced."""
        if not self.is_described:
            return self
        return replace(self, origin={**self.origin, ABOUT: REPLACED})

    @property
    def is_asked_for(self) -> bool:
        """Whether a machine made the text because somebody wanted just that, and not a caption."""
        is_machines = self.source in MACHINES and bool(self.caption)
        return is_machines and (self.is_described or bool(self.reworded_by))

    @property
    def is_outdated(self) -> bool:
        """Whether a text that somebody had asked for is about another outline than it has."""
        return self.is_asked_for and bool(self.origin.get(ABOUT))

    def with_text_of(self, other: Record) -> Record:
        """Return it with the text of another, and all that belongs to that."""
        return replace(self, **{name: getattr(other, name) for name in _TEXT})

    def filled(self, saved: Record) -> Record:
        """Return it with what a project file says of it besides the shape."""
        extra = {**self.extra, **saved.extra}
        said = self.with_text_of(saved)
        return replace(said, outlined=saved.outlined, extra=extra, newer=saved.newer)

    # comparing

    def same(self, other: Record) -> bool:
        """Whether both say the same of the same thing."""
        return self is other or (
            self.seen is other.seen
            and self._same_content(other)
            and same_cells(self.extra, other.extra)
        )

    def alike(self, other: Record) -> bool:
        """Whether no step lies between both.

        How a shape is drawn and what stands in other people's columns belong to no step: they go
        along with the shape, and are as they are, whatever is undone.
        """
        if self is other:
            return True
        if self.seen is None or other.seen is None:
            same_outline = self.seen is other.seen
        else:
            same_outline = self.seen is other.seen or self.seen.same_outline(other.seen)
        return same_outline and self._same_content(other)

    def _same_content(self, other: Record) -> bool:
        return all(
            (mine := getattr(self, name)) is (theirs := getattr(other, name))
            # Details are never equal but the same: comparing them takes long.
            or (name != "details" and mine == theirs)
            for name in _CONTENT
        )


def _places(value: object) -> list[Place]:
    """Return pairs of numbers as a file or a session holds them; none where they are not."""
    pairs = value if isinstance(value, (list, tuple)) else []
    sound = all(
        isinstance(pair, (list, tuple)) and [type(x) in (int, float) for x in pair] == [True, True]
        for pair in pairs
    )
    return [(float(row), float(column)) for row, column in pairs] if sound else []


def score_of(caption: Caption) -> float | None:
    """Return a model's score as records hold it; none where it is no number."""
    score = round(float(caption.score), 4)
    return None if math.isnan(score) else score


def is_protected(caption: str, source: str, accepted: bool) -> bool:
    """Whether no model may touch a text: a person's, or one that is accepted or locked."""
    return accepted or (bool(caption) and source not in MACHINES)


def is_foreign(layer: str) -> bool:
    """Whether a layer, given by its key, is of other people's making.

    >>> is_foreign("regions"), is_foreign("shapes:my cells"), is_foreign("")
    (False, True, False)
    """
    return ":" in layer


def same_cell(first: Any, second: Any) -> bool:
    """Whether two cells of a table are equal, or both none; raises where they do not compare.

    >>> same_cell(0.5, 0.5), same_cell(float("nan"), float("nan")), same_cell(1, True)
    (True, True, False)
    """
    if type(first) is not type(second):
        return False
    return bool(first == second or (first != first and second != second))


def same_cells(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two rows of other people's columns are equal; in doubt they are not."""
    if first is second:
        return True
    if first.keys() != second.keys():
        return False
    try:
        return all(
            first[name] is second[name] or same_cell(first[name], second[name]) for name in first
        )
    except (TypeError, ValueError):
        return False


@dataclass(frozen=True, slots=True)
class ProjectImage:
    """Which image a project is about.

    Its name (of a file or a layer), ``shape`` and type of its pixels at full resolution, colours
    included, their `content_hash` and its path, empty where not known, and fields of a newer
    version.
    """

    name: str
    shape: tuple[int, ...] = ()
    dtype: str = ""
    content: str = ""
    path: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, slots=True)
class Project:
    """The work on one image.

    Attributes
    ----------
    image : ProjectImage
        Which image.
    records : tuple of Record
        Every caption; shapes of one layer in the order they are drawn in.
    options : mapping
        How captions were asked for, and how the image was shown.
    provenance : mapping
        What made the captions: version of this package, models.
    written : str
        When it was saved, ISO 8601 in UTC; filled in by the writer where it is empty.
    extra : mapping
        Fields of a newer version, written again.
    warning : str
        What the reader had to do to read it, in one sentence; not saved.
    """

    image: ProjectImage
    records: tuple[Record, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    written: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    warning: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class Merged:
    """What came of a merge: all of both, and the uids of records the other project changed.

    ``added`` only the other had, ``changed`` have its text now; for ``differing`` people have
    written different texts, and the first project's stays.
    """

    project: Project
    added: tuple[str, ...]
    changed: tuple[str, ...]
    differing: tuple[str, ...]

    @property
    def news(self) -> int:
        """How many records the other project has brought."""
        return len(self.added) + len(self.changed)


def merge_projects(mine: Project, other: Project) -> Merged:
    """Add to a project what another one of the same image has and it has not.

    A person's text is never replaced, be it by a model's or by another person's; a model's gives
    way to a person's. What describes the very same thing under two uids (a whole plane, a group
    of the same regions, a point or painted label that both have met) is one record. In doubt the
    first one counts, the newer; the other is not changed.
    """
    records = {record.uid: record for record in mine.records}
    same = {_thing(record): record.uid for record in mine.records}
    uids = {record.uid: same.get(_thing(record), record.uid) for record in other.records}
    added, changed, differing = [], [], []
    for theirs in other.records:
        members = tuple(sorted(uids.get(member, member) for member in theirs.members))
        uid = same.get(("group", members), uids[theirs.uid]) if members else uids[theirs.uid]
        theirs = replace(theirs, uid=uid, members=members)
        ours = records.get(uid)
        if ours is None:
            records[uid] = theirs
            added.append(uid)
        elif ours.protected:
            if theirs.protected and theirs.caption != ours.caption:
                differing.append(uid)
        # A person's text stays with a region that was moved, a model's does not.
        elif theirs.protected or (
            theirs.caption and not ours.caption and not ours.rejected and _same_place(ours, theirs)
        ):
            records[uid] = ours.with_text_of(theirs)
            changed.append(uid)
    project = replace(
        mine, records=tuple(records.values()), extra={**other.extra, **mine.extra}, written=""
    )
    return Merged(project, tuple(added), tuple(changed), tuple(differing))


def _same_place(record: Record, other: Record) -> bool:
    """Whether two shapes lie where each other does; true of two that are no shapes."""
    mine, theirs = record.seen, other.seen
    if mine is None or theirs is None:
        return mine is theirs
    return mine.digest == theirs.digest and np.array_equal(mine.vertices, theirs.vertices)


def _thing(record: Record) -> Hashable:
    """Return what a record is about, the same for two people; its uid for what somebody drew."""
    if record.members:
        return "group", tuple(sorted(record.members))
    if record.plane is not None:
        return "image", record.plane
    seen = record.seen
    if seen is not None and seen.shape_type in ("point", LABEL):
        return seen.shape_type, seen.digest or seen.value, seen.vertices.tobytes()
    return record.uid
