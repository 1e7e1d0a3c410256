"""Drawing on one image: its layers, what has been read of it, and its captions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal
from superqt.utils import QSignalDebouncer

from napari_patchioner.errors import PatchionerError
from napari_patchioner.viewer.layers import image_layers, shapes
from napari_patchioner.viewer.layers.binding import LayerBinding, redo, undo
from napari_patchioner.viewer.layers.geometry import alignment, displayed_plane, full_shape
from napari_patchioner.viewer.layers.overlays import Overlays
from napari_patchioner.viewer.layers.selection import SharedSelection, shift_held
from napari_patchioner.viewer.layers.sources import Sources
from napari_patchioner.viewer.panels.inspector import Inspector
from napari_patchioner.viewer.reading.display_watch import DisplayWatch
from napari_patchioner.viewer.reading.reader import Reader
from napari_patchioner.viewer.reading.scribe import Scribe
from napari_patchioner.viewer.session.session import Session, counted

from .selection import Selection

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import napari
    import numpy as np
    import numpy.typing as npt
    from napari.utils.events import Event

    from napari_patchioner.viewer.reading.library import Library
    from napari_patchioner.viewer.reading.worker import Progress
    from napari_patchioner.viewer.session.record import Plane, Record

# Long enough for napari to finish what it announced, short enough not to be felt.
SETTLE_MS = 60
# A slider of contrast limits is at rest by then.
DISPLAY_MS = 500
SOLID = "The 3-D view is for looking: choose a tool, and the 2-D view to draw in comes back."


class Annotator(QObject):
    """Keeps one image, its two layers, its session and its workers together.

    Parameters
    ----------
    viewer : napari.Viewer
        Where the image is.
    image : napari.layers.Image
        The image to draw on.
    library : Library
        Where models come from.
    parent : QObject, optional
        The dock.
    """

    changed = Signal()
    told = Signal(str)
    # With a layer that is no longer followed.
    released = Signal(object)
    # With the key of a layer of other people's making that was deleted.
    deleted = Signal(str)
    # Before a step is done again: it may take a layer away with all that is shown there.
    replaying = Signal()
    # The image has become one of another size.
    replaced = Signal()

    def __init__(
        self,
        viewer: napari.Viewer,
        image: napari.layers.Image,
        library: Library,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.image = image
        self._shape = full_shape(image)
        self.session = Session()
        self.bindings: dict[str, LayerBinding] = {}
        self._deleted: dict[str, napari.layers.Layer] = {}
        self.message = "Press Start, then draw. You may also draw first."
        self._before = self.message
        self.reader = Reader(viewer, image, library, self)
        self.scribe = Scribe(self.session, self.reader, library, self)
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.setInterval(SETTLE_MS)
        self._settled.timeout.connect(self._work)
        self.reader.told.connect(self.tell)
        self.scribe.told.connect(self.tell)
        self.reader.changed.connect(self.settle)
        self.scribe.written.connect(self._on_written)
        self._picker = SharedSelection(viewer, self.bindings.values, self.changed.emit, shift_held)
        self._selection = Selection(self.session, self.bindings, lambda: self.sources, self._picker)
        self._connections = [
            (viewer.dims.events.point, self.settle),
            (viewer.dims.events.order, self.settle),
            (viewer.dims.events.ndisplay, self._on_display),
            (viewer.layers.events.inserted, self._on_layer_inserted),
            (viewer.layers.events.removed, self._on_layer_removed),
            (viewer.layers.selection.events.active, self._picker.follow_active),
            (image.events.data, self._on_new_pixels),
            (image.events.name, self._on_renamed),
        ]
        for emitter, slot in self._connections:
            emitter.connect(slot)
        self.sources = Sources(viewer, image, self.session, self.settle, self)
        self.inspector = Inspector(
            viewer, image, self.reader, self.scribe, library, self._add_region, self
        )
        self.overlays = Overlays(
            image, self.reader, self.session, self.current, self.scribe.options
        )
        self._display_settled = QSignalDebouncer(parent=self)
        self._display_settled.setTimeout(DISPLAY_MS)
        self._display_settled.triggered.connect(self.check_display)
        self._watch = DisplayWatch(viewer, self._display_settled.throttle)
        self.inspector.moved.connect(self._on_inspected)
        self.changed.connect(self.overlays.refresh)
        self.reader.changed.connect(self.inspector.forget)
        self.adopt()

    def adopt(self) -> None:
        """Take over the layers that lie on the image already."""
        for key in image_layers.KEYS:
            if image_layers.find_layer(self.viewer, self.image, key) is not None:
                self.layer(key)
        if image_layers.find_points(self.viewer, self.image) is not None:
            self.points()

    def layer(self, key: image_layers.LayerKey) -> napari.layers.Shapes:
        """Return the layer for regions or traces, made on first use."""
        if key not in self.bindings:
            layer = image_layers.ensure_layer(self.viewer, self.image, key)
            # A layer that is added makes the viewer ask for it before it is returned here.
            if key not in self.bindings:
                self._bind(layer, key)
        return self.bindings[key].layer

    def _bind(self, layer: napari.layers.Shapes, key: image_layers.LayerKey) -> None:
        # Of a layer on which a shape is half drawn nothing would be read until it is whole, and
        # what is saved of it would be put there once more.
        shapes.finish_drawing(layer)
        revive = layer.nshapes == 0 and bool(self.session.uids(key))
        self.bindings[key] = LayerBinding(
            layer, self.image, key, self.session, self.settle, revive=revive
        )
        self._picker.attach(layer)

    def points(self) -> napari.layers.Points:
        """Return the image's own layer for points, made on first use."""
        own = self.sources.own
        if own is not None:
            return own.layer
        layer = image_layers.ensure_points(self.viewer, self.image)
        self.sources.follow(layer, own=True)
        image_layers.protect(layer, True)
        return layer

    def owns(self, layer: object) -> bool:
        """Whether a layer is the image or one of its own layers."""
        own = self.sources.own
        lying = [binding.layer for binding in self.bindings.values()]
        lying += [own.layer] if own is not None else []
        return layer is self.image or any(one is layer for one in lying)

    def selected(self) -> list[str]:
        """Return the uids of all selected regions."""
        return self._selection.uids()

    def plane(self) -> Plane | None:
        """Return the displayed plane, if the display shows one."""
        try:
            return displayed_plane(self.viewer, self.image)
        except PatchionerError as error:
            self.tell(str(error))
            return None

    def finish_drawing(self) -> None:
        """End what is half drawn as Escape does: its image, or whoever follows it, is to go."""
        for binding in self.bindings.values():
            binding.finish()

    # what a person asks for

    def start(self, model: str) -> None:
        """Read the displayed plane with a model, and caption what has been drawn."""
        if self.reader.active:
            return
        for key in image_layers.KEYS:
            self.layer(key)
        self.scribe.close()
        self.session.restart(rewrite=self.reader.completed, model=model)
        self.reader.start(model)

    def let_go(self) -> None:
        """Forget what was read: the image or the model is not what it was."""
        self.scribe.close()
        self.reader.forget()

    def edit(self, uid: str, text: str) -> None:
        """Take a person's text."""
        self.session.edit(uid, text)
        self.show()

    def again(self, uids: Iterable[str]) -> None:
        """Have captions written anew."""
        if self.session.again(uids):
            self.tell("A caption you wrote is kept; empty it first to have it written anew.")
        elif not self.reader.ready and not self.reader.active:
            self.tell("Press Start: the caption comes when the image has been read.")
        self.show()

    def group_selected(self) -> None:
        """Have the selected shapes captioned as one region."""
        chosen = self.selected()
        with self.session.step(f"caption of {counted(chosen, 'shape')} together"):
            record = self.session.group(chosen)
            if record is not None:
                self.again([record.uid])
        if record is None:
            self.tell("Select two shapes or more: press S, then click them holding Shift.")

    def whole_image(self) -> None:
        """Have the displayed plane captioned."""
        plane = self.plane()
        if plane is not None:
            with self.session.step("caption of the whole image"):
                self.again([self.session.whole(plane).uid])

    def undo(self) -> None:
        """Take back the newest step: what was drawn, and what was written."""
        with self._picker.still():
            self.tell(undo(self.session, self._restorable(), self._revive))
        self.show()

    def redo(self) -> None:
        """Do again what was taken back last."""
        self.replaying.emit()
        with self._picker.still():
            self.tell(redo(self.session, self._restorable(), self._replay))
        self.show()

    def tell(self, message: str) -> None:
        """Show a sentence in the dock."""
        self.message = message[:1].upper() + message[1:]
        self.told.emit(self.message)

    def current(self) -> Record | None:
        """Return what the caption editor is about: the selected shape, or several as one."""
        chosen = self.selected()
        if len(chosen) == 1:
            return self.session.records.get(chosen[0])
        return self.session.find_group(chosen) if chosen else None

    def current_whole(self) -> Record | None:
        """Return the caption of the displayed plane, if it was asked for."""
        try:
            return self.session.find_whole(displayed_plane(self.viewer, self.image))
        except PatchionerError:
            return None

    def heading(self, uids: Sequence[str]) -> str:
        """Return what these records are, in words."""
        if len(uids) != 1 or uids[0] not in self.session.records:
            return f"{len(uids)} shapes selected" if len(uids) > 1 else "Selected shape"
        record = self.session.records[uids[0]]
        if record.kind == "group":
            return f"{len(record.members)} shapes together"
        return "Selected shape" if record.kind == "shape" else "Selected: whole image"

    def hint(self) -> str:
        """Return what to do where there is nothing to edit."""
        if len(self.selected()) > 1:
            return "Press As one region to caption them together"
        return "Select a shape to see its caption"

    def waiting(self) -> str:
        """Return why a caption that is wanted is not there."""
        if self.reader.active:
            return "Waiting for the image to be read"
        return "Being written…" if self.reader.ready else "Press Start to have it written"

    @property
    def progress(self) -> Progress | None:
        """How far the image is read, labels are looked at, or many captions are written."""
        if self.reader.job is not None:
            return self.reader.job.progress
        return self.sources.progress or self.scribe.progress

    def cancel(self) -> None:
        """Stop what takes long: reading the image, or writing many captions."""
        (self.reader if self.reader.active else self.scribe).cancel()

    def check_display(self) -> None:
        """Say, or see to it, that the image no longer looks as it was read."""
        # One that is hidden behind another is checked when it is shown.
        if not self.image.visible or not self.reader.stale:
            return
        if self.reader.follow:
            self.reader.close()
            self.start(self.reader.model)
        else:
            self.tell(
                "The display has changed since the image was read; press Start to read it as it "
                "looks now."
            )

    def _add_region(self, shape: str, vertices: npt.NDArray[np.float64]) -> None:
        """Add a region that was found by inspecting, given in image pixels."""
        layer = self.layer("regions")
        with shapes.flat(layer):
            layer.add(alignment(self.image, layer)(vertices), shape_type=shape)

    def _on_inspected(self) -> None:
        spot = self.inspector.spot
        self.overlays.inspected = spot.region if spot is not None else None
        self.overlays.refresh()

    # what a hand in a list does

    def select(self, uids: Iterable[str]) -> None:
        """Select exactly these regions, whichever layers they are on."""
        self._selection.select(uids)

    def delete(self, uids: Iterable[str]) -> None:
        """Delete shapes through their layers; of a group or a plane, only the caption goes."""
        known = [uid for uid in uids if uid in self.session.records]
        with self.session.step(f"deletion of {counted(known, 'region')}"):
            kept = self._selection.delete(known)
        if kept:
            self.tell("What other people made is not ours to delete: do it on their own layers.")
        self.show()

    # what happens around

    def show(self) -> None:
        """Write what the session says into the tables of the layers, and look for work."""
        self._show()
        self.settle()

    def settle(self, *_: object) -> None:
        """Look for work once the hand and napari are still."""
        self._settled.start()

    def close(self) -> None:
        """Stop everything and let go of the layers; what is drawn stays."""
        self.finish_drawing()
        self._settled.stop()
        if (own := self.sources.own) is not None:
            image_layers.protect(own.layer, False)
            image_layers.release(own.layer, self.image)
            self.released.emit(own.layer)
        self._display_settled.cancel()
        self._watch.close()
        self.inspector.close()
        self.overlays.close()
        self.sources.close()
        self.reader.close()
        self.scribe.close()
        for key in list(self.bindings):
            self._unbind(key)
        for emitter, slot in self._connections:
            emitter.disconnect(slot)
        self._connections.clear()

    def _show(self) -> None:
        for binding in self.bindings.values():
            binding.show()
        self.sources.show()
        self.changed.emit()

    def _on_written(self) -> None:
        """Show captions as they come; there is nothing to hand out before the last of them."""
        self._show()
        if not self.scribe.active:
            self.settle()

    def _work(self) -> None:
        """Bring everything in step and hand out what can be captioned."""
        if any(binding.dragging for binding in self.bindings.values()):
            self.settle()
            return
        for binding in self.bindings.values():
            binding.sync()
        self.sources.sync()
        self.scribe.work()
        if self.reader.should_read(self.session):
            self.reader.read()
        self.changed.emit()

    def _on_layer_inserted(self, event: Event) -> None:
        """Leave copies of our layers to whoever made them: the regions on them are not ours."""
        for one in self._restorable():
            if image_layers.is_copy(event.value, one.layer):
                image_layers.disown(event.value)

    def _on_layer_removed(self, event: Event) -> None:
        own = self.sources.own
        lost = own is not None and own.layer is event.value
        source = self.sources.following.get(event.value)
        self.sources.leave(event.value, deleted=True)
        if source is not None and self.session.is_away(source.key):
            self._deleted[source.key] = event.value
            self.deleted.emit(source.key)
            self.tell(f"The layer {event.value.name!r} was deleted; Undo brings it back.")
        if lost:
            image_layers.release(event.value, self.image)
            self.tell("The layer of points was deleted; Undo brings it back.")
            self.released.emit(event.value)
        for key, binding in list(self.bindings.items()):
            if binding.layer is event.value:
                self._unbind(key)
                lost = counted(self.session.uids(key), "shape")
                self.session.drop_layer(key)
                self.tell(f"The layer of {lost} was deleted; Undo brings it back.")
                self.changed.emit()

    def _unbind(self, key: str) -> None:
        binding = self.bindings.pop(key)
        binding.close()
        self._picker.detach(binding.layer)
        image_layers.protect(binding.layer, False)
        image_layers.release(binding.layer, self.image)
        self.released.emit(binding.layer)

    def _revive(self) -> None:
        """Make layers anew that have shapes again by now; take away what is deleted once more."""
        for key in image_layers.KEYS:
            if self.session.uids(key):
                self.layer(key)
        if self.session.uids(image_layers.POINTS):
            self.points()
        sources = self.sources
        for key, layer in list(self._deleted.items()):
            if not self.session.is_away(key):
                del self._deleted[key]
                if layer not in self.viewer.layers and self.session.holds(key):
                    sources.follow(layer, key=key)
                    self.viewer.add_layer(layer)
        for source in sources:
            if self.session.is_away(source.key):
                self.viewer.layers.remove(source.layer)

    def _replay(self) -> None:
        """Revive layers, and delete those of ours that the step done again had deleted."""
        self._revive()
        for key, binding in list(self.bindings.items()):
            if not self.session.holds(key):
                # First, as shapes that go from a layer that is there are deleted for good.
                self._unbind(key)
                self.viewer.layers.remove(binding.layer)
        own = self.sources.own
        if own is not None and not self.session.holds(own.key):
            self._leave_points(own.layer)
            self.viewer.layers.remove(own.layer)

    def _leave_points(self, layer: napari.layers.Layer) -> None:
        self.sources.leave(layer, deleted=True)
        image_layers.protect(layer, False)
        image_layers.release(layer, self.image)
        self.released.emit(layer)

    def _restorable(self) -> list[Any]:
        """Return what keeps our own layers in step, those that undo can change."""
        own = self.sources.own
        return [*self.bindings.values(), *([own] if own is not None else [])]

    def _on_new_pixels(self) -> None:
        self.let_go()
        if full_shape(self.image) != self._shape:
            self.replaced.emit()
            return
        self.tell("The image has changed; press Start to read it again.")

    def _on_display(self, *_: object) -> None:
        """Say that in three dimensions regions are only looked at, as long as that is so."""
        if self.viewer.dims.ndisplay == 3:
            if self.message != SOLID:
                self._before = self.message
            self.tell(SOLID)
        elif self.message == SOLID:
            self.tell(self._before)
        self.settle()

    def _on_renamed(self) -> None:
        for key, binding in self.bindings.items():
            image_layers.mark(binding.layer, self.image, key)
        if (own := self.sources.own) is not None:
            image_layers.mark(own.layer, self.image, image_layers.POINTS)
