"""Where the project of an image is written, and where it is found again.

Beside the image under its name, or in the user's data folder under its content hash. Which image a
project belongs to follows from where it lies and from the path in it, or from the name in it where
the image is no file; the content hash alone makes no owner, since a copy of an image is another
image. An index in the data folder, one small file
per content hash, says where projects of these pixels lie, so that the work on an image that was
renamed, moved or copied can be offered.
"""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import suppress
from glob import escape
from hashlib import blake2b
from pathlib import Path
from stat import S_ISREG

from napari_patchioner.annotations.files import short_name, write_bytes
from napari_patchioner.errors import FormatError

from .file import ProjectHead, backup_path, projects_folder, read_head, read_image
from .records import ProjectImage

ENDING = ".patchioner.json"
# Nobody writes a project for so long, not over the slowest network; whoever began was killed.
ABANDONED_S = 600.0
# What may stand between the name of an image and the ending: other pixels, and a number.
_BETWEEN = r"(?:\.[0-9a-f]{8})?(?:\.\d+)?"
# Places that the index holds for one content.
_INDEXED = 32
# What `tempfile` and a process id add to a name.
_ADDED = r"\.(?:[a-z0-9_]{8}|\d{1,10})"


def project_path(image_path: str | os.PathLike[str] | None, content: str, name: str = "") -> Path:
    """Return where a project is best written; `name` tells images apart that are no files.

    ``image.tif.patchioner.json`` beside ``image.tif``; with the first digits of the content hash in
    it where that name is taken by other pixels; in the user's data folder where there is no image
    file or its folder cannot be written, see `home_path`.

    >>> project_path(None, "0123abcd").name
    '0123abcd.patchioner.json'
    """
    image = _file(image_path)
    if image is None or not os.access(image.parent, os.W_OK):
        return home_path(image_path, content, name)
    stem = short_name(image.name)
    beside = image.with_name(f"{stem}{ENDING}")
    try:
        free = not beside.exists() or _content(beside) == content
    except OSError:  # not even a name this long
        return home_path(image_path, content, name)
    return beside if free else image.with_name(f"{stem}.{content[:8]}{ENDING}")


def home_path(image_path: str | os.PathLike[str] | None, content: str, name: str = "") -> Path:
    """Return where a project is written in the user's data folder.

    Under the content hash; where that is the project of a copy that lies elsewhere or has another
    name, under the hash and digits of the image's own path or name.
    """
    home = projects_folder() / f"{content}{ENDING}"
    if _content(home) is None or _is_of(home, image_path, name):
        return home
    digits = blake2b(os.fsencode(str(_file(image_path) or image_path or name)), digest_size=4)
    return projects_folder() / f"{content}.{digits.hexdigest()}{ENDING}"


def spare_path(path: Path) -> Path:
    """Return a free name beside a project that may not be replaced."""
    stem = path.name.removesuffix(ENDING)
    number = 2
    while (spare := path.with_name(f"{stem}.{number}{ENDING}")).exists():
        number += 1
    return spare


def find_projects(
    image_path: str | os.PathLike[str] | None, content: str, name: str = ""
) -> list[Path]:
    """Return the projects of an image, the one saved last first.

    They lie beside the image under its name, or say that they are about the image at this path, or
    of this `name` where that is no file.
    """
    return [path for path in _known(image_path, content) if is_own(path, image_path, name)]


def projects_of_copies(
    image_path: str | os.PathLike[str] | None, content: str, name: str = ""
) -> list[Path]:
    """Return the projects of other images with the same pixels, the one saved last first.

    One of them may be the image itself before it was renamed or moved: only a person knows.
    """
    return [path for path in _known(image_path, content) if not is_own(path, image_path, name)]


def is_own(project: Path, image_path: str | os.PathLike[str] | None, name: str = "") -> bool:
    """Whether a project belongs to an image: by where it lies, or by what it says."""
    image = _file(image_path)
    if image is not None and _same(project.parent, image.parent):
        stems = "|".join({re.escape(image.name), re.escape(short_name(image.name))})
        named = re.fullmatch(rf"({stems}){_BETWEEN}{re.escape(ENDING)}", project.name)
        if named:
            # "a.tif.2" may be an image, too.
            other = image.with_name(project.name.removesuffix(ENDING))
            return other.name in (image.name, named[1]) or not other.exists()
    return _is_of(project, image_path, name)


def image_of_project(project: Path) -> ProjectImage:
    """Return name and path of a project's image when it was saved; empty where not known."""
    for path in (project, backup_path(project)):
        with suppress(FormatError):
            return read_image(path)
    return ProjectImage("")


