"""The models: loaded when wanted and the last ones kept, got, removed and added."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock

from napari_patchioner import models
from napari_patchioner.captioner import Captioner
from napari_patchioner.describers import Describer
from napari_patchioner.devices import CPU, Placeable, Placement
from napari_patchioner.errors import ModelError
from napari_patchioner.models import ModelCard, load_model
from napari_patchioner.models.embedded import HEADS
from napari_patchioner.models.install import find_preset
from napari_patchioner.models.memories import move
from napari_patchioner.models.store import store_folder
from napari_patchioner.progress import Progress, no_progress
from napari_patchioner.viewer.preferences import preference

# The paper's models take gigabytes each; two allow to compare without loading anew.
KEPT = 2
CHECK_S = 0.1


class ModelStore:
    """What puts models on this machine and takes them away, and the folder they are in."""

    get = staticmethod(models.get_model)
    remove = staticmethod(models.remove_model)
    folder = staticmethod(store_folder)

    def add(self, folder: Path, *, progress: Progress) -> str:
        """Take in a person's own model and return its id."""
        return models.add_model(folder, progress=progress).id

    def by_hand(self, model: str) -> Sequence[str]:
        """Return which files a person has to bring along in a folder, and where they are from."""
        parts = find_preset(model).elsewhere.values()
        files = (file for part in parts for file in part if not file.repo)
        return [f"{file.path} ({file.where})" for file in files]


class ModelRegistry:
    """Loads models when they are wanted and keeps the last ones used."""

    def __init__(
        self,
        load: Callable[[str, Progress], Captioner],
        cards: Callable[[], Sequence[ModelCard]],
        store: ModelStore | None = None,
        built_in: Collection[str] = (),
    ) -> None:
        self.cards = cards
        self.built_in = frozenset(built_in)
        self._load, self._store = load, store
        self._loaded: OrderedDict[str, Captioner] = OrderedDict()
        self._users: Counter[str] = Counter()
        self._leaving: set[str] = set()
        # Where models run that were loaded to a GPU; one of them at a time is there
        self._homes: dict[str, Placement] = {}
        self._state, self._loading = Lock(), Lock()

    @property
    def store(self) -> ModelStore:
        """What gets, removes and adds models."""
        if self._store is None:
            raise ModelError("models can be neither got nor removed here")
        return self._store

    def card(self, model: str) -> ModelCard:
        """Return what is known of one model."""
        for card in self.cards():
            if card.id == model:
                return card
        raise ModelError(f"There is no model {model!r} any more; choose another one.")

    @property
    def loaded(self) -> tuple[str, ...]:
        """Ids of the models in memory, the one used last at the end."""
        with self._state:
            return tuple(self._loaded)

    # called from workers

    @contextmanager
    def using(self, model: str, progress: Progress = no_progress) -> Iterator[Captioner]:
        """Lend a model, loaded if need be; it is neither dropped nor removed meanwhile."""
        with self._state:
            if model in self._leaving:
                raise ModelError("this model is being removed; choose another one")
            self._users[model] += 1
        try:
            captioner = self._kept(model) or self._loaded_alone(model, progress)
            self._return_to_gpu(model, captioner, progress)
            yield captioner
        finally:
            with self._state:
                self._users[model] -= 1
                self._drop(KEPT)

    def load_ahead(self, model: str, progress: Progress) -> None:
        """Load a model that will be wanted soon, and before, what layers of shapes need."""
        progress(0.0, "loading the libraries")
        import pandas  # noqa: F401

        with self.using(model, progress):
            pass

    def get(self, model: str, folder: Path | None, progress: Progress) -> str:
        """Download a model, or take it from a folder that holds a copy; return its id."""
        progress(0.0, "looking for the files")
        self.store.get(model, folder=folder, progress=progress)
        with self._state:
            self._loaded.pop(model, None)
        return model

    def remove(self, model: str, progress: Progress = no_progress) -> int:
        """Delete a model nobody uses at the moment; return how many bytes that freed."""
        progress(0.0, "removing")
        with self._state:
            if self._users[model]:
                raise ModelError(
                    "this model is at work; wait until it has finished, or press Cancel, "
                    "and remove it then"
                )
            self._loaded.pop(model, None)
            self._leaving.add(model)
        try:
            return self.store.remove(model)
        finally:
            with self._state:
                self._leaving.discard(model)

    def add(self, folder: Path, progress: Progress) -> str:
        """Take in a person's own model; return its id."""
        progress(0.0, "reading the preset")
        model = self.store.add(folder, progress=progress)
        with self._state:
            # One of that name may have been removed elsewhere.
            self._loaded.pop(model, None)
        return model

    def forget_servers(self) -> None:
        """Drop models on servers: they were set up with what was allowed then, and its key."""
        with self._state:
            for model in [m for m, c in self._loaded.items() if isinstance(c, Describer)]:
                del self._loaded[model]

    def forget(self) -> None:
        """Drop all models that nobody uses at the moment; they are loaded anew when wanted."""
        with self._state:
            before = [
                captioner.placement for captioner in self._loaded.values() if _on_gpu(captioner)
            ]
            self._drop(0)
        for placement in before:
            placement.empty_cache()

    def _loaded_alone(self, model: str, progress: Progress) -> Captioner:
        """Load a model, and no other one at the same time."""
        with self._alone(progress):
            captioner = self._kept(model)
            if captioner is None:
                with self._state:
                    self._drop(KEPT - 1)
                self._clear_gpu(model, progress)
                captioner = self._load(model, progress)
                with self._state:
                    self._loaded[model] = captioner
                    self._homes.pop(model, None)
                    if _on_gpu(captioner):
                        self._homes[model] = captioner.placement
            return captioner

    @contextmanager
    def _alone(self, progress: Progress) -> Iterator[None]:
        """Let no other model be loaded or moved meanwhile; whoever waits for that can cancel."""
        while not self._loading.acquire(timeout=CHECK_S):
            progress(0.0, "waiting for a model to load")
        try:
            yield
        finally:
            self._loading.release()

    def _return_to_gpu(self, model: str, captioner: Captioner, progress: Progress) -> None:
        """Have a model that was loaded to a GPU be there, alone."""
        home = self._homes.get(model)
        if home is None or captioner.placement == home:
            return
        with self._alone(progress):
            if captioner.placement != home:
                self._clear_gpu(model, progress)
                move(captioner, home)

    def _clear_gpu(self, model: str, progress: Progress) -> None:
        """Move all other models off the GPU, once they are not in use: two may be too large."""
        while True:
            with self._state:
                others = [
                    name
                    for name, captioner in self._loaded.items()
                    if name != model and _on_gpu(captioner)
                ]
                idle = [self._loaded[name] for name in others if not self._users[name]]
            for captioner in idle:
                move(captioner, CPU)
            if len(idle) == len(others):
                return
            progress(0.0, "waiting for another model to leave the GPU")
            time.sleep(CHECK_S)

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


def _on_gpu(captioner: Captioner) -> bool:
    return isinstance(captioner, Placeable) and captioner.placement.is_gpu


@cache
def shared_registry() -> ModelRegistry:
    """Return the registry of this process."""

    def load(model: str, progress: Progress) -> Captioner:
        device, engine = (preference("models", name) for name in ("device", "engine"))
        # The environment has the say where nobody chose.
        engine = None if engine == "auto" else engine
        return load_model(model, progress, device=device, engine=engine)

    return ModelRegistry(load, models.available_models, ModelStore(), HEADS)
