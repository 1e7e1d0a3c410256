"""What Pillow opens: an allow-list of raster formats, within a budget of pixels and of time."""

from __future__ import annotations

import io
import logging
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias

from napari_patchioner.errors import ImageError, pip_install
from napari_patchioner.limits import BudgetError, check_plain_file
from napari_patchioner.quiet import ignored_warnings

from ._orientation import ORIENTATION, SIDEWAYS, as_orientation

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from PIL.Image import Image

Source: TypeAlias = "str | os.PathLike[str] | bytes"

FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "DIB", "PPM", "JPEG2000", "AVIF", "TGA")
"""What is opened, whatever a file is called.

Each is decoded within this process. None of them is handed to another program, as PostScript is to
Ghostscript, and none is a mere container for which a plugin might be registered.
"""

# fmt: off
IMAGE_SUFFIXES = frozenset((
    ".avif", ".bif", ".bmp", ".btf", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg",
    ".jpg", ".lsm", ".ndpi", ".npy", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".qptiff",
    ".scn", ".svs", ".tga", ".tif", ".tiff", ".webp",
))
# fmt: on
"""Endings by which a file in a folder is taken for an image."""

MOST_PIXELS = 178_956_970
"""Pixels of a picture that is read whole; larger ones are read in parts, from TIFF or zarr."""

MOST_BYTES = 2**31
"""Bytes of a picture that is read whole, as it lies on the disk and unpacked."""

# Bytes that a decoder and what comes out of it may hold at the same time, and how many for each
# pixel some decoders hold beside what comes out: frames, planes and the whole of their own.
MOST_HELD = 1_450_000_000
_HELD = {"WEBP": 12, "AVIF": 12, "JPEG2000": 12}
_SMALL_MODES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
# A JPEG in several passes does little for many of its bytes, and much for a few.
_JPEG_BLOCK = 2048
_TOO_LARGE = (
    f"is too large to be read whole (more than {MOST_PIXELS:,} pixels); "
    "save it as a TIFF in tiles or as OME-Zarr"
)

# Computing time to read any picture; and for each so many pixels and bytes one second more.
_SECONDS = 4.0
_PIXELS_PER_SECOND = 40e6
_BYTES_PER_SECOND = 25e6


class Clock:
    """The computing time that a picture has left, in the thread that made the clock."""

    def __init__(self, name: str, count: int) -> None:
        self._name = name
        self._allowed = _SECONDS + count / _BYTES_PER_SECOND
        # Not the clock on the wall: a busy machine is no reason to refuse a picture.
        self._started = time.thread_time()

    def allow(self, pixels: int) -> None:
        """Allow for so many pixels."""
        self._allowed += pixels / _PIXELS_PER_SECOND

    @property
    def is_up(self) -> bool:
        """Whether reading took too long."""
        return time.thread_time() - self._started > self._allowed

    def check(self, cause: Exception | None = None) -> None:
        """Raise a BudgetError if reading took too long."""
        if self.is_up:
            raise BudgetError(
                f"{self._name}: takes more than {self._allowed:.0f} seconds to read; "
                "save it anew, as PNG or TIFF"
            ) from cause


_current: ContextVar[Clock | None] = ContextVar("clock", default=None)


@contextmanager
def timed(source: Source, name: str = "") -> Iterator[Clock]:
    """Limit the time of reading a picture, with files that check the clock; for ``with``.

    Within another ``with`` for the same thread, it takes its place. A BudgetError is raised if
    reading took too long, even if the decoder made another error of that, or none.
    """
    size = len(source) if isinstance(source, bytes) else os.stat(source).st_size
    clock = Clock(name or _name(source), size)
    token = _current.set(clock)
    try:
        yield clock
    except Exception as error:
        clock.check(error)
        raise
    finally:
        _current.reset(token)


def _name(source: Source) -> str:
    return "picture" if isinstance(source, bytes) else os.fsdecode(source)


def _check_clock() -> None:
    """Raise a BudgetError if there is a clock, and the time is up."""
    clock = _current.get()
    if clock is not None:
        clock.check()


class TimedFile(io.BufferedReader):
    """A plain file, or its contents, whose readers are stopped when that takes too long.

    Decoders ask for a file piece by piece, so that each piece is the moment to check the clock.
    """

    def __init__(self, source: Source) -> None:
        raw = io.BytesIO(source) if isinstance(source, bytes) else io.FileIO(source)
        super().__init__(raw)

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as any file."""
        _check_clock()
        return super().read(size)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read as any file."""
        _check_clock()
        return super().readinto(buffer)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move as in any file."""
        _check_clock()
        return super().seek(offset, whence)


class Reopened:
    """A path that tifffile opens, and opens again, as a `TimedFile`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path, self.mode = os.path.realpath(os.fsdecode(path)), "rb"

    def open(self) -> TimedFile:
        """Return the open file."""
        return TimedFile(self.path)


@contextmanager
def quietly() -> Iterator[None]:
    """Keep the decoders' remarks on odd files to themselves; what matters is raised."""
    remarks = logging.getLogger("tifffile")
    before = remarks.disabled
    remarks.disabled = True
    try:
        with ignored_warnings():
            yield
    finally:
        remarks.disabled = before


