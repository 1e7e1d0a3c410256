"""What a person should know of a cluster: whether it is there, who works, what differs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from napari_patchioner.errors import PatchionerError

from ._cluster_work import files_of, software

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._cluster_work import Answer

# Enough that no worker waits for the next image, and few enough to hold.
_AHEAD = 4
_ASK_AGAIN_S = 1.0
_TELL_AFTER_S = 3.0


class News:
    """Asks a scheduler how it is, and tells what is unusual.

    Parameters
    ----------
    client : distributed.Client
        Connected to the scheduler.
    scheduler : str
        How a person calls it.
    model : str
        Id of the model.
    tell : callable
        Gets a sentence each time.
    patience : float
        Seconds to wait for workers where there are none.
    """

    def __init__(
        self,
        client: Any,
        scheduler: str,
        model: str,
        tell: Callable[[str], object],
        patience: float,
    ) -> None:
        self._client, self._scheduler, self._tell = client, scheduler, tell
        self._patience = patience
        self._files, self._here = files_of(model), software(model)
        self._told: set[str] = set()
        self._window = 0
        self._asked = float("-inf")
        self._manned = time.monotonic()

    def check(self) -> None:
        """Raise a PatchionerError if the scheduler is gone."""
        if self._client.status != "running":
            raise PatchionerError(
                f"the connection to the scheduler {self._scheduler} was lost; see whether it "
                "still runs, then go on with --resume"
            )

    def window(self) -> int:
        """Return how many images may be on their way.

        Raises
        ------
        PatchionerError
            The scheduler is gone, or has had no workers for too long.
        """
        now = time.monotonic()
        if now - self._asked >= _ASK_AGAIN_S:
            self._asked = now
            self._window = sum(max(_AHEAD, 2 * threads) for threads in self._threads())
            self._watch(now)
        return self._window

    def _threads(self) -> list[int]:
        """Return how many threads each worker has."""
        self.check()
        try:
            return list(self._client.nthreads().values())
        except Exception as error:
            raise PatchionerError(
                f"the scheduler {self._scheduler} answers no longer ({error}); go on with --resume"
            ) from error

    def _watch(self, now: float) -> None:
        """Tell that workers are waited for, and give up in the end."""
        if self._window:
            self._manned = now
        waited = now - self._manned
        if waited > _TELL_AFTER_S:
            self._tell_once(
                f"there are no workers at {self._scheduler}; waiting for them, up to "
                f"{self._patience:g} s"
            )
        if waited > self._patience:
            raise PatchionerError(
                f"there were no workers at {self._scheduler} for {self._patience:g} s; start "
                f"some with 'dask worker {self._scheduler}', then go on with --resume"
            )

    def hear(self, answer: Answer) -> None:
        """Tell how a worker's software differs from this computer's.

        Raises
        ------
        PatchionerError
            Its model is made of other files.
        """
        there = answer.software
        # The model need not be installed here: then all workers have to be alike.
        if not self._here[self._files]:
            self._here[self._files] = there[self._files]
        elif there[self._files] != self._here[self._files]:
            raise PatchionerError(
                f"worker {answer.worker}: the {self._files} are others than elsewhere; get the "
                "model again there ('napari-patchioner models remove', then 'get')"
            )
        other = [
            f"{name} {there[name]} (here {version})"
            for name, version in self._here.items()
            if there[name] != version
        ]
        if other:
            machine = answer.worker.rpartition(" ")[2]
            self._tell_once(
                f"workers on {machine} have {', '.join(other)}; captions may differ from those "
                "made here"
            )

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._tell(text)
