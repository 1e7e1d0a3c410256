"""Zarr folders: OME-Zarr in several sizes, and plain arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_patchioner.errors import ImageError, pip_install

from ._picture import decoding
from ._rgb import ChannelView
from ._stored import CHANNEL, COLUMN, ROW, StoredImage, guess_axes, piece_bytes

# Files that only a zarr array or group has.
_MARKS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
# What OME-Zarr says of axes before it had names for them.
_OLD_AXES = "tczyx"
# Smaller copies of an image.
_MOST_SIZES = 64
# Bytes of the pieces that zarr may unpack at once.
_AT_ONCE = 2**28
_AXIS_LETTERS = {"channel": CHANNEL, "time": "t"}


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr array or group."""
    return any((path / name).is_file() for name in _MARKS)


def open_zarr(path: Path) -> StoredImage:
    """Open a zarr folder; an ImageError if it holds no image, or zarr is not installed."""
    try:
        import zarr
    except ImportError:
        raise ImageError(f"{path}: to read it zarr is needed; run: {pip_install('zarr')}") from None
    from ._zarr_store import ZarrFolder

    folder = ZarrFolder(path)
    with decoding(path, "cannot be read as zarr"):
        root = zarr.open(folder, mode="r")
        if isinstance(root, zarr.Array):
            image = StoredImage(path, [root], _axes_of(root, path))
        else:
            image = _from_group(path, root)
        for array in image.arrays:
            folder.admit(array)
    image.arrays = [FewPieces(array) for array in image.arrays]
    return image


def _from_group(path: Path, group: Any) -> StoredImage:
    """Open an OME-Zarr image, or a group with an image in several sizes."""
    about = _about(group)
    if "multiscales" not in about and "bioformats2raw.layout" in about:
        group = group["0"]
        about = _about(group)
    if "plate" in about or "well" in about:
        raise ImageError(f"{path}: is a plate of many images; name one of them, as in A/1/0")
    if "multiscales" in about:
        scales = about["multiscales"][0]
        datasets = scales["datasets"]
        if len(datasets) > _MOST_SIZES:
            raise ImageError(
                f"{path}: lists {len(datasets):,} sizes of one image, more than {_MOST_SIZES}; "
                "it is damaged"
            )
        arrays = [group[entry["path"]] for entry in datasets]
        if len({array.ndim for array in arrays}) > 1:
            raise ImageError(f"{path}: its sizes have different axes; it is damaged")
        axes = _ome_axes(scales.get("axes"), arrays[0].ndim)
        return StoredImage(path, arrays, axes, _ome_channels(about.get("omero")))
    arrays = sorted((array for _, array in group.arrays()), key=lambda array: -max(array.shape))
    if not arrays:
        raise ImageError(f"{path}: holds no image; name a folder in it that does")
    if len({array.ndim for array in arrays}) > 1 or len(arrays) > _MOST_SIZES:
        count = f"{len(arrays):,}" if len(arrays) > _MOST_SIZES else "several"
        raise ImageError(f"{path}: holds {count} arrays; name the folder of one of them")
    return StoredImage(path, arrays, _axes_of(arrays[0], path))


def ome_scale(path: Path) -> dict[str, tuple[float, str]]:
    """Length of a pixel along the axes of an OME-Zarr image whose unit it names."""
    import zarr

    from ._zarr_store import ZarrFolder

    scale: dict[str, tuple[float, str]] = {}
    with decoding(path, "cannot be read as zarr"):
        about = _about(zarr.open(ZarrFolder(path), mode="r"))
        for image in about.get("multiscales", ())[:1]:
            # What holds for the first size, then for all of them.
            steps = [
                step
                for holder in (image["datasets"][0], image)
                for step in holder.get("coordinateTransformations", ())
                if step.get("type") == "scale"
            ]
            for number, axis in enumerate(image.get("axes", ())):
                if steps and isinstance(axis, dict) and axis.get("unit"):
                    length = math.prod(float(step["scale"][number]) for step in steps)
                    scale[str(axis["name"]).lower()[:1]] = (length, str(axis["unit"]))
    return scale


class FewPieces:
    """A zarr array that is read few pieces at a time, as zarr unpacks several at once."""

    def __init__(self, array: Any) -> None:
        self._array = array
        self.shape: tuple[int, ...] = array.shape
        self.dtype = np.dtype(array.dtype)
        self.chunks: tuple[int, ...] = array.chunks
        self.ndim = len(self.shape)

    def __getitem__(self, window: tuple[Any, ...]) -> Any:
        spans = [
            range(*part.indices(side)[:2]) if isinstance(part, slice) else range(part, part + 1)
            for part, side in zip(window, self.shape, strict=True)
        ]
        out = np.empty([len(span) for span in spans], self.dtype)
        self._fill(out, spans)
        return out[tuple(slice(None) if isinstance(part, slice) else 0 for part in window)]

    def _fill(self, out: Any, spans: list[range]) -> None:
        """Read a window, in two halves as long as it lies in too many pieces."""
        if not out.size:
            return
        pieces = [
            (span.stop - 1) // side - span.start // side + 1
            for span, side in zip(spans, self.chunks, strict=True)
        ]
        most = max(pieces)
        if most == 1 or math.prod(pieces) * piece_bytes(self) <= _AT_ONCE:
            out[...] = self._array[tuple(slice(span.start, span.stop) for span in spans)]
            return
        axis = pieces.index(most)
        middle = (spans[axis].start // self.chunks[axis] + most // 2) * self.chunks[axis]
        for half in (range(spans[axis].start, middle), range(middle, spans[axis].stop)):
            part = [slice(None)] * self.ndim
            part[axis] = slice(half.start - spans[axis].start, half.stop - spans[axis].start)
            self._fill(out[tuple(part)], [*spans[:axis], half, *spans[axis + 1 :]])


def _about(group: Any) -> Mapping[str, Any]:
    """Return what OME-Zarr says of a group: since 0.5 in a place of its own."""
    attributes = dict(group.attrs)
    return {**attributes, **attributes.get("ome", {})}


def _axes_of(array: Any, path: Path) -> str:
    """Return the letters of a plain array's axes: by their names, or by their lengths."""
    names = getattr(array.metadata, "dimension_names", None)
    names = names or array.attrs.get("_ARRAY_DIMENSIONS")
    letters = [str(name or "").lower()[:1] for name in names or ()]
    if {ROW, COLUMN} <= set(letters) and len(set(letters)) == len(letters):
        return "".join(letters)
    return guess_axes(array.shape, path)


def _ome_axes(axes: Any, count: int) -> str:
    """Return the letters of axes as OME-Zarr of any version names them."""
    if not axes:
        return _OLD_AXES[-count:]
    letters = []
    for axis in axes:
        known = axis if isinstance(axis, dict) else {"name": axis}
        letters.append(_AXIS_LETTERS.get(known.get("type", ""), str(known["name"]).lower()[:1]))
    return "".join(letters)


def _ome_channels(omero: Any) -> tuple[ChannelView, ...] | None:
    """Return how the file says its channels are shown."""
    views = []
    for channel in (omero or {}).get("channels", ()):
        colour = str(channel.get("color", "")).lstrip("#")
        if len(colour) < 6:
            return None
        red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4))
        window = channel.get("window") or {}
        low, high = window.get("start"), window.get("end")
        limits = None
        if low is not None and high is not None and low < high:
            limits = float(low), float(high)
        views.append(ChannelView((red, green, blue), limits, bool(channel.get("active", True))))
    return tuple(views) if any(view.shown for view in views) else None
