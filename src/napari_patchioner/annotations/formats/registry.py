"""Every file format for annotations, in one place."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_patchioner.annotations import metadata
from napari_patchioner.annotations.box_columns import BOX_COLUMNS
from napari_patchioner.annotations.files import reading_file, writing_file
from napari_patchioner.annotations.images import Images, image_name
from napari_patchioner.annotations.napari_shapes import other_axes
from napari_patchioner.annotations.notes import Notes, leaving_out, log_notes, note, noting
from napari_patchioner.annotations.record import Annotation
from napari_patchioner.annotations.table import check_unique, read_table
from napari_patchioner.annotations.texts import with_unique_uids
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import MOST_CROSSINGS, Polygon, crosses_itself, is_tangled

from . import (
    coco,
    geojson,
    html,
    imagej,
    json_arrays,
    label_studio,
    labelme,
    localized_narratives,
    napari_csv,
    ome_xml,
    parquet,
    tidy_csv,
    visual_genome,
    yolo,
)
from .bundle import MOST_FIRST, file_stems, files_in
from .head import Format, Head, head_of

# A file is of the first format that knows it; an ending stands for the first format that has it.
FORMATS: dict[str, Format] = {
    form.name: form
    for form in (
        tidy_csv.FORMAT,
        napari_csv.FORMAT,
        parquet.FORMAT,
        coco.FORMAT,
        coco.CAPTIONS_FORMAT,
        geojson.FORMAT,
        visual_genome.FORMAT,
        localized_narratives.FORMAT,
        labelme.FORMAT,
        label_studio.FORMAT,
        yolo.FORMAT,
        html.FORMAT,
        ome_xml.FORMAT,
        imagej.FORMAT,
    )
}
# The ending of files that hold one region each, and are named like it.
_ALONE = ".roi"
# What projects end in, which are the window's own: their regions lie in an image of any axes.
_PROJECT = ".patchioner.json"


def read_annotations(
    path: str | os.PathLike[str], images: Images | None = None, *, notes: Notes | None = None
) -> list[Annotation]:
    """Read annotations from a file of any known format, recognised by its contents.

    Parameters
    ----------
    path : path-like
        A file of any of `FORMATS`, or a folder of files that are about one image each.
    images : mapping of str to ImageInfo, optional
        The images by the names the file gives them, for formats that tell no sizes.
    notes : Notes, optional
        Takes what was left out, dropped or guessed; by default that goes to the log of
        ``napari_patchioner``.

    Returns
    -------
    list of Annotation
        Coordinates in ``(row, column)`` image pixels, pixel centres at integers. A record that
        cannot be read is left out, and noted.

    Raises
    ------
    FormatError
        One sentence that names the file and, where it can, the record and the field: if the file
        cannot be read, or none of its records can.
    BudgetError
        If it would take more memory or time than `napari_patchioner.limits` grants one file.
    """
    taken = Notes() if notes is None else notes
    own = Notes()
    with reading_file(path), noting(own):
        head = head_of(path)
        form = format_of(head)
        if form is None:
            raise _unknown(head)
        # Parsed once, and held by nobody while records are made of it.
        with json_arrays.parsed_before(head.release_json()):
            if form.single and head.path.is_dir():
                results = _read_folder(form, head.path)
            else:
                results = form.read(head.path, images) if form.sized else form.read(head.path)
        records = []
        for record in results:
            parts = record.region.parts()
            outlines = [part.coords() for part in parts if isinstance(part, Polygon)]
            where = f"{Path(path).name}: region {record.uid!r}"
            if not all(np.isfinite(part.coords()).all() for part in parts):
                problem = f"{where}: its coordinates must be finite numbers"
                own.leave_out("region", FormatError(problem))
                continue
            where += ": its outline crosses itself"
            if any(map(is_tangled, outlines)):  # nobody could say what it encloses
                problem = f"{where} more than {MOST_CROSSINGS:,} times; draw it again"
                own.leave_out("outline", FormatError(problem))
                continue
            records.append(record)
            if any(map(crosses_itself, outlines)):
                filled = "it is filled where it goes around an odd number of times"
                note("outline filled", f"{where}; {filled}")
        if not records and own.first_error is not None:
            raise own.first_error
    taken.merge(own)
    if notes is None:
        log_notes(taken)
    return records


def _read_folder(form: Format, folder: Path) -> list[Annotation]:
    """Read the files of a folder, each about one image: the one of its name, if it names none."""
    results: list[Annotation] = []
    for file in _files_in(form, folder):
        with leaving_out("file", file.name):
            if not form.knows(head_of(file)):
                raise FormatError(f"{file.name}: is no file of the format {form.title!r}")
            name = "" if file.suffix.lower() == _ALONE else file.stem
            results += [replace(item, image=item.image or name) for item in form.read(file)]
    return with_unique_uids(results)


def _files_in(form: Format, folder: Path) -> list[Path]:
    """Return the files in a folder that have an ending of a format."""
    return files_in(folder, lambda name: name.lower().endswith(form.suffixes))


def format_of(head: Head) -> Format | None:
    """Return the format that knows a file, or None; an error if the file cannot be read."""
    with reading_file(head.path):
        form = next((form for form in FORMATS.values() if form.knows(head)), None)
        if form is not None or not head.path.is_dir():
            return form
        # Of one file an image: the format that any of the first such files in the folder is of.
        for form in FORMATS.values():
            first = _files_in(form, head.path)[:MOST_FIRST] if form.single else []
            if any(form.knows(head_of(file)) for file in first):
                return form
        return None


def _unknown(head: Head) -> FormatError:
    """Return the error that says what is wrong with a file that no format knows."""
    name, named = head.path.name, list(_named_like(head.path))
    if head.broken is not None:
        return head.broken
    if name.endswith(_PROJECT):
        return FormatError(
            f"{name}: is a project; open its image in napari, export the regions as a table or "
            "GeoJSON, and name that file"
        )
    if head.path.is_dir() or (head.suffix not in ("", ".txt") and FORMATS["tidy"] not in named):
        if len(named) == 1:
            title = named[0].title
            return FormatError(f"{name}: is no file of the format {title!r}, as its name says")
        titles = ", ".join(form.title for form in (named or FORMATS.values()))
        return FormatError(f"{name}: holds no regions in a known format ({titles})")
    # A table of regions that lacks columns, or no table at all.
    columns: dict[str, tuple[str, ...]] = {
        "a table of regions": tidy_csv.NEEDED,
        "a table of boxes": ("image", *BOX_COLUMNS),
        "a napari table of shapes": napari_csv.NAPARI_COLUMNS,
    }
    try:
        table = read_table(head.path)
        here = {*table.columns} - {"image"}
        shared = {kind: len(here & {*names}) for kind, names in columns.items()}
        likeliest = max(shared, key=lambda kind: shared[kind])
        if shared[likeliest]:
            table.require(columns[likeliest], likeliest)
    except FormatError as error:
        return error
    known = " or ".join(", ".join(names) for names in columns.values())
    return FormatError(f"{name}: row 1: is no table of regions; its columns must be {known}")


def write_annotations(
    path: str | os.PathLike[str],
    annotations: Sequence[Annotation],
    images: Images | None = None,
    format: str | None = None,  # noqa: A002
    *,
    notes: Notes | None = None,
) -> tuple[Annotation, ...]:
    """Write annotations to a file, whole or not at all.

    Parameters
    ----------
    path : path-like
        The file; it is replaced if it exists. Where a format is about one image only and there
        are several, ``cells.geojson`` stands for ``cells-cat.geojson`` and so on, and a folder
        for files named like the images.
    annotations : sequence of Annotation
        Regions of any number of images.
    images : mapping of str to ImageInfo, optional
        The images by the names annotations give them; some formats need their sizes.
    format : str, optional
        One of `FORMATS`; by default the first that has the file's ending.
    notes : Notes, optional
        Takes what the format could not keep of the regions it holds; by default that goes to the
        log of ``napari_patchioner``.

    Returns
    -------
    tuple of Annotation
        What the format cannot hold; it is for the caller to say so.

    Raises
    ------
    FormatError
        If the format is unknown, misses the size of an image, or cannot write the file; the old
        file stays as it was.
    """
    path = Path(path)
    taken = Notes() if notes is None else notes
    form = format_named(path, format)
    elsewhere: list[Annotation] = []
    with noting(taken), writing_file(path):
        if not form.any_view:
            elsewhere = [item for item in annotations if other_axes(item) is not None]
            annotations = [item for item in annotations if other_axes(item) is None]
            check_unique(annotations)
        files = _files_of_images(form, path, annotations, images or {})
        folder = next((file.parent for file in files), path)
        if path not in files:
            folder.mkdir(exist_ok=True)
        left_out: list[Annotation] = []
        written: list[str] = []
        for file, own in files.items():
            left = form.write(file, own, images or {})
            left_out += left
            written += [file.name] if len(left) < len(own) else []
        if written and path not in files:
            note(
                "files",
                f"{form.title} is about one image a file, so that there are {len(written)} files "
                f"in {folder}: {', '.join(written)}",
            )
    if notes is None:
        log_notes(taken)
    return (*left_out, *elsewhere)


def _files_of_images(
    form: Format, path: Path, annotations: Sequence[Annotation], images: Images
) -> dict[Path, Sequence[Annotation]]:
    """Return the records of each file: the one meant, or one for each image."""
    suffix = next((end for end in form.suffixes if path.name.lower().endswith(end)), "")
    in_folder = path.is_dir() or not suffix
    names = {annotation.image for annotation in annotations} if form.single else set()
    if not form.single or not (in_folder or len(names) > 1):
        return {path: annotations}
    own: dict[str, list[Annotation]] = {}
    if len(names - {""}) == 1:  # those that name none can only be about this one
        own[(names - {""}).pop()] = list(annotations)
    else:
        named: dict[object, str] = {}  # an image may have several names
        for item in annotations:
            info = images.get(item.image)
            key = info.path if info is not None and info.path is not None else item.image
            own.setdefault(named.setdefault(key, item.image), []).append(item)
    if (len(own) == 1 and not path.is_dir()) or metadata.are_of(path, annotations):
        return {path: annotations}
    start = "" if in_folder else f"{path.name[: len(path.name) - len(suffix)]}-"
    folder = path if in_folder else path.parent
    stems = file_stems({name: image_name(images, name) for name in own})
    return {
        folder / f"{start}{stem}{suffix or form.suffixes[0]}": own[image]
        for image, stem in stems.items()
    }


def files_to_write(
    path: str | os.PathLike[str],
    annotations: Sequence[Annotation],
    images: Images | None = None,
    format: str | None = None,  # noqa: A002
) -> tuple[Path, ...]:
    """Return the files that `write_annotations` would make or replace; sizes do not matter.

    One file, one of each image, or the folder of a format that is one.
    """
    path, form = Path(path), format_named(Path(path), format)
    if form.file_names is not None:
        names = form.file_names(path, annotations, images or {})
        return tuple(path / name for name in names) or (path,)
    return tuple(_files_of_images(form, path, annotations, images or {}))


def format_named(path: Path, name: str | None = None) -> Format:
    """Return the format of that name, else the first that has the file's ending, or an error."""
    if name is not None and name in FORMATS:
        return FORMATS[name]
    form = next(_named_like(path), None) if name is None else None
    if form is not None:
        return form
    wrong = f"the format {name!r}" if name is not None else f"the ending of {path.name!r}"
    known = ", ".join(
        f"{form.name} ({', '.join(form.suffixes) or 'a folder'})" for form in FORMATS.values()
    )
    raise FormatError(f"{wrong} is unknown; the formats are {known}")


def format_again(path: Path, target: Path) -> str | None:
    """Return the format of a file that is read if it, or another of its kind, is to be written.

    None where the endings differ, or that of the ``target``, which is written, tells the format.
    """
    named = list(_named_like(target))
    same = path.exists() and target.exists() and path.samefile(target)
    if not same and (len(named) < 2 or not path.is_file()):
        return None
    if not same and not any(path.name.lower().endswith(end) for end in named[0].suffixes):
        return None
    form = format_of(head_of(path))
    return form.name if form is not None and (same or form in named) else None


def _named_like(path: Path) -> Iterator[Format]:
    """Yield the formats with the ending of a path, those with the longest ending first."""
    ends = {
        form.name: max(
            (len(end) for end in form.suffixes if path.name.lower().endswith(end)), default=0
        )
        for form in FORMATS.values()
    }
    named = [form for form in FORMATS.values() if ends[form.name]]
    yield from sorted(named, key=lambda form: -ends[form.name])
