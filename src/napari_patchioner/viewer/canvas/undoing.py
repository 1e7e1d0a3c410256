"""Undo and redo of what is drawn and written together, which napari has not."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from napari_patchioner.viewer.session.session import Session

    from .binding import LayerBinding


def undo(
    session: Session,
    bindings: Collection[LayerBinding],
    revive: Callable[[], None] = lambda: None,
) -> str:
    """Take back the newest step, on the layers too; return what was done, as a sentence.

    Parameters
    ----------
    session : Session
        The steps.
    bindings : collection of LayerBinding
        The layers, as a live view.
    revive : callable
        Makes layers that were deleted and have shapes again.
    """
    return _go(session, bindings, revive, back=True)


def redo(
    session: Session,
    bindings: Collection[LayerBinding],
    revive: Callable[[], None] = lambda: None,
) -> str:
    """Do again what was taken back last; see `undo`. `revive` deletes layers once more, too."""
    return _go(session, bindings, revive, back=False)


def _go(
    session: Session,
    bindings: Collection[LayerBinding],
    revive: Callable[[], None],
    *,
    back: bool,
) -> str:
    if any(binding.drawing or binding.dragging for binding in bindings):
        return "Finish the shape at hand first: double-click or press Escape."
    for binding in bindings:
        binding.sync()
    label = session.undo() if back else session.redo()
    if not label:
        return f"There is nothing to {'undo' if back else 'redo'}."
    revive()
    for binding in bindings:
        # That of a layer that was deleted once more has nothing to restore.
        if session.holds(binding.key):
            binding.restore()
    session.amend()
    session.tell()
    return f"{'Undid' if back else 'Redid'}: {label}"
