"""The one exception a person may see: a single sentence that says what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Iterator
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
