"""Take all pictures, or those of some scenes."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "images"
PLACES = ("NAPARI_PATCHIONER_HOME", "NAPARI_PATCHIONER_CACHE", "HF_HOME")


def main() -> None:
    """Take them with nothing of the person's own work, models or settings in sight."""
    parser = argparse.ArgumentParser(prog="python -m docs.screenshots", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where to put them")
    parser.add_argument("scenes", nargs="*", help="photograph, points, teaching...; all by default")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        os.environ["NAPARI_CONFIG"] = str(Path(place) / "settings.yaml")
        from .scenes import SCENES

        for scene in given.scenes or SCENES:
            # A place for each: two scenes of one image would restore each other's work.
            for name in PLACES:
                os.environ[name] = str(Path(place) / scene / name.lower())
            SCENES[scene](given.folder)


if __name__ == "__main__":
    main()
