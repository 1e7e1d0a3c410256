"""The options that all recipes for shipped files share."""

from __future__ import annotations

import argparse
from pathlib import Path

from napari_patchioner.models.embedded import FOLDER


def recipe_parser(about: str | None) -> argparse.ArgumentParser:
    """Read where a recipe finds its material, keeps what it made before, and writes.

    Parameters
    ----------
    about : str, optional
        The docstring of the recipe's module; its first line describes it.

    Returns
    -------
    argparse.ArgumentParser
        With ``data``, ``work`` and ``out``, all paths; a recipe adds what is its own.
    """
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    parser.add_argument("--work", type=Path, default=Path("work"), help="what is kept between runs")
    parser.add_argument("--out", type=Path, default=FOLDER, help="where the shipped files go")
    return parser
