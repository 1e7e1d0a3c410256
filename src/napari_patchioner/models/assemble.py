"""From the files of a preset to a captioner; files that do not belong together are refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from napari_patchioner.bridges import TextSpace, ThroughText
from napari_patchioner.captioner import Captioner
from napari_patchioner.errors import ModelError
from napari_patchioner.progress import Progress, no_progress

from .embedded import HEADS, load_embedded
from .parts import captioner_options, open_part
from .preset import Part, Preset
from .servers import read_settings

_SHA256_DIGITS = 64
# Where parts say how long the vectors are that they read.
_DIMS = "map.source_dim bank.dim table.dim model.config.prefix_dim model.dim"


def check_provenance(
    parts: Iterable[tuple[str, Mapping[str, str], bool]], vouched: Mapping[str, str]
) -> None:
    """Refuse parts that were made behind different projections or text encoders.

    Each has a name, what it says of where it comes from, and whether it is bound to have been made
    behind a projection; ``vouched`` is what the preset says.
    """
    (first, said, _), *others = parts
    for key, noun in (("projection", "projection"), ("text", "text encoder")):
        known = {first: said[key]} if key in said else {}
        if key in vouched:
            known["preset"] = vouched[key]
        for name, stamp, bound in others:
            if key in stamp:
                known[name] = stamp[key]
            elif bound and key == "projection" and key in said and key not in vouched:
                raise ModelError(
                    f"The {name} does not say which projection it was made with, and that of the "
                    f"{first} is {describe(said[key])}; convert the {name} again from its "
                    "published file, or say in [provenance] which projection it belongs to."
                )
        start, item = next(iter(known.items()), ("", ""))
        for name, other in known.items():
            if other != item:
                raise ModelError(
                    f"The {start} and the {name} do not belong together: the {noun} of the "
                    f"{start} is {describe(item)}, that of the {name} is {describe(other)}; get "
                    f"the file that matches, or make the {name} again with this model."
                )


def _listed(said: Mapping[str, str]) -> str:
    """Name all that a part says of where it comes from."""
    nouns = {"projection": "the projection", "text": "the text encoder"}
    return " and ".join(f"{nouns.get(key, key)} {describe(said[key])}" for key in said)


def describe(stamp: str) -> str:
    """Name a projection or text encoder for a person."""
    if len(stamp) != _SHA256_DIGITS:
        return stamp
    from napari_patchioner.backbones.talk2dino import describe_projection

    return describe_projection(stamp)


def assemble(
    preset: Preset, files: Mapping[str, Path], progress: Progress | None = None
) -> Captioner:
    """Put a model together."""
    if preset.server:
        from napari_patchioner.describers import Describer

        return Describer(read_settings().server(**preset.server))
    report = progress or no_progress
    opened: dict[str, Any] = {}
    space: TextSpace | None = None
    if preset.backbone.kind in HEADS:
        # Patches of the embedded models are not among sentences.
        whole = load_embedded(preset.backbone.kind)
        assert isinstance(whole.bridge, TextSpace)
        opened["backbone"], space = whole.backbone, whole.bridge
    for done, (group, part) in enumerate(preset.parts.items()):
        report(done / len(preset.parts), f"reading the {group} of {preset.id}")
        if group not in opened:
            opened[group] = open_part(group, part, files)
    backbone = opened["backbone"]
    stamps = []
    # Who makes the vectors that the next part reads.
    maker = f"backbone {backbone.name}"
    dim = backbone.dim if space is None else space.text_dim
    for group, part in opened.items():
        held = {"map": "linear map", "bank": "memory bank", "table": "entity table"}
        noun = next((held[name] for name in held if _value(part, name, object)), group)
        wanted = _value(part, _DIMS, int)
        if group != "backbone" and wanted not in (None, dim):
            raise ModelError(
                f"The {maker} makes vectors of length {dim} but the {noun} reads {wanted}; use the "
                f"one that was made for this {maker.partition(' ')[0]}."
            )
        said = _value(part, "provenance map.source bank.provenance model.notes notes", Mapping)
        stamps.append((noun, said or {}, wanted is not None))
        if (target := _value(part, "map.target", Mapping)) is not None:
            banked = _value(part, "bank.provenance", Mapping)
            if banked is not None:
                stamps.append(("memory bank", banked, True))
            # Beyond a map everything belongs to the other encoder, what the preset says, too.
            check_provenance(stamps, {})
            own = stamps[0][1]
            if own and said and not own.keys() & said.keys():
                raise ModelError(
                    f"The linear map was fitted for vectors with {_listed(said)}, those of the "
                    f"backbone come with {_listed(own)}; fit a map for this backbone."
                )
            maker, dim = "linear map", part.map.target_dim
            stamps = [("linear map", target, False)]
    check_provenance(stamps, preset.provenance)
    bridge = opened["bridge"] if space is None else ThroughText(space, opened["bridge"])
    return Captioner(backbone, bridge, opened["decoder"], name=preset.id, **preset.options)


def _value(part: Any, paths: str, kind: type) -> Any:
    """Return the first of these attributes that a part has, of this kind."""
    for path in paths.split():
        value = part
        for name in path.split("."):
            value = getattr(value, name, None)
        if value is not None and isinstance(value, kind):
            return value
    return None


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
