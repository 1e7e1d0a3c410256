"""All regions and captions of an image, into files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from napari_patchioner.annotations import (
    FORMATS,
    Annotation,
    ImageInfo,
    Notes,
    short_name,
    write_annotations,
    write_napari_csv,
    write_tidy_csv,
)
from napari_patchioner.errors import PatchionerError
from napari_patchioner.viewer.layers.geometry import (
    POINT,
    full_shape,
    own_axes,
    record_plane,
    record_region,
)
from napari_patchioner.viewer.session.record import LABEL, SeenMask

from .label_csv import write_labels
from .shapes_csv import write_shapes

if TYPE_CHECKING:
    from collections.abc import Iterator

    import napari

    from napari_patchioner.viewer.session.record import Record
    from napari_patchioner.viewer.session.session import Session

# The two tables together, which are no single format.
CSV = "csv"
# What some system or other allows in no file name.
_NO_FILE_NAME = re.compile(r"[/\\:*?\"<>|\x00-\x1f]")


def export_csv(
    path: Path,
    session: Session,
    image: napari.layers.Image,
    *,
    notes: Notes | None = None,
) -> tuple[Path, ...]:
    """Write ``name.csv``, which napari opens, and ``name.regions.csv``, one row per region.

    Where there are painted labels, their places and pixels go to ``name.labels.csv`` as well.

    Parameters
    ----------
    path : Path
        Where to; the ending is put right.
    session : Session
        The captions.
    image : napari.layers.Image
        What they are about.
    notes : Notes, optional
        Takes what was left out.

    Returns
    -------
    tuple of Path
        The files.
    """
    annotations = list(session_annotations(session, image))
    _note_placeless(session, notes)
    shapes, tidy = path.with_suffix(".csv"), path.with_suffix(".regions.csv")
    write_tidy_csv(tidy, annotations)
    if image.ndim == 2:
        write_napari_csv(shapes, annotations)
    else:
        _write_stack(shapes, session, image)
    painted = [r for r in session.records.values() if isinstance(r.seen, SeenMask)]
    if not painted:
        return shapes, tidy
    labels = path.with_suffix(".labels.csv")
    write_labels(labels, painted)
    return shapes, tidy, labels


def export_filters() -> dict[str, str]:
    """Return what a file dialog offers, and the format each is; the two tables come first."""
    offered = {"Tables for napari and spreadsheets (*.csv)": CSV}
    for form in FORMATS.values():
        if form.name not in ("tidy", "napari"):
            ends = " ".join(f"*{suffix}" for suffix in form.suffixes) or "*"
            offered[f"{form.title} ({ends})"] = form.name
    return offered


def export_file(
    path: Path,
    session: Session,
    image: napari.layers.Image,
    name: str,
    *,
    notes: Notes | None = None,
) -> tuple[Path, tuple[Annotation, ...]]:
    """Write all regions and captions of an image in one of the formats.

    Parameters
    ----------
    path : Path
        Where to; the ending is put right.
    session : Session
        The captions.
    image : napari.layers.Image
        What they are about.
    name : str
        One of `FORMATS`.
    notes : Notes, optional
        As `write_annotations`.

    Returns
    -------
    path : Path
        The file written.
    left_out : tuple of Annotation
        What the format has no place for.
    """
    path = _with_ending(path, FORMATS[name].suffixes)
    title, source = image_title(image), image.source.path
    height, width = full_shape(image)[-2:]
    info = ImageInfo(title, height, width, Path(source) if source else None)
    annotations = list(session_annotations(session, image))
    _note_placeless(session, notes)
    return path, write_annotations(path, annotations, {title: info}, name, notes=notes)


def _with_ending(path: Path, endings: tuple[str, ...]) -> Path:
    """Return the path with an ending of its format; none where the format is a folder."""
    if any(path.name.lower().endswith(ending) for ending in endings):
        return path
    known = {ending for form in FORMATS.values() for ending in form.suffixes}
    ours = max((e for e in known if path.name.lower().endswith(e)), key=len, default="")
    stem = path.name[: len(path.name) - len(ours)]
    return path.with_name(f"{stem}{endings[0] if endings else ''}")


def session_annotations(session: Session, image: napari.layers.Image) -> Iterator[Annotation]:
    """Yield what the session holds as annotations: shapes, groups, whole image."""
    order = {"shape": 0, "group": 1, "image": 2}
    for record in sorted(session.records.values(), key=lambda record: order[record.kind]):
        annotation = _annotation(record, session, image)
        if annotation is not None:
            yield annotation


def _note_placeless(session: Session, notes: Notes | None) -> None:
    """Say how many regions lie on no single plane, of which no file can tell."""
    left = sum(own_axes(record, session) is None for record in session.records.values())
    if left and notes is not None:
        words = f"{left} region{'s' * (left > 1)} left out"
        notes.add("several planes", f"{words}: the corners of one lie on several planes")


def suggested_path(image: napari.layers.Image) -> Path:
    """Return where an export is likely to be wanted: beside the image, in a name that fits."""
    source = image.source.path
    folder, stem = (
        (Path(source).parent, Path(source).stem)
        if source and "://" not in str(source)
        else (Path.home(), _NO_FILE_NAME.sub("_", image.name))
    )
    return folder / f"{short_name(stem)}.csv"


def image_title(image: napari.layers.Image) -> str:
    """Return what the image is called in a file: its file name, or the layer's name."""
    return Path(image.source.path).name if image.source.path else image.name


def _write_stack(path: Path, session: Session, image: napari.layers.Image) -> None:
    """Write shapes with all their axes, so that napari puts each on its own plane."""
    drawn = [
        record
        for record in session.records.values()
        if record.seen is not None
        and record.seen.shape_type not in (POINT, LABEL)
        and own_axes(record, session) is not None
    ]
    write_shapes(
        path,
        [(record.seen.shape_type, record.seen.vertices) for record in drawn],
        {
            "uid": [record.uid for record in drawn],
            "image": [image_title(image)] * len(drawn),
            "caption": [record.caption for record in drawn],
            "score": [record.score for record in drawn],
            "source": [record.source for record in drawn],
            "model": [record.model for record in drawn],
        },
    )


def _annotation(record: Record, session: Session, image: napari.layers.Image) -> Annotation | None:
    """Return one record as an annotation; None if it outlines nothing on a single plane."""
    usual = image.ndim - 2, image.ndim - 1
    axes = own_axes(record, session)
    if axes is None:
        return None
    try:
        region = record_region(record, session, axes)
    except PatchionerError:
        return None
    plane = record_plane(record, session, axes)
    extra = {"plane": " ".join(map(str, plane.index))} if plane and plane.index else {}
    if axes != usual:
        extra["axes"] = f"{axes[0]} {axes[1]}"
    extra |= {name: "true" for name in ("reviewed", "locked") if getattr(record, name)}
    if record.origin:
        extra["origin"] = json.dumps(record.origin, sort_keys=True)
    return Annotation(
        uid=record.uid,
        image=image_title(image),
        region=region,
        caption=record.caption,
        score=record.score if record.score == record.score else None,
        source=record.source,  # type: ignore[arg-type]
        model=record.model,
        extra=extra,
    )
