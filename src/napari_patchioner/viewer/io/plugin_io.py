"""napari's File > Open and File > Save, for every format of the registry."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import napari
import numpy.typing as npt
from napari.layers import Image
from napari.utils.notifications import show_warning

import napari_patchioner.annotations as formats
from napari_patchioner.annotations import FORMATS, Annotation, ImageInfo, Notes
from napari_patchioner.errors import FormatError
from napari_patchioner.viewer.layers.geometry import full_shape
from napari_patchioner.viewer.layers.upright import turn_all

from .layer_data import annotation_layers, layer_annotations, shapes_in_pixels
from .placement import image_below, image_named, open_images


@contextmanager
def _shown_by_napari() -> Iterator[None]:
    """Raise what keeps a file from being written as napari shows it: it drops a ValueError."""
    try:
        yield
    except ValueError as error:
        raise OSError(str(error)) from error


@_shown_by_napari()
def write_layer(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write one Shapes layer for ``File > Save``, in the pixels of its image."""
    image = image_below(data, meta, "shapes", open_images())
    features = meta.get("features")
    columns = {} if features is None else {str(c): list(features[c]) for c in features}
    write_shapes(path, shapes_in_pixels(data, meta, image), columns)
    return [path]


def write_shapes(
    path: Any, shapes: Sequence[tuple[str, npt.NDArray[Any]]], columns: Mapping[str, Sequence[Any]]
) -> None:
    """Write napari's table of shapes: a row per vertex, with the columns, one value per shape."""
    axes = shapes[0][1].shape[1] if shapes else 2
    names = [name for name in columns if name not in ("index", "shape-type", "vertex-index")]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    header = ["index", "shape-type", "vertex-index", *(f"axis-{axis}" for axis in range(axes))]
    writer.writerow([*header, *names])
    for index, (kind, vertices) in enumerate(shapes):
        cells = [columns[name][index] if index < len(columns[name]) else "" for name in names]
        # Missing values are empty.
        ours = ["" if cell is None or cell != cell else cell for cell in cells]
        for place, vertex in enumerate(vertices):
            writer.writerow([index, kind, place, *(repr(float(v)) for v in vertex), *ours])
    formats.write_bytes(path, text.getvalue().encode("utf-8"))


_WRITE = "write_"


def get_reader(path: str | list[str]) -> Callable[..., list[Any]] | None:
    """Return the reader for a file that holds annotations, and None for any other."""
    first = path if isinstance(path, str) else path[0]
    try:
        form = formats.format_of(formats.head_of(first))
    except FormatError:
        return None
    return None if form is None else read_layers


def read_layers(path: str | list[str]) -> list[Any]:
    """Return the layers that show one file of annotations, or several."""
    layers, left_out, notes = [], [], Notes()
    turn_all(napari.current_viewer())
    images, depths = viewer_images(), viewer_depths()
    known = partial(image_named, images=open_images())
    for file in map(Path, [path] if isinstance(path, str) else path):
        annotations = formats.read_annotations(file, images, notes=notes)
        shown, rest = annotation_layers(annotations, file.stem, depths, known)
        layers += shown
        left_out += rest
    show_notes(notes)
    say_left_out(left_out, "napari has no shape for them")
    return layers or [(None,)]


def show_notes(notes: Notes) -> None:
    """Show what reading or writing a file left out, dropped or guessed, in one message."""
    if notes:
        show_warning("\n".join(notes.lines()))


def say_left_out(annotations: Sequence[Annotation], why: str) -> None:
    """Say which kinds of regions were left out, and why."""
    if annotations:
        show_warning(f"{left_out_words(annotations)} left out: {why}.")


def left_out_words(annotations: Iterable[Annotation]) -> str:
    """Return how many regions of which kinds there are: "2 boxes, 1 image"."""
    kinds = Counter(annotation.kind for annotation in annotations)
    return ", ".join(f"{count} {kind}{'s' * (count > 1)}" for kind, count in kinds.items())


@_shown_by_napari()
def write_layers(
    path: str, layers: Sequence[tuple[Any, dict[str, Any], str]], name: str
) -> list[str]:
    """Write layers of shapes, points and labels to one file of a format; images are left out."""
    # Files speak of upright photographs.
    turned = turn_all(napari.current_viewer())
    if turned:
        # What is to be written was taken before.
        raise FormatError(
            f"{', '.join(turned)}: lay on its side and has been turned upright, with what is drawn "
            "on it; save once more"
        )
    below, images = open_images(), viewer_images()
    names = {info.name for info in images.values()}
    # Layers that name no image can only be about the one there is.
    default = min(names) if len(names) == 1 else ""
    annotations = []
    for data, meta, kind in layers:
        if kind != "image":
            image = image_below(data, meta, kind, below)
            for annotation in layer_annotations(data, meta, kind, image):
                name_in_file = _called(annotation.image, image, images) or default
                annotations.append(replace(annotation, image=name_in_file))
    notes = Notes()
    annotations = formats.with_unique_uids(annotations)
    left_out = formats.write_annotations(path, annotations, images, name, notes=notes)
    show_notes(notes)
    say_left_out(left_out, f"{FORMATS[name].title} has no place for them")
    return [path]


def viewer_depths() -> dict[str, int]:
    """Return how many axes the open images have before row and column, by layer, file and stem."""
    depths: dict[str, int] = {}
    for layer in open_images():
        path = Path(layer.source.path) if layer.source.path else None
        names = [layer.name, *([str(path), path.name, path.stem] if path else [])]
        depths |= dict.fromkeys(names, layer.ndim - 2)
    return depths


def viewer_images() -> dict[str, ImageInfo]:
    """Return the images that are open in napari, by the names of their layers and files."""
    by_layer: dict[str, ImageInfo] = {}
    by_file: dict[str, ImageInfo] = {}
    layers = open_images()
    paths = {Path(layer.source.path) for layer in layers if layer.source.path}
    for layer in layers:
        path, name = Path(layer.source.path) if layer.source.path else None, str(layer.name)
        if path is not None:
            # As many of its folders as distinguish it from the others
            ends = (path.parts[-length:] for length in range(1, len(path.parts) + 1))
            others = [other.parts for other in paths - {path}]
            own = (end for end in ends if all(o[-len(end) :] != end for o in others))
            name = "/".join(next(own, path.parts))
        height, width = full_shape(layer)[-2:]
        info = by_layer[layer.name] = ImageInfo(name, height, width, path)
        by_file |= {path.name: info, info.name: info} if path is not None else {}
    return by_file | by_layer


def _called(name: str, image: Image | None, images: Mapping[str, ImageInfo]) -> str:
    """Return what a file calls the image that a region names: its file, whatever its layer is."""
    if image is not None and name in (image.name, Path(image.source.path or "").name):
        return images[image.name].name
    return images[name].name if name in images else name


def __getattr__(name: str) -> Any:
    """Return the writer of a format, which the manifest names ``write_<format>``."""
    form = name.removeprefix(_WRITE).replace("_", "-")
    if name.startswith(_WRITE) and form in FORMATS:
        return partial(write_layers, name=form)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
