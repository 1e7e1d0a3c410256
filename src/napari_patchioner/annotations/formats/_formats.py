"""Every file format for annotations, in one place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_patchioner.annotations.files import reading_file, writing_file
from napari_patchioner.annotations.images import image_name
from napari_patchioner.annotations.napari_shapes import other_axes
from napari_patchioner.annotations.notes import Notes, leaving_out, log_notes, note, noting
from napari_patchioner.annotations.table import read_table
from napari_patchioner.annotations.texts import with_unique_uids
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import charge_records
from napari_patchioner.regions import (
    MOST_CROSSINGS,
    Polygon,
    crosses_itself,
    is_tangled,
)

from . import (
    _coco,
    _coco_captions,
    _geojson,
    _html,
    _imagej,
    _label_studio,
    _labelme,
    _localized_narratives,
    _napari_csv,
    _ome_xml,
    _parquet,
    _tidy_csv,
    _visual_genome,
    _yolo,
)
from ._bundle import file_stems, is_debris
from ._head import Head, handing_on, head_of

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

    from napari_patchioner.annotations.images import Images
    from napari_patchioner.annotations.record import Annotation
    from napari_patchioner.regions import Region


@dataclass(frozen=True, slots=True)
class Format:
    """A file format for annotations.

    Attributes
    ----------
    name : str
        What the command line calls it.
    title : str
        What a person calls it.
    suffixes : tuple of str
        Endings of its files; the first is the usual one, and none means a folder.
    read : callable
        Turns a file into annotations.
    write : callable
        Writes annotations of images to a file and returns those the format cannot hold.
    knows : callable
        Whether a file that begins so is of this format.
    needs : str
        The extra that installs the library it needs; empty where it needs none.
    sized : bool
        Whether ``read`` also takes the images, whose sizes its files may lack.
    single : bool
        Whether a file is about one image only, so that several images are several files.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    read: Callable[..., list[Annotation]]
    write: Callable[[Path, Sequence[Annotation], Images], tuple[Annotation, ...]]
    knows: Callable[[Head], bool]
    needs: str = ""
    sized: bool = False
    single: bool = False

    @property
    def any_view(self) -> bool:
        """Whether it has a place for regions drawn in other views of a stack.

        The others are about the picture of rows and columns, over which such a region would lie
        where nobody has drawn it.
        """
        return self.name in ("tidy", "parquet")


def _format(
    module: object,
    name: str,
    title: str,
    *suffixes: str,
    needs: str = "",
    sized: bool = False,
    single: bool = False,
) -> Format:
    """Return the format that a module with ``read, write, knows`` is."""
    read, write, knows = (getattr(module, part) for part in ("read", "write", "knows"))
    return Format(name, title, suffixes, read, write, knows, needs, sized, single)


# A file is of the first format that knows it; an ending stands for the first format that has it.
_ALL = (
    _format(_tidy_csv, "tidy", "Table, one row per region", ".csv"),
    _format(_napari_csv, "napari", "napari shapes, one row per vertex", ".csv"),
    _format(_parquet, "parquet", "Parquet, one row per region", ".parquet", needs="parquet"),
    _format(_coco, "coco", "COCO instances with captions", ".json"),
    _format(_coco_captions, "coco-captions", "COCO captions of whole images", ".json"),
    _format(_geojson, "geojson", "GeoJSON for QuPath", ".geojson", single=True),
    _format(_visual_genome, "visual-genome", "Visual Genome regions", ".json"),
    _format(
        _localized_narratives, "localized-narratives", "Localized Narratives", ".jsonl", sized=True
    ),
    _format(_labelme, "labelme", "LabelMe", ".json"),
    _format(_label_studio, "label-studio", "Label Studio", ".json", sized=True),
    _format(_yolo, "yolo", "YOLO outlines with a file of captions", sized=True),
    _format(_html, "html", "Report, a page to read", ".html"),
    _format(_ome_xml, "ome-xml", "OME-XML regions of interest", ".ome.xml"),
    _format(_imagej, "imagej", "ImageJ regions of interest", ".zip", ".roi", single=True),
)
# The ending of files that hold one region each, and are named like it.
_ALONE = ".roi"
FORMATS: dict[str, Format] = {form.name: form for form in _ALL}


