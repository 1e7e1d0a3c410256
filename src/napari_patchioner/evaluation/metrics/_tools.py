"""Helpers that some metrics need, opened once for a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_patchioner.errors import ModelError

from ._registry import METRICS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def _meteor() -> object:
    from .meteor import JavaMeteor

    return JavaMeteor()


# How to open each tool, by the name that metrics know it by.
OPENERS: Mapping[str, Callable[[], object]] = {"meteor": _meteor}


def open_tools(
    task: str,
    names: Sequence[str],
    say: Callable[[str], None],
    openers: Mapping[str, Callable[[], object]] = OPENERS,
) -> dict[str, Any]:
    """Open what the metrics of a run need.

    Parameters
    ----------
    task : {"image", "dense", "region-set", "trace"}
    names : sequence of str
        Metrics asked for by name: a tool of theirs that is not there is an error. Where none is
        named, all metrics of the task are meant, and a tool that is not there is only told.
    say : callable
        Told in one sentence what is left out and why.
    openers : mapping
        How to open each tool.

    Returns
    -------
    dict
        Opened tools by name.

    Raises
    ------
    ModelError
        A tool of a metric asked for by name is not there; the sentence says how to get it.
    """
    if names:
        return {need: openers[need]() for name in names for need in METRICS[name].needs}
    needed = {n for one in METRICS.values() if task in one.tasks for n in one.needs} & set(openers)
    tools = {}
    for need in sorted(needed):
        try:
            tools[need] = openers[need]()
        except ModelError as error:
            say(f"left out: {error}")
    return tools
