"""What the menus do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.utils.notifications import show_info

if TYPE_CHECKING:
    import napari

_PLUGIN, _WIDGET = "napari-patchioner", "Patch-ioner: caption regions"
_FOLDER = "Patch-ioner: folder of images"


def open_dock() -> None:
    """Show the dock, from *Layers > Annotate*."""
    viewer = _viewer()
    if viewer is not None:
        show_dock(viewer)


def open_folder() -> None:
    """Show the list of a folder's images, from *Layers > Annotate*."""
    viewer = _viewer()
    if viewer is not None:
        viewer.window.add_plugin_dock_widget(_PLUGIN, _FOLDER)


def show_dock(viewer: napari.Viewer) -> None:
    """Dock the widget in a viewer's window."""
    viewer.window.add_plugin_dock_widget(_PLUGIN, _WIDGET)


def new_layers() -> None:
    """Add the layers for regions and traces to the selected image, or the topmost one."""
    from napari.layers import Image

    from napari_patchioner.viewer.layers.image_layers import KEYS, ensure_layer
    from napari_patchioner.viewer.layers.upright import turn_all

    viewer = _viewer()
    if viewer is None:
        return
    turn_all(viewer)
    active = viewer.layers.selection.active
    images = [layer for layer in viewer.layers if type(layer) is Image]
    if active in images:
        images.append(active)
    if not images:
        show_info("Open an image first: the layers for regions and traces lie on it.")
        return
    for key in KEYS:
        ensure_layer(viewer, images[-1], key)


def caption_layer() -> None:
    """Caption what lies on the selected layer, from *Layers > Annotate*; opens the dock first."""
    from .desk.dock import CaptionDock

    viewer = _viewer()
    if viewer is None:
        return
    layer = viewer.layers.selection.active
    show_dock(viewer)
    docks = viewer.window._qt_window.findChildren(CaptionDock)
    viewer.layers.selection.active = layer
    for dock in docks:
        dock.inspect.caption_layer()


def _viewer() -> napari.Viewer | None:
    from napari import current_viewer

    return current_viewer()
