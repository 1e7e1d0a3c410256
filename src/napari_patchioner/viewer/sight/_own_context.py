"""What a removed layer was drawn with is deleted where it was made.

On the removal of layers napari (0.9.2, `VispyCanvas._clean_and_update_scenegraph`) runs what vispy
has queued, deletions first of all, in whichever OpenGL context happens to be current. Outside of a
paint event that is the one Qt puts the window together in, which shares all objects with the
canvas. Mesa then keeps the deleted shaders until the canvas draws again, and unbinds the shader of
that drawing along with them: the process ends in glDrawArrays. Other drivers lose buffers instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import napari


def delete_in_own_context(viewer: napari.viewer.Viewer) -> None:
    """Have the canvas of a viewer made current before layers go; once is enough, more do no harm.

    Parameters
    ----------
    viewer : napari.Viewer
        A viewer with a window; one without draws nothing and is left alone.
    """
    window = getattr(viewer, "window", None)
    if window is None:
        return
    make_current = window._qt_viewer.canvas._scene_canvas.set_current
    for before in (viewer.layers.events.removing, viewer.layers.events.begin_batch):
        before.connect(make_current)
