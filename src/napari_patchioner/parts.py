"""How the registries of backbones, bridges and decoders describe a part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self


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


class Part:
    """A part that is made of what its files hold, and of options: keywords of its ``__init__``."""

    @classmethod
    def open(cls, files: Mapping[str, Path], **options: Any) -> Self:
        """Open a part from files on disk, by their roles.

        A ``ModelError`` where a file is missing, damaged, or does not belong to the others, or an
        option makes no sense.
        """
        return cls(*cls.read(files), **options)

    @classmethod
    def read(cls, files: Mapping[str, Path]) -> tuple[Any, ...]:
        """Read the files and return what the part is made of."""
        return ()
