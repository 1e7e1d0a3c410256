"""Images read from files by napari's readers, the next one ahead of its turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer
from napari.layers._source import layer_source
from napari.plugins.io import read_data_with_plugins
from napari.plugins.utils import get_preferred_reader
from npe2 import PluginManager
from qtpy.QtCore import QObject, Signal

from napari_patchioner.errors import ImageError, PatchionerError
from napari_patchioner.grids import GridStore
from napari_patchioner.images import IMAGE_SUFFIXES, is_zarr, open_image, upright
from napari_patchioner.progress import Progress, no_progress, part
from napari_patchioner.viewer.layers.geometry import displayed_plane
from napari_patchioner.viewer.layers.upright import CHECKED, sideways

from .encode import Encoder, current_store, encode_plane
from .job import Job
from .models import ModelRegistry
from .plane import plane_source

NAPARI = "napari"
_OURS = "napari-patchioner"
# Some reader takes them, but nobody looks for an image in them.
_NO_IMAGES = frozenset(
    (".csv", ".obj", ".py", ".json", ".txt", ".xml", ".html", ".zip", ".parquet")
)
_ALWAYS = frozenset((".npy", ".zarr"))
# Pixels of the next image are kept in memory up to this size; larger ones are read once more.
KEPT_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image in a folder; `name` is its path within that folder, with slashes."""

    path: Path
    name: str

    @property
    def stamp(self) -> tuple[int, int]:
        """See `stamp_of`."""
        return stamp_of(self.path)


