"""All regions and captions of an image, into files."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import napari

import napari_patchioner.annotations as formats
from napari_patchioner.annotations import FORMATS, Annotation, Notes, Record
from napari_patchioner.annotations.place import WITH_PLACE
from napari_patchioner.annotations.project.records import LABEL, REWORDED, SeenMask
from napari_patchioner.annotations.record import FAMILIARITY, familiarity_text
from napari_patchioner.errors import PatchionerError, counted
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

    Painted labels go to ``name.labels.csv`` as well. `notes` takes what was left out.
    """
    rows = list(session_annotations(session, image))
    _note_placeless(session, notes)
    files = [path.with_suffix(".csv"), path.with_suffix(".regions.csv")]
    formats.write_tidy_csv(files[1], rows)
    if image.ndim == 2:
        formats.write_napari_csv(files[0], rows)
    else:
        _write_stack(files[0], session, image)
    painted = [(r, r.seen) for r in session.records.values() if isinstance(r.seen, SeenMask)]
    if painted:
        files.append(path.with_suffix(".labels.csv"))
        _write_labels(files[2], painted)
    return tuple(files)


def _write_labels(path: Path, labels: Iterable[tuple[Record, SeenMask]]) -> None:
    """Write one row per label: where it is, what it says, and who said it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(LABEL_COLUMNS)
    for record, seen in labels:
        (first, last), axes = seen.vertices, list(seen.axes)
        plane = " ".join(str(round(x)) for axis, x in enumerate(first) if axis not in axes)
        # Those of its outermost pixels, whose centres are integers
        edges = (*(first[axes] - 0.5).tolist(), *(last[axes] + 0.5).tolist())
        place = (record.layer.partition(":")[2], seen.value, plane, *edges, int(seen.pixels.sum()))
        text_cells = (record.uid, record.caption, record.score, record.source, record.model)
        writer.writerow([*place, *text_cells, record.reviewed])
    formats.write_bytes(path, text.getvalue().encode("utf-8"))


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

    Returns the file, with the right ending, and what the format has no place for.
    """
    endings, called = FORMATS[name].suffixes, path.name.lower()
    if not called.endswith(endings):
        known = {ending for form in FORMATS.values() for ending in form.suffixes}
        wrong = max(filter(called.endswith, known), key=len, default="")
        # A folder has none.
        ending = endings[0] if endings else ""
        path = path.with_name(path.name[: len(called) - len(wrong)] + ending)
    title, source = image_title(image), image.source.path
    height, width = geometry.full_shape(image)[-2:]
    images = {title: formats.ImageInfo(title, height, width, Path(source) if source else None)}
    rows = list(session_annotations(session, image))
    _note_placeless(session, notes)
    return path, formats.write_annotations(path, rows, images, name, notes=notes)


def session_annotations(session: Session, image: napari.layers.Image) -> Iterator[Annotation]:
    """Yield shapes, groups and whole image as annotations, as far as they lie on one plane each."""
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
            if not math.isnan(agreement := session.agreement(record)):
                extra["agreement"] = f"{agreement:.4f}"
            if record.familiarity is not None:
                extra[FAMILIARITY] = familiarity_text(record.familiarity)
            if made_from := record.made_from:
                extra["origin"] = json.dumps(made_from, sort_keys=True)
            if record.reworded_by == WITH_PLACE:
                made = record.origin[REWORDED]
                extra |= {name: str(made[name]) for name in ("place", "size") if made.get(name)}
            said = (record.caption, record.score, record.source, record.model)
            yield Annotation(record.uid, image_title(image), region, *said, extra)


def _note_placeless(session: Session, notes: Notes | None) -> None:
    """Note how many regions lie on no single plane, of which no file can hold any."""
    left = sum(geometry.own_axes(record, session) is None for record in session.records.values())
    if left and notes is not None:
        why = "left out: the corners of one lie on several planes"
        notes.add("several planes", f"{counted(left, 'region')} {why}")


def suggested_path(image: napari.layers.Image) -> Path:
    """Return where an export is likely to be wanted: beside the image, in a name that fits."""
    folder, stem = Path.home(), _NO_FILE_NAME.sub("_", image.name)
    if (source := image.source.path) and "://" not in str(source):
        folder, stem = Path(source).parent, Path(source).stem
    return folder / f"{formats.short_name(stem)}.csv"


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
