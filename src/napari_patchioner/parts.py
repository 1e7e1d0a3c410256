"""How the registries of backbones, bridges and decoders describe a part."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PartKind:
    """One kind of part that a preset can name.

    ``target`` is ``module:name`` of something with ``open(files, **options)``; of its files it
    cannot do without the roles ``needs`` and reads ``may`` where they are given.
    """

    target: str
    needs: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
