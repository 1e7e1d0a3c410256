"""Which row of a table belongs to which image file."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from napari_patchioner.annotations import ImageInfo, is_numbered
from napari_patchioner.errors import FormatError

from ._find import absolute, size_of

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_WHOLE = re.compile(r"[A-Za-z]:[\\/]|[\\/]")


class _Match(NamedTuple):
    """An image that a name means, and whether it was found by more than its file name's end."""

    place: int
    is_certain: bool


class ImageMatcher:
    r"""Finds the image file that a table means, among ``paths``; ``near`` is the table's folder.

    The first of these rules that fits an image decides: the path as it was given; the same
    file by another path, as seen from here or from the table; the last parts of its path, down to
    the file name, with or without the ending; the file name and its folder at the end of a whole
    path, or an address, from elsewhere. If none does, the same once more with no regard to
    capitals.

    A folder that is named is never passed over: neither ``d2/a.png`` nor ``C:\data\d2\a.png`` is
    ``d1/a.png``, and neither is a name that leads to another file that exists.
    """

    def __init__(self, paths: Sequence[Path], near: Path | None = None) -> None:
        self._paths = paths
        self._near = near
        self._ends: dict[str, list[int]] = defaultdict(list)
        for position, path in enumerate(paths):
            name, stem = _plain(path.name), _plain(path.stem)
            for end in {name, stem, name.casefold(), stem.casefold()}:
                self._ends[end].append(position)
        # The same names come again and again.
        self._match = cache(self._apply_rules)

    def find(self, name: str) -> int | None:
        """Return the position of the image that is meant, or None where it was not given.

        A FormatError if several images could be meant.
        """
        match = self._match(name)
        return None if match is None else match.place

    def assign(self, names: Iterable[str]) -> dict[str, int]:
        """Return the positions of the images that the names of one table mean.

        Names that end alike but come from different folders are kept apart: what only ends as an
        image does is not about it if another name fits better. A FormatError if several images
        could be meant by a name, or several names by an image.
        """
        rivals: dict[int, list[str]] = defaultdict(list)
        for name in dict.fromkeys(names):
            if match := self._match(name):
                rivals[match.place].append(name)
        return {name: place for place, own in rivals.items() for name in self._best(own, place)}

    def _best(self, names: list[str], place: int) -> list[str]:
        """Return which of the names that fit an image are about it."""
        certain = [name for name in names if (match := self._match(name)) and match.is_certain]
        if certain or len(names) == 1:
            return certain or names
        shared = {name: self._likeness(place, _parts(name)) for name in names}
        best = [name for name in names if shared[name] == max(shared.values())]
        if len({_parts(name) for name in best}) > 1:
            raise FormatError(
                f"{self._paths[place]} may be {' or '.join(map(repr, best[:3]))}; "
                "write its path in the file of regions"
            )
        return best

    def _apply_rules(self, name: str) -> _Match | None:
        """Apply the rules in their order."""
        spellings = [_plain_path(name)] if _ADDRESS.match(name) else [name, unquote(name)]
        for spelling in dict.fromkeys(spellings):
            parts = _parts(spelling)
            likely = self._ends.get(parts[-1].casefold(), []) if parts else []
            if not likely or "\0" in spelling:
                continue
            own = self._ends.get(parts[-1], [])
            same = [place for place in own if str(self._paths[place]) == spelling]
            if own and not same:
                leads = self._places(spelling)
                same = [place for place in own if absolute(self._paths[place]) in leads]
            if not same and len(parts) > 1 and self._is_elsewhere(spelling):
                continue
            same = same or [place for place in own if self._ends_with(place, parts, tuple)]
            if same:
                return _Match(self._only(same, name), is_certain=True)
            likely = [place for place in likely if not self._is_beside(place, parts[-1])]
            alike = [place for place in likely if self._ends_with(place, parts, _folded)]
            whole = _WHOLE.match(spelling) is not None
            # A whole path, or an address, from elsewhere.
            folder = _folded(parts[-2:-1])
            near = [
                place
                for place in likely
                if whole and folder in ((), _folded((absolute(self._paths[place]).parent.name,)))
            ]
            for positions in ([place for place in near if place in own], alike, near):
                if positions:
                    # Those that have most folders in common with the path.
                    shared = [self._likeness(place, parts) for place in positions]
                    nearest = [
                        p for p, s in zip(positions, shared, strict=True) if s == max(shared)
                    ]
                    return _Match(self._only(nearest, name), is_certain=False)
        bare = self._paths if len(_parts(name)) == 1 else ()
        numbered = [place for place, path in enumerate(bare) if is_numbered(name, path.name)]
        return _Match(self._only(numbered, name), is_certain=True) if numbered else None

    def _only(self, positions: Sequence[int], name: str) -> int:
        """Return the one position, or say that there are several."""
        if len(positions) > 1:
            candidates = " or ".join(str(self._paths[place]) for place in positions[:3])
            raise FormatError(
                f"the image {name!r} may be {candidates}; write its path in the file of regions"
            )
        return positions[0]

    def _places(self, name: str) -> list[Path]:
        """Return where a name leads, from here and from the table."""
        folders = [Path()] if self._near is None else [Path(), self._near]
        names = dict.fromkeys([name, name.replace("\\", "/")])
        return [absolute(folder / item) for folder in folders for item in names]

    def _is_elsewhere(self, name: str) -> bool:
        """Whether a name leads to a file that exists, or was in a folder that exists.

        By then it is known to be none of ours.
        """
        places = self._places(name)
        folders = {path.parent for path in places if Path(name).is_absolute()}
        try:
            return any(path.is_file() for path in places) or any(
                folder.is_dir() and folder != Path(folder.anchor) for folder in folders
            )
        except OSError:  # too long to be a name of this machine
            return False

    def _is_beside(self, place: int, name: str) -> bool:
        """Whether another file, of exactly this name, lies beside an image."""
        path = absolute(self._paths[place])
        other = path.with_name(name)
        return name not in (path.name, path.stem) and other.is_file() and not other.samefile(path)

    def _ends_with(
        self, place: int, parts: tuple[str, ...], alike: Callable[[tuple[str, ...]], object]
    ) -> bool:
        """Whether these are the last parts of the file's path, the ending given or not."""
        path = absolute(self._paths[place])
        own = tuple(map(_plain, path.parts[-len(parts) :]))
        return alike(parts) in (alike(own), alike((*own[:-1], _plain(path.stem))))

    def _likeness(self, place: int, parts: tuple[str, ...]) -> tuple[int, int]:
        """Return how many last parts of a path are the file's, without and with its capitals."""
        own = tuple(map(_plain, absolute(self._paths[place]).parts))
        return _common_end(_folded(own), _folded(parts)), _common_end(own, parts)


