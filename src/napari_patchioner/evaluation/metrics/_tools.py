"""Helpers that some metrics need, opened once for a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from napari_patchioner.errors import ModelError

from ._registry import METRICS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Places:
    """Where the files of tools lie.

    Attributes
    ----------
    clip : Path or None
        Folder of a CLIP ViT-B/32 in the form of the Hugging Face hub.
    pac : Path or None
        Weights of PAC-S, tuned from that CLIP.
    """

    clip: Path | None = None
    pac: Path | None = None


def _meteor(_: Places) -> object:
    from .meteor import JavaMeteor

    return JavaMeteor()


def _spice(_: Places) -> object:
    from .spice import JavaSpice

    return JavaSpice()


def _clip(places: Places) -> object:
    if places.clip is None:
        raise ModelError("CLIPScore needs a CLIP ViT-B/32; name its folder by --clip DIR.")
    from .clip_judge import ClipJudge

    return ClipJudge.open(places.clip)


def _pac(places: Places) -> object:
    if places.clip is None or places.pac is None:
        raise ModelError(
            "PAC-S needs its tuned weights and the CLIP ViT-B/32 they were tuned from; name them "
            "by --pac FILE and --clip DIR."
        )
    from .clip_judge import ClipJudge

    return ClipJudge.open(places.clip, places.pac)


NOWHERE = Places()
Opener: TypeAlias = "Callable[[Places], object]"
# How to open each tool, by the name that metrics know it by.
OPENERS: Mapping[str, Opener] = {"meteor": _meteor, "spice": _spice, "clip": _clip, "pac": _pac}


def open_tools(
    task: str,
    names: Sequence[str],
    say: Callable[[str], None],
    places: Places = NOWHERE,
    openers: Mapping[str, Opener] = OPENERS,
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
    places : Places
        Where the files of tools lie.
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
        needed = dict.fromkeys(need for name in names for need in METRICS[name].needs)
        return {need: openers[need](places) for need in needed}
    needed = {n: None for one in METRICS.values() if task in one.tasks for n in one.needs}
    tools = {}
    for need in needed:
        try:
            tools[need] = openers[need](places)
        except ModelError as error:
            say(f"left out: {error}")
    return tools
