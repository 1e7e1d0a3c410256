"""One image with its layers, its session and its workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import napari
import numpy as np
import numpy.typing as npt
from napari.utils.events import Event
from qtpy.QtCore import QObject, Qt, Signal

from napari_patchioner.annotations import Plane, Record
from napari_patchioner.annotations.project.records import (
    CLICKS,
    NEGATIVE,
    OWN_LAYERS,
    PROPOSED,
    SEGMENTER,
    SIZE,
    is_foreign,
)
from napari_patchioner.errors import PatchionerError, as_sentence, counted
from napari_patchioner.models.memories import MemoryChoice

from .layers import geometry, image_layers, shapes, view
from .layers.binding import LayerBinding, TableBinding, redo, undo
from .layers.escape import EscapeKey
from .layers.overlays import Overlays
from .layers.selection import SharedSelection
from .layers.sources import Sources
from .session.session import Session
from .widgets import throttled
from .workers.caption import CaptionQueue
from .workers.compare import Comparer, SliceQuestion
from .workers.describe import Describer
from .workers.encode import Encoder
from .workers.grow import Grower, Grown
from .workers.inspect import Inspector
from .workers.job import JobProgress
from .workers.models import ModelRegistry
from .workers.reword import Rewriter
from .workers.search import Search
from .workers.server import NOT_TAKEN, Describing
from .workers.sharpen import Sharpened, Sharpener
from .workers.why import Why

# Long enough for napari to finish what it announced, short enough not to be felt.
SETTLE_MS = 60
# A slider of contrast limits is at rest by then.
DISPLAY_MS = 500
# Events of the viewer's layers after which the image may look different
DISPLAY_EVENTS = frozenset(
    ("contrast_limits", "gamma", "colormap", "opacity", "visible", "inserted", "removed")
)
PAN_ZOOM = "pan_zoom"
AS_BEFORE = "With these options no caption is another one."
SOLID = "The 3-D view is for looking: choose a tool, and the 2-D view to draw in comes back."


class Controller(QObject):  # type: ignore[misc]
    """Keeps one image, its layers, its session and its workers together."""

    changed = Signal()
    messaged = Signal(str)
    # With a layer that is no longer followed.
    released = Signal(object)
    # With the key of a layer of other people's making that was deleted.
    deleted = Signal(str)
    # Before a step is done again: it may take a layer away with all that is shown there.
    replaying = Signal()
    # The image has become one of another size.
    replaced = Signal()
    # A hand has let go of something on a layer.
    _let_go = Signal()

    def __init__(
        self,
        viewer: napari.Viewer,
        image: napari.layers.Image,
        registry: ModelRegistry,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.image = image
        self.message = "Press Start, then draw. You may also draw first."
        self.session = Session()
        # Our layers of shapes by key; points, labels and layers of others are sources
        self.bindings: dict[str, LayerBinding] = {}
        self.encoder = Encoder(viewer, image, registry, self)
        self.queue = CaptionQueue(self.session, self.encoder, self)
        self.sources = Sources(viewer, image, self.session, self.settle, self._finish)
        self._shape = geometry.full_shape(image)
        self._deleted: dict[str, napari.layers.Layer] = {}
        self._message_before = self.message
        # What is selected in the list, and what was selected on the canvas then.
        self._listed: tuple[list[str], list[str]] | None = None
        self._shared = SharedSelection(
            viewer, self.bindings.values, self.changed.emit, self._forget_listed
        )
        self._settled = throttled(self._work, SETTLE_MS, self, rest=True)
        # What the hand has let go of since the last look
        self._finished: set[TableBinding] = set()
        # Before anything is painted, which may take longer than a caption; timers come later.
        self._let_go.connect(self._work_at_once, Qt.ConnectionType.QueuedConnection)
        self._display_settled = throttled(self.check_display, DISPLAY_MS, self, rest=True)
        self.encoder.messaged.connect(self.show_message)
        self.queue.messaged.connect(self.show_message)
        self.encoder.changed.connect(self.settle)
        self.queue.captioned.connect(self._on_captioned)
        self._connections: list[tuple[Any, Callable[..., object]]] = [
            (viewer.layers.events, self._on_layers_event),
            (viewer.dims.events.point, self.settle),
            (viewer.dims.events.order, self.settle),
            (viewer.dims.events.ndisplay, self._on_ndisplay),
            (viewer.layers.events.inserted, self._on_layer_inserted),
            (viewer.layers.events.removed, self._on_layer_removed),
            (viewer.layers.selection.events.active, self._shared.follow_active),
            (viewer.layers.selection.events.active, self._on_active),
            (image.events.data, self._on_new_pixels),
            (image.events.name, self._on_renamed),
        ]
        for emitter, slot in self._connections:
            emitter.connect(slot)
        self.inspector = Inspector(self.encoder, self.queue, self._add_region, self)
        self.grower = Grower(self.encoder, self.session, self.selected, lambda: self.growing, self)
        self.overlays = Overlays(
            image, self.encoder, self.session, self.current, self.queue.options
        )
        self.search = Search(self.encoder, self.session, self)
        self.comparer = Comparer(image, self.encoder, self.queue, self.session, self)
        self.comparer.messaged.connect(self.show_message)
        self.comparer.changed.connect(self.changed)
        self.changed.connect(self.comparer.follow)
        self.search.messaged.connect(self.show_message)
        self.search.changed.connect(self.changed)
        self.search.clicked.connect(self._on_proposal_clicked)
        self.changed.connect(self.search.follow)
        self.describer = Describer(image, self.session, self)
        self.describer.messaged.connect(self.show_message)
        self.describer.changed.connect(self.show)
        self.sharpener = Sharpener(self.encoder, self.session, self)
        self.sharpener.messaged.connect(self.show_message)
        self.sharpener.changed.connect(self.changed)
        self.sharpener.sharpened.connect(self._on_sharpened)
        self.rewriter = Rewriter(self.session, self.encoder, self.queue, self)
        self.rewriter.messaged.connect(self.show_message)
        self.rewriter.changed.connect(self.show)
        self.describing = Describing(self.encoder, self.session, self.selected, self)
        self.describing.messaged.connect(self.show_message)
        self.describing.changed.connect(self._show)
        self.changed.connect(self.describing.follow)
        self._escape = EscapeKey(viewer, self._on_stop)
        for signal in (self.describing.changed, self.changed):
            signal.connect(self._on_running)
        self.why = Why(self.encoder, self.session, self.queue, self)
        self.why.messaged.connect(self.show_message)
        self.why.suggested.connect(self.show)
        self.why.changed.connect(self.changed)
        self.why.picked.connect(self.overlays.refresh)
        self.overlays.word = self.why.shown_heat
        self.encoder.changed.connect(self.why.forget)
        self.inspector.moved.connect(self._on_inspected)
        self.grower.messaged.connect(self.show_message)
        self.grower.grown.connect(self._on_grown)
        self.grower.moved.connect(self._on_growing)
        self.changed.connect(self.overlays.refresh)
        self.encoder.changed.connect(self.inspector.forget)
        self.encoder.changed.connect(self.grower.forget)
        self.adopt()

    # layers

    def adopt(self) -> None:
        """Take over the layers that lie on the image already."""
        for key in OWN_LAYERS:
            if image_layers.find_layer(self.viewer, self.image, key) is not None:
                self.layer(key)

    def layer(self, key: str) -> Any:
        """Return the image's own layer for regions, traces or points, made on first use."""
        for own in self.own_bindings():
            if own.key == key:
                return own.layer
        layer = image_layers.ensure_layer(self.viewer, self.image, key)
        if key == image_layers.POINTS:
            self.sources.follow(layer, key=key)
        # A layer that is added makes the viewer ask for it before it is returned here.
        elif key not in self.bindings:
            # Of a layer on which a shape is half drawn nothing would be read until it is
            # whole, and what is saved of it would be put there once more.
            shapes.finish_drawing(layer)
            revive = layer.nshapes == 0 and bool(self.session.uids(key))
            self.bindings[key] = LayerBinding(
                layer,
                self.image,
                key,
                self.session,
                self.settle,
                finished=self._finish,
                revive=revive,
            )
            self._shared.attach(layer)
        return layer

    def all_bindings(self) -> list[TableBinding]:
        """Return what keeps layers in step with the session, our own and those of others."""
        return [*self.bindings.values(), *self.sources]

    def own_bindings(self) -> list[TableBinding]:
        """Return what keeps our own layers in step, those that undo can change."""
        return [binding for binding in self.all_bindings() if binding.key in OWN_LAYERS]

    def binding_of(self, layer: object) -> TableBinding | None:
        """Return what keeps one of the image's own layers in step; None for others."""
        return next((own for own in self.own_bindings() if own.layer is layer), None)

    def owns(self, layer: object) -> bool:
        """Whether a layer is the image or one of its own layers."""
        return layer is self.image or self.binding_of(layer) is not None

    def finish_drawing(self) -> None:
        """End what is half drawn as Escape does: its image, or whoever follows it, is to go."""
        for binding in self.bindings.values():
            binding.finish()

    def plane(self) -> Plane | None:
        """Return the displayed plane, or say why there is none."""
        try:
            return geometry.displayed_plane(self.viewer, self.image)
        except PatchionerError as error:
            self.show_message(str(error))
            return None

    # selection: napari selects on one layer at a time, and of labels only one

    def selected(self) -> list[str]:
        """Return the uids of all selected regions."""
        canvas = self._selected_on_canvas()
        # What is selected in the list counts until something else is selected on the canvas.
        if self._listed is not None and self._listed[0] == canvas:
            return [uid for uid in self._listed[1] if uid in self.session.records]
        self._listed = None
        return canvas

    def select(self, uids: Iterable[str]) -> None:
        """Select exactly these regions, whichever layers they are on."""
        wanted = dict.fromkeys(uids)
        # Nobody shall see half of the selection meanwhile.
        with self._shared.still():
            layers = [bound.layer for bound in self.all_bindings() if bound.select(wanted)]
            if layers and self.viewer.layers.selection.active not in layers:
                self.viewer.layers.selection.active = layers[0]
            self._listed = (self._selected_on_canvas(), list(wanted))

    def current(self) -> Record | None:
        """Return what the caption editor is about: the selected shape, or several as one."""
        chosen = self.selected()
        if len(chosen) == 1:
            return self.session.records.get(chosen[0])
        return self.session.find_group(chosen) if chosen else None

    def current_whole(self) -> Record | None:
        """Return the caption of the displayed plane, if it was asked for."""
        plane = geometry.shown_plane(self.viewer, self.image)
        return self.session.find_whole(plane) if plane is not None else None

    def _selected_on_canvas(self) -> list[str]:
        return self.sources.selected() or [
            uid for binding in self.bindings.values() for uid in binding.selected()
        ]

    def _forget_listed(self) -> None:
        """Let what is selected on the canvas count again, though it may be what it was."""
        self._listed = None

    # what a person asks for

    def start(self, model: str) -> None:
        """Encode the displayed plane with a model, and caption what has been drawn."""
        if self.encoder.active:
            return
        for key in image_layers.KEYS:
            self.layer(key)
        self.queue.close()
        self.session.restart(rewrite=self.encoder.completed, model=model)
        self.encoder.start(model)

    def cancel(self) -> None:
        """Stop what takes long and is shown, such as encoding the image, or many captions."""
        if self.encoder.active:
            self.encoder.cancel()
        elif self.search.progress is not None:
            self.search.cancel()
        elif self.sharpener.progress is not None:
            self.sharpener.cancel()
        elif self.comparer.progress is not None:
            self.comparer.cancel()
        elif self.sources.progress is None and self.why.progress is not None:
            self.why.cancel()
        else:
            self.queue.cancel()

    def forget_grids(self) -> None:
        """Drop all grids: the image or the model has changed."""
        self.queue.close()
        self.encoder.forget()
        self.why.forget()
        self.comparer.forget()
        self.search.follow()

    def edit(self, uid: str, text: str) -> None:
        """Take a person's text."""
        self.session.edit(uid, text)
        self.show()

    def again(self, uids: Iterable[str], *, by_options: bool = False) -> None:
        """Have captions made anew; with `by_options` since options are other ones."""
        records = self.session.records
        kept = [r for uid in uids if (r := records.get(uid)) is not None and r.protected]
        self.session.again(uids, by_options=by_options)
        if kept and all(record.locked for record in kept):
            self.show_message("What is locked stays as it is: unlock it first (key K).")
        elif kept:
            self.show_message(
                "A caption you wrote or accepted is kept; empty it first to have it written anew."
            )
        elif not self.encoder.ready and not self.encoder.active:
            self.show_message("Press Start: the caption comes when the image has been read.")
        self.show()

    def choose_memory(self, choice: MemoryChoice | None) -> None:
        """Have another vocabulary from now on: what the model has written is written anew.

        What people wrote, accepted or locked stays; so do names that were taught.
        """
        if choice == self.queue.memory:
            return
        self.queue.close()
        self.inspector.forget()
        records = self.session.records.values()
        outdated = [r.uid for r in records if r.source == "model" and not r.is_described]
        self.session.choose_vocabulary(choice, outdated if self.encoder.ready else ())
        self.show()

    def group_selected(self) -> None:
        """Have the selected shapes captioned as one region."""
        chosen = self.selected()
        with self.session.step(f"caption of {counted(chosen, 'shape')} together"):
            record = self.session.group(chosen)
            if record is not None:
                self.again([record.uid])
        if record is None:
            self.show_message("Select two shapes or more: press S, then click them holding Shift.")

    def whole_image(self) -> None:
        """Have the displayed plane captioned."""
        plane = self.plane()
        if plane is not None:
            with self.session.step("caption of the whole image"):
                self.again([self.session.whole(plane).uid])

    def describe(self) -> None:
        """Write a paragraph about the displayed plane from what is said of its regions."""
        plane = self.plane()
        if plane is not None:
            self.describer.write(plane)

    def point_at(self, uids: Iterable[str]) -> None:
        """Outline regions on the canvas that something speaks of, as long as that is wanted."""
        self.overlays.pointed = frozenset(uids)
        self.overlays.refresh()

    def delete(self, uids: Iterable[str]) -> None:
        """Delete shapes through their layers; of a group or a plane, only the caption goes."""
        known = [uid for uid in uids if uid in self.session.records]
        foreign = [source.key for source in self.sources if is_foreign(source.key)]
        kept = {uid for key in foreign for uid in self.session.uids(key)}.intersection(known)
        with self.session.step(f"deletion of {counted(len(known) - len(kept), 'region')}"):
            self.session.drop(known)
            self.select(uid for uid in known if uid not in kept)
            for own in self.own_bindings():
                if own.layer.selected_data:
                    own.layer.remove_selected()
                    own.sync()
        if kept:
            self.show_message(
                "What other people made is not ours to delete: do it on their own layers."
            )
        self.show()

    def grow(self, on: bool) -> None:
        """Begin or stop to grow regions from clicks, on the layer of regions."""
        if on == self.grower.on:
            return
        if not on:
            if (binding := self.bindings.get("regions")) is not None:
                binding.layer.mouse_pan = binding.layer.mode == PAN_ZOOM
                for key in self._growing_keys:
                    binding.layer.bind_key(key, None, overwrite=True)
            self.grower.switch(False)
            self.changed.emit()
            return
        layer = self.layer("regions")
        self.finish_drawing()
        image_layers.uncover(self.viewer, layer, self.image)
        layer.mode = PAN_ZOOM
        self.viewer.layers.selection.active = layer
        # What is dragged over is clicked.
        layer.mouse_pan = False
        for key, action in self._growing_keys.items():
            layer.bind_key(key, action, overwrite=True)
        self.grower.switch(True)
        self.changed.emit()

    @property
    def growing(self) -> bool:
        """Whether clicks grow regions; another tool or layer ends that."""
        binding = self.bindings.get("regions")
        active = self.viewer.layers.selection.active
        return (
            self.grower.on
            and binding is not None
            and binding.layer is active
            and binding.layer.mode == PAN_ZOOM
        )

    def accept_found(self, numbers: Iterable[int]) -> None:
        """Make regions of proposals, given by their numbers, in one step.

        They get the name that the examples have, or the phrase that was looked for, or what the
        model said of a proposed region; where people call the examples nothing, or not all the
        same, the model captions them.
        """
        search = self.search
        items = search.proposals.chosen(numbers) if search.proposals is not None else []
        if not items:
            return
        if any(binding.dragging for binding in self.bindings.values()):
            self.show_message("Finish the shape at hand first: let the button go.")
            return
        active = self.viewer.layers.selection.active
        self.finish_drawing()
        layer = self.layer("regions")
        image_layers.show(layer)
        placed = geometry.alignment(self.image, layer)
        vertices = [placed(search.vertices(item)) for item in items]
        outlined = search.options is not None
        before, name = set(self.session.uids("regions")), search.name()
        with self.session.step(f"acceptance of {counted(items, 'proposal')}"):
            with shapes.flat(layer):
                layer.add(vertices, shape_type=["rectangle", "polygon"][outlined])
            self.bindings["regions"].sync()
            new = [uid for uid in self.session.uids("regions") if uid not in before]
            if outlined:
                pairs = list(zip(new, items, strict=True))
                for uid, item in pairs:
                    self.session.outline(uid, {PROPOSED: round(item.score, 4)})
                said = {uid: (i.caption, search.origin(i)) for uid, i in pairs if i.caption}
                self.session.take_proposed(said, self.encoder.model)
            elif name:
                # Of several things that a phrase asks for each proposal is one.
                named: dict[str, dict[str, float]] = {}
                for uid, item in zip(new, items, strict=True):
                    named.setdefault(item.text or name, {})[uid] = item.score
                model, phrase = self.encoder.model, search.phrase
                for own, scores in named.items():
                    self.session.take_name(own, scores, model, found_by=phrase)
        if active is not None and active in self.viewer.layers:
            self.viewer.layers.selection.active = active
        search.accepted(new, items)
        names = dict.fromkeys(item.text or name for item in items if not outlined)
        called = ", ".join(map(repr, names)) if name else "captioned by the model"
        self.show_message(f"{counted(items, 'proposal')} accepted: {called}.")
        self.show()

    def propose_regions(self) -> None:
        """Propose regions of the whole plane on display, to be accepted one by one or all."""
        here = self.encoder.here()
        self.search.propose(self.queue.options_for([here[1]]) if here is not None else {})

    def go_to_slice(self, question: SliceQuestion, number: int) -> None:
        """Show a slice of a stack, in the view in which the region was drawn."""
        record = self.session.records.get(question.uid)
        if record is not None:
            view.go_to(self.viewer, self.image, record, self.session)
        point = np.zeros(self.image.ndim)
        point[question.axis] = number
        axis = question.axis + self.viewer.dims.ndim - self.image.ndim
        self.viewer.dims.set_point(axis, float(self.image.data_to_world(point)[question.axis]))

    def show_found(self, number: int) -> None:
        """Mark a proposal on the canvas, 0 for none, and bring it into view if it is a new one."""
        if number == self.search.selected:
            return
        self.search.select(number)
        proposals = self.search.proposals
        for item in proposals.chosen([number]) if proposals is not None else []:
            corners = self.search.vertices(item)
            world = np.array([self.image.data_to_world(corner) for corner in corners], float)
            view.bring_into_view(self.viewer, self.image, world)

    def reject_found(self, numbers: Iterable[int]) -> None:
        """Leave proposals out, now and whenever more of the same is searched for."""
        if count := self.search.reject(numbers):
            they = "it does" if count == 1 else "they do"
            self.show_message(
                f"{counted(count, 'proposal')} rejected: {they} not come back, except by Undo or "
                "Bring back."
            )

    def undo(self) -> None:
        """Take back the newest step: shapes and captions."""
        self._step(undo, self._revive)

    def redo(self) -> None:
        """Do again what was taken back last."""
        self.replaying.emit()
        self._step(redo, self._replay)

    # what is shown

    def show_message(self, message: str) -> None:
        """Show a sentence in the dock."""
        self.message = as_sentence(message)
        self.messaged.emit(self.message)

    @property
    def progress(self) -> JobProgress | None:
        """How far the image is encoded, searched, labels are read, or many captions are made."""
        if self.encoder.job is not None:
            return self.encoder.job.progress
        if self.search.progress is not None:
            return self.search.progress
        if self.sharpener.progress is not None:
            return self.sharpener.progress
        if self.comparer.progress is not None:
            return self.comparer.progress
        return self.sources.progress or self.why.progress or self.queue.progress

    def heading(self, uids: Sequence[str]) -> str:
        """Return what these records are, in words."""
        if len(uids) != 1 or uids[0] not in self.session.records:
            return f"{len(uids)} shapes selected" if len(uids) > 1 else "Selected shape"
        record = self.session.records[uids[0]]
        if record.members:
            return f"{len(record.members)} shapes together"
        if record.plane is not None:
            return "Selected: whole image"
        return ", ".join(filter(None, ["Selected shape", record.outlined_by]))

    def hint(self) -> str:
        """Return what to do where there is nothing to edit."""
        if len(self.selected()) > 1:
            return "Press As one region to caption them together"
        return "Select a shape to see its caption"

    def pending_message(self) -> str:
        """Return why a caption that is wanted is not there."""
        if self.encoder.active:
            return "Waiting for the image to be read"
        return "Being written…" if self.encoder.ready else "Press Start to have it written"

    def show(self) -> None:
        """Write what the session says into the tables of the layers, and look for work."""
        self._show()
        self.settle()

    def settle(self, *_: object) -> None:
        """Look for work once the person and napari pause."""
        self._settled.throttle()

    def check_display(self) -> None:
        """Say that the image no longer looks as it was encoded, or encode it again."""
        # One that is hidden behind another is checked when it is shown.
        if not self.image.visible or not self.encoder.stale:
            return
        if self.encoder.follow:
            self.encoder.close()
            self.start(self.encoder.model)
        else:
            self.show_message(
                "The display has changed since the image was read; press Start to read it as it "
                "looks now."
            )

    def close(self) -> None:
        """Stop everything and release the layers; what is drawn stays."""
        self.finish_drawing()
        self._settled.cancel()
        self._finished.clear()
        self._display_settled.cancel()
        self.inspector.switch(False)
        self.grow(False)
        self.search.close()
        self.describing.close()
        self._escape.leave()
        self.sharpener.close()
        self.comparer.close()
        self.describer.close()
        self.why.close()
        self.rewriter.close()
        self.overlays.clear()
        for own in self.own_bindings():
            self._unbind(own)
        self.sources.close()
        self.encoder.close()
        self.queue.close()
        for emitter, slot in self._connections:
            emitter.disconnect(slot)
        self._connections.clear()

    # details

    def _step(self, step: Callable[..., str], revive: Callable[[], None]) -> None:
        """Go a step back or forward."""
        memory = self.queue.memory
        with self._shared.still():
            self.show_message(step(self.session, self.own_bindings(), revive))
        if self.queue.memory != memory:
            # What is being written with another vocabulary is wanted anew.
            self.queue.close()
            self.inspector.forget()
        self.show()

    def _show(self) -> None:
        for binding in self.all_bindings():
            binding.show()
        self.changed.emit()

    def _on_captioned(self) -> None:
        """Show captions as they come; there is no more work before the last of them."""
        self._show()
        if not self.queue.active:
            if self.session.take_revision() is False:
                self.show_message(AS_BEFORE)
            self.settle()

    def _work(self) -> None:
        """Bring everything in step and caption what can be captioned."""
        if any(binding.dragging for binding in self.bindings.values()):
            self.settle()
            return
        for binding in self.all_bindings():
            if not binding.dragging:
                binding.sync()
        self.queue.work()
        if self.encoder.is_needed(self.session):
            self.encoder.encode()
        self.changed.emit()

    def _finish(self, binding: TableBinding) -> None:
        """Look at a layer as soon as napari has done with what it announced: nobody draws there."""
        if not self._finished:
            self._let_go.emit()
        self._finished.add(binding)

    def _work_at_once(self) -> None:
        """Caption what was finished just now; what else there is to do can wait for a pause."""
        finished, self._finished = self._finished, set()
        if not finished or any(binding.dragging for binding in self.bindings.values()):
            return
        for binding in self.all_bindings():
            if binding in finished and binding.behind:
                binding.sync()
        self.queue.work()

    def _add_region(self, shape: str, vertices: npt.NDArray[np.float64]) -> None:
        """Add a region that was found by inspecting, given in image pixels."""
        layer = self.layer("regions")
        with shapes.flat(layer):
            layer.add(geometry.alignment(self.image, layer)(vertices), shape_type=shape)

    def _on_grown(self, grown: Grown) -> None:
        """Make a region of what was grown from clicks, or give it its new outline, as a step."""
        growth, records = grown.growth, self.session.records
        layer, subject = self.layer("regions"), growth.subject
        binding = self.bindings["regions"]
        if binding.dragging:
            self.show_message("Finish the shape at hand first: let the button go.")
            return
        self.finish_drawing()
        image_layers.show(layer)
        placed = geometry.alignment(self.image, layer)
        outline = placed(geometry.on_plane(grown.outline, growth.plane, self.image.ndim))
        known = subject.uid in records
        with self.session.step("change of a grown region" if known else "growing of a region"):
            if known:
                binding.reshape(subject.uid, outline)
            else:
                before = set(self.session.uids("regions"))
                with shapes.flat(layer):
                    layer.add(outline, shape_type="polygon")
                binding.sync()
                new = [uid for uid in self.session.uids("regions") if uid not in before]
                subject.uid = new[0] if new else ""
            places = {CLICKS: growth.clicks, NEGATIVE: growth.negative}
            made: dict[str, Any] = {
                name: list(map(list, given)) for name, given in places.items() if given
            }
            if growth.size:
                made[SIZE] = growth.size
            if grown.segmenter:
                made[SEGMENTER] = grown.segmenter
            self.session.outline(subject.uid, made)
        if subject.uid in self.session.uids("regions"):
            layer.selected_data = {self.session.uids("regions").index(subject.uid)}
        self.show()
        self._finish(binding)

    def _on_sharpened(self, items: Sequence[Sharpened], name: str) -> None:
        """Give regions the outlines of their pixels, as one step."""
        layer, binding = self.layer("regions"), self.bindings["regions"]
        if binding.dragging:
            self.show_message("Finish the shape at hand first: let the button go.")
            return
        self.finish_drawing()
        placed = geometry.alignment(self.image, layer)
        with self.session.step(f"sharpening of {counted(items, 'outline')}"):
            for blunt, outline, _ in items:
                if outline is not None:
                    rows = geometry.on_plane(outline, blunt.plane, self.image.ndim)
                    binding.reshape(blunt.uid, placed(rows))
                    self.session.outline(blunt.uid, {SEGMENTER: name})
        self.show_message(f"{counted(items, 'outline')} sharpened by {name}.")
        self.select([blunt.uid for blunt, *_ in items])
        self.show()
        self._finish(binding)

    def _on_active(self, *_: object) -> None:
        """Lay the tool down where another layer is turned to."""
        if self.grower.on and not self.growing:
            self.grow(False)

    @property
    def _growing_keys(self) -> dict[str, Callable[[object], None]]:
        """Keys of the layer of regions while regions are grown."""

        def smaller(_layer: object) -> None:
            self.grower.resize(-1)

        def larger(_layer: object) -> None:
            self.grower.resize(1)

        return {"Escape": self._on_escape, "[": smaller, "]": larger}

    def _on_escape(self, _layer: object) -> None:
        """Let the next click begin another region; where none is at hand, stop growing."""
        if self.grower.end():
            self.show_message("The next click begins another region; Esc once more stops growing.")
        else:
            self.grow(False)
            self.show_message("Growing has ended.")

    def _on_running(self) -> None:
        """Let Escape stop what was asked for and runs; not the reading of the image."""
        asked = self.search, self.sharpener, self.comparer, self.why
        is_running = any(part.progress is not None for part in asked)
        self._escape.follow(is_running or self.describing.running or self.queue.asks_server)

    def _on_stop(self) -> None:
        if self.describing.running and self.search.progress is None:
            self.describing.stop()
        else:
            self.cancel()

    def _on_growing(self) -> None:
        self.overlays.growth = self.grower.drawing()
        self.overlays.refresh()

    def _on_proposal_clicked(self, number: int, rejected: bool) -> None:
        (self.reject_found if rejected else self.accept_found)([number])

    def _on_inspected(self) -> None:
        spot = self.inspector.spot
        self.overlays.inspected = spot.region if spot is not None else None
        self.overlays.refresh()

    def _on_layers_event(self, event: Event) -> None:
        """Check the display once it rests: with a slider it changes at every step."""
        # An emission that is under way still reaches slots that were disconnected meanwhile.
        if event.type in DISPLAY_EVENTS and self._connections:
            self._display_settled.throttle()

    def _on_layer_inserted(self, event: Event) -> None:
        """Leave copies of our layers to whoever made them: the regions on them are not ours."""
        for own in self.own_bindings():
            if image_layers.is_copy(event.value, own.layer):
                image_layers.disown(event.value)

    def _on_layer_removed(self, event: Event) -> None:
        layer = event.value
        own, source = self.binding_of(layer), self.sources.following.get(layer)
        self.sources.leave(layer, deleted=True)
        called = ""
        if own is not None:
            called = "of points"
            self._unbind(own)
            if own is not source:
                called = f"of {counted(self.session.uids(own.key), 'shape')}"
                self.session.drop_layer(own.key)
            self.changed.emit()
        elif source is not None and self.session.is_away(source.key):
            called = repr(layer.name)
            self._deleted[source.key] = layer
            self.deleted.emit(source.key)
        if called:
            self.show_message(f"The layer {called} was deleted; Undo brings it back.")

    def _unbind(self, own: TableBinding) -> None:
        """Give one of our own layers back to napari."""
        if self.bindings.pop(own.key, None) is not None:
            own.close()
            self._shared.detach(own.layer)
        image_layers.protect(own.layer, False)
        image_layers.release(own.layer, self.image)
        self.released.emit(own.layer)

    def _revive(self) -> None:
        """Make layers anew that have shapes again by now; take away what is deleted once more."""
        for key in OWN_LAYERS:
            if self.session.uids(key):
                self.layer(key)
        for key, layer in list(self._deleted.items()):
            if not self.session.is_away(key):
                del self._deleted[key]
                if layer not in self.viewer.layers and self.session.holds(key):
                    self.sources.follow(layer, key=key)
                    self.viewer.add_layer(layer)
        for source in self.sources:
            if self.session.is_away(source.key):
                self.viewer.layers.remove(source.layer)

    def _replay(self) -> None:
        """Revive layers, and delete those of ours that the step done again had deleted."""
        self._revive()
        for own in self.own_bindings():
            if not self.session.holds(own.key):
                # First, as shapes that go from a layer that is there are deleted for good.
                self.sources.leave(own.layer, deleted=True)
                self._unbind(own)
                self.viewer.layers.remove(own.layer)

    def _on_new_pixels(self, *_: object) -> None:
        self.forget_grids()
        # What comes of it now is about what was there before.
        dropped = self.describing.forget()
        self.session.outdate()
        if geometry.full_shape(self.image) != self._shape:
            self.replaced.emit()
            return
        said = "The image has changed; press Start to read it again."
        self.show_message(f"{said} {NOT_TAKEN}" if dropped else said)

    def _on_ndisplay(self, *_: object) -> None:
        """Say that regions are not drawn in three dimensions, as long as that is so."""
        if self.viewer.dims.ndisplay == 3:
            if self.message != SOLID:
                self._message_before = self.message
            self.show_message(SOLID)
        elif self.message == SOLID:
            self.show_message(self._message_before)
        self.settle()

    def _on_renamed(self, *_: object) -> None:
        for own in self.own_bindings():
            image_layers.mark(own.layer, self.image, own.key)
