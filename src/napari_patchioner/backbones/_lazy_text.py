"""A text tower that is opened when text is embedded for the first time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from napari_patchioner.checkpoints import read_state, rename
from napari_patchioner.decoders import ClipTokenizer
from napari_patchioner.errors import ModelError

from ._clip_layout import hugging_face
from ._clip_text import ClipText, text_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from ._progress import Progress

_PROJECTION = "text_projection.weight"


class LazyText:
    """A text tower to be.

    Parameters
    ----------
    name : str
        Of the tower, see `text_name`.
    dim : int
        Length of its vectors.
    load : callable
        Opens it.
    """

    def __init__(self, name: str, dim: int, load: Callable[[], ClipText]) -> None:
        self.name, self.dim = name, dim
        self._load = load
        self._tower: ClipText | None = None

    @classmethod
    def of_folder(cls, folder: Path) -> LazyText:
        """Name the text tower of a CLIP folder; raises ``ModelError`` where there is none."""
        projection = hugging_face(read_state(folder)).get(_PROJECTION)
        if projection is None:
            raise ModelError(f"{folder} holds no text tower; choose the folder of a whole CLIP.")
        return cls(text_name(projection), len(projection), lambda: ClipText.open(folder))

    @classmethod
    def of_state(
        cls, state: Mapping[str, Tensor], merges: Path, *, source: object
    ) -> LazyText | None:
        """Name the text tower among weights by OpenAI's names; None where there is none."""
        state = hugging_face(state)
        projection = state.get(_PROJECTION)
        if projection is None:
            return None
        return cls(
            text_name(projection),
            len(projection),
            lambda: ClipText.from_state(state, ClipTokenizer(merges), source=source),
        )

    def embed(
        self, texts: Sequence[str], *, progress: Progress | None = None
    ) -> npt.NDArray[np.float32]:
        """Embed sentences, see `ClipText.embed`."""
        if self._tower is None:
            self._tower = self._load()
        return self._tower.embed(texts, progress=progress)


class WithText:
    """What backbones with a text tower of CLIP have in common.

    Parameters
    ----------
    text : LazyText, optional
        The tower.

    Attributes
    ----------
    provenance : mapping of str to str
        ``"text"`` names the tower whose space the embeddings share, where there is one.
    """

    name: str
    dim: int

    def __init__(self, text: LazyText | None) -> None:
        if text is not None and text.dim != self.dim:
            raise ModelError(
                f"The text tower gives {text.dim} numbers where the pictures have {self.dim}; "
                f"choose the CLIP that belongs to them."
            )
        self._text = text
        self.provenance: Mapping[str, str] = {} if text is None else {"text": text.name}

    def embed_text(
        self, texts: Sequence[str], *, progress: Progress | None = None
    ) -> npt.NDArray[np.float32]:
        """Embed sentences, shape (n, dim), not normalised; ``progress`` may raise ``Cancelled``.

        Raises
        ------
        ModelError
            The model came without its text tower.
        """
        if self._text is None:
            raise ModelError(f"{self.name} came without a text tower, so it embeds no text.")
        return self._text.embed(texts, progress=progress)


def below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the weights whose names start with a prefix, without it."""
    return rename(state, [(re.escape(prefix) + r"(.*)", r"\1"), (r".*", None)])
