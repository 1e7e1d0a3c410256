"""The models on offer: got, removed and added from here, and the last ones used kept loaded."""

from __future__ import annotations

from collections import Counter, OrderedDict
from contextlib import contextmanager
from functools import cache
from inspect import signature
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from napari_patchioner.captioner import Captioner
    from napari_patchioner.models import ModelCard

    Report = Callable[[float, str], None]

# The paper's models take gigabytes each; two allow to compare without loading anew.
KEPT = 2
LOOK_UP_S = 0.1


class Store(Protocol):
    """What puts models on this machine and takes them away."""

    def get(self, model: str, *, folder: Path | None, progress: Report) -> None:
        """Download a model, or copy it from a folder."""

    def remove(self, model: str) -> int:
        """Delete a model and return how many bytes that freed."""

    def add(self, folder: Path, *, progress: Report) -> str:
        """Take in a model of somebody's own and return its id."""

    def folder(self) -> Path:
        """Return where models are kept."""

    def by_hand(self, model: str) -> Sequence[str]:
        """Return which files a person has to bring along in a folder, and where they are from."""


class Library:
    """Loads models when they are wanted and keeps the last ones used.

    Parameters
    ----------
    load : callable
        Takes a model id, and a progress callback if it knows that argument; returns a captioner.
    cards : callable
        Returns what is known of each model.
    store : Store, optional
        Gets, removes and adds models; without one the list stays as it is.
    built_in : collection of str
        Ids of the models that cannot be removed.
    """

    def __init__(
        self,
        load: Callable[..., Captioner],
        cards: Callable[[], Sequence[ModelCard]],
        store: Store | None = None,
        built_in: Collection[str] = (),
    ) -> None:
        self._load = load
        self._cards = cards
        self.store = store
        self.built_in = frozenset(built_in)
        self._loaded: OrderedDict[str, Captioner] = OrderedDict()
        self._users: Counter[str] = Counter()
        self._leaving: set[str] = set()
        self._state = Lock()
        self._loading = Lock()

    def cards(self) -> Sequence[ModelCard]:
        """Return the models on offer, the default one first."""
        return self._cards()

    def card(self, model: str) -> ModelCard:
        """Return what is known of one model."""
        found = next((card for card in self.cards() if card.id == model), None)
        if found is None:
            raise ModelError(f"There is no model {model!r} any more; choose another one.")
        return found

    @property
    def loaded(self) -> tuple[str, ...]:
        """Ids of the models in memory, the one used last at the end."""
        with self._state:
            return tuple(self._loaded)

    def folder(self) -> Path:
        """Return where models are kept."""
        return self._the_store().folder()

    def by_hand(self, model: str) -> Sequence[str]:
        """Return which files of a model a person has to bring along, as no hub holds them."""
        return self._the_store().by_hand(model)

    # called from workers

    @contextmanager
    def using(self, model: str, progress: Report | None = None) -> Iterator[Captioner]:
        """Lend a model, loaded if need be; it is neither dropped nor removed meanwhile."""
        with self._state:
            if model in self._leaving:
                raise ModelError("this model is being removed; choose another one")
            self._users[model] += 1
        try:
            yield self._ready(model, progress)
        finally:
            with self._state:
                self._users[model] -= 1
                self._drop(KEPT)

    def get(self, model: str, folder: Path | None, progress: Report) -> None:
        """Download a model, or take it from a folder that holds a copy."""
        self._the_store().get(model, folder=folder, progress=progress)
        with self._state:
            self._loaded.pop(model, None)

    def remove(self, model: str) -> int:
        """Delete a model nobody uses at the moment; return how many bytes that freed."""
        with self._state:
            if self._users[model]:
                raise ModelError(
                    "this model is at work; wait until it has finished, or press Cancel, "
                    "and remove it then"
                )
            self._loaded.pop(model, None)
            self._leaving.add(model)
        try:
            return self._the_store().remove(model)
        finally:
            with self._state:
                self._leaving.discard(model)

    def add(self, folder: Path, progress: Report) -> str:
        """Take in a model of somebody's own and return its id."""
        return self._the_store().add(folder, progress=progress)

    # details

    def _ready(self, model: str, progress: Report | None) -> Captioner:
        """Return a model; only one is loaded at a time."""
        if (kept := self._kept(model)) is not None:
            return kept
        with _turn(self._loading, progress, "waiting for another model to load"):
            if (kept := self._kept(model)) is not None:
                return kept
            with self._state:
                self._drop(KEPT - 1)
            takes_progress = "progress" in signature(self._load).parameters
            loaded = self._load(model, **({"progress": progress} if takes_progress else {}))
            with self._state:
                self._loaded[model] = loaded
            return loaded

    def _kept(self, model: str) -> Captioner | None:
        """Return a model that is in memory, and note that it was used."""
        with self._state:
            if model in self._loaded:
                self._loaded.move_to_end(model)
            return self._loaded.get(model)

    def _drop(self, kept: int) -> None:
        """Forget the models used longest ago, but never one in use."""
        idle = [model for model in self._loaded if not self._users[model]]
        for model in idle[: max(0, len(self._loaded) - kept)]:
            del self._loaded[model]

    def _the_store(self) -> Store:
        if self.store is None:
            raise ModelError("models can be neither got nor removed here")
        return self.store


class ModelStore:
    """The store of the `models` package."""

    def get(self, model: str, *, folder: Path | None, progress: Report) -> None:
        """Download a model, or copy it from a folder."""
        from napari_patchioner.models import get_model

        get_model(model, folder=folder, progress=progress)

    def remove(self, model: str) -> int:
        """Delete a model and return how many bytes that freed."""
        from napari_patchioner.models import remove_model

        return remove_model(model)

    def add(self, folder: Path, *, progress: Report) -> str:
        """Take in a model of somebody's own and return its id."""
        from napari_patchioner.models import add_model

        return add_model(folder, progress=progress).id

    def folder(self) -> Path:
        """Return where models are kept."""
        from napari_patchioner.models.store import store_folder

        return store_folder()

    def by_hand(self, model: str) -> Sequence[str]:
        """Return which files a person has to bring along in a folder, and where they are from."""
        from napari_patchioner.models.install import find_preset

        parts = find_preset(model).elsewhere.values()
        files = (file for part in parts for file in part if not file.repo)
        return [f"{file.path} ({file.where})" for file in files]


@contextmanager
def _turn(lock: Lock, progress: Report | None, message: str) -> Iterator[None]:
    """Hold a lock, but let whoever waits for it cancel."""
    while not lock.acquire(timeout=LOOK_UP_S):
        if progress is not None:
            progress(0.0, message)
    try:
        yield
    finally:
        lock.release()


@cache
def shared_library() -> Library:
    """Return the library of this process."""
    from napari_patchioner.models import available_models, load_model
    from napari_patchioner.models.embedded import HEADS

    return Library(load_model, available_models, ModelStore(), HEADS)
