"""Images read from files by napari's readers, the next one ahead of its turn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_patchioner.errors import ImageError, PatchionerError
from napari_patchioner.images import IMAGE_SUFFIXES, is_zarr, open_image, upright
from napari_patchioner.progress import part
from napari_patchioner.viewer.layers.geometry import displayed_plane
from napari_patchioner.viewer.layers.upright import CHECKED, sideways

from .encode import current_store, encode_plane
from .job import Job
from .plane import plane_source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import napari

    from napari_patchioner.grids import GridStore
    from napari_patchioner.progress import Progress

    from .models import ModelRegistry

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
        """Size and time of its last change; (0, 0) where it is gone."""
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
        pixels = (layer[0] for layer in self.layers)
        levels = (p if isinstance(p, (list, tuple)) else [p] for p in pixels)
        return sum(int(getattr(level, "nbytes", 0)) for several in levels for level in several)


def endings() -> frozenset[str]:
    """Return by which endings a file is taken for an image: all that some reader has."""
    from npe2 import PluginManager

    endings = set()
    for manifest in PluginManager.instance().iter_manifests():
        if manifest.name != _OURS:
            for reader in manifest.contributions.readers or ():
                patterns = (p[1:].lower() for p in reader.filename_patterns if p[:2] == "*.")
                endings |= {ending for ending in patterns if ending.isascii() and "*" not in ending}
    return frozenset(endings - _NO_IMAGES) | IMAGE_SUFFIXES | _ALWAYS


def reader_of(path: Path) -> str:
    """Return the plugin that opens a file: the person's choice, napari itself, or the first one."""
    from napari.plugins.utils import get_preferred_reader
    from npe2 import PluginManager

    readers = PluginManager.instance().iter_compatible_readers(str(path))
    names = [name for name in dict.fromkeys(r.plugin_name for r in readers) if name != _OURS]
    chosen = get_preferred_reader(str(path))
    if chosen in names:
        return str(chosen)
    if not names:
        raise ImageError(f"no reader of napari knows files like {path.name}; install a plugin")
    return NAPARI if NAPARI in names else names[0]


def load(path: Path) -> Loaded:
    """Read a file, in any thread; what another plugin than napari's reads is left to `show`.

    A plugin may open windows of its own, which only the GUI thread may do.
    """
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
    from napari.plugins.io import read_data_with_plugins

    try:
        data, _ = read_data_with_plugins([str(path)], plugin=reader, stack=False)
    except Exception as error:
        raise ImageError(load_error_message(error)) from error
    images = (
        layer
        for layer in data or ()
        if layer[0] is not None and (len(layer) < 3 or layer[2] == "image")
    )
    layers = tuple(_upright(path, layer) for layer in images)
    if not layers:
        raise ImageError("it holds no image")
    return Loaded(path, reader, layers)


def show(viewer: napari.components.ViewerModel, loaded: Loaded) -> list[napari.layers.Layer]:
    """Add what was read to a viewer, as napari does that itself; return the layers."""
    from napari.layers import Image

    try:
        added = _add(viewer, loaded)
    except Exception as error:
        raise ImageError(load_error_message(error)) from error
    if not any(type(layer) is Image for layer in added):
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


def _add(viewer: napari.components.ViewerModel, loaded: Loaded) -> list[napari.layers.Layer]:
    if not loaded.layers:
        return list(viewer.open(str(loaded.path), plugin=loaded.reader))
    # As `viewer.open` does it, which reads in the GUI thread.
    from napari.layers._source import layer_source

    added: list[napari.layers.Layer] = []
    with layer_source(path=str(loaded.path), reader_plugin=loaded.reader):
        for data, *rest in loaded.layers:
            made = viewer.add_image(data, **{"name": loaded.path.stem, **(rest[0] if rest else {})})
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


def load_image(path: Path, progress: Progress) -> Iterator[Loaded]:
    """Read a file; yield what is in it."""
    progress(0.0, "opening")
    yield load(path)


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
    from napari.components import ViewerModel

    progress(0.0, "opening")
    loaded = loaded or load(file.path)
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


def first_image(layers: list[Any]) -> napari.layers.Image:
    """Return the layer that is captioned of a file's."""
    from napari.layers import Image

    return next(layer for layer in layers if type(layer) is Image)


class Prefetcher(QObject):  # type: ignore[misc]
    """Prepares one image, the next one; whatever is asked for later replaces it."""

    # With the file and its grid's key.
    prefetched = Signal(object, str)
    changed = Signal()

    def __init__(self, registry: ModelRegistry, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.registry = registry
        # Whether the image it was asked for last has been encoded.
        self.ready = False
        self._task: tuple[ImageFile, str, bool] | None = None
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

    def want(self, file: ImageFile, model: str, keep: bool) -> None:
        """Prepare an image, unless that is done or under way."""
        task = (file, model, keep)
        if task == self._task and (self._job is not None or self.ready):
            return
        loaded = self.take(file)
        self._task, self._stamp = task, file.stamp
        arguments = (self.registry, model, file, current_store(keep), loaded)
        job = self._job = Job(prefetch_image, *arguments, background=True, parent=self)
        job.delivered.connect(partial(self._on_delivered, job))
        job.ended.connect(partial(self._on_ended, job))
        job.start()
        self.changed.emit()

    def pause(self) -> None:
        """Stop at the next step: the image at hand needs the machine. What is done is kept."""
        if self._job is not None:
            self._job.cancel()
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

    def _on_delivered(self, job: Job, result: Loaded | str) -> None:
        if job is not self._job or self._task is None:
            return
        if isinstance(result, Loaded):
            self._loaded = result
        else:
            self.ready = True
            self.prefetched.emit(self._task[0], result)
        self.changed.emit()

    def _on_ended(self, job: Job, _error: Exception | None) -> None:
        """Say nothing where it failed: whoever opens the image is told why."""
        if job is self._job:
            self._job = None
            self.ready = True
            self.changed.emit()
