"""Preset and files to a model that captions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_patchioner.captioner import Captioner
from napari_patchioner.errors import ModelError

from ._parse import captioner_options
from ._parts import open_part
from ._preset import Preset
from ._provenance import check_provenance, stamps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ._preset import Part


def assemble(
    preset: Preset,
    files: Mapping[str, Path],
    progress: Callable[[float, str], object] | None = None,
) -> Captioner:
    """Put a model together.

    Parameters
    ----------
    preset : Preset
        What it is made of.
    files : mapping of str to Path
        Role to file or folder: what was downloaded, and what `prepare` made of it.
    progress : callable, optional
        Told the fraction done and what is being read; it may raise `Cancelled`.

    Returns
    -------
    Captioner

    Raises
    ------
    ModelError
        A file is missing or damaged, or the parts do not belong together: they were made behind
        different projections, or one writes vectors of a length the next cannot read.
    """
    opened = {}
    for done, (group, part) in enumerate(preset.parts.items()):
        if progress is not None:
            progress(done / len(preset.parts), f"reading the {group} of {preset.id}")
        opened[group] = open_part(group, part, files)
    _check_dims(opened)
    check_provenance(
        [
            (_noun(group, part), stamps(part), reads(part) is not None)
            for group, part in opened.items()
        ],
        preset.provenance,
    )
    return Captioner(
        opened["backbone"],
        opened["bridge"],
        opened["decoder"],
        name=preset.id,
        **preset.options,
    )


def combine(
    backbone: Part,
    bridge: Part,
    decoder: Part,
    files: Mapping[str, Path],
    *,
    name: str = "combined",
    provenance: Mapping[str, str] | None = None,
    **options: Any,
) -> Captioner:
    """Put parts together that no preset names, for research.

    Parameters
    ----------
    backbone, bridge, decoder : Part
        Kind, role in ``open`` to role in ``files``, and options.
    files : mapping of str to Path
        Role to file or folder.
    name : str
        Kept with every caption it writes.
    provenance : mapping of str to str, optional
        What you vouch for where a file does not say so itself, such as ``{"projection": hash}``.
    **options
        Further arguments of `Captioner`.

    Returns
    -------
    Captioner

    Raises
    ------
    ModelError
        As in `assemble`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from napari_patchioner.models import Part, combine  # doctest: +SKIP
    >>> captioner = combine(
    ...     Part("maskclip", {"clip": "clip"}, {"size": 448}),
    ...     Part("retrieve", {"bank": "bank"}),
    ...     Part("quote"),
    ...     {"clip": Path("clip-vit-base-patch16"), "bank": Path("my-sentences")},
    ... )  # doctest: +SKIP
    """
    preset = Preset(
        name,
        title=name,
        note="",
        licence="",
        backbone=backbone,
        bridge=bridge,
        decoder=decoder,
        provenance=provenance or {},
        options=captioner_options(options),
    )
    return assemble(preset, files)


def reads(part: Any) -> int | None:
    """Tell how long the vectors are that a bridge or decoder reads; None where any will do."""
    for path in (
        ("bank", "dim"),
        ("table", "dim"),
        ("model", "config", "prefix_dim"),
        ("model", "dim"),
    ):
        value = part
        for name in path:
            value = getattr(value, name, None)
        if isinstance(value, int):
            return value
    return None


def _noun(group: str, part: Any) -> str:
    """Call a part what a person calls its files."""
    held = {"bank": "memory bank", "table": "entity table"}
    return next((noun for name, noun in held.items() if hasattr(part, name)), group)


def _check_dims(opened: Mapping[str, Any]) -> None:
    """Tell at once what would otherwise fail at the first caption."""
    dim = opened["backbone"].dim
    for group in ("bridge", "decoder"):
        wanted = reads(opened[group])
        if wanted is not None and wanted != dim:
            raise ModelError(
                f"The backbone {opened['backbone'].name} makes vectors of length {dim} but the "
                f"{_noun(group, opened[group])} reads {wanted}; use the one that was made for "
                f"this backbone."
            )
