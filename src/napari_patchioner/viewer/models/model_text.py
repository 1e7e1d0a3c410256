"""What is said of a model in the list, in its tooltip and before it is got."""

from __future__ import annotations

from html import escape
from textwrap import fill
from typing import TYPE_CHECKING

from napari_patchioner.models.preset import size_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_patchioner.models import ModelCard

WIDTH = 72
BRING = "These are on no hub: put them in a folder, then press Choose a folder."
GROUPS = ("Built in", "Installed", "To get")


def group_of(card: ModelCard, *, built_in: bool) -> str:
    """Return the heading that a model stands under."""
    if built_in:
        return GROUPS[0]
    return GROUPS[1] if card.installed else GROUPS[2]


def line(card: ModelCard, *, built_in: bool = False, coming: bool = False) -> str:
    """Return the line of a model in the list: its name and its state."""
    if coming:
        return f"{card.title} — on its way"
    if built_in:
        return card.title
    return f"{card.title} — {state(card)}"


def state(card: ModelCard) -> str:
    """Return whether a model is there, or what it takes to have it."""
    if card.installed:
        return "installed"
    return f"{size_text(card.to_get)} to get" if card.to_get else "to get"


def tooltip(card: ModelCard) -> str:
    """Return what a person should know before choosing a model, a line for each matter."""
    facts = [card.note, *(f"{name}: {text}" for name, text in facts_of(card).items())]
    return "\n".join(fill(fact, WIDTH, subsequent_indent="    ") for fact in facts if fact)


def facts_of(card: ModelCard) -> dict[str, str]:
    """Return what is known of a model by name; what nobody knows is left out."""
    known = {
        "In the paper": card.row,
        "Licence": card.licence,
        "From": ", ".join(card.sources),
        "Files": size_text(card.size) if card.size else "",
        "Memory": size_text(card.ram) if card.ram else "",
    }
    return {name: text for name, text in known.items() if text}


def question(
    card: ModelCard, folder: Path, machine: int | None, by_hand: Sequence[str] = ()
) -> str:
    """Return what a person should know before a model is got, as rich text.

    Parameters
    ----------
    card : ModelCard
        The model.
    folder : Path
        Where it will be kept.
    machine : int, optional
        Bytes of memory this machine has, where that is known.
    by_hand : sequence of str
        Files that no hub holds and where a person finds them.
    """
    facts = {
        "Download": size_text(card.to_get) if card.to_get else "size not known",
        "From": "\n".join(card.sources),
        "By hand": "\n".join([*by_hand, BRING] if by_hand else []),
        "Licence": card.licence,
        "Kept in": str(folder),
        "Memory": _memory(card.ram, machine),
    }
    cells = (
        f"<tr><td><b>{name}</b>&nbsp;&nbsp;</td><td>{_rich(text)}</td></tr>"
        for name, text in facts.items()
        if text
    )
    return f"<table>{''.join(cells)}</table>"


def _rich(text: str) -> str:
    """Return plain text as rich text."""
    return escape(text).replace("\n", "<br>")


def _memory(needed: int, machine: int | None) -> str:
    """Return the memory a model needs beside what there is."""
    if not needed:
        return ""
    text = size_text(needed)
    if not machine:
        return text
    enough = "this machine has" if machine >= needed else "but this machine has only"
    return f"{text}; {enough} {size_text(machine)}"


def machine_memory() -> int | None:
    """Return how many bytes of memory this machine has, if the system says so."""
    try:
        import psutil

        return int(psutil.virtual_memory().total)
    except (ImportError, OSError, RuntimeError):
        return None
