"""From the files of a preset to a captioner; files that do not belong together are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from napari_patchioner.captioner import Captioner
from napari_patchioner.errors import ModelError

from .parts import captioner_options, open_part
from .preset import Preset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from .preset import Part

_KEYS = {"projection": "projection", "text": "text encoder"}
_SHA256_DIGITS = 64


def stamps(part: Any) -> Mapping[str, str]:
    """Return what a part says of where it comes from.

    A backbone and an entity bridge have ``provenance``, a memory bridge has that of its bank, and
    a decoder the notes of its model.
    """
    for path in (("provenance",), ("bank", "provenance"), ("model", "notes"), ("notes",)):
        value = part
        for name in path:
            value = getattr(value, name, None)
        if isinstance(value, Mapping):
            return value
    return {}


def check_provenance(
    parts: Iterable[tuple[str, Mapping[str, str], bool]], vouched: Mapping[str, str]
) -> None:
    """Refuse parts that were made behind different projections or text encoders."""
    (first, said, _), *others = parts
    for key, noun in _KEYS.items():
        known = {first: said[key]} if key in said else {}
        if key in vouched:
            known["preset"] = vouched[key]
        for name, stamp, bound in others:
            if key in stamp:
                known[name] = stamp[key]
            elif bound and key == "projection" and key in said and key not in vouched:
                raise _unstamped(name, first, said[key])
        _check_same(noun, known)


def _unstamped(name: str, first: str, stamp: str) -> ModelError:
    return ModelError(
        f"The {name} does not say which projection it was made with, and that of the {first} is "
        f"{describe(stamp)}; convert the {name} again from its published file, or say in "
        f"[provenance] which projection it belongs to."
    )


def _check_same(noun: str, known: Mapping[str, str]) -> None:
    (first, item), *others = known.items() or [("", "")]
    for name, other in others:
        if other != item:
            raise ModelError(
                f"The {first} and the {name} do not belong together: the {noun} of the {first} is "
                f"{describe(item)}, that of the {name} is {describe(other)}; get the file that "
                f"matches, or make the {name} again with this model."
            )


def describe(stamp: str) -> str:
    """Name a projection or text encoder for a person."""
    if len(stamp) == _SHA256_DIGITS:
        from napari_patchioner.backbones.projection import describe_projection

        return describe_projection(stamp)
    return stamp


def assemble(
    preset: Preset,
    files: Mapping[str, Path],
    progress: Callable[[float, str], object] | None = None,
) -> Captioner:
    """Put a model together.

    Parameters
    ----------
    progress : callable, optional
        Given the fraction done and what is being read; it may raise `Cancelled`.
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
    """How long the vectors are that a bridge or decoder reads; None where any will do."""
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
    """Refuse at once what would otherwise fail at the first caption."""
    dim = opened["backbone"].dim
    for group in ("bridge", "decoder"):
        wanted = reads(opened[group])
        if wanted is not None and wanted != dim:
            raise ModelError(
                f"The backbone {opened['backbone'].name} makes vectors of length {dim} but the "
                f"{_noun(group, opened[group])} reads {wanted}; use the one that was made for "
                f"this backbone."
            )
