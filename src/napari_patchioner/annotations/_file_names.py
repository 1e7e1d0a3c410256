"""File names that fit: every drive has a longest one, in bytes, and ours add endings to others'."""

from __future__ import annotations

import os
from hashlib import blake2b

# Most drives allow 255 bytes (or fewer characters). What a project adds to its image's name at
# most: a dot before, ".0123abcd", a number, the ending, ".damaged", and a process id behind.
LONGEST = 200
_DIGITS = 10


def short_name(name: str, most: int = LONGEST) -> str:
    """Return a name of at most so many bytes; one that is longer ends in a hash of all of it.

    Parameters
    ----------
    name : str
        A file name without a folder.
    most : int
        How many bytes it may have, 12 at least.

    Examples
    --------
    >>> short_name("cells.tif")
    'cells.tif'
    >>> short_name("cells" * 100, 20)
    'cellscell~31f68f0344'
    >>> len(os.fsencode(short_name("細胞" * 60)))
    200
    """
    data = os.fsencode(name)
    if len(data) <= most:
        return name
    head = data[: most - _DIGITS - 1].decode("utf-8", "ignore")
    return f"{head}~{blake2b(data, digest_size=_DIGITS // 2).hexdigest()}"
