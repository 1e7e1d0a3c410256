"""The pictures of the guide, made from the real window with a real mouse and keyboard.

Run it from the root of the repository, where there is a display or under Xvfb::

    xvfb-run -a -s "-screen 0 1280x800x24" python -m docs.screenshots

Where ``xdotool`` is installed it moves the real pointer; elsewhere Qt is sent the same presses,
moves and releases. The tests of the viewer draw with the same hand.
"""

from __future__ import annotations

from .coffee import IN_THE_BOX, captions, draw_all
from .hand import Hand, hand_for, loop, use, wait

__all__ = ["IN_THE_BOX", "Hand", "captions", "draw_all", "hand_for", "loop", "use", "wait"]
