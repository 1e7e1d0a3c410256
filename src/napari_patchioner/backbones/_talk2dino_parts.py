"""What a Talk2DINO is made of, from the files of its parts or a whole published one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari_patchioner.checkpoints import read_state
from napari_patchioner.decoders import ClipTokenizer
from napari_patchioner.errors import ModelError

from ._clip_text import ClipText
from ._projection import Projection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

# Of the class that Talk2DINO is published with: DINO by Meta's names, the projection, and CLIP by
# OpenAI's names; the temperature of the training loss counts no more.
_PREFIXES = {"vision": "model.", "projection": "proj.", "text": "clip_model."}
_UNUSED = ("logit_scale",)


@dataclass(frozen=True, slots=True)
class Parts:
    """Weights of the vision side, where they came from, the projection, and the text tower."""

    vision: Mapping[str, Tensor]
    source: Path
    projection: Projection
    load_text: Callable[[], ClipText] | None


def read_parts(files: Mapping[str, Path]) -> Parts:
    """Read a Talk2DINO's files, see ``Talk2DINO.open``; the text tower is left for later."""
    if "vision" not in files:
        raise ModelError("Talk2DINO needs a DINO; give its folder or file as vision.")
    source = Path(files["vision"])
    state = read_state(source)
    inside = _inside(state, source)
    return Parts(
        inside["vision"] or state,
        source,
        _projection(files, inside["projection"], source),
        _text(files, inside["text"], source),
    )


def _projection(
    files: Mapping[str, Path], inside: Mapping[str, Tensor], source: Path
) -> Projection:
    if "projection" in files:
        return Projection.open(files["projection"])
    if inside:
        return Projection(inside, source=source)
    raise ModelError("Talk2DINO needs a projection; give its file, such as vitb_mlp_infonce.pth.")


def _text(
    files: Mapping[str, Path], inside: Mapping[str, Tensor], source: Path
) -> Callable[[], ClipText] | None:
    if "text" in files:
        return partial(ClipText.open, Path(files["text"]))
    if not inside:
        return None
    # CLIP's own vision side comes along and would stay in memory.
    tower = {name: part for name, part in inside.items() if not name.startswith("visual.")}
    merges = files.get("merges")
    return lambda: ClipText.from_state(tower, ClipTokenizer(merges), source=source)


def _inside(state: Mapping[str, Tensor], source: Path) -> dict[str, dict[str, Tensor]]:
    """Take a whole published Talk2DINO apart; empty parts where it is a DINO alone."""
    parts: dict[str, dict[str, Tensor]] = {role: {} for role in _PREFIXES}
    if not any(name.startswith(_PREFIXES["projection"]) for name in state):
        return parts
    strange = []
    for name, value in state.items():
        role = next((role for role, prefix in _PREFIXES.items() if name.startswith(prefix)), None)
        if role is not None:
            parts[role][name.removeprefix(_PREFIXES[role])] = value
        elif name not in _UNUSED:
            strange.append(name)
    if strange:
        raise ModelError(
            f"{source} holds {', '.join(strange[:4])} besides the parts of a Talk2DINO; "
            f"choose the published file."
        )
    return parts
