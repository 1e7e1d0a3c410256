"""The one exception a person may see: a single sentence that says what is wrong and what to do."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sized
from contextlib import contextmanager


class PatchionerError(ValueError):
    """Bad input, told in one sentence; nothing was changed.

    The command line prints it and exits with status 2; the dock shows it as a message.
    """


class RegionError(PatchionerError):
    """A region that covers no patch of the image, or whose outline makes no sense."""


class ImageError(PatchionerError):
    """An array or file that cannot be shown as a picture."""


class FormatError(PatchionerError):
    """A file whose contents do not follow the format it claims."""


class ModelError(PatchionerError):
    """A model that is missing, damaged, or does not belong with its other parts."""


class Cancelled(Exception):
    """Raised by a progress callback to stop the work in hand."""


def reason(error: Exception) -> str:
    r"""Return the first line of what an error of a library says, or its kind if it says nothing.

    >>> reason(ValueError("no header\nat byte 7")), reason(KeyError())
    ('no header', 'KeyError')
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0][:120]


@contextmanager
def os_errors(
    path: object, done: str = "read", kind: type[PatchionerError] = FormatError
) -> Iterator[None]:
    """Raise what the system says of a file or folder as an error of one sentence.

    >>> with os_errors("cats.csv", "written"):
    ...     raise PermissionError(13, "Permission denied")
    Traceback (most recent call last):
    napari_patchioner.errors.FormatError: cats.csv: cannot be written (Permission denied)
    """
    try:
        yield
    except OSError as error:
        raise kind(f"{path}: cannot be {done} ({error.strerror or error})") from error


def pip_install(*libraries: str) -> str:
    """Return the command that installs libraries, from wherever this package was installed.

    >>> pip_install("zarr", "imagecodecs")
    'pip install zarr imagecodecs'
    """
    return f"pip install {' '.join(libraries)}"


def shell_command(*words: object) -> str:
    """Return a command of this package as it can be pasted into a shell, names quoted.

    >>> shell_command("models", "add", "my model")
    "napari-patchioner models add 'my model'"
    """
    texts = ["napari-patchioner", *map(str, words)]
    if os.name == "nt":
        from subprocess import list2cmdline

        return list2cmdline(texts)
    return shlex.join(texts)


def as_sentence(text: str) -> str:
    """Return a message with a capital letter, unless it begins with the name of a file.

    >>> as_sentence("the image is too large"), as_sentence("my cells.txt: is empty")
    ('The image is too large', 'my cells.txt: is empty')
    """
    begin, colon, _ = text.partition(": ")
    is_name = bool(colon) and (" " not in begin or re.search(r"[./\\]\w", begin) is not None)
    return text if is_name else text[:1].upper() + text[1:]


def counted(number: int | Sized, noun: str, many: str = "") -> str:
    """Return a number, or that of the items of something, with its noun.

    >>> counted(1, "shape"), counted(["a", "b"], "box", "boxes"), counted(1200, "text")
    ('1 shape', '2 boxes', '1,200 texts')
    """
    count = number if isinstance(number, int) else len(number)
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {many or noun + 's'}"
