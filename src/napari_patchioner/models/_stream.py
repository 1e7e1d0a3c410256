"""Bytes of one file over HTTP: resumed where they broke off, and left at once when cancelled."""

from __future__ import annotations

import time
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from ._meter import Meter

# Attempts in a row that bring nothing before giving up, and seconds before the next one.
ATTEMPTS, WAIT_S = 5, 1.0
# A server that is silent for so many seconds is asked anew.
SILENCE_S = 20.0
_PAUSE = 0.1
_BUSY = {408, 425, 429, 500, 502, 503, 504}
# Being handed on to what is no web address (file:, ftp:), or in a circle, stays as it is.
_HOPELESS = {"OfflineModeIsEnabled", "UnsupportedProtocol", "TooManyRedirects", "InvalidURL"}


class Dropped(Exception):
    """The bytes did not come.

    Attributes
    ----------
    reason : Exception
        Why.
    response : object, optional
        The server's answer, if it was one that refuses.
    """

    def __init__(self, reason: Exception, response: Any = None) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.response = response

    @property
    def for_good(self) -> bool:
        """Whether asking again is of no use."""
        status = getattr(self.response, "status_code", None)
        return type(self.reason).__name__ in _HOPELESS or (
            status is not None and status not in _BUSY
        )


def fill(path: Path, url: str, size: int, meter: Meter) -> None:
    """Append to a file what it lacks of the one at an address.

    Parameters
    ----------
    path : Path
        Holds the first bytes, if any, from an earlier attempt. What comes is kept there whatever
        happens.
    url : str
        Where the file is; an address of the hub.
    size : int
        Bytes of the whole file.
    meter : Meter
        Counts the bytes; may raise to stop.

    Raises
    ------
    Dropped
        The server refused, or several attempts in a row brought nothing.
    OSError
        The file cannot be written.
    """
    if path.exists() and path.stat().st_size > size:
        path.unlink()
    with path.open("ab") as file:
        meter.add(file.tell(), moved=False)
        left = ATTEMPTS
        while file.tell() < size:
            before = file.tell()
            try:
                _append(file, url, size, meter)
                trouble = Dropped(ConnectionError("the connection ended early"))
            except Dropped as error:
                trouble = error
            left = ATTEMPTS if file.tell() > before else left - 1
            if trouble.for_good or (not left and file.tell() < size):
                raise trouble
            if file.tell() < size:
                _rest(meter)


def _append(file: BinaryIO, url: str, size: int, meter: Meter) -> None:
    """Write what one answer of the server brings."""
    start = file.tell()
    with _Reader(url, start) as reader:
        response = reader.take(meter.tick)
        partial = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if response.status_code == 416 or (start and response.is_success and not partial):
            # It cannot send a part: what is here already has to come again.
            file.truncate(0)
            file.seek(0)
            meter.add(-start, moved=False)
        if response.status_code == 416:
            return
        if not response.is_success:
            status = f"status {response.status_code}"
            raise Dropped(ConnectionError(status), response)
        for chunk in reader.chunks(meter.tick):
            wanted = chunk[: size - file.tell()]
            file.write(wanted)
            meter.add(len(wanted))
            if file.tell() >= size:  # whatever else it sends
                return


def _rest(meter: Meter) -> None:
    """Wait before the next attempt, while a person may cancel."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        time.sleep(_PAUSE)
        meter.tick("the connection was lost; trying again")


class _Reader:
    """Reads an answer in a thread of its own, so that a silent server can be left at once."""

    def __init__(self, url: str, start: int) -> None:
        self._items: Queue[Any] = Queue(64)
        self._over = Event()
        Thread(target=self._read, args=(url, start), daemon=True).start()

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def take(self, tick: Callable[[], object]) -> Any:
        """Return what comes next: the answer, then its bytes, then None.

        Raises
        ------
        Dropped
            The connection was lost.
        """
        while True:
            try:
                item = self._items.get(timeout=_PAUSE)
            except Empty:
                tick()
                continue
            if isinstance(item, Exception):
                raise Dropped(item) from item
            return item

    def chunks(self, tick: Callable[[], object]) -> Iterator[bytes]:
        """Yield the bytes as they come."""
        while (chunk := self.take(tick)) is not None:
            yield chunk

    def _read(self, url: str, start: int) -> None:
        from huggingface_hub import get_session
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        try:
            with get_session().stream(
                "GET", url, headers=headers, timeout=SILENCE_S, follow_redirects=True
            ) as response:
                self._hand(response)
                # As they come: what is packed may unpack to any length.
                for chunk in response.iter_raw() if response.is_success else ():
                    if not self._hand(chunk):
                        return
            self._hand(None)
        except Exception as error:
            self._hand(error)

    def _hand(self, item: Any) -> bool:
        """Pass something on, unless nobody waits for it any more."""
        while not self._over.is_set():
            try:
                self._items.put(item, timeout=_PAUSE)
            except Full:
                continue
            return True
        return False
