"""A lexicon that was chosen for a folder names what is on its images."""

from __future__ import annotations

import contextlib

from PIL import Image
from taught_pictures import draw, drawn, taught
from taught_window import Class

from napari_patchioner.teaching import write_lexicon
from napari_patchioner.viewer import FolderDock


def test_images_of_a_folder_are_named_by_its_lexicon(viewer, registry, tmp_path, qtbot, quiet):
    with registry.using("mini") as captioner:
        write_lexicon(
            tmp_path / "cells", taught(captioner, drawn(captioner, 1, ["nucleus", "leaf"]))
        )
    pixels, boxes = draw(2, ["leaf", "nucleus"])
    (tmp_path / "images").mkdir()
    Image.fromarray(pixels).save(tmp_path / "images" / "two.png")
    docks = []

    def open_folder():
        dock = FolderDock(viewer, registry=registry)
        docks.append(dock)
        viewer.window.add_dock_widget(dock, name="Folder", area="left")
        dock.open_folder(tmp_path / "images")
        qtbot.waitUntil(lambda: len(dock.browser.listing.files) == 1, timeout=5000)
        return dock

    dock = open_folder()
    browser = dock.browser
    browser.use_lexicon(tmp_path)
    assert "holds no lexicon" in dock.panel.message.text()
    browser.use_lexicon(tmp_path / "cells")
    assert "named by cells" in dock.panel.message.text()
    browser.step(1)
    qtbot.waitUntil(lambda: browser.opened is not None, timeout=10_000)
    captions = dock.captions()
    captions.panel.options["beams"].value = 1
    qtbot.waitUntil(lambda: captions.controller.encoder.ready, timeout=60_000)
    lesson = Class(captions, boxes, qtbot)
    lesson.add()
    lesson.until(lambda: lesson.captions() == ["leaf", "nucleus"])
    lesson.settle()
    dock.shut_down()
    captions.shut_down()
    viewer.window.remove_dock_widget("all")
    again = open_folder()
    assert again.browser.lexicon == tmp_path / "cells"
    again.browser.use_lexicon(None)
    assert again.browser.lexicon is None
    for made in docks:
        with contextlib.suppress(RuntimeError):
            made.shut_down()