def _plain(text: str) -> str:
    """Return a name in the one way of composing letters; a Mac keeps them taken apart."""
    return unicodedata.normalize("NFC", text)


def _plain_path(address: str) -> str:
    """Return the path in an address, with its escapes resolved."""
    with suppress(ValueError):
        address = urlsplit(address).path
    return unquote(address)


def _parts(name: str) -> tuple[str, ...]:
    r"""Return the parts of a path of any system, down to the file name; a drive is none.

    >>> _parts(r"..\scans\.\d1\..\d2\a.png")
    ('scans', 'd2', 'a.png')
    """
    parts: list[str] = []
    text = _plain_path(name) if _ADDRESS.match(name) else name
    for part in re.split(r"[\\/]", _plain(text)):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", ".") and not (part[1:] == ":" and not parts):
            parts.append(part)
    return tuple(parts)


def _folded(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Return parts of a path with no regard to capitals."""
    return tuple(_plain(part).casefold() for part in parts)


def _common_end(first: Sequence[str], second: Sequence[str]) -> int:
    """Return how many of the last parts of two paths are the same."""
    pairs = zip(reversed(first), reversed(second), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def common_parts(first: Path, second: Path) -> int:
    """Return how many folders two files have in common, counted from the files up.

    >>> common_parts(Path("/a/mouse/s1/x.png"), Path("/b/mouse/s1/x.tif"))
    2
    """
    return _common_end(first.parts[:-1], second.parts[:-1])


class KnownImages(Mapping[str, ImageInfo]):
    """Images as `read_annotations` wants them, for formats that cannot be read without sizes."""

    def __init__(self, paths: Sequence[Path], matcher: ImageMatcher) -> None:
        self._paths, self._matcher = paths, matcher
        self._known: dict[str, ImageInfo] = {}

    def __getitem__(self, name: str) -> ImageInfo:
        if name not in self._known:
            place = self._matcher.find(name)
            if place is None:
                raise KeyError(name)
            self._known[name] = ImageInfo(name, *size_of(self._paths[place]), self._paths[place])
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return (path.name for path in self._paths)

    def __len__(self) -> int:
        return len(self._paths)
