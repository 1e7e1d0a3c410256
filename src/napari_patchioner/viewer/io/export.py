"""All regions and captions of an image, into files."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import napari

from napari_patchioner.annotations import (
    FORMATS,
    Annotation,
    ImageInfo,
    Notes,
    Record,
    short_name,
    write_annotations,
    write_bytes,
    write_napari_csv,
    write_tidy_csv,
)
from napari_patchioner.annotations.project.records import LABEL, SeenMask
from napari_patchioner.errors import PatchionerError
from napari_patchioner.viewer.layers import geometry
from napari_patchioner.viewer.layers.image_layers import image_title
from napari_patchioner.viewer.session.session import Session

from .plugin_io import write_shapes

# The two tables together, which are no single format.
CSV = "csv"
LABEL_COLUMNS = (
    *("layer", "label", "plane", "top", "left", "bottom", "right", "pixels"),
    *("uid", "caption", "score", "source", "model", "reviewed"),
)
# What some system or other allows in no file name.
_NO_FILE_NAME = re.compile(r"[/\\:*?\"<>|\x00-\x1f]")


def export_csv(
    path: Path, session: Session, image: napari.layers.Image, *, notes: Notes | None = None
) -> tuple[Path, ...]:
    """Write ``name.csv``, which napari opens, and ``name.regions.csv``, one row per region.

    Where there are painted labels, their places and pixels go to ``name.labels.csv`` as well.
    The ending of `path` is put right, and `notes` takes what was left out; returns the files.
    """
    rows = list(session_annotations(session, image))
    _note_placeless(session, notes)
    files = [path.with_suffix(".csv"), path.with_suffix(".regions.csv")]
    write_tidy_csv(files[1], rows)
    if image.ndim == 2:
        write_napari_csv(files[0], rows)
    else:
        _write_stack(files[0], session, image)
    painted = [r for r in session.records.values() if isinstance(r.seen, SeenMask)]
    if painted:
        files.append(path.with_suffix(".labels.csv"))
        _write_labels(files[2], painted)
    return tuple(files)


def _write_labels(path: Path, records: Iterable[Record]) -> None:
    """Write one row per label: where it is, what it says, and who said it.

    The edges are those of its outermost pixels, as napari counts them: pixel centres are integers.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(LABEL_COLUMNS)
    for record in records:
        seen = record.seen
        assert isinstance(seen, SeenMask)
        (first, last), axes = seen.vertices, list(seen.axes)
        plane = " ".join(str(round(x)) for axis, x in enumerate(first) if axis not in axes)
        edges = (*(first[axes] - 0.5).tolist(), *(last[axes] + 0.5).tolist())
        place = (record.layer.partition(":")[2], seen.value, plane, *edges, int(seen.pixels.sum()))
        text_cells = (record.uid, record.caption, record.score, record.source, record.model)
        writer.writerow([*place, *text_cells, record.reviewed])
    write_bytes(path, text.getvalue().encode("utf-8"))


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
    """Write all regions and captions of an image in one of the `FORMATS`.

    The ending of `path` is put right. Returns the file written, and what the format has no place
    for.
    """
    path = _with_ending(path, FORMATS[name].suffixes)
    title, source = image_title(image), image.source.path
    height, width = geometry.full_shape(image)[-2:]
    images = {title: ImageInfo(title, height, width, Path(source) if source else None)}
    rows = list(session_annotations(session, image))
    _note_placeless(session, notes)
    return path, write_annotations(path, rows, images, name, notes=notes)


def _with_ending(path: Path, endings: tuple[str, ...]) -> Path:
    """Return the path with an ending of its format; none where the format is a folder."""
    if any(path.name.lower().endswith(ending) for ending in endings):
        return path
    known = {ending for form in FORMATS.values() for ending in form.suffixes}
    ours = max((e for e in known if path.name.lower().endswith(e)), key=len, default="")
    stem = path.name[: len(path.name) - len(ours)]
    return path.with_name(f"{stem}{endings[0] if endings else ''}")


def session_annotations(session: Session, image: napari.layers.Image) -> Iterator[Annotation]:
    """Yield what the session holds as annotations: shapes, groups, whole image.

    What outlines nothing on a single plane is left out.
    """
    for kind in ("shape", "group", "image"):
        for record in [r for r in session.records.values() if r.subject == kind]:
            axes = geometry.own_axes(record, session)
            if axes is None:
                continue
            try:
                region = geometry.record_region(record, session, axes)
            except PatchionerError:
                continue
            plane = geometry.record_plane(record, session, axes)
            extra = {"plane": " ".join(map(str, plane.index))} if plane and plane.index else {}
            if axes != (image.ndim - 2, image.ndim - 1):
                extra["axes"] = f"{axes[0]} {axes[1]}"
            extra |= {name: "true" for name in ("reviewed", "locked") if getattr(record, name)}
            if record.origin:
                extra["origin"] = json.dumps(record.origin, sort_keys=True)
            said = (record.caption, record.score, record.source, record.model)
            yield Annotation(record.uid, image_title(image), region, *said, extra)


def _note_placeless(session: Session, notes: Notes | None) -> None:
    """Note how many regions lie on no single plane, of which no file can hold any."""
    left = sum(geometry.own_axes(record, session) is None for record in session.records.values())
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


def _write_stack(path: Path, session: Session, image: napari.layers.Image) -> None:
    """Write shapes with all their axes, so that napari puts each on its own plane."""
    drawn = [
        (record, record.seen)
        for record in session.records.values()
        if record.seen is not None
        and record.seen.shape_type not in (geometry.POINT, LABEL)
        and geometry.own_axes(record, session) is not None
    ]
    names = ("caption", "score", "source", "model")
    write_shapes(
        path,
        [(seen.shape_type, seen.vertices) for _, seen in drawn],
        {
            "uid": [record.uid for record, _ in drawn],
            "image": [image_title(image)] * len(drawn),
            **{name: [getattr(record, name) for record, _ in drawn] for name in names},
        },
    )
