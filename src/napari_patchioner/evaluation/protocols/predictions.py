"""What a model said of every sample, one line each: captioned once, scored as often as wanted.

The first line says what was asked of which model; a run goes on only where it would be given the
same. A line that was cut off when the process died is dropped and its sample captioned again.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from napari_patchioner.annotations import encode_text, write_bytes
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import check_plain_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

Variant: TypeAlias = Literal["model", "crop", "whole-image", "class-token"]
VARIANTS: tuple[Variant, ...] = ("model", "crop", "whole-image", "class-token")


@dataclass(frozen=True, slots=True)
class Prediction:
    """A caption of one sample, and all that is needed to score and show it.

    Attributes
    ----------
    sample, image : str
        Ids of the data set.
    variant : {"model", "crop", "whole-image", "class-token"}
        How the caption came about: from the region's patches, from a cut-out of the region, from
        the whole image, from the class token.
    references : tuple of str
        What people wrote.
    caption : str
        What the model said; empty where it could not say anything.
    score : float
        How sure it was, 0 to 1.
    seconds : float
        Its share of the time it took to caption the image's regions, the encoding of the image left
        out; of a crop the whole time, the encoding of the crop included.
    kind, geometry, members : str
        The region as `annotations.region_to_text` writes it.
    group : str
        Subset that is reported apart.
    category : str
        What is there, where the data set names it.
    found : float or None
        Whether the caption finds its own region again; None where that cannot be said.
    problem : str
        Why there is no caption.
    """

    sample: str
    image: str
    variant: Variant
    references: tuple[str, ...]
    caption: str
    score: float
    seconds: float
    kind: str
    geometry: str
    members: str = ""
    group: str = ""
    category: str = ""
    found: float | None = None
    problem: str = ""


class PredictionFile:
    """A file of predictions that grows image by image."""

    def __init__(self, path: Path, asked: Mapping[str, Any]) -> None:
        self.path = path
        self.done: list[Prediction] = []
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            begun = path.exists() and b"\n" in path.read_bytes()
        except OSError as error:
            raise _unwritable(path, error) from error
        if not begun:
            write_bytes(path, encode_text(_line({"asked": asked})))
            return
        before, self.done, whole = _read(path)
        other = _different(before, asked)
        if other:
            names = ", ".join(sorted(other))
            raise FormatError(
                f"{path}: holds predictions made with another {names}; name another folder by --out"
            )
        if not whole:
            self._mend()

    def add(self, predictions: Iterable[Prediction]) -> None:
        """Append predictions; they are on disk when this returns."""
        lines = encode_text("".join(_line(asdict(prediction)) for prediction in predictions))
        try:
            with self.path.open("ab") as file:
                file.write(lines)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def _mend(self) -> None:
        """Cut off the torn end, so that the next line begins a line."""
        raw = self.path.read_bytes()
        with self.path.open("r+b") as file:
            file.truncate(raw.rfind(b"\n") + 1)


def read_predictions(path: Path) -> tuple[dict[str, Any], list[Prediction]]:
    """Read a file of predictions.

    Parameters
    ----------
    path : Path

    Returns
    -------
    asked : dict
        What was asked of which model.
    predictions : list of Prediction

    Raises
    ------
    FormatError
        The file is missing or damaged; the line is named.
    """
    asked, predictions, _ = _read(path)
    return asked, predictions


def _read(path: Path) -> tuple[dict[str, Any], list[Prediction], bool]:
    if os.path.exists(path):
        check_plain_file(path)
    try:
        text = path.read_bytes().decode("utf-8", "replace")
    except OSError as error:
        why = error.strerror or error
        raise FormatError(
            f"{path}: cannot be read ({why}); name a folder that 'evaluate' wrote"
        ) from error
    lines = text.split("\n")
    # Every whole line ends with a line break, so what follows the last one was cut off.
    whole = lines.pop() == ""
    try:
        asked = json.loads(lines[0])["asked"]
    except (IndexError, KeyError, TypeError, ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise FormatError(f"{path}: line 1: does not say what was asked")
    results = [_prediction(path, place, line) for place, line in enumerate(lines[1:], start=2)]
    return asked, results, whole


def _prediction(path: Path, place: int, line: str) -> Prediction:
    try:
        values = json.loads(line)
        prediction = Prediction(**{**values, "references": tuple(values["references"])})
    except (ValueError, RecursionError, TypeError, KeyError):
        prediction = None
    if prediction is None or not _is_sound(prediction):
        raise FormatError(f"{path}: line {place}: is no prediction")
    return prediction


def _is_sound(prediction: Prediction) -> bool:
    """Whether every field holds what it should."""
    texts = (
        prediction.sample,
        prediction.image,
        prediction.caption,
        prediction.kind,
        prediction.geometry,
        prediction.members,
        prediction.group,
    )
    numbers = (
        prediction.score,
        prediction.seconds,
        0.0 if prediction.found is None else prediction.found,
    )
    return (
        prediction.variant in VARIANTS
        and all(isinstance(text, str) for text in (*texts, prediction.category, prediction.problem))
        and all(isinstance(text, str) for text in prediction.references)
        and all(isinstance(number, int | float) and math.isfinite(number) for number in numbers)
    )


def _unwritable(path: Path, error: OSError) -> FormatError:
    why = error.strerror or error
    return FormatError(f"{path}: cannot be written ({why}); name another folder by --out")


def _line(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False) + "\n"


def _different(before: Mapping[str, Any], asked: Mapping[str, Any]) -> set[str]:
    now = json.loads(json.dumps(asked))
    return {key for key in before.keys() | now.keys() if before.get(key) != now.get(key)}
