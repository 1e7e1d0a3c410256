"""The images of a folder ranked by a phrase, as they are searched."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qtpy.QtCore import QObject, Signal

from napari_patchioner.errors import counted
from napari_patchioner.viewer.dock import CaptionDock
from napari_patchioner.viewer.preferences import preference
from napari_patchioner.viewer.widgets import throttled
from napari_patchioner.viewer.workers.encode import current_store
from napari_patchioner.viewer.workers.find import find_images_by_phrase
from napari_patchioner.viewer.workers.job import Job, error_message

from .files import Listing

# Images that show a phrase less likely than this are not listed for it.
LEAST_MATCH = 0.1
# The list follows this soon: of a hundred thousand images, it takes a while to sort.
PACE_MS = 300
# Of images that could not be searched so many are named.
_NAMED = 20


class PhraseRanking(QObject):  # type: ignore[misc]
    """Looks for a phrase on all images of a listing, which then lists those that show it."""

    changed = Signal()
    messaged = Signal(str)

    def __init__(
        self, listing: Listing, dock: Callable[[], CaptionDock], parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        # What images are ranked by; empty where all are listed in their order
        self.phrase = ""
        self._listing, self._dock = listing, dock
        self._job: Job | None = None
        self._matches: dict[str, float] = {}
        self._problems: list[str] = []
        self._count = 0
        self._soon = throttled(self._rank, PACE_MS, self)

    @property
    def active(self) -> bool:
        """Whether the phrase is being looked for."""
        return self._job is not None

    def start(self, phrase: str) -> None:
        """Rank the images by how likely they show a phrase, for the model chosen in the dock."""
        self.stop()
        dock = self._dock()
        self.phrase = " ".join(phrase.split())
        files = list(self._listing.files)
        self._matches, self._problems, self._count = {}, [], len(files)
        store = current_store(bool(preference("cache", "on_disk")))
        model = dock.models.choice.value
        self._job = Job.run(
            *(find_images_by_phrase, dock.registry, model, self.phrase, files, store),
            delivered=self._on_delivered,
            ended=self._on_ended,
            background=True,
            parent=self,
        )
        self._rank()

    def stop(self) -> bool:
        """Look no further; what was found stays listed. Return whether it was being looked for."""
        job, self._job = self._job, None
        if job is not None:
            job.drop()
            self._soon.cancel()
            self._rank()
            self.messaged.emit("Stopped: the images that were read so far are listed")
            self.changed.emit()
        return job is not None

    def clear(self) -> None:
        """Look no further, and list all images again, in their order."""
        self.stop()
        self.phrase = ""
        self._listing.rank(None)

    def close(self) -> None:
        """Stop for good."""
        self._soon.cancel()
        if self._job is not None:
            self._job.drop()
        self._job = None

    def _rank(self) -> None:
        self._listing.rank(self._matches)

    def _on_delivered(self, result: tuple[str, float, str]) -> None:
        name, score, problem = result
        if problem:
            self._problems.append(problem)
        if score >= LEAST_MATCH:
            self._matches[name] = score
            self._soon.throttle()
        at = f"{len(self._matches)} of {counted(self._count, 'image')} so far show it…"
        self.messaged.emit(f"looking for {self.phrase!r}: {at}")

    def _on_ended(self, error: Exception | None) -> None:
        self._job = None
        self._soon.cancel()
        self._rank()
        if error is not None:
            self.messaged.emit(error_message(error, "the images could not be searched"))
        else:
            self.messaged.emit(self._outcome())
        self.changed.emit()

    def _outcome(self) -> str:
        """Return what came of it, and on lines of their own what could not be searched."""
        problems, shown = self._problems, f"{counted(self._matches, 'image')} of {self._count}"
        if problems and not self._matches:
            others = f"; {len(problems) - 1} others alike" if len(problems) > 1 else ""
            said = f"{self.phrase!r} was found on no image: {problems[0]}{others}"
        else:
            some = f"; {counted(problems, 'image')} could not be searched" if problems else ""
            said = f"{self.phrase!r}: {shown}, the likeliest first{some}"
        return "\n".join((said, *_listed(problems)))


def _listed(problems: Sequence[str]) -> list[str]:
    """Return some problems, and how many more there are."""
    more = len(problems) - _NAMED
    return [*problems[:_NAMED], *([f"… and {more} more"] if more > 0 else [])]
