"""What is drawn on the photograph of a cup of coffee."""

from __future__ import annotations

from qtpy.QtCore import Qt

from .hand import loop, use

# A place inside the box that draw_all draws on the cup, and in no other shape.
IN_THE_BOX = (270, 180)


def captions(dock) -> list[str]:
    """Return the captions of all shapes."""
    records = dock.controller.session.records.values()
    return [record.caption for record in records if record.subject == "shape"]


def draw_all(dock, hand) -> None:
    """Draw a box, a polygon, a lasso and a trace."""
    use(dock, "Box")
    hand.drag([(60, 150), (300, 430)])
    use(dock, "Polygon")
    for corner in [(24, 6), (24, 130), (150, 90)]:
        hand.click(*corner)
    hand.double_click(240, 8)
    use(dock, "Lasso")
    hand.drag(loop(335, 500, 50, 62))
    use(dock, "Trace")
    hand.drag([(95, 215), (125, 250), (140, 300), (115, 350)])


def draw_kinds(dock, hand) -> None:
    """Draw what draw_all has not: an ellipse, a line, and a line of several corners."""
    use(dock, "Ellipse")
    hand.drag([(244, 322), (330, 404)])
    use(dock, "Trace")
    hand.key(Qt.Key.Key_L)
    hand.drag([(340, 120), (384, 250)])
    hand.key(Qt.Key.Key_L, Qt.KeyboardModifier.ShiftModifier)
    for corner in [(52, 412), (40, 460), (74, 520)]:
        hand.click(*corner)
    hand.double_click(60, 588)


def paint_saucer(layer, hand) -> None:
    """Paint the rim of the saucer, which has a hole, and the spoon."""
    layer.brush_size, layer.selected_label, layer.mode = 34, 2, "paint"
    hand.drag(loop(250, 275, 115, 175, steps=40))
    layer.brush_size, layer.selected_label = 44, 5
    hand.drag([(262, 350), (300, 375)])
