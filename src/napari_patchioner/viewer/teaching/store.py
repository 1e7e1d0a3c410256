"""Where the lexicon of a window is kept, so that projects can name it: the user's data folder."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

from napari_patchioner.annotations import new_uid, projects_folder
from napari_patchioner.errors import FormatError
from napari_patchioner.progress import Progress
from napari_patchioner.teaching import Lexicon, Origin, is_lexicon, read_lexicon, write_lexicon
from napari_patchioner.teaching.files import TEXT

_ID = re.compile("[0-9a-f]{32}")
Lexicons = Mapping[Origin, Lexicon]


def lexicons_folder() -> Path:
    """Return the folder in which the lexicons of windows are kept."""
    return projects_folder().parent / "lexicons"


class LexiconStore:
    """Keeps one lexicon for each backbone under an id; used by one thread at a time.

    What another window has written under this id meanwhile is never replaced: then an id is made
    anew.
    """

    def __init__(self) -> None:
        self.id = new_uid()
        self._kept: dict[Origin, Lexicon] = {}
        self._stamps: dict[str, int] = {}

    def take(self, name: str) -> dict[Origin, Lexicon]:
        """Read what is kept under an id and go on with it; a FormatError where it is damaged."""
        lexicons = read_lexicons(name)
        if lexicons:
            self.id, self._kept = name, dict(lexicons)
            self._stamps = {folder.name: _stamp(folder) for folder in _folders(name)}
        return lexicons

    def write(self, lexicons: Lexicons, progress: Progress) -> str:
        """Keep these and no others; what has not changed is not written. Return the id."""
        progress(0.0, "saving what was taught")
        if self._stamps != {folder.name: _stamp(folder) for folder in _folders(self.id)}:
            self.renew()
        place = lexicons_folder() / self.id
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FormatError(f"{place}: cannot be made ({error.strerror or error})") from error
        for origin, lexicon in lexicons.items():
            if self._kept.get(origin) is not lexicon:
                folder = place / _name(origin)
                write_lexicon(folder, lexicon)
                self._kept[origin], self._stamps[folder.name] = lexicon, _stamp(folder)
        for origin in self._kept.keys() - lexicons.keys():
            shutil.rmtree(place / _name(origin), ignore_errors=True)
            del self._kept[origin], self._stamps[_name(origin)]
        return self.id

    def renew(self) -> None:
        """Write under another id from now on."""
        self.id, self._kept, self._stamps = new_uid(), {}, {}


def read_lexicons(name: str) -> dict[Origin, Lexicon]:
    """Return what is kept under an id, by backbone; nothing where there is no such id."""
    return {lexicon.origin: lexicon for lexicon in map(read_lexicon, _folders(name))}


def _folders(name: str) -> list[Path]:
    """Return the lexicons under an id, which comes from a file and may be anything."""
    place = lexicons_folder() / name
    if not _ID.fullmatch(name) or not place.is_dir():
        return []
    return sorted(f for f in place.iterdir() if f.name[0] != "." and is_lexicon(f))


def _name(origin: Origin) -> str:
    return blake2b(repr(origin).encode(), digest_size=8).hexdigest()


def _stamp(folder: Path) -> int:
    """Return when a lexicon was written; 0 where it is gone."""
    try:
        return (folder / TEXT).stat().st_mtime_ns
    except OSError:
        return 0
