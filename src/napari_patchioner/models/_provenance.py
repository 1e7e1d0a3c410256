"""Files that do not belong together refuse to be loaded together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable

_KEYS = {"projection": "projection", "text": "text encoder"}
_SHA256_DIGITS = 64


def stamps(part: Any) -> Mapping[str, str]:
    """Tell what a part says of where it comes from.

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
    """Refuse parts that were made behind different projections or text encoders.

    Parameters
    ----------
    parts : iterable of (str, mapping, bool)
        Name of a part, what it says of itself, and whether it holds vectors or weights that only
        make sense with one projection. The first is the backbone.
    vouched : mapping of str to str
        What the preset answers for where a part says nothing.

    Raises
    ------
    ModelError
        Two of them differ, or one says nothing and nobody vouches for it.
    """
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
    (first, one), *others = known.items() or [("", "")]
    for name, other in others:
        if other != one:
            raise ModelError(
                f"The {first} and the {name} do not belong together: the {noun} of the {first} is "
                f"{describe(one)}, that of the {name} is {describe(other)}; get the file that "
                f"matches, or make the {name} again with this model."
            )


def describe(stamp: str) -> str:
    """Name a projection or text encoder for a person."""
    if len(stamp) == _SHA256_DIGITS:
        from napari_patchioner.backbones._projection import describe_projection

        return describe_projection(stamp)
    return stamp
