"""Looking at the next image while a person works on this one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_patchioner.viewer.layers.geometry import displayed_plane
from napari_patchioner.viewer.reading.picture import plane_source
from napari_patchioner.viewer.reading.reader import current_store
from napari_patchioner.viewer.reading.worker import look

from .errand import Errand
from .opening import load, show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_patchioner.grids import GridStore
    from napari_patchioner.viewer.reading.library import Library
    from napari_patchioner.viewer.reading.worker import Progress

    from ._files import ImageFile
    from .opening import Loaded

# Pixels of the next image are kept at hand up to this size; larger ones are read once more.
KEPT_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of an image ahead of its turn; `grid` is the key it is kept under."""

    grid: str


def look_ahead(
    library: Library,
    model: str,
    file: ImageFile,
    store: GridStore,
    loaded: Loaded | None,
    progress: Progress,
) -> Iterator[Loaded | Seen]:
    """Read an image and have a model look at it; yield the pixels, and what is kept.

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
    with library.using(model, progress.part(0.1, 0.3)) as captioner:
        grid = look(captioner, source, store, progress)
    yield Seen(grid.key)


def first_image(layers: list[Any]) -> Any:
    """Return the layer that is captioned of a file's."""
    from napari.layers import Image

    return next(layer for layer in layers if type(layer) is Image)


class Ahead(QObject):
    """Prepares one image, the next one; whatever is asked for later replaces it.

    Parameters
    ----------
    library : Library
        Where models come from.
    parent : QObject, optional
        The browser.
    """

    # With the file and its grid's key.
    seen = Signal(object, str)
    changed = Signal()

    def __init__(self, library: Library, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.library = library
        self._task: tuple[ImageFile, str, bool] | None = None
        self._errand: Errand | None = None
        self._stamp = (0, 0)
        self._loaded: Loaded | None = None
        self._ready = False

    @property
    def active(self) -> bool:
        """Whether it is at work."""
        return self._errand is not None

    @property
    def ready(self) -> bool:
        """Whether the image it was asked for last has been looked at."""
        return self._ready

    @property
    def file(self) -> ImageFile | None:
        """The image it was asked for last."""
        return self._task[0] if self._task is not None else None

    def want(self, file: ImageFile, model: str, keep: bool) -> None:
        """Prepare an image, unless that is done or under way."""
        task = (file, model, keep)
        if task == self._task and (self._errand is not None or self._ready):
            return
        loaded = self.take(file)
        self._task, self._stamp = task, file.stamp
        errand = Errand(
            look_ahead, self.library, model, file, current_store(keep), loaded, parent=self
        )
        errand.delivered.connect(partial(self._on_delivered, errand))
        errand.ended.connect(partial(self._on_ended, errand))
        self._errand = errand
        errand.start()
        self.changed.emit()

    def pause(self) -> None:
        """Stop at the next step: the image at hand needs the machine. What is done is kept."""
        if self._errand is not None:
            self._errand.cancel()
            self._errand = None
            self.changed.emit()

    def drop(self) -> None:
        """Stop, and forget what was prepared."""
        self.pause()
        self._task, self._loaded, self._ready = None, None, False
        self.changed.emit()

    def take(self, file: ImageFile) -> Loaded | None:
        """Return the pixels of an image if they are at hand, and forget them."""
        loaded = self._loaded
        same = self.file == file and self._stamp == file.stamp
        self.drop()
        return loaded if same else None

    def _on_delivered(self, errand: Errand, result: Loaded | Seen) -> None:
        if errand is not self._errand or self._task is None:
            return
        if isinstance(result, Seen):
            self._ready = True
            self.seen.emit(self._task[0], result.grid)
        else:
            self._loaded = result
        self.changed.emit()

    def _on_ended(self, errand: Errand, error: Exception | None) -> None:
        """Keep still where it failed: whoever opens the image is told."""
        if errand is self._errand:
            self._errand = None
            self._ready = True
            self.changed.emit()
