"""Undo and redo of what is drawn and written together, which napari has not."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from napari_patchioner.viewer.session.session import Session

    from .binding import LayerBinding


def undo(session: Session, bindings: Collection[LayerBinding]) -> str:
    """Take back the newest step, on the layers too; return what was done, as a sentence."""
    return _go(session, bindings, back=True)


def redo(session: Session, bindings: Collection[LayerBinding]) -> str:
    """Do again what was taken back last; return what was done, as a sentence."""
    return _go(session, bindings, back=False)


def _go(session: Session, bindings: Collection[LayerBinding], *, back: bool) -> str:
    if any(binding.drawing or binding.dragging for binding in bindings):
        return "Finish the shape at hand first: double-click or press Escape."
    for binding in bindings:
        binding.sync()
    label = session.undo() if back else session.redo()
    if not label:
        return f"There is nothing to {'undo' if back else 'redo'}."
    for binding in bindings:
        binding.restore()
    session.amend()
    session.tell()
    return f"{'Undid' if back else 'Redid'}: {label}"
