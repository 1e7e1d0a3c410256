"""A rim around the captions, so that they can be read on any image; knows vispy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import napari
    from vispy.visuals import TextVisual

_END = "if (alpha <= 0) discard;"
# Letters are drawn from a field of distances: 0.5 at their edge, less outside.
_RIM = """
        if (u_rim > 0.5) {
            float light = dot(v_color.rgb, vec3(0.299, 0.587, 0.114));
            float rim = smoothstep(0.02, 0.28, distance) * 0.9;
            if (rim <= 0.0 || v_color.a <= 0.0) discard;
            gl_FragColor = vec4(vec3(light > 0.45 ? 0.0 : 1.0), v_color.a * rim);
            return;
        }
"""


def add_halo(viewer: napari.Viewer, layer: napari.layers.Layer) -> bool:
    """Draw a dark rim around bright captions of a layer and a bright one around dark captions.

    napari has no word for it; where its own works have changed nothing is done.

    Returns
    -------
    bool
        Whether the captions have a rim now.
    """
    try:
        text = viewer.window._qt_viewer.canvas.layer_to_visual[layer].node.text
        code = text._shaders["fragment"]
    except (AttributeError, KeyError):
        return False
    if "draw" in vars(text):
        return True
    if _END not in code or "float distance" not in code:
        return False
    text.shared_program.frag = code.replace("void main", "uniform float u_rim;\nvoid main").replace(
        _END, _RIM + _END
    )
    _draw_twice(text)
    text.update()
    return True


def _draw_twice(text: TextVisual) -> None:
    """Draw all rims first: those of single letters would cover their neighbours."""
    draw = text.draw

    def both() -> None:
        for rim in (1.0, 0.0):
            text.shared_program["u_rim"] = rim
            draw()

    text.shared_program["u_rim"] = 0.0
    text.draw = both
