"""The bridge that recognises regions by a vocabulary (ViECap's entities), and the vocabulary."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_patchioner.decoders import Evidence
from napari_patchioner.errors import ModelError
from napari_patchioner.limits import check_plain_file
from napari_patchioner.progress import Progress, no_progress

from .base import Bridge, BridgeOutput, Query, checked_unit_rows, unit_rows

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
# Names embedded between two calls of progress.
_BATCH = 4


class EntityTable:
    """A vocabulary and an embedding of every name in the space of the regions, of unit length.

    ``embeddings`` of the shape (names, dim) are scaled to length one; ``provenance`` says what made
    them, such as the hash of a projection.
    """

    def __init__(
        self,
        names: Sequence[str],
        embeddings: npt.ArrayLike,
        provenance: Mapping[str, str] | None = None,
    ) -> None:
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
        self.names, self.embeddings = tuple(names), unit_rows(vectors)
        self.dim = self.embeddings.shape[1]
        self.provenance = dict(provenance or {})

    @classmethod
    def build(
        cls,
        names: Iterable[str],
        embed_text: Callable[[Sequence[str]], npt.NDArray[np.float32]],
        provenance: Mapping[str, str] | None = None,
        *,
        progress: Progress | None = None,
    ) -> EntityTable:
        """Embed a vocabulary, every name in the seven published sentences, by a text tower."""
        names, progress = list(names), progress or no_progress
        parts = []
        for start in range(0, len(names), _BATCH):
            progress(start / len(names), f"Embedding {len(names)} names")
            batch = names[start : start + _BATCH]
            texts = [template.format(name) for name in batch for template in TEMPLATES]
            parts.append(ensemble(np.reshape(embed_text(texts), (len(batch), len(TEMPLATES), -1))))
        return cls(names, np.concatenate(parts) if parts else [], provenance)

    def save(self, path: str | Path) -> Path:
        """Write names, embeddings and provenance to one safetensors file."""
        import torch

        from napari_patchioner.checkpoints import write_state

        notes = dict(self.provenance) | {"entities": json.dumps(self.names)}
        return write_state(path, {"embeddings": torch.from_numpy(self.embeddings)}, **notes)

    @classmethod
    def open(cls, path: str | Path) -> EntityTable:
        """Read what :meth:`save` wrote.

        Published ``.pickle`` tables are never opened, since a pickle can run code.
        """
        from napari_patchioner.checkpoints import read_notes, read_state

        path = Path(path)
        if path.suffix in _PICKLES:
            raise ModelError(
                f"{path} is a pickle, which could run code on this computer, and was not opened; "
                "build the table from its names with the model's text tower."
            )
        state = read_state(path) if path.suffix == ".safetensors" else {}
        if "embeddings" not in state:
            raise ModelError(f"{path} is no entity table; build one with the model's text tower.")
        notes = read_notes(path)
        try:
            names = [str(name) for name in json.loads(notes.pop("entities"))]
        except (KeyError, ValueError, TypeError) as error:
            raise ModelError(
                f"{path} names no entities; build the table with the model's text tower."
            ) from error
        return cls(names, state["embeddings"].float().numpy(), notes)

    def __len__(self) -> int:
        return len(self.names)


def ensemble(features: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Average embeddings, shape (names, sentences, dim), of names in several sentences.

    Each is scaled to length one (after the projection, where there is one), their mean again.
    """
    return unit_rows(unit_rows(features).mean(axis=1))


def coco_names() -> list[str]:
    """Return the 80 COCO categories, the vocabulary of the released models, in order of letters."""
    return read_names(_COCO)


def read_names(path: str | Path) -> list[str]:
    """Read a vocabulary: in lower case, each name once, in order of letters, as published.

    The file is text with one name per line; or JSON: a list of names, an object whose keys are
    names, or Visual Genome's dictionaries, whose ``object_count`` has the names.
    """
    path = Path(path)
    if os.path.exists(path):
        check_plain_file(path, ModelError)
    try:
        text = path.read_text(encoding="utf-8")
        lines = json.loads(text) if path.suffix == ".json" else text.splitlines()
        if isinstance(lines, dict):
            lines = list(lines.get("object_count", lines))
        if not isinstance(lines, list) or not all(isinstance(name, str) for name in lines):
            raise ValueError("neither a list of names nor an object with names for keys")
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"The vocabulary in {path} cannot be read; give a text file with a name on each line."
        ) from error
    names = sorted({name.lower().strip() for name in lines} - {""})
    if not names:
        raise ModelError(f"{path} holds no names; give a text file with a name on each line.")
    return names


class EntityBridge(Bridge):
    """Names the entities nearest to each region; the vectors are only scaled to length one.

    The probabilities are ``softmax(cos(v, E) / temperature)`` over the vocabulary; of the best
    ``top_k`` those before the first below ``threshold`` are named (Fei et al., "Transferable
    Decoding with Visual Entities for Zero-Shot Image Captioning", ICCV 2023). At the published
    threshold of 0.4 that is two at most, and often none.

    ``top_k`` are the most entities to name, ``threshold`` the least probability of one; the smaller
    the ``temperature``, the surer.
    """

    def __init__(
        self,
        table: EntityTable,
        *,
        temperature: float = 0.01,
        top_k: int = 3,
        threshold: float = 0.4,
    ) -> None:
        if not temperature > 0:
            raise ModelError(f"The temperature of entities must be above 0, not {temperature}.")
        self.table, self.provenance = table, table.provenance
        self.temperature, self.top_k, self.threshold = temperature, top_k, threshold

    @classmethod
    def read(cls, files: Mapping[str, Path]) -> tuple[EntityTable]:
        """Open ``entities``, what `EntityTable.save` wrote."""
        return (EntityTable.open(files["entities"]),)

    def answer(self, query: Query) -> BridgeOutput:
        """Recognise every region; the evidence names its entities, best first."""
        import torch

        evidence = []
        for row in torch.from_numpy(self.probabilities(query.vectors)):
            best, indices = row.topk(min(self.top_k, len(row)))
            concepts = tuple(
                (self.table.names[index], score)
                for index, score in zip(indices.tolist(), best.tolist(), strict=True)
                if score >= self.threshold
            )
            evidence.append(Evidence(concepts=concepts, score=float(row.max())))
        return BridgeOutput(unit_rows(query.vectors), tuple(evidence))

    def probabilities(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Probability of every name for every region, shape (n, names)."""
        # torch's product, softmax and top-k, so that entities of equal score come in the order
        # that the published code gives them.
        import torch

        unit = checked_unit_rows(vectors, self.table.dim, "The entities have")
        table = torch.from_numpy(self.table.embeddings)
        logits = torch.from_numpy(unit) @ table.T / self.temperature
        return logits.softmax(dim=-1).numpy()
