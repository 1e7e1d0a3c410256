"""How the registries of backbones, bridges and decoders describe a part."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PartKind:
    """One kind of part that a preset can name.

    Attributes
    ----------
    target : str
        ``module:name`` of something with ``open(files, **options)``.
    needs : tuple of str
        Roles that ``open`` cannot do without.
    may : tuple of str
        Roles it reads where they are given.
    """

    target: str
    needs: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
