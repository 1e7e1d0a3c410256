"""Where words go: to people on standard error, data on standard output as it is."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Tell a person something without touching the output."""
    print(text, file=sys.stderr, flush=True)


def print_exactly(data: bytes) -> None:
    """Print UTF-8 as it is, whatever the console's encoding and line ends."""
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:
        sys.stdout.write(data.decode())
    else:
        sys.stdout.flush()
        buffer.write(data)
    sys.stdout.flush()
