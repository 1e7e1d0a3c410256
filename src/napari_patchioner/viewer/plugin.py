"""What the manifest names: commands, sample data; and napari opened with images in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import napari
import numpy as np
import numpy.typing as npt
from napari.utils.notifications import show_info

from napari_patchioner.annotations import Annotation, shape_from_region

from .layers.image_layers import KEYS, ensure_layer, images_of
from .layers.table import annotation_columns
from .layers.upright import turn_all
from .preferences import CAPTION_DOCK, FOLDER_DOCK


def open_dock() -> None:
    """Show the dock, from *Layers > Annotate*."""
    if viewer := napari.current_viewer():
        viewer.window.add_plugin_dock_widget(*CAPTION_DOCK)


def open_folder() -> None:
    """Show the list of a folder's images, from *Layers > Annotate*."""
    if viewer := napari.current_viewer():
        viewer.window.add_plugin_dock_widget(*FOLDER_DOCK)


def new_layers() -> None:
    """Add the layers for regions and traces to the selected image, or the topmost one."""
    viewer = napari.current_viewer()
    if viewer is None:
        return
    turn_all(viewer)
    active = viewer.layers.selection.active
    images = images_of(viewer)
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

    if viewer := napari.current_viewer():
        layer = viewer.layers.selection.active
        open_dock()
        docks = viewer.window._qt_window.findChildren(CaptionDock)
        viewer.layers.selection.active = layer
        for dock in docks:
            dock.inspect.caption_layer()


# Sample data ships inside scikit-image, so no network is needed.


def coffee() -> list[tuple[Any, dict[str, Any], str]]:
    """Return a photograph of a cup of coffee, by Rachel Michetti, in the public domain (CC0)."""
    from skimage import data

    return [(data.coffee(), {"name": "coffee"}, "image")]


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
    viewer.window.add_plugin_dock_widget(*CAPTION_DOCK)
    # The dock takes its room from the canvas only when Qt lays the window out, and that of its
    # scroll bar when it does so again.
    for _ in range(3):
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
    drawn = [
        (shape, annotation)
        for annotation in annotations
        if (shape := shape_from_region(annotation.region)) and (shape[0] == "path") == traces
    ]
    if drawn:
        layer.add([(vertices, kind) for (kind, vertices), _ in drawn])
        columns = annotation_columns([annotation for _, annotation in drawn])
        layer.features = layer.features.assign(**columns)
        layer.refresh_text()
