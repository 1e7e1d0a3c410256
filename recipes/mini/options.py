"""The options that recipes share: those for shipped files, and those that measure models."""

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


def measure_parser(about: str | None, *, folds: bool = True) -> argparse.ArgumentParser:
    """Read on which photographs a measurement is made, and what it keeps between runs.

    Parameters
    ----------
    about : str, optional
        The docstring of the measurement's module; its first line describes it.
    folds : bool
        Whether the measurement can be made with heads that have not seen the photographs.

    Returns
    -------
    argparse.ArgumentParser
        With ``data``, ``folds`` and ``grids``, all paths, and ``every``; a measurement adds what
        is its own.
    """
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    if folds:
        parser.add_argument(
            "--folds", type=Path, help="heads of the folds; without them: in-sample"
        )
    parser.add_argument("--grids", type=Path, help="keep grids here between runs")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take each Nth image")
    return parser
