"""The way to a cluster that is running already."""

from __future__ import annotations

import json
import logging
import warnings
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_patchioner.errors import PatchionerError, pip_install

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ANSWERS_WITHIN_S = 5
# Their news of lost connections is told by us, in a sentence.
_LOGGERS = ("distributed", "distributed.client")


def distributed() -> Any:
    """Return the library; it is imported only now.

    Raises
    ------
    PatchionerError
        If it is not installed.
    """
    try:
        return import_module("distributed")
    except ImportError as error:
        raise PatchionerError(
            "a cluster needs dask.distributed, which is not installed; run: "
            f"{pip_install('distributed')}"
        ) from error


@contextmanager
def connected(scheduler: str, tell: Callable[[str], object]) -> Iterator[Any]:
    """Yield a client of a scheduler; what it has asked for is forgotten in the end.

    Parameters
    ----------
    scheduler : str
        Its address, or the JSON file it has written about itself.
    tell : callable
        Gets what a person should know in the meantime.

    Raises
    ------
    PatchionerError
        Nothing answers there, or something that is no scheduler.
    """
    library, address = distributed(), _address(scheduler)
    with _quiet():
        client = _connect(library, address, tell)
        try:
            yield client
        finally:
            client.close()


def _connect(library: Any, address: str, tell: Callable[[str], object]) -> Any:
    """Return a client, having told which versions differ there."""
    mismatch = import_module("distributed.versions").VersionMismatchWarning
    try:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always", mismatch)
            # A client of a name that cannot be understood complains again when it is collected.
            import_module("distributed.comm").resolve_address(address)
            client = library.Client(
                address,
                timeout=_ANSWERS_WITHIN_S,
                set_as_default=False,
                name="napari-patchioner",
            )
    except Exception as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise PatchionerError(
            f"no dask scheduler answers at {address} ({why}); start one with 'dask scheduler' "
            "and name the address that it prints"
        ) from error
    for one in found:
        if issubclass(one.category, mismatch):
            tell(f"the cluster has other versions than this computer:\n{one.message}")
    return client


def _address(scheduler: str) -> str:
    """Return the address itself, or the one that a scheduler has written into a file."""
    path = Path(scheduler)
    if not path.is_file():
        return scheduler
    try:
        return str(json.loads(path.read_text("utf-8"))["address"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PatchionerError(
            f"{scheduler}: does not tell a scheduler's address; name the file that "
            "'dask scheduler --scheduler-file' writes, or an address"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library from logging for a while what is told otherwise."""
    before = [(logger, logger.level) for logger in map(logging.getLogger, _LOGGERS)]
    for logger, _ in before:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in before:
            logger.setLevel(level)
