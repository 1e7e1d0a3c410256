"""Which models there are, and how to get one ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

from .preset import ModelCard, Part

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner
    from napari_patchioner.progress import Progress

    from .assemble import combine
    from .familiar import learn_familiarity
    from .install import add_model, get_model, remove_model
    from .memories import MemoryChoice, build_memory, memories, with_memory

__all__ = [
    "MemoryChoice",
    "ModelCard",
    "Part",
    "add_model",
    "available_models",
    "build_memory",
    "combine",
    "get_model",
    "learn_familiarity",
    "load_model",
    "memories",
    "remove_model",
    "with_memory",
]

__getattr__, *_ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "assemble": ["combine"],
        "familiar": ["learn_familiarity"],
        "install": ["add_model", "get_model", "remove_model"],
        "memories": ["MemoryChoice", "build_memory", "memories", "with_memory"],
    },
)


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return list(__all__)


def available_models() -> list[ModelCard]:
    """Cards of all models, the default first; it opens no model and asks no network.

    Those that come inside the package are followed by those of the catalog and by a person's own,
    whose cards say whether they are installed and how many bytes are still to get.
    """
    from .embedded import embedded_cards
    from .install import known_presets, preset_card

    return [*embedded_cards(), *map(preset_card, known_presets().values())]


def load_model(
    name: str = "mini",
    progress: Progress | None = None,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    engine: str | None = None,
) -> Captioner:
    """Load a model.

    Parameters
    ----------
    name : str
        Its id, one of ``[card.id for card in available_models()]``; or ``"server:MODEL"``, for a
        model on the server that was set up, see `servers`.
    progress : callable, optional
        Given the fraction done and what is being done; it may raise `Cancelled`.
    device : {"cpu", "auto", "cuda", "mps"}
        Where its networks run: on the processor, on an Nvidia GPU or on an Apple GPU; ``"auto"``
        takes the GPU where there is one.
    dtype : {"float32", "bfloat16", "float16"}
        Their precision; half precision takes half the memory of the GPU.
    engine : {"auto", "torch"}, optional
        What runs the backbone on the processor: ``"auto"``, the default unless
        $NAPARI_PATCHIONER_ENGINE says otherwise, takes ONNX Runtime where the extra ``engine`` is
        installed and it is quicker, which is found out once; ``"torch"`` is PyTorch.

    Returns
    -------
    Captioner

    Raises
    ------
    ModelError
        There is no such model or device, it is not installed, or its files are missing or
        damaged.
    """
    from napari_patchioner.devices import CPU, choose
    from napari_patchioner.errors import ModelError

    from .embedded import HEADS, load_embedded
    from .servers import is_server, server_named

    placement = choose(device, dtype, engine)
    if progress is not None:
        progress(0.0, f"loading {name}")
    if is_server(name):
        from napari_patchioner.describers import Describer

        return Describer(server_named(name))
    if name in HEADS:
        captioner = load_embedded(name)
    else:
        from .assemble import assemble
        from .catalog import SEGMENTERS
        from .install import find_preset, installed_files

        preset = find_preset(name)
        if preset.id in SEGMENTERS:
            raise ModelError(f"{name} makes outlines and no captions; choose another model.")
        captioner = assemble(preset, installed_files(preset), progress)
        if preset.server:
            return captioner
    if placement != CPU:
        captioner.place(placement)
    if placement.engine != "torch":
        captioner.backbone.use_engine(progress)
    from .familiar import load_familiarity

    captioner.known = load_familiarity(captioner)
    return captioner
