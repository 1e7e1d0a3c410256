"""Images from files by way of napari's readers, in the window's thread or ahead of it.

Zarr folders are read by our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.errors import ImageError, PatchionerError
from napari_patchioner.images import IMAGE_SUFFIXES, is_zarr, open_image, upright
from napari_patchioner.viewer.layers.upright import CHECKED, sideways

if TYPE_CHECKING:
    from pathlib import Path

    import napari

NAPARI = "napari"
_OURS = "napari-patchioner"
# Some reader takes them, but nobody looks for an image in them.
_NO_IMAGES = frozenset(
    (".csv", ".obj", ".py", ".json", ".txt", ".xml", ".html", ".zip", ".parquet")
)
_ALWAYS = frozenset((".npy", ".zarr"))


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a reader made of a file.

    Attributes
    ----------
    path : Path
        The file.
    reader : str
        Name of the plugin.
    layers : tuple
        Layer data as napari has it; none where the plugin opens the file itself, in the window.
    """

    path: Path
    reader: str
    layers: tuple[Any, ...] = ()

    @property
    def nbytes(self) -> int:
        """What its pixels take in memory."""
        return sum(_nbytes(one[0]) for one in self.layers)


def endings() -> frozenset[str]:
    """Return by which endings a file in a folder is taken for an image: all that somebody reads."""
    from npe2 import PluginManager

    found = set()
    for manifest in PluginManager.instance().iter_manifests():
        if manifest.name != _OURS:
            for reader in manifest.contributions.readers or ():
                found |= {one[1:].lower() for one in reader.filename_patterns if one[:2] == "*."}
    return frozenset({one for one in found if one.isascii() and "*" not in one} - _NO_IMAGES) | (
        IMAGE_SUFFIXES | _ALWAYS
    )


def reader_of(path: Path) -> str:
    """Return the plugin that opens a file: the person's choice, napari itself, or the first one.

    Raises
    ------
    ImageError
        If there is none.
    """
    from napari.plugins.utils import get_preferred_reader
    from npe2 import PluginManager

    names = [one.plugin_name for one in PluginManager.instance().iter_compatible_readers(str(path))]
    names = [name for name in dict.fromkeys(names) if name != _OURS]
    chosen = get_preferred_reader(str(path))
    if chosen in names:
        return str(chosen)
    if not names:
        raise ImageError(f"no reader of napari knows files like {path.name}; install a plugin")
    return NAPARI if NAPARI in names else names[0]


def load(path: Path) -> Loaded:
    """Read a file, in any thread; what another plugin than napari's reads is left to `show`.

    A plugin may open windows of its own, which only the window's thread may do.

    Raises
    ------
    ImageError
        If it cannot be read, or holds no image.
    """
    reader = reader_of(path)
    if reader != NAPARI:
        return Loaded(path, reader)
    if is_zarr(path):
        return Loaded(path, reader, ((_read_zarr(path), {}, "image"),))
    from napari.plugins.io import read_data_with_plugins

    try:
        data, _ = read_data_with_plugins([str(path)], plugin=reader, stack=False)
    except Exception as error:
        raise ImageError(trouble(error)) from error
    layers = tuple(_upright(path, one) for one in data or () if _is_image(one))
    if not layers:
        raise ImageError("it holds no image")
    return Loaded(path, reader, layers)


def _read_zarr(path: Path) -> Any:
    """Return the lazy arrays of a zarr folder, of which only plain files within it are read."""
    import dask.array

    levels = [
        dask.array.from_array(level, level.chunks, name=False, fancy=False)
        for level in open_image(path).arrays
    ]
    return levels if len(levels) > 1 else levels[0]


def show(viewer: napari.components.ViewerModel, loaded: Loaded) -> list[napari.layers.Layer]:
    """Add what was read to a viewer, as napari does that itself; return the layers.

    Raises
    ------
    ImageError
        If that is not possible; then nothing was added.
    """
    from napari.layers import Image

    try:
        added = _add(viewer, loaded)
    except Exception as error:
        raise ImageError(trouble(error)) from error
    if not any(type(layer) is Image for layer in added):
        for layer in added:
            viewer.layers.remove(layer)
        raise ImageError("it holds no image")
    return added


def trouble(error: Exception) -> str:
    """Return why a file could not be opened, in one sentence without a stack of others."""
    if isinstance(error, PatchionerError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return "the file is not there any more"
    if isinstance(error, MemoryError):
        return "there is not enough memory to open it"
    cause = getattr(error, "original_error", None) or error
    text = shorten(str(cause), 120, placeholder="…")
    return f"it is damaged, or of a kind that napari cannot read ({type(cause).__name__}: {text})"


def _add(viewer: napari.components.ViewerModel, loaded: Loaded) -> list[napari.layers.Layer]:
    if not loaded.layers:
        return list(viewer.open(str(loaded.path), plugin=loaded.reader))
    # As `viewer.open` does it, which reads in the window's thread.
    from napari.layers._source import layer_source

    added: list[napari.layers.Layer] = []
    with layer_source(path=str(loaded.path), reader_plugin=loaded.reader):
        for data, *rest in loaded.layers:
            facts = {"name": loaded.path.stem, **(rest[0] if rest else {})}
            made = viewer.add_image(data, **facts)
            added += made if isinstance(made, list) else [made]
    return added


def _upright(path: Path, layer: Any) -> Any:
    """Return a layer of a photograph the right way up, any other as it is."""
    pixels, *rest = layer
    facts = {**(rest[0] if rest else {})}
    colours = getattr(pixels, "ndim", 0) == 3 and pixels.shape[2] in (3, 4)
    if getattr(pixels, "ndim", 0) != 2 and not colours:
        return layer
    facts["metadata"] = {**facts.get("metadata", {}), CHECKED: True}
    return (upright(np.asarray(pixels), sideways(path, pixels)), facts, *rest[1:])


def _is_image(data: Any) -> bool:
    return data[0] is not None and (len(data) < 3 or data[2] == "image")


def _nbytes(data: Any) -> int:
    levels = data if isinstance(data, (list, tuple)) else [data]
    return sum(int(getattr(level, "nbytes", 0)) for level in levels)