@contextmanager
def decoding(
    path: str | os.PathLike[str], what: str, kind: type[ImageError] = ImageError
) -> Iterator[None]:
    """Raise whatever decoders and file systems make of a damaged file as one sentence."""
    try:
        yield
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(f"{os.fsdecode(path)}: there is not enough memory to read it") from error
    except Exception as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        if "imagecodecs" in why:
            why += f"; run: {pip_install('imagecodecs')}"
        raise kind(f"{os.fsdecode(path)}: {what} ({why})") from error


def check_image_file(path: str | os.PathLike[str]) -> None:
    """Raise an ImageError for a path that is no plain file, without opening it."""
    if os.path.isdir(path):
        raise ImageError(f"{os.fsdecode(path)}: is a folder, not an image")
    if not os.path.lexists(path):
        raise ImageError(f"{os.fsdecode(path)}: there is no such image")
    check_plain_file(path, ImageError)


@contextmanager
def open_picture_file(source: Source, name: str = "") -> Iterator[Image]:
    """Open a picture of which only the header is read; to be used in a ``with``.

    ``source`` is a plain file or its contents; ``name`` is what to call it in messages, by default
    the path. Yields the picture as it is stored, its pixels not yet decoded, no larger than may be
    read whole.
    """
    from PIL import Image, UnidentifiedImageError

    name = name or _name(source)
    if not isinstance(source, bytes):
        check_image_file(source)
    with decoding(name, "cannot be read as an image"):
        try:
            with (
                quietly(),
                timed(source, name) as clock,
                TimedFile(source) as file,
                Image.open(file, formats=FORMATS) as picture,
            ):
                _check_size(picture, name, file)
                clock.allow(math.prod(picture.size))
                yield picture
        except UnidentifiedImageError as error:
            raise ImageError(f"{name}: is not an image of a known kind, or is damaged") from error
        except Image.DecompressionBombError as error:
            raise ImageError(f"{name}: {_TOO_LARGE}") from error


def _check_size(picture: Image, name: str, file: TimedFile) -> None:
    """Raise if a picture is empty, or larger than may be read."""
    count = math.prod(picture.size)
    if count < 1:
        raise ImageError(f"{name}: has no pixels")
    if count > MOST_PIXELS:
        raise ImageError(f"{name}: {_TOO_LARGE}")
    held = float(_SMALL_MODES.get(picture.mode, 4)) + _HELD.get(picture.format or "", 0)
    layers: list[tuple[int, ...]] = getattr(picture, "layer", None) or []
    if layers and _has_passes(picture, file, len(layers)):
        # All coefficients are kept until the last pass, two bytes each.
        across, down = (max(layer[axis] for layer in layers) for axis in (1, 2))
        held += 2 * sum(layer[1] * layer[2] for layer in layers) / (across * down)
    if held * count > MOST_HELD:
        raise ImageError(
            f"{name}: is too large to be read whole, as {held * count / 2**30:.1f} GB would be "
            "needed; save it as a TIFF in tiles or as OME-Zarr"
        )
    # Some decoders read the whole file first, however little of it is the picture.
    position = file.tell()
    if picture.format != "TIFF" and file.seek(0, os.SEEK_END) > MOST_BYTES:
        raise ImageError(f"{name}: is larger than {MOST_BYTES:,} bytes")
    file.seek(position)


def _has_passes(picture: Image, file: TimedFile, count: int) -> bool:
    """Whether a JPEG of so many components, opened just now, comes in several passes.

    Its decoder is then made to read its file, and so to check the clock, more often.
    """
    picture.decodermaxblock = _JPEG_BLOCK  # type: ignore[attr-defined]
    if picture.info.get("progressive"):
        return True
    position = file.tell()
    file.seek(max(0, position - 6 - 2 * count))
    header = file.read(3)
    file.seek(position)
    # The header of the first pass was just read; it names all components, or others come later.
    return header != bytes((0, 6 + 2 * count, count))


def read_picture(source: Source, name: str = "") -> Image:
    """Decode a picture, a file or its contents, and turn it upright; of an animation one frame.

    It stays in the mode it is stored in. An ImageError calls it by ``name``, if that is given.
    """
    from PIL import ImageOps

    with open_picture_file(source, name) as picture:
        return ImageOps.exif_transpose(picture)


def picture_size(source: Source, name: str = "") -> tuple[int, int]:
    """Return ``(height, width)`` of a picture as for `read_picture`, from its header alone."""
    with open_picture_file(source, name) as picture:
        width, height = picture.size
        # Of a TIFF Pillow gives the size the right way up.
        turned = picture.format != "TIFF" and picture_orientation(picture) >= SIDEWAYS
        return (width, height) if turned else (height, width)


def picture_orientation(picture: Image) -> int:
    """Return the orientation in a picture's header; 1 where that cannot be read."""
    try:
        return as_orientation(picture.getexif().get(ORIENTATION))
    except Exception:  # EXIF may be damaged in any way
        return 1
