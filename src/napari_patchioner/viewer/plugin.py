"""What the manifest names: commands, sample data; and napari opened with images in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.notifications import show_info

from napari_patchioner.annotations import shape_from_region

from .layers.image_layers import KEYS, ensure_layer
from .layers.table import COLUMNS
from .layers.upright import turn_all

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import napari
    import numpy.typing as npt

    from napari_patchioner.annotations import Annotation

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
    from .dock import CaptionDock

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


# Sample data ships inside scikit-image, so no network is needed.


def astronaut() -> list[tuple[Any, dict[str, Any], str]]:
    """Return a photograph: Eileen Collins, by NASA, in the public domain."""
    from skimage import data

    return [(data.astronaut(), {"name": "astronaut"}, "image")]


def immunohistochemistry() -> list[tuple[Any, dict[str, Any], str]]:
    """Return a stained tissue under the microscope, in the public domain (CC0)."""
    from skimage import data

    return [(data.immunohistochemistry(), {"name": "immunohistochemistry"}, "image")]


def open_demo(
    images: Mapping[str, npt.NDArray[np.generic]], annotations: Sequence[Annotation]
) -> None:
    """Open napari with everything loaded, and return when its window is closed.

    Parameters
    ----------
    images : mapping of str to ndarray
        Pictures by name.
    annotations : sequence of Annotation
        Their regions, found by ``annotation.image``.
    """
    import napari

    show_demo(napari.Viewer(title="Patch-ioner"), images, annotations)
    napari.run()


def show_demo(
    viewer: napari.Viewer,
    images: Mapping[str, npt.NDArray[np.generic]],
    annotations: Sequence[Annotation],
) -> None:
    """Load everything into a viewer and dock the widget beside it, nothing cut off."""
    from qtpy.QtWidgets import QApplication

    load(viewer, images, annotations)
    show_dock(viewer)
    # The dock takes its room from the canvas only when Qt lays the window out.
    QApplication.processEvents()
    viewer.reset_view()


def load(
    viewer: napari.components.ViewerModel,
    images: Mapping[str, npt.NDArray[np.generic]],
    annotations: Sequence[Annotation],
) -> None:
    """Add every picture with its layers for regions and traces; only the first one is shown.

    Regions that napari has no shape for (points, sets, the whole image) are left out.
    """
    for position, (name, pixels) in enumerate(images.items()):
        image = viewer.add_image(pixels, name=name, visible=position == 0)
        drawn = [annotation for annotation in annotations if annotation.image == name]
        for key in KEYS:
            layer = ensure_layer(viewer, image, key)
            layer.visible = position == 0
            _draw(layer, drawn, traces=key == "traces")
    if images:
        viewer.layers.selection.active = viewer.layers[next(iter(images))]
    viewer.reset_view()


def _draw(layer: napari.layers.Shapes, annotations: Sequence[Annotation], *, traces: bool) -> None:
    """Put the shapes of one kind, traces or the others, on their layer with their captions."""
    shapes, rows = [], []
    for annotation in annotations:
        shape = shape_from_region(annotation.region)
        if shape is None or (shape[0] == "path") != traces:
            continue
        shapes.append((shape[1], shape[0]))
        score = np.nan if annotation.score is None else annotation.score
        ours = (annotation.uid, annotation.caption, score, annotation.source, annotation.model)
        rows.append((*ours, False))
    if not shapes:
        return
    layer.add(shapes)
    columns = dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))
    layer.features = layer.features.assign(**{name: list(cells) for name, cells in columns.items()})
    layer.refresh_text()
