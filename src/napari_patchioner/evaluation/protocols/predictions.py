"""What a model said of every sample, one line each: captioned once, scored as often as wanted.

The first line says what was asked of which model; a run goes on only where it would be given the
same. A line that was cut off when the process died is dropped and its sample captioned again.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from napari_patchioner.annotations import encode_text, write_bytes
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import check_plain_file

Variant: TypeAlias = Literal["model", "crop", "whole-image", "class-token"]
VARIANTS: tuple[Variant, ...] = ("model", "crop", "whole-image", "class-token")


@dataclass(frozen=True, slots=True)
class Prediction:
    """A caption of one sample, and all that is needed to score and show it."""

    sample: str
    image: str
    # From the region's patches, a cut-out of the region, the whole image, or the class token.
    variant: Variant
    references: tuple[str, ...]  # what people wrote
    caption: str  # empty where the model could not say anything
    score: float  # how sure it was, 0 to 1
    # Its share of the time it took to caption the image's regions, the encoding of the image left
    # out; of a crop the whole time, the encoding of the crop included.
    seconds: float
    # The region as `annotations.region_to_text` writes it.
    kind: str
    geometry: str
    members: str = ""
    group: str = ""  # subset that is reported apart
    category: str = ""  # what is there, where the data set names it
    found: float | None = None  # whether the caption finds its own region; None if nobody knows
    problem: str = ""  # why there is no caption


class PredictionFile:
    """A file of predictions that grows image by image."""

    def __init__(self, path: Path, asked: Mapping[str, Any]) -> None:
        self.path = path
        self.done: list[Prediction] = []
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            begun = path.exists() and b"\n" in path.read_bytes()
        except OSError as error:
            raise self._unwritable(error) from error
        if not begun:
            write_bytes(path, encode_text(_line({"asked": asked})))
            return
        before, self.done = read_predictions(path)
        now = json.loads(json.dumps(asked))
        other = {name for name in before.keys() | now if before.get(name) != now.get(name)}
        if other:
            names = ", ".join(sorted(other))
            raise FormatError(
                f"{path}: holds predictions made with another {names}; name another folder by --out"
            )
        # The torn end goes, so that the next line begins a line.
        whole = path.read_bytes().rfind(b"\n") + 1
        if whole < path.stat().st_size:
            os.truncate(path, whole)

    def add(self, predictions: Iterable[Prediction]) -> None:
        """Append predictions; they are on disk when this returns."""
        lines = encode_text("".join(_line(asdict(prediction)) for prediction in predictions))
        try:
            with self.path.open("ab") as file:
                file.write(lines)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> FormatError:
        why = error.strerror or error
        return FormatError(f"{self.path}: cannot be written ({why}); name another folder by --out")


def read_predictions(path: Path) -> tuple[dict[str, Any], list[Prediction]]:
    """Read what was asked of which model, and its predictions; an error names the damaged line."""
    if os.path.exists(path):
        check_plain_file(path)
    try:
        text = path.read_bytes().decode("utf-8", "replace")
    except OSError as error:
        why = error.strerror or error
        raise FormatError(
            f"{path}: cannot be read ({why}); name a folder that 'evaluate' wrote"
        ) from error
    # Every whole line ends with a line break, so what follows the last one was cut off.
    lines = text.split("\n")[:-1]
    try:
        asked = json.loads(lines[0])["asked"]
    except (IndexError, KeyError, TypeError, ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise FormatError(f"{path}: line 1: does not say what was asked")
    return asked, [_prediction(path, number, line) for number, line in enumerate(lines[1:], 2)]


def _prediction(path: Path, number: int, line: str) -> Prediction:
    try:
        values = json.loads(line)
        prediction = Prediction(**{**values, "references": tuple(values["references"])})
        texts = asdict(prediction)
        numbers = [texts.pop("score"), texts.pop("seconds")]
        retrieved = texts.pop("found")
        if (
            prediction.variant in VARIANTS
            and all(isinstance(text, str) for text in (*texts.pop("references"), *texts.values()))
            and all(map(math.isfinite, numbers if retrieved is None else [*numbers, retrieved]))
        ):
            return prediction
    except (ValueError, RecursionError, TypeError, KeyError):
        pass
    raise FormatError(f"{path}: line {number}: is no prediction")


def _line(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False) + "\n"