def stamp_of(path: Path) -> tuple[int, int]:
    """Return the size of a file and the time of its last change; (0, 0) where it is gone."""
    try:
        state = path.stat()
    except OSError:
        return (0, 0)
    return (state.st_size, state.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a reader made of a file.

    `reader` is the name of the plugin; `layers` is layer data as napari has it, empty where the
    plugin opens the file itself, in the window.
    """

    path: Path
    reader: str
    layers: tuple[Any, ...] = ()

    @property
    def nbytes(self) -> int:
        """What its pixels take in memory."""
        data = (layer[0] for layer in self.layers)
        levels = (pixels if isinstance(pixels, (list, tuple)) else [pixels] for pixels in data)
        return sum(int(getattr(level, "nbytes", 0)) for level in chain.from_iterable(levels))


def endings() -> frozenset[str]:
    """Return by which endings a file is taken for an image: all that some reader has."""
    endings = set()
    for manifest in PluginManager.instance().iter_manifests():
        if manifest.name != _OURS:
            for reader in manifest.contributions.readers or ():
                patterns = (p[1:].lower() for p in reader.filename_patterns if p[:2] == "*.")
                endings |= {ending for ending in patterns if ending.isascii() and "*" not in ending}
    return frozenset(endings - _NO_IMAGES) | IMAGE_SUFFIXES | _ALWAYS


def reader_of(path: Path) -> str:
    """Return the plugin that opens a file: the person's choice, napari itself, or the first one."""
    readers = PluginManager.instance().iter_compatible_readers(str(path))
    names = [name for name in dict.fromkeys(r.plugin_name for r in readers) if name != _OURS]
    chosen = get_preferred_reader(str(path))
    if chosen in names:
        return str(chosen)
    if not names:
        raise ImageError(f"no reader of napari knows files like {path.name}; install a plugin")
    return NAPARI if NAPARI in names else names[0]


def load(path: Path, progress: Progress = no_progress) -> Loaded:
    """Read a file, in any thread; what another plugin than napari's reads is left to `show`.

    A plugin may open windows of its own, which only the GUI thread may do.
    """
    progress(0.0, "opening")
    reader = reader_of(path)
    if reader != NAPARI:
        return Loaded(path, reader)
    if is_zarr(path):
        # Read by our own reader, and of the folder plain files only.
        import dask.array

        levels = [
            dask.array.from_array(level, level.chunks, name=False, fancy=False)  # type: ignore[no-untyped-call]
            for level in open_image(path).arrays
        ]
        return Loaded(path, reader, ((levels if len(levels) > 1 else levels[0], {}, "image"),))
    try:
        data, _ = read_data_with_plugins([str(path)], plugin=reader, stack=False)
    except Exception as error:
        raise ImageError(load_error_message(error)) from error
    layers = tuple(
        _upright(path, *layer)
        for layer in data or ()
        if layer[0] is not None and layer[2:] in ((), ("image",))
    )
    if not layers:
        raise ImageError("it holds no image")
    return Loaded(path, reader, layers)


def show(viewer: ViewerModel, loaded: Loaded) -> list[Layer]:
    """Add what was read to a viewer, as napari does that itself; return the layers."""
    added: list[Layer] = []
    try:
        if not loaded.layers:
            added += viewer.open(str(loaded.path), plugin=loaded.reader)
        # As `viewer.open` does it, which reads in the GUI thread.
        with layer_source(path=str(loaded.path), reader_plugin=loaded.reader):
            for data, meta, *_ in loaded.layers:
                made = viewer.add_image(data, **{"name": loaded.path.stem, **meta})
                added += made if isinstance(made, list) else [made]
    except Exception as error:
        raise ImageError(load_error_message(error)) from error
    if first_image(added) is None:
        for layer in added:
            viewer.layers.remove(layer)
        raise ImageError("it holds no image")
    return added


def load_error_message(error: Exception) -> str:
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


def _upright(path: Path, pixels: Any, meta: Any = None, kind: str = "image") -> Any:
    """Return a layer of a photograph the right way up, any other as it is."""
    shape: tuple[int, ...] = getattr(pixels, "shape", ())
    if len(shape) != 2 and not (len(shape) == 3 and shape[-1] in (3, 4)):
        return pixels, meta or {}, kind
    metadata = {**(meta or {}).get("metadata", {}), CHECKED: True}
    turned = upright(np.asarray(pixels), sideways(path, pixels))
    return turned, {**(meta or {}), "metadata": metadata}, kind


def prefetch_image(
    registry: ModelRegistry,
    model: str,
    file: ImageFile,
    store: GridStore,
    loaded: Loaded | None,
    progress: Progress,
) -> Iterator[Loaded | str]:
    """Read an image and encode it; yield its pixels, and the key of its grid.

    The grid goes into the store under the key that the window will look for: the picture is made
    in the very same way, in a viewer without a window.
    """
    loaded = loaded or load(file.path, progress)
    if not loaded.layers:
        return
    if loaded.nbytes <= KEPT_BYTES:
        yield loaded
    viewer = ViewerModel()
    image = first_image(show(viewer, loaded))
    source = plane_source(image, displayed_plane(viewer, image))
    progress(0.1, "waiting for the model")
    with registry.using(model, part(progress, 0.1, 0.3)) as captioner:
        key = encode_plane(captioner, source, store, progress).key
    yield key


def first_image(layers: list[Any]) -> Any:
    """Return the layer that is captioned of a file's; None if there is no image."""
    return next((layer for layer in layers if type(layer) is Image), None)


class Prefetcher(QObject):  # type: ignore[misc]
    """Prepares one image, the next one; whatever is asked for later replaces it."""

    # With the file and its grid's key.
    prefetched = Signal(object, str)
    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        # Whether the image it was asked for last has been encoded.
        self.ready = False
        self._task: tuple[ImageFile, ModelRegistry, str, bool] | None = None
        self._job: Job | None = None
        self._stamp = (0, 0)
        self._loaded: Loaded | None = None

    @property
    def active(self) -> bool:
        """Whether it is at work."""
        return self._job is not None

    @property
    def file(self) -> ImageFile | None:
        """The image it was asked for last."""
        return self._task[0] if self._task is not None else None

    def want(self, file: ImageFile, encoder: Encoder) -> None:
        """Prepare an image as the one at hand was encoded, unless that is done or under way."""
        registry, model, keep = encoder.registry, encoder.model, encoder.keep
        task = (file, registry, model, keep)
        if task == self._task and (self._job is not None or self.ready):
            return
        loaded = self.take(file)
        self._task, self._stamp = task, file.stamp
        work = (prefetch_image, registry, model, file, current_store(keep), loaded)
        delivered, ended = self._on_delivered, self._on_ended
        self._job = Job.run(*work, delivered=delivered, ended=ended, background=True, parent=self)
        self.changed.emit()

    def pause(self) -> None:
        """Stop at the next step: the image at hand needs the machine. What is done is kept."""
        if self._job is not None:
            self._job.drop()
            self._job = None
            self.changed.emit()

    def drop(self) -> None:
        """Stop, and forget what was prepared."""
        self.pause()
        self._task, self._loaded, self.ready = None, None, False
        self.changed.emit()

    def take(self, file: ImageFile) -> Loaded | None:
        """Return the pixels of an image if they are at hand, and forget them."""
        loaded = self._loaded
        same = self.file == file and self._stamp == file.stamp
        self.drop()
        return loaded if same else None

    def _on_delivered(self, result: Loaded | str) -> None:
        if isinstance(result, Loaded):
            self._loaded = result
        elif self.file is not None:
            self.ready = True
            self.prefetched.emit(self.file, result)
        self.changed.emit()

    def _on_ended(self, _error: Exception | None) -> None:
        """Say nothing where it failed: whoever opens the image is told why."""
        self._job, self.ready = None, True
        self.changed.emit()
