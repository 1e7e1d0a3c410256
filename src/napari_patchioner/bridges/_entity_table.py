"""Names of things and their text embeddings, to recognise regions by."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.errors import ModelError
from napari_patchioner.limits import check_plain_file

from ._normalize import unit_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import numpy.typing as npt

TEMPLATES = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)
"""The sentences a name is put into, letter by letter as published ("a origami")."""

_COCO = Path(__file__).parent / "coco_entities.txt"
_PICKLES = (".pickle", ".pkl", ".p")
# Names embedded between two reports of progress.
_AT_ONCE = 4


class EntityTable:
    """A vocabulary and an embedding of every name in the space of the regions.

    Made by :meth:`build`, :meth:`open` or :meth:`from_arrays`.

    Attributes
    ----------
    names : tuple of str
        The vocabulary.
    embeddings : ndarray of float32, shape (names, dim)
        Of unit length.
    provenance : mapping of str to str
        What made the embeddings, such as the hash of a projection.
    """

    def __init__(
        self,
        names: Sequence[str],
        embeddings: npt.NDArray[np.float32],
        provenance: Mapping[str, str],
    ) -> None:
        self.names = tuple(names)
        self.embeddings = embeddings
        self.provenance = provenance

    @classmethod
    def build(
        cls,
        names: Iterable[str],
        embed_text: Callable[[Sequence[str]], npt.NDArray[np.float32]],
        provenance: Mapping[str, str] | None = None,
        *,
        progress: Callable[[float, str], None] | None = None,
    ) -> EntityTable:
        """Embed a vocabulary, every name in the seven published sentences.

        Parameters
        ----------
        names : iterable of str
            The vocabulary, such as :func:`coco_names`.
        embed_text : callable
            Sentences to embeddings, shape (n, dim), of any length: a text tower's ``embed_text``.
        provenance : mapping of str to str, optional
            What made the embeddings.
        progress : callable, optional
            Told the share done, 0 to 1, and what is being done; may raise ``Cancelled``.

        Raises
        ------
        ModelError
            There are no names.
        """
        names = list(names)
        parts = []
        for first in range(0, len(names), _AT_ONCE):
            if progress is not None:
                progress(first / len(names), f"Embedding {len(names)} names")
            some = names[first : first + _AT_ONCE]
            texts = [template.format(name) for name in some for template in TEMPLATES]
            parts.append(ensemble(np.reshape(embed_text(texts), (len(some), len(TEMPLATES), -1))))
        return cls.from_arrays(names, np.concatenate(parts) if parts else [], provenance)

    @classmethod
    def from_arrays(
        cls,
        names: Sequence[str],
        embeddings: npt.ArrayLike,
        provenance: Mapping[str, str] | None = None,
    ) -> EntityTable:
        """Hold names and their embeddings, shape (names, dim), which are scaled to length one.

        Raises
        ------
        ModelError
            There are no names, not one vector for each, or numbers that are not finite.
        """
        vectors = np.asarray(embeddings, np.float32)
        if not len(names):
            raise ModelError("The vocabulary has no names; give at least one.")
        if vectors.ndim != 2 or len(vectors) != len(names):
            raise ModelError(
                f"A vocabulary of {len(names)} names came with embeddings of shape "
                f"{vectors.shape}; give one row per name."
            )
        if not np.isfinite(vectors).all():
            raise ModelError("The embeddings of the vocabulary are not finite; build them again.")
        return cls(names, unit_rows(vectors), dict(provenance or {}))

    def save(self, path: str | Path) -> Path:
        """Write names, embeddings and provenance to one safetensors file."""
        import torch

        from napari_patchioner.checkpoints import write_state

        notes = dict(self.provenance) | {"entities": json.dumps(self.names)}
        return write_state(path, {"embeddings": torch.from_numpy(self.embeddings)}, **notes)

    @classmethod
    def open(cls, path: str | Path) -> EntityTable:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ModelError
            The file is missing, damaged or no such table. Published ``.pickle`` tables are never
            opened, since a pickle can run code.
        """
        path = Path(path)
        if path.suffix in _PICKLES:
            raise ModelError(
                f"{path} is a pickle, which could run code on this computer, and was not opened; "
                "build the table from its names with the model's text tower."
            )
        notes, embeddings = _read(path)
        try:
            names = [str(name) for name in json.loads(notes.pop("entities"))]
        except (KeyError, ValueError, TypeError) as error:
            raise ModelError(
                f"{path} names no entities; build the table with the model's text tower."
            ) from error
        return cls.from_arrays(names, embeddings, notes)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def dim(self) -> int:
        """Length of one embedding."""
        return int(self.embeddings.shape[1])


def ensemble(features: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Average the embeddings of a name in several sentences.

    Each is scaled to length one (after the projection, where there is one), their mean again.

    Parameters
    ----------
    features : array_like, shape (names, sentences, dim)

    Returns
    -------
    ndarray of float32, shape (names, dim)
    """
    return unit_rows(unit_rows(features).mean(axis=1))


def coco_names() -> list[str]:
    """Return the 80 COCO categories, the vocabulary of the released models, in order of letters."""
    return read_names(_COCO)


def read_names(path: str | Path) -> list[str]:
    """Read a vocabulary.

    Parameters
    ----------
    path : path
        A text file with one name per line; or JSON: a list of names, an object whose keys are
        names, or Visual Genome's dictionaries, whose ``object_count`` has the names.

    Returns
    -------
    list of str
        In lower case, each once, in order of letters, as the published code has them.

    Raises
    ------
    ModelError
        The file cannot be read or has no names.
    """
    path = Path(path)
    if os.path.exists(path):
        check_plain_file(path, ModelError)
    try:
        text = path.read_text(encoding="utf-8")
        found = _json_names(json.loads(text)) if path.suffix == ".json" else text.splitlines()
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"The vocabulary in {path} cannot be read; give a text file with a name on each line."
        ) from error
    names = sorted({name.lower().strip() for name in found} - {""})
    if not names:
        raise ModelError(f"{path} holds no names; give a text file with a name on each line.")
    return names


def _json_names(content: Any) -> list[str]:
    if isinstance(content, dict):
        content = list(content.get("object_count", content))
    if not isinstance(content, list) or not all(isinstance(name, str) for name in content):
        raise ValueError("neither a list of names nor an object with names for keys")
    return content


def _read(path: Path) -> tuple[dict[str, str], npt.NDArray[np.float32]]:
    from napari_patchioner.checkpoints import read_notes, read_state

    state = read_state(path) if path.suffix == ".safetensors" else {}
    if "embeddings" not in state:
        raise ModelError(f"{path} is no entity table; build one with the model's text tower.")
    return read_notes(path), state["embeddings"].float().numpy()
