"""What formats do alike with records, and with the entries of other programs they came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from napari_patchioner.annotations import metadata
from napari_patchioner.annotations.images import Images
from napari_patchioner.annotations.record import Annotation
from napari_patchioner.annotations.texts import METADATA, record_texts_with_image
from napari_patchioner.annotations.xy import FloatArray, to_xy
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import BudgetError
from napari_patchioner.regions import Box, Region

Size: TypeAlias = tuple[int, int]
"""``(height, width)`` of an image in pixels."""


@contextmanager
def naming(where: str, why: str = "") -> Iterator[None]:
    """Name the file and the place in it in every error within; with ``why``, also in others'."""
    try:
        yield
    except BudgetError:
        raise
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from error
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        if not why:
            raise
        raise FormatError(f"{where}: {why}") from error


def known_size(images: Images, image: str) -> Size | None:
    """Return the size of an image, where it is known."""
    info = images.get(image)
    return (info.height, info.width) if info is not None else None


def by_image(annotations: Sequence[Annotation]) -> dict[str, list[Annotation]]:
    """Return the records of each image, in the order of their first records."""
    own: dict[str, list[Annotation]] = {}
    for annotation in annotations:
        own.setdefault(annotation.image, []).append(annotation)
    return own


def corners_xy(box: Box) -> FloatArray:
    """Return the lowest and the highest corner of a box, ``x y``, shape (2, 2)."""
    return to_xy(np.sort(box.coords()[[0, 2]], axis=0))


def without_metadata(annotation: Annotation) -> Annotation:
    """Return a record without the entry it was read from."""
    extra = {name: text for name, text in annotation.extra.items() if name != METADATA}
    return replace(annotation, extra=extra)


def own_texts(annotation: Annotation, image: str) -> dict[str, str]:
    """Return what a record holds, and its image where the file calls that another name."""
    return record_texts_with_image(without_metadata(annotation), image)


class Said(NamedTuple):
    """What an entry says: by itself, and together with what it holds of ours."""

    bare: Annotation
    record: Annotation


def said(bare: Annotation, ours: Any, shown: Callable[[Region], Region | None]) -> Said:
    """Return what an entry says that says ``bare`` by itself and may hold texts of ours."""
    known = ours if isinstance(ours, dict) else {}
    return Said(bare, metadata.with_our_texts(bare, known, shown))


def with_ours(entry: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """Return an entry of another program that holds these texts of ours, and no others."""
    rest = {name: value for name, value in entry.items() if name != metadata.OURS}
    return {**rest, metadata.OURS: texts} if texts else rest


def origins(annotations: Sequence[Annotation], kind: str) -> list[metadata.Metadata]:
    """Return the entries that records were read from in files of a format."""
    known = (metadata.metadata_of(annotation, kind) for annotation in annotations)
    return [origin for origin in known if origin is not None]


def known_entries(
    records: Mapping[str, Annotation], kind: str
) -> list[tuple[str, Annotation, metadata.Metadata]]:
    """Return place, record and entry of those that still hold the entry they were read from."""
    known = [(place, item, metadata.metadata_of(item, kind)) for place, item in records.items()]
    return [(place, item, origin) for place, item, origin in known if origin is not None]


def entry_from_elsewhere(
    annotation: Annotation, kind: str, updated: Callable[[Any, Annotation], Any]
) -> dict[str, Any] | None:
    """Return the entry, updated, that a record has from another file of a format, if from any."""
    origin = metadata.metadata_of(annotation, kind)
    if origin is not None and isinstance(origin.entry, dict):
        with suppress(FormatError):
            return dict(updated(origin.entry, annotation))
    return None


def was_deleted(read: Callable[[], Said | None]) -> bool:
    """Whether an entry without a record, as it reads, was deleted by a person."""
    try:
        was = read()
    except FormatError:
        return False
    return was is not None and metadata.is_deleted(was.record.region)
