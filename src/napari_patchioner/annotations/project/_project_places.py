"""Where the project of an image is written, and where it is found again.

Beside the image under its name, or in the user's data folder under its content hash. An index in
that folder, one small file per content hash, tells where a project lies, so that an image which
was renamed or moved is known again.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from glob import escape
from pathlib import Path

from napari_patchioner.annotations._table import write_bytes
from napari_patchioner.errors import FormatError

from ._project_file import ProjectHead, read_head
from ._project_sweep import sweep

ENDING = ".patchioner.json"
HOME = "NAPARI_PATCHIONER_HOME"


def projects_folder() -> Path:
    """Return the user's own folder of projects, under $NAPARI_PATCHIONER_HOME where that is set."""
    if home := os.environ.get(HOME):
        return Path(home).expanduser().resolve() / "projects"
    from platformdirs import user_data_path

    return user_data_path("napari-patchioner", appauthor=False) / "projects"


def project_path(image_path: str | os.PathLike[str] | None, content: str) -> Path:
    """Return where a project is best written.

    Parameters
    ----------
    image_path : path-like, optional
        The image; None where it is no file.
    content : str
        Its `content_hash`.

    Returns
    -------
    Path
        ``image.tif.patchioner.json`` beside ``image.tif``; with the first digits of the content
        hash in it where that name is taken by other pixels; in the user's data folder where
        there is no image file or its folder cannot be written.

    Examples
    --------
    >>> project_path(None, "0123abcd").name
    '0123abcd.patchioner.json'
    """
    home = projects_folder() / f"{content}{ENDING}"
    image = _file(image_path)
    if image is None or not os.access(image.parent, os.W_OK):
        return home
    beside = image.with_name(f"{image.name}{ENDING}")
    if not beside.exists() or _content(beside) == content:
        return beside
    return image.with_name(f"{image.name}.{content[:8]}{ENDING}")


def spare_path(path: Path) -> Path:
    """Return a free name beside a project that may not be replaced."""
    stem = path.name.removesuffix(ENDING)
    number = 2
    while (spare := path.with_name(f"{stem}.{number}{ENDING}")).exists():
        number += 1
    return spare


def find_projects(image_path: str | os.PathLike[str] | None, content: str) -> list[Path]:
    """Return the projects of an image, the one saved last first.

    They may lie beside the image, in the user's data folder, or where the index says.
    """
    near = _near(image_path, content)
    indexed = _indexed(content)
    if indexed is not None and indexed not in [path.resolve() for path in near]:
        near.append(indexed)
    own = [path for path in near if _content(path) == content]
    # In doubt the one that is nearer.
    return sorted(own, key=_written, reverse=True)


def strange_project(image_path: str | os.PathLike[str] | None, content: str) -> Path | None:
    """Return a project beside an image that was made on other pixels, to be offered."""
    image = _file(image_path)
    beside = image.with_name(f"{image.name}{ENDING}") if image is not None else None
    found = _content(beside) if beside is not None else None
    return beside if found is not None and found != content else None


def sweep_projects(image_path: str | os.PathLike[str] | None, content: str) -> None:
    """Take away what killed programs have left behind of this image's projects."""
    places = {project_path(image_path, content), *_near(image_path, content)}
    for path in (*places, projects_folder() / f"{content}{ENDING}", _entry(content)):
        sweep(path)


def remember_project(path: str | os.PathLike[str], content: str) -> None:
    """Note in the index where the project of an image lies.

    Raises
    ------
    FormatError
        If the index cannot be written.
    """
    place = _entry(content)
    data = json.dumps({"path": str(Path(path).resolve())}).encode()
    with suppress(OSError):
        if place.read_bytes() == data:
            return
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FormatError(f"{place.parent}: cannot be made ({error.strerror or error})") from error
    write_bytes(place, data)


def _file(image_path: str | os.PathLike[str] | None) -> Path | None:
    """Return the path of an image that is a file or a folder of this machine."""
    if not image_path or "://" in str(image_path):
        return None
    path = Path(image_path).expanduser().absolute()
    return path if path.name else None


def _near(image_path: str | os.PathLike[str] | None, content: str) -> list[Path]:
    """Return all projects beside the image, and those of its content in the user's folder."""
    found = list(projects_folder().glob(f"{escape(content)}*{ENDING}"))
    image = _file(image_path)
    if image is not None:
        with suppress(OSError):
            found += image.parent.glob(f"{escape(image.name)}*{ENDING}")
    return found


def _indexed(content: str) -> Path | None:
    try:
        value = json.loads(_entry(content).read_bytes())
        return Path(value["path"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _entry(content: str) -> Path:
    return projects_folder() / "index" / f"{content}.json"


def _head(path: Path) -> ProjectHead | None:
    try:
        return read_head(path)
    except FormatError:
        return None


def _content(path: Path) -> str | None:
    """Return whose project a file is; of its ``.bak`` where its head is damaged."""
    head = _head(path) or _head(path.with_name(f"{path.name}.bak"))
    return head.content if head is not None else None


def _written(path: Path) -> str:
    head = _head(path)
    return head.written if head is not None else ""
