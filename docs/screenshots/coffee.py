"""What is drawn on the photograph of a cup of coffee: one region of every kind."""

from __future__ import annotations

from .hand import loop, use

# A place inside the box that draw_all draws on the cup, and in no other shape.
IN_THE_BOX = (270, 180)


def captions(dock) -> list[str]:
    """Return the captions of all shapes."""
    records = dock.annotator.session.records.values()
    return [record.caption for record in records if record.kind == "shape"]


def draw_all(dock, hand) -> None:
    """Draw a box, a polygon, a lasso and a trace."""
    use(dock, "Box")
    hand.drag([(60, 150), (300, 430)])
    use(dock, "Polygon")
    for corner in [(14, 6), (14, 130), (150, 90)]:
        hand.click(*corner)
    hand.double_click(240, 8)
    use(dock, "Lasso")
    hand.drag(loop(235, 500, 95, 62))
    use(dock, "Trace")
    hand.drag([(95, 215), (125, 250), (140, 300), (115, 350)])