def project_of_other_pixels(image_path: str | os.PathLike[str] | None, content: str) -> Path | None:
    """Return a project beside an image that was made on other pixels, to be offered."""
    image = _file(image_path)
    if image is None:
        return None
    beside = image.with_name(f"{short_name(image.name)}{ENDING}")
    return beside if _content(beside) not in (None, content) else None


def remember_project(path: str | os.PathLike[str], content: str) -> None:
    """Note in the index where a project of these pixels lies."""
    entry, known = _entry(content), _indexed(content)
    path = Path(path).resolve()
    if path in known:
        return
    kept = [path, *(other for other in known if other.exists())][:_INDEXED]
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FormatError(f"{entry.parent}: cannot be made ({error.strerror or error})") from error
    write_bytes(entry, json.dumps({"paths": [str(other) for other in kept]}).encode())


def sweep_projects(image_path: str | os.PathLike[str] | None, content: str) -> None:
    """Take away what killed programs have left behind of this image's projects."""
    paths = {project_path(image_path, content), *_near(image_path, content)}
    for path in (*paths, projects_folder() / f"{content}{ENDING}", _entry(content)):
        sweep(path)


def sweep(path: Path) -> list[Path]:
    """Delete what is left of unfinished writings of one file; return what is gone.

    Only hidden files beside it go whose names a project's writer makes for this very file, and
    that nobody has touched for ten minutes: a shorter time may be another process at work.
    """
    names = [f"{path.name}{ending}" for ending in ("", ".bak", ".damaged")]
    stems = "|".join(re.escape(stem) for name in names for stem in (name, short_name(name, 80)))
    ours = re.compile(rf"\.(?:{stems}){_ADDED}")
    gone = []
    with suppress(OSError):
        for beside in path.parent.iterdir():
            with suppress(OSError):
                state = beside.lstat()
                # A second name of an old file is as young as the name.
                is_old = time.time() - max(state.st_mtime, state.st_ctime) > ABANDONED_S
                if is_old and S_ISREG(state.st_mode) and ours.fullmatch(beside.name):
                    beside.unlink()
                    gone.append(beside)
    return gone


def _file(image_path: str | os.PathLike[str] | None) -> Path | None:
    """Return the path of an image that is a file or a folder of this machine."""
    if not image_path or "://" in str(image_path):
        return None
    path = Path(image_path).expanduser().absolute()
    return path if path.name else None


def _is_of(project: Path, image_path: str | os.PathLike[str] | None, name: str) -> bool:
    """Whether a project says that it is about an image; by name where that has no path."""
    recorded, image = image_of_project(project), _file(image_path)
    if not image_path and not recorded.path:
        return not (name and recorded.name) or recorded.name == name
    if image is None or not recorded.path:
        return recorded.path == str(image_path or "")
    other = _file(recorded.path)
    return other is not None and _same(other, image)


def _same(path: Path, other: Path) -> bool:
    """Whether two paths lead to the same place, whatever links are on the way."""
    if path == other:
        return True
    try:
        return path.resolve() == other.resolve()
    except (OSError, RuntimeError):
        return False


def _known(image_path: str | os.PathLike[str] | None, content: str) -> list[Path]:
    """Return all projects of these pixels that can be found, the one saved last first."""
    paths = {path.resolve(): path for path in reversed(_indexed(content))}
    paths |= {path.resolve(): path for path in _near(image_path, content)}
    heads = {path: _head(path) for path in paths.values() if _content(path) == content}
    written = {path: head.written if head else "" for path, head in heads.items()}
    return sorted(written, key=written.__getitem__, reverse=True)


def _near(image_path: str | os.PathLike[str] | None, content: str) -> list[Path]:
    """Return all projects beside the image, and those of its content in the user's folder."""
    paths = list(projects_folder().glob(f"{escape(content)}*{ENDING}"))
    image = _file(image_path)
    if image is not None:
        for stem in {image.name, short_name(image.name)}:
            with suppress(OSError):
                paths += image.parent.glob(f"{escape(stem)}*{ENDING}")
    return paths


def _indexed(content: str) -> list[Path]:
    """Return where projects of these pixels have been written, as far as is remembered."""
    try:
        value = json.loads(_entry(content).read_bytes())
        # A single path is how the first version wrote it.
        paths = [value["path"]] if "path" in value else value["paths"]
        return [Path(path) for path in paths]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _entry(content: str) -> Path:
    return projects_folder() / "index" / f"{content}.json"


def _head(path: Path) -> ProjectHead | None:
    with suppress(FormatError):
        return read_head(path)
    return None


def _content(path: Path) -> str | None:
    """Return whose project a file is; of its ``.bak`` where its head is damaged."""
    head = _head(path) or _head(backup_path(path))
    return head.content if head is not None else None
