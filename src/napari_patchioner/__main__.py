"""``python -m napari_patchioner`` is the command line, for where its script is not on the PATH."""

from __future__ import annotations

import sys

from napari_patchioner.cli import main

# Worker processes import this module again, and must not run it again.
if __name__ == "__main__":
    sys.exit(main())
