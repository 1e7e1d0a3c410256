"""Opening napari with pictures and their captioned regions already in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_patchioner.annotations import shape_from_region
from napari_patchioner.viewer.layers.image_layers import ensure_layer
from napari_patchioner.viewer.layers.table import COLUMNS

from .commands import show_dock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import napari
    import numpy.typing as npt

    from napari_patchioner.annotations import Annotation
    from napari_patchioner.viewer.layers.image_layers import LayerKey


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
        drawn = [one for one in annotations if one.image == name]
        for key in ("regions", "traces"):
            _add(viewer, image, key, drawn, visible=position == 0)
    if images:
        viewer.layers.selection.active = viewer.layers[next(iter(images))]
    viewer.reset_view()


def _add(
    viewer: napari.components.ViewerModel,
    image: napari.layers.Image,
    key: LayerKey,
    annotations: Sequence[Annotation],
    *,
    visible: bool,
) -> None:
    """Put the shapes of one kind, traces or the others, on their layer with their captions."""
    layer = ensure_layer(viewer, image, key)
    layer.visible = visible
    shapes, rows = [], []
    for annotation in annotations:
        shape = shape_from_region(annotation.region)
        if shape is None or (shape[0] == "path") != (key == "traces"):
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
