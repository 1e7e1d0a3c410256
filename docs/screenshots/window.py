"""A window with the dock in it, and pictures of it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image
from qtpy.QtCore import QBuffer
from qtpy.QtWidgets import QApplication

from .hand import Hand, hand_for, wait

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 1280, 800


class Window:
    """napari on a screen of a small laptop, an image in it, and the dock.

    Parameters
    ----------
    pixels : ndarray
        The image.
    name : str
        What its layer is called.
    theme : str
        One of napari's themes.
    """

    def __init__(self, pixels, name: str, theme: str = "dark") -> None:
        import napari

        from napari_patchioner.viewer import CaptionDock

        self.viewer = napari.Viewer(show=True)
        self.viewer.theme = theme
        self.viewer.window._qt_window.setGeometry(0, 0, *SIZE)
        self.image = self.viewer.add_image(pixels, name=name)
        self.dock = CaptionDock(self.viewer)
        self.viewer.window.add_dock_widget(
            self.dock, name="Patch-ioner: caption regions", area="right"
        )
        wait(seconds=1)
        self.step_back()
        self.hand: Hand = hand_for(self.viewer, self.image)

    def step_back(self) -> None:
        """Show the whole image with room for captions beside it."""
        self.viewer.reset_view()
        self.viewer.scene.camera.zoom *= 0.82
        wait(seconds=0.5)

    def close(self) -> None:
        """Close it with all that is drawn."""
        self.dock.shut_down()
        self.viewer.close()
        wait(seconds=0.5)

    def read(self) -> None:
        """Press Start and wait."""
        self.dock.panel.progress.button.click()
        wait(lambda: not self.dock.controller.encoder.active, 120, needed=True)

    def describe(self) -> None:
        """Have the whole image captioned."""
        self.dock.panel.buttons["caption_whole"].click()
        wait(lambda: bool(self.dock.panel.whole.editor.toPlainText()), 60, needed=True)

    def wait_for_captions(self, count: int) -> None:
        """Wait until so many regions have captions, and say which."""
        records = self.dock.controller.session.records

        def written() -> bool:
            return len(records) == count and all(r.caption for r in records.values())

        wait(written, 60)
        print([record.caption for record in records.values()])
        if not written():
            raise TimeoutError(f"{count} captions should be there by now")

    def shoot(self, path: Path, box: tuple[int, int, int, int] | None = None) -> None:
        """Save what is on the screen, or a part of it (left, top, right, bottom)."""
        wait(seconds=0.8)
        grabbed = QApplication.primaryScreen().grabWindow(0, 0, 0, *SIZE)
        buffer = QBuffer()
        buffer.open(QBuffer.OpenModeFlag.ReadWrite)
        grabbed.save(buffer, "PNG")
        picture = Image.open(io.BytesIO(bytes(buffer.data()))).convert("RGB")
        if box is not None:
            picture = picture.crop(box)
        path.parent.mkdir(parents=True, exist_ok=True)
        few = picture.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
        few.save(path, optimize=True)
        print("wrote", path, f"{path.stat().st_size / 1000:.0f} kB")
