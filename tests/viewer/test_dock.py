from __future__ import annotations

import numpy as np


def test_a_box_is_captioned(dock, viewer, qtbot):
    dock.start()
    qtbot.waitUntil(lambda: dock.annotator.reader.captioner is not None, timeout=5000)
    regions = dock.annotator.layer("regions")
    regions.add(np.array([[10, 10], [10, 50], [50, 50], [50, 10]]), shape_type="rectangle")
    qtbot.waitUntil(lambda: list(regions.features["caption"]) == ["something red"], timeout=5000)
