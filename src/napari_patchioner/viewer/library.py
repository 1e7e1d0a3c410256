"""The models on offer, each loaded once."""

from __future__ import annotations

from functools import cache
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_patchioner.captioner import Captioner
    from napari_patchioner.models import ModelCard


class Library:
    """Loads a model on first use and keeps it.

    Parameters
    ----------
    load : callable
        Takes a model id and returns a captioner.
    cards : callable
        Returns what is known of each model.
    """

    def __init__(
        self,
        load: Callable[[str], Captioner],
        cards: Callable[[], Sequence[ModelCard]],
    ) -> None:
        self._load = load
        self._cards = cards
        self._loaded: dict[str, Captioner] = {}
        self._lock = Lock()

    def cards(self) -> Sequence[ModelCard]:
        """Return the models on offer, the default one first."""
        return self._cards()

    def load(self, model: str) -> Captioner:
        """Return a model; called from workers, so only one of them loads it."""
        with self._lock:
            if model not in self._loaded:
                self._loaded[model] = self._load(model)
            return self._loaded[model]


@cache
def shared_library() -> Library:
    """Return the library of this process."""
    from napari_patchioner.models import available_models, load_model

    return Library(load_model, available_models)
