"""Everything around one image besides what is drawn on it: looking, and other people's layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer

from napari_patchioner.viewer.canvas.geometry import alignment
from napari_patchioner.viewer.canvas.repairs import flat
from napari_patchioner.viewer.reading.display_watch import DisplayWatch
from napari_patchioner.viewer.sources.source import Sources

from .inspector import Inspector
from .overlays import Overlays

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from napari_patchioner.viewer.desk.annotator import Annotator
    from napari_patchioner.viewer.reading.library import Library
    from napari_patchioner.viewer.reading.worker import Progress

# A slider of contrast limits is at rest by then.
LOOK_MS = 500


class Sight(QObject):
    """Inspecting, overlays, points and labels, and an eye on the display.

    Attributes
    ----------
    inspector : Inspector
        What lies under the cursor.
    overlays : Overlays
        The patch grid and the patches of a region.
    sources : Sources
        Points and labels layers whose regions are captioned, too.

    Parameters
    ----------
    annotator : Annotator
        That of the image; its parts are used.
    library : Library
        Where models come from.
    """

    def __init__(self, annotator: Annotator, library: Library) -> None:
        super().__init__(annotator)
        self._annotator = annotator
        viewer, image = annotator.viewer, annotator.image
        reader, scribe, session = annotator.reader, annotator.scribe, annotator.session
        self.sources = Sources(viewer, image, session, annotator.settle, self)
        self.inspector = Inspector(viewer, image, reader, scribe, library, self.keep, self)
        self.overlays = Overlays(image, reader, session, annotator.current, scribe.options)
        self._look = QTimer(self)
        self._look.setSingleShot(True)
        self._look.setInterval(LOOK_MS)
        self._look.timeout.connect(self.look_again)
        self._watch = DisplayWatch(viewer, self._look.start)
        self.inspector.moved.connect(self._on_inspected)
        annotator.changed.connect(self.overlays.refresh)
        reader.changed.connect(self.inspector.forget)

    @property
    def progress(self) -> Progress | None:
        """How far the image is read, labels are looked at, or many captions are written."""
        reading = self._annotator.reader.job
        if reading is not None:
            return reading.progress
        return self.sources.progress or self._annotator.scribe.progress

    def cancel(self) -> None:
        """Stop what takes long: reading the image, or writing many captions."""
        if self._annotator.reader.active:
            self._annotator.reader.cancel()
        else:
            self._annotator.scribe.cancel()

    def keep(self, shape: str, vertices: npt.NDArray[np.float64]) -> None:
        """Add a region that was found by inspecting, given in image pixels."""
        layer = self._annotator.layer("regions")
        with flat(layer):
            layer.add(alignment(self._annotator.image, layer)(vertices), shape_type=shape)

    def look_again(self) -> None:
        """Say, or see to it, that the image no longer looks as it was read."""
        annotator, reader = self._annotator, self._annotator.reader
        # One that is hidden behind another is looked at again when it is shown.
        if not annotator.image.visible or not reader.stale:
            return
        if reader.follow:
            reader.close()
            annotator.start(reader.model)
        else:
            annotator.tell(
                "The display has changed since the image was read; press Start to read it as it "
                "looks now."
            )

    def close(self) -> None:
        """Stop everything, and leave nothing behind on the canvas."""
        self._look.stop()
        self._watch.close()
        self.inspector.close()
        self.overlays.close()
        self.sources.close()

    def _on_inspected(self) -> None:
        spot = self.inspector.spot
        self.overlays.inspected = spot.region if spot is not None else None
        self.overlays.refresh()
