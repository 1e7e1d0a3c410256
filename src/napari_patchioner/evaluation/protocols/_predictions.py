"""What a model said of every sample, one line each: captioned once, scored as often as wanted.

The first line tells what was asked of which model; a run goes on only where it would be told the
same. A line that was cut off when the process died is dropped and its sample captioned again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from napari_patchioner.errors import FormatError

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
        Its share of the time it took to caption the image's regions, the look at the image left
        out; of a crop the whole time, the look at the crop included.
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
    """A file of predictions that grows image by image.

    Parameters
    ----------
    path : Path
        Made with its folder where it is not there.
    asked : mapping
        What is asked of which model.

    Raises
    ------
    FormatError
        The file holds predictions of something else.
    """

    def __init__(self, path: Path, asked: Mapping[str, Any]) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(_line({"asked": asked}), encoding="utf-8")
            self.done: list[Prediction] = []
            return
        before, self.done, whole = _read(path)
        if before != json.loads(json.dumps(asked)):
            told = ", ".join(sorted(_different(before, asked)))
            raise FormatError(
                f"{path}: holds predictions made with another {told}; name another folder by --out"
            )
        if not whole:
            self._mend()

    def add(self, predictions: Iterable[Prediction]) -> None:
        """Append predictions; they are on disk when this returns."""
        lines = "".join(_line(asdict(one)) for one in predictions)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(lines)

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
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error})") from error
    lines = text.split("\n")
    # Every whole line ends with a line break, so what follows the last one was cut off.
    whole = lines.pop() == ""
    try:
        asked = json.loads(lines[0])["asked"]
    except (IndexError, KeyError, TypeError, json.JSONDecodeError):
        raise FormatError(f"{path}: line 1: does not tell what was asked") from None
    found = [_prediction(path, place, line) for place, line in enumerate(lines[1:], start=2)]
    return asked, found, whole


def _prediction(path: Path, place: int, line: str) -> Prediction:
    try:
        values = json.loads(line)
        return Prediction(**{**values, "references": tuple(values["references"])})
    except (json.JSONDecodeError, TypeError, KeyError):
        raise FormatError(f"{path}: line {place}: is no prediction") from None


def _line(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False) + "\n"


def _different(before: Mapping[str, Any], asked: Mapping[str, Any]) -> set[str]:
    told = json.loads(json.dumps(asked))
    return {key for key in before.keys() | told.keys() if before.get(key) != told.get(key)}
