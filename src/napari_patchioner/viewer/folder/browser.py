"""Going through a folder: one image in the window at a time, the next one prepared meanwhile."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal
from superqt.utils import QSignalThrottler

from napari_patchioner.errors import PatchionerError
from napari_patchioner.viewer.layers.image_layers import KEYS, find_layer
from napari_patchioner.viewer.panels.bars import TOOLS
from napari_patchioner.viewer.preferences import preference
from napari_patchioner.viewer.workers.job import Job
from napari_patchioner.viewer.workers.prefetch import (
    Prefetcher,
    first_image,
    load,
    load_error_message,
    show,
)

from .files import last, remember
from .listing import Listing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import napari
    from napari.utils.events import Event

    from napari_patchioner.viewer.controller import Controller
    from napari_patchioner.viewer.dock import CaptionDock
    from napari_patchioner.viewer.panels.bars import Tool
    from napari_patchioner.viewer.project.project_file import ProjectFile
    from napari_patchioner.viewer.workers.prefetch import ImageFile, Loaded

# So long a person who draws may rest between two captions.
IDLE_MS = 400


class OpenedImage(QObject):  # type: ignore[misc]
    """Follows an image of the folder from when it is in the window until it goes.

    `layers` is what its file holds, `image` the one of them that is captioned.
    """

    # Its saved work is there, if it has any.
    restored = Signal()
    # What is known of it has changed: saved, encoded, captioned.
    changed = Signal()
    # What came of the search for saved work, in a sentence.
    messaged = Signal(str)

    def __init__(
        self,
        dock: CaptionDock,
        file: ImageFile,
        layers: list[napari.layers.Layer],
        image: napari.layers.Image,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.file = file
        self.image = image
        self._dock = dock
        self._layers = layers
        self._restored = False
        controller, project_file = self.controller, self.project_file
        if controller is not None and project_file is not None:
            project_file.changed.connect(self._on_project_changed)
            project_file.messaged.connect(self.messaged)
            controller.encoder.changed.connect(self.changed)
            controller.changed.connect(self.changed)

    @property
    def controller(self) -> Controller | None:
        """What is drawn and written on it."""
        return self._dock.controllers.get(self.image)

    @property
    def project_file(self) -> ProjectFile | None:
        """What saves that."""
        controller = self.controller
        return self._dock.projects.files.get(controller) if controller is not None else None

    @property
    def busy(self) -> bool:
        """Whether something is being done for it by a worker, or about to be."""
        controller, project_file = self.controller, self.project_file
        if controller is None or project_file is None:
            return False
        working = controller.encoder.active or controller.queue.active
        return not project_file.searched or working

    @property
    def tool(self) -> Tool | None:
        """The drawing tool in use, to go on with on the next image."""
        active = self._dock.viewer.layers.selection.active
        bindings = self.controller.bindings if self.controller is not None else {}
        for tool in TOOLS:
            bound = bindings.get(tool.key)
            if bound is not None and bound.layer is active and str(active.mode) == tool.mode:
                return tool
        return None

    def facts(self) -> dict[str, Any]:
        """Return what this machine is to know of it next time, as plain values."""
        controller, project_file = self.controller, self.project_file
        facts: dict[str, Any] = {"stamp": self.file.stamp, "problem": ""}
        if project_file is not None and project_file.searched:
            # Its pixels may have turned out to be unreadable.
            with suppress(OSError, ValueError, RuntimeError):
                facts["content"] = project_file.content
        if controller is not None and controller.encoder.grids:
            facts["grid"] = list(controller.encoder.grids.values())[-1].key
        return facts

    def start(self) -> None:
        """Have it encoded with the chosen model, if that is there."""
        card = self._dock.registry.card(self._dock.panel.source.model.value)
        if card.installed and self._dock.image is self.image:
            self._dock.start()

    def may_close(self) -> bool:
        """Save the work; where that fails, ask. False where a person would rather stay."""
        return self._dock.projects.may_leave(self.controller)

    def close(self) -> None:
        """Take the image away with its shapes, whose work is saved.

        Points and labels are other people's: they stay, hidden where they were captioned.
        """
        viewer, controller = self._dock.viewer, self.controller
        if controller is not None:
            for layer in controller.sources.following:
                layer.visible = False
        shapes = [find_layer(viewer, self.image, key) for key in KEYS]
        # The image first: that lets go of its shapes.
        for layer in (self.image, *shapes, *self._layers):
            if layer in viewer.layers:
                viewer.layers.remove(layer)
        self._layers = []
        self.deleteLater()

    def _on_project_changed(self) -> None:
        project_file = self.project_file
        if project_file is not None and project_file.searched and not self._restored:
            self._restored = True
            self.restored.emit()
        self.changed.emit()


class Browser(QObject):  # type: ignore[misc]
    """Opens images of a folder one after the other, in the dock that `captions` returns.

    Attributes
    ----------
    listing : Listing
        The folder.
    opened : OpenedImage, optional
        The image in the window.
    wanted : ImageFile, optional
        The image that is being opened.
    position : ImageFile, optional
        From where the next and the previous image are counted.
    prefetcher : Prefetcher, optional
        What prepares the next one; there with the first image.
    """

    changed = Signal()
    messaged = Signal(str)
    # With the image file that is in the window now.
    shown = Signal(object)

    def __init__(
        self,
        viewer: napari.Viewer,
        captions: Callable[[], CaptionDock],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.listing = Listing(self)
        self.opened: OpenedImage | None = None
        self.wanted: ImageFile | None = None
        self.position: ImageFile | None = None
        self.prefetcher: Prefetcher | None = None
        self._viewer = viewer
        self._captions = captions
        self._job: Job | None = None
        self._by = 1
        self._stepping = False
        self._failed: list[str] = []
        self._at, self._open_it = "", False
        self._noted: dict[str, Any] | None = None
        self._idle = QSignalThrottler(QSignalThrottler.EmissionPolicy.Trailing, self)
        self._idle.setTimeout(IDLE_MS)
        self._idle.triggered.connect(self._prefetch)
        self.listing.listed.connect(self._on_listed)
        self.listing.messaged.connect(self.messaged)
        self._viewer.layers.events.removed.connect(self._on_removed)

    # what a person asks for

    def open_folder(self, folder: Path, at: str = "", *, open_it: bool = False) -> None:
        """List a folder; an image in the window stays there.

        `at` names the image to go on with, which is opened if `open_it` says so.
        """
        self.position, self._at, self._open_it = None, at, open_it
        self.listing.open(folder)
        remember(folder, at)

    def go_on(self) -> None:
        """List the folder of last time, at the image of last time."""
        before = last()
        if before is not None:
            self.open_folder(*before)

    def go(self, file: ImageFile) -> None:
        """Open an image in place of the one in the window."""
        self._stepping = False
        self._failed.clear()
        self._go(file)

    def step(self, by: int) -> None:
        """Open the next image of the list (1) or the one before (-1) that can be opened."""
        self._failed.clear()
        self._step(by)

    def done(self) -> None:
        """Tick the image in the window, and open the next one."""
        if self.opened is not None:
            self.listing.tick([self.opened.file], True)
            self.step(1)

    def neighbour(self, by: int) -> ImageFile | None:
        """Return the next image of the list (1) or the one before (-1) that can be opened."""
        return self.listing.neighbour(self.position, by)

    def close(self) -> None:
        """Stop everything; the image in the window stays there."""
        self._idle.cancel()
        if self.opened is not None:
            self._note(self.opened)
        self.listing.close()
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        if self._job is not None:
            self._job.cancel()
            self._job = None
        if self.prefetcher is not None:
            self.prefetcher.drop()

    @property
    def passed_over(self) -> str:
        """Which images could not be opened on the way to this one, and why."""
        first, more = self._failed[:1], len(self._failed) - 1
        return " ".join([*first, *([f"{more} more cannot be opened."] if more > 0 else [])])

    # opening

    def _step(self, by: int) -> None:
        file = self.neighbour(by)
        if file is None:
            self._show_message(f"This is the {'last' if by > 0 else 'first'} image of the list.")
            return
        self._by, self._stepping = by, True
        self._go(file)

    def _show_message(self, message: str) -> None:
        """Show a sentence after what was passed over, which it would overwrite."""
        self.messaged.emit(f"{self.passed_over} {message}".strip())

    def _go(self, file: ImageFile) -> None:
        if self.opened is not None:
            if file == self.opened.file and self.wanted is None:
                return
            if not self.opened.may_close():
                return
        self.wanted = self.position = file
        loaded = self.prefetcher.take(file) if self.prefetcher is not None else None
        if loaded is not None:
            self._show(file, loaded)
        elif self._job is None:
            self._load(file)
        self.changed.emit()

    def _load(self, file: ImageFile) -> None:
        """Read an image; one wanted meanwhile is read after it, those between never."""
        job = self._job = Job(load, file.path, parent=self)
        job.delivered.connect(partial(self._on_loaded, job, file))
        job.ended.connect(partial(self._on_ended, job, file))
        job.start()

    def _on_loaded(self, job: Job, file: ImageFile, loaded: Loaded) -> None:
        if job is self._job and file == self.wanted:
            self._show(file, loaded)

    def _on_ended(self, job: Job, file: ImageFile, error: Exception | None) -> None:
        if job is not self._job:
            return
        self._job = None
        if error is not None and file == self.wanted:
            self._fail(file, load_error_message(error))
        elif self.wanted is not None:
            self._load(self.wanted)

    def _show(self, file: ImageFile, loaded: Loaded) -> None:
        """Put an image in the place of the one in the window."""
        dock = self._captions()
        tool = self.opened.tool if self.opened is not None else None
        opened, self.opened = self.opened, None
        if opened is not None:
            self._note(opened)
            opened.close()
        try:
            layers = show(self._viewer, loaded)
        except PatchionerError as error:
            self._fail(file, str(error))
            return
        image = first_image(layers)
        self._viewer.layers.selection.active = image
        dock.panel.source.image.value = image
        self._viewer.reset_view()
        self.wanted, self._noted = None, None
        self.opened = opened = OpenedImage(dock, file, layers, image, self)
        opened.restored.connect(self._on_restored)
        opened.changed.connect(self._on_changed)
        opened.messaged.connect(self._show_message)
        if tool is not None:
            dock.image_actions.use_tool(tool)
        if self.prefetcher is None or self.prefetcher.registry is not dock.registry:
            self.prefetcher = Prefetcher(dock.registry, self)
            self.prefetcher.changed.connect(self.changed)
            self.prefetcher.prefetched.connect(self._on_prefetched)
        self.listing.keep(file)
        if self.listing.folder is not None:
            remember(self.listing.folder, file.name)
        self.shown.emit(file)
        self.changed.emit()

    def _fail(self, file: ImageFile, why: str) -> None:
        """Note that an image cannot be opened; who came by on the way to the next goes on."""
        self.wanted = None
        self.listing.note(file, stamp=file.stamp, problem=why)
        self.listing.show_problem(file, why)
        self._failed.append(f"{file.name} cannot be opened: {why.rstrip('.')}.")
        self._show_message("")
        if self._stepping:
            self._step(self._by)
        self.changed.emit()

    # the image in the window

    def _on_restored(self) -> None:
        """Have it encoded, if the person wants that and nothing has to be downloaded first."""
        opened = self.opened
        if opened is None or opened.controller is None or not preference("folder", "read_at_once"):
            return
        encoder = opened.controller.encoder
        if not (encoder.active or encoder.ready):
            opened.start()

    def _on_changed(self) -> None:
        """Give way to it at once; go on with the next one when it is at rest."""
        if self.opened is not None and self.opened.busy and self.prefetcher is not None:
            self.prefetcher.pause()
        self._idle.throttle()

    def _prefetch(self) -> None:
        opened = self.opened
        if opened is None or self.prefetcher is None:
            return
        self._note(opened)
        if opened.busy or self.wanted is not None:
            return
        file = self.neighbour(self._by)
        encoder = opened.controller.encoder if opened.controller is not None else None
        if file and encoder and encoder.ready and preference("folder", "read_ahead"):
            self.prefetcher.want(file, encoder.model, encoder.keep)
        else:
            self.prefetcher.drop()

    def _note(self, opened: OpenedImage) -> None:
        """Note what has come of an image, for the next time."""
        facts = opened.facts()
        if facts != self._noted and "content" in facts:
            self._noted = facts
            self.listing.note(opened.file, **facts)
        self.listing.reread(opened.file)

    def _on_prefetched(self, file: ImageFile, grid: str) -> None:
        self.listing.note(file, stamp=file.stamp, grid=grid, problem="")

    def _on_listed(self) -> None:
        """Stand where somebody was last."""
        if self.position is None and self._at:
            self.position = self.listing.find(self._at)
            if self.position is not None and self._open_it:
                self.go(self.position)
        self._at = ""
        self.changed.emit()

    def _on_removed(self, event: Event) -> None:
        if self.opened is not None and event.value is self.opened.image:
            self.opened.deleteLater()
            self.opened = None
            if self.prefetcher is not None:
                self.prefetcher.drop()
            self.changed.emit()