def read_annotations(
    path: str | os.PathLike[str], images: Images | None = None, *, notes: Notes | None = None
) -> list[Annotation]:
    """Read annotations from a file of any known format, told by its contents.

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
        with handing_on(head):
            if form.single and head.path.is_dir():
                found = _read_folder(form, head.path)
            else:
                found = form.read(head.path, images) if form.sized else form.read(head.path)
        found = [one for one in found if not _is_left_out(Path(path).name, one, own)]
        if not found and own.first_error is not None:
            raise own.first_error
        for one in found:
            if _crosses_itself(one.region):
                note(
                    "outline filled",
                    f"{Path(path).name}: region {one.uid!r}: its outline crosses itself; it is "
                    "filled where it goes around an odd number of times",
                )
    taken.merge(own)
    if notes is None:
        log_notes(taken)
    return found


def _read_folder(form: Format, folder: Path) -> list[Annotation]:
    """Read the files of a folder, each about one image: the one of its name, if it names none."""
    found: list[Annotation] = []
    for file in _files_in(form, folder):
        with leaving_out("file", file.name):
            if not form.knows(head_of(file)):
                raise FormatError(f"{file.name}: is no file of the format {form.title!r}")
            name = "" if file.suffix.lower() == _ALONE else file.stem
            found += [one if one.image else replace(one, image=name) for one in form.read(file)]
    return with_unique_uids(found)


def _files_in(form: Format, folder: Path) -> list[Path]:
    """Return the files in a folder that have an ending of a format."""
    try:
        files = sorted(folder.iterdir())
    except OSError as error:
        raise FormatError(f"{folder}: cannot be read ({error.strerror or error})") from error
    charge_records(len(files))
    ours = [one for one in files if one.name.lower().endswith(form.suffixes)]
    return [one for one in ours if one.is_file() and not is_debris(one.name)]


def _format_within(folder: Path) -> Format | None:
    """Return the format of one file an image that the first such file in a folder is of."""
    for form in FORMATS.values():
        files = _files_in(form, folder)[:1] if form.single else []
        if any(form.knows(head_of(file)) for file in files):
            return form
    return None


def _crosses_itself(region: Region) -> bool:
    """Whether an outline of a region crosses itself."""
    return any(map(crosses_itself, _outlines(region)))


def _outlines(region: Region) -> list[npt.NDArray[np.float64]]:
    """Return the outlines that people drew, vertex by vertex."""
    members = region.parts()
    return [np.asarray(one.vertices, float) for one in members if isinstance(one, Polygon)]


def _is_left_out(file: str, annotation: Annotation, notes: Notes) -> bool:
    """Whether nobody could tell what the outline of a record encloses; noted if so."""
    if not any(map(is_tangled, _outlines(annotation.region))):
        return False
    told = f"its outline crosses itself more than {MOST_CROSSINGS:,} times; draw it again"
    notes.leave_out("outline", FormatError(f"{file}: region {annotation.uid!r}: {told}"))
    return True


def format_of(head: Head) -> Format | None:
    """Return the format that knows a file, or None.

    Raises
    ------
    FormatError
        If the file cannot be read, or would take too much.
    """
    with reading_file(head.path):
        found = next((form for form in FORMATS.values() if form.knows(head)), None)
        return _format_within(head.path) if found is None and head.path.is_dir() else found


def _unknown(head: Head) -> FormatError:
    """Return the error that says what is wrong with a file that no format knows."""
    if head.broken is not None:
        return head.broken
    named = list(_named_like(head.path))
    if any(form.name == "tidy" for form in named) or head.suffix in ("", ".txt"):
        return _no_table(head)
    if len(named) == 1:
        return FormatError(
            f"{head.path.name}: is no file of the format {named[0].title!r}, as its name says"
        )
    titles = ", ".join(form.title for form in (named or FORMATS.values()))
    return FormatError(f"{head.path.name}: holds no regions in a known format ({titles})")


def _no_table(head: Head) -> FormatError:
    """Return the error for a table of regions that lacks columns, or is no table at all."""
    try:
        table = read_table(head.path)
        tables: dict[str, tuple[str, ...]] = {
            "a table of regions": _tidy_csv.TIDY_COLUMNS,
            "a napari table of shapes": _napari_csv.NAPARI_COLUMNS,
        }
        shared = {kind: len(set(names) & set(table.columns)) for kind, names in tables.items()}
        likeliest = max(shared, key=lambda kind: shared[kind])
        if shared[likeliest]:
            table.require(tables[likeliest], likeliest)
    except FormatError as error:
        return error
    known = " or ".join(", ".join(names) for names in tables.values())
    return FormatError(f"{table.name}: row 1: is no table of regions; its columns must be {known}")


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
    elsewhere: tuple[Annotation, ...] = ()
    if not form.any_view:
        elsewhere = tuple(one for one in annotations if other_axes(one) is not None)
        annotations = [one for one in annotations if other_axes(one) is None]
    with noting(taken), writing_file(path):
        left_out = _write(form, path, annotations, images or {})
    if notes is None:
        log_notes(taken)
    return (*left_out, *elsewhere)


def _write(
    form: Format, path: Path, annotations: Sequence[Annotation], images: Images
) -> tuple[Annotation, ...]:
    """Write one file, or one for each image where a file is about one image only."""
    files = _files_of_images(form, path, annotations, images)
    if files is None:
        return form.write(path, annotations, images)
    folder = next((one.parent for one in files.values()), path)
    folder.mkdir(exist_ok=True)
    own = _by_image(annotations, images)
    left_out: list[Annotation] = []
    written = []
    for image, file in files.items():
        left = form.write(file, own[image], images)
        left_out += left
        if len(left) < len(own[image]):
            written.append(file)
    if written:
        note(
            "files",
            f"{form.title} is about one image a file, so that there are {len(written)} files in "
            f"{folder}: {', '.join(one.name for one in written)}",
        )
    return tuple(left_out)


def _files_of_images(
    form: Format, path: Path, annotations: Sequence[Annotation], images: Images
) -> dict[str, Path] | None:
    """Return the file of each image where there is one for each; None where all are in one."""
    is_file = any(path.name.lower().endswith(suffix) for suffix in form.suffixes)
    in_folder = path.is_dir() or not is_file
    if not form.single or not (in_folder or len({one.image for one in annotations}) > 1):
        return None
    own = _by_image(annotations, images)
    if len(own) == 1 and not path.is_dir():
        return None
    suffix = next((end for end in form.suffixes if path.name.lower().endswith(end)), "")
    start = "" if in_folder else f"{path.name[: len(path.name) - len(suffix)]}-"
    folder = path if in_folder else path.parent
    stems = file_stems({name: image_name(images, name) for name in own})
    return {
        image: folder / f"{start}{stem}{suffix or form.suffixes[0]}"
        for image, stem in stems.items()
    }


def files_to_write(
    path: str | os.PathLike[str],
    annotations: Sequence[Annotation],
    images: Images | None = None,
    format: str | None = None,  # noqa: A002
) -> tuple[Path, ...]:
    """Return the files that `write_annotations` would make or replace.

    Parameters
    ----------
    path, annotations, images, format
        As for `write_annotations`; sizes do not matter.

    Returns
    -------
    tuple of Path
        One file, one of each image, or the folder of a format that is one.

    Raises
    ------
    FormatError
        If the format is unknown.
    """
    path, form = Path(path), format_named(Path(path), format)
    if form.name == "labelme":
        names = _labelme.file_names(path, annotations, images or {})
        return tuple(path / name for name in names) or (path,)
    files = _files_of_images(form, path, annotations, images or {})
    return (path,) if files is None else tuple(files.values())


def _by_image(annotations: Sequence[Annotation], images: Images) -> dict[str, list[Annotation]]:
    """Return the records of each image, which may have several names."""
    own: dict[str, list[Annotation]] = {}
    named: dict[object, str] = {}
    only = {one.image for one in annotations} - {""}
    if len(only) == 1:  # those that name none can only be about this one
        return {only.pop(): list(annotations)}
    for one in annotations:
        info = images.get(one.image)
        key = info.path if info is not None and info.path is not None else one.image
        own.setdefault(named.setdefault(key, one.image), []).append(one)
    return own


def format_named(path: Path, name: str | None = None) -> Format:
    """Return the format of that name, or without one the first that has the file's ending.

    Raises
    ------
    FormatError
        If there is none.
    """
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
    """Return the format of a file that is read if another of its kind is to be written.

    Parameters
    ----------
    path : Path
        The file or folder that is read.
    target : Path
        What is written.

    Returns
    -------
    str or None
        None where the endings differ, or the ending of the target tells the format alone.
    """
    named = list(_named_like(target))
    same = target.is_dir() and path.resolve() == target.resolve()
    if not same and (len(named) < 2 or not path.is_file()):
        return None
    if not same and not any(path.name.lower().endswith(end) for end in named[0].suffixes):
        return None
    form = format_of(head_of(path))
    return form.name if form is not None and (same or form in named) else None


def _named_like(path: Path) -> Iterator[Format]:
    """Yield the formats with the ending of a path, those with the longest ending first."""
    name = path.name.lower()
    ends = {form.name: [len(s) for s in form.suffixes if name.endswith(s)] for form in _ALL}
    named = [form for form in FORMATS.values() if ends[form.name]]
    yield from sorted(named, key=lambda form: -max(ends[form.name]))
