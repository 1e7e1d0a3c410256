"""The window of somebody who teaches."""

from __future__ import annotations

import numpy as np
from qtpy.QtTest import QTest


def corners(box):
    """The corners of a box as napari has them."""
    top, left, bottom, right = box.top, box.left, box.bottom, box.right
    return np.array([(top, left), (top, right), (bottom, right), (bottom, left)])


class Class:
    """The window of somebody who teaches: regions by their number in the order of drawing."""

    def __init__(self, dock, boxes, qtbot):
        self.dock, self.boxes, self.qtbot = dock, boxes, qtbot

    @property
    def layer(self):
        return self.dock.controller.layer("regions")

    @property
    def records(self):
        return list(self.dock.controller.session.records.values())

    def captions(self):
        return [record.caption for record in self.records]

    def sources(self):
        return [record.source for record in self.records]

    def add(self, rows=None):
        """Draw boxes; the model may take its time with their captions."""
        rows = range(len(self.boxes)) if rows is None else rows
        self.layer.add([corners(self.boxes[row]) for row in rows], shape_type="rectangle")

    def settle(self):
        """Wait until nothing is being captioned, learned or named any more."""
        teacher, controller = self.dock.teacher, self.dock.controller
        rest = 0
        while rest < 4:
            self.qtbot.wait(30)
            encoder, queue = controller.encoder, controller.queue
            rest = 0 if encoder.active or queue.active or teacher.active else rest + 1

    def select(self, *rows):
        uids = [self.records[row].uid for row in rows]
        self.dock.controller.select(uids)

    def teach(self, name, *rows):
        """Select regions and teach them a name by hand."""
        self.select(*rows)
        self.dock.teach.name.setText(name)
        self.dock.teach.teach.click()

    def write_over(self, row, text):
        """Select a region and type a text over its caption."""
        editor = self.dock.panel.caption.editor
        self.select(row)
        self.qtbot.wait(150)
        editor.setFocus()
        editor.selectAll()
        QTest.keyClicks(editor, text)

    def until(self, condition):
        self.qtbot.waitUntil(condition, timeout=20_000)
