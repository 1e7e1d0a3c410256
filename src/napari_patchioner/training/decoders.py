"""Training a decoder on text alone: DeCap, with noise as CapDec and CLOSE, or ViECap."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.bridges import EntityTable, coco_names
from napari_patchioner.checkpoints import file_sha256
from napari_patchioner.decoders import (
    CaptionOptions,
    ClipTokenizer,
    DeCapDecoder,
    Evidence,
    Gpt2Tokenizer,
    ViECapDecoder,
)
from napari_patchioner.devices import CPU, Placement
from napari_patchioner.errors import FormatError, ModelError
from napari_patchioner.locking import WriteLock
from napari_patchioner.models.catalog import check_id
from napari_patchioner.models.preset import Part
from napari_patchioner.progress import Progress, no_progress, part
from napari_patchioner.texts import TextSource

from .card import DataSource, TrainingCard
from .corpus import TRAINING, Corpus, Split, claim, read_corpus
from .entities import EntityFinder
from .export import write_preset
from .language import Objective, PrefixTask, Sizes, count_weights, network_on_gpt2, new_network
from .loop import LOSSES, Outcome, Settings, train
from .noise import Noise
from .pieces import Framing, learn_pieces
from .scores import Decode, Rebuilt, score_ways
from .towers import Tower

Kind: TypeAlias = Literal["decoder", "noise", "viecap"]

METHODS: Mapping[Kind, str] = {
    "decoder": "Prefix language modelling on text alone; regions are projected onto the memory of "
    "the training captions (DeCap, Li et al. 2023).",
    "noise": "Prefix language modelling on text alone, with Gaussian noise on the embeddings in "
    "place of a memory (CapDec, Nukrai et al. 2022; CLOSE, Gu et al. 2023).",
    "viecap": "Prefix language modelling on text alone behind the names of what is recognised, and "
    "with Gaussian noise on the embeddings (ViECap, Fei et al. 2023).",
}
"""What each kind is, with its paper."""
WEIGHTS, PIECES, BANK, ENTITIES = "decoder.safetensors", "pieces", "bank", "entities.safetensors"
_MERGES = "merges.txt"
# Steps by default: so many passes over the texts, within these bounds.
_EPOCHS, _FEWEST, _MOST = 12, 400, 6000
# The shares of time before and after the steps.
_BEFORE, _AFTER = 0.15, 0.95
_LIMITS = (
    "It knows no more words and things than its texts; it was trained on text alone, never on a "
    "picture.",
    "It belongs to the text tower or projection named above, and is not loaded with another.",
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What kind of decoder is trained, and how large.

    Attributes
    ----------
    kind : {"decoder", "noise", "viecap"}
        DeCap, behind a memory; with noise, behind nothing; or ViECap, behind names.
    sizes : Sizes
        Of the decoder.
    noise : Noise
        On the embeddings: for ``"noise"`` and ``"viecap"``.
    label_smoothing : float
        As of `Objective`.
    masking : float
        As of `Objective`, for ``"viecap"``.
    pieces : int
        Word pieces to learn from the texts.
    merges : Path, optional
        The file of CLIP's word pieces, to take those instead.
    gpt2 : Path, optional
        The folder of a GPT-2 to start from (``"viecap"``), with its word pieces.
    entities : sequence of str, optional
        The vocabulary of ``"viecap"``; the 80 names of COCO by default.
    """

    kind: Kind = "decoder"
    sizes: Sizes = field(default_factory=Sizes)
    noise: Noise = field(default_factory=Noise)
    label_smoothing: float = 0.1
    masking: float = 0.4
    pieces: int = 4000
    merges: Path | None = None
    gpt2: Path | None = None
    entities: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.kind not in METHODS:
            raise ModelError(f"A decoder is one of {', '.join(METHODS)}, not {self.kind!r}.")
        if self.kind == "viecap" and self.merges is not None:
            raise ModelError("A viecap decoder has pieces of its own or GPT-2's, not CLIP's.")
        if self.kind != "viecap" and self.gpt2 is not None:
            raise ModelError(f"A GPT-2 can be the start of a viecap decoder, not of a {self.kind}.")

    @property
    def names(self) -> list[str]:
        """The vocabulary of entities."""
        return coco_names() if self.entities is None else list(self.entities)

    def objective(self) -> Objective:
        """Return what the decoder is trained to do."""
        return Objective(
            noise=Noise(0.0) if self.kind == "decoder" else self.noise,
            label_smoothing=self.label_smoothing,
            finder=EntityFinder(self.names) if self.kind == "viecap" else None,
            masking=self.masking,
        )

    def described(self) -> dict[str, Any]:
        """Return all that can be chosen, for the card, and to be compared with."""
        chosen: dict[str, Any] = {"kind": self.kind, **asdict(self.sizes)}
        if self.kind != "decoder":
            chosen["noise (standard deviation)"] = self.noise.std
        chosen["label smoothing"] = self.label_smoothing
        if self.gpt2 is not None:
            chosen["GPT-2"] = self.gpt2.name
        elif self.merges is not None:
            chosen["pieces"] = f"CLIP's ({file_sha256(self.merges)[:8]})"
        else:
            chosen["pieces"] = self.pieces
        if self.kind == "viecap":
            listed = "\n".join(self.names)
            chosen["masking"] = self.masking
            chosen["entities"] = f"{len(self.names)} ({sha256(listed.encode()).hexdigest()[:8]})"
        return chosen


@dataclass(frozen=True, slots=True)
class About:
    """What people read of a model that is made: its id, title, and the licence of the data."""

    id: str
    title: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        check_id(self.id)


def train_decoder(
    sources: Sequence[TextSource],
    tower: Tower,
    out: str | Path,
    *,
    about: About,
    recipe: Recipe | None = None,
    settings: Settings | None = None,
    steps: int | None = None,
    held_out: Sequence[TextSource] = (),
    split: Split | None = None,
    placement: Placement = CPU,
    progress: Progress | None = None,
) -> TrainingCard:
    """Train a decoder on texts and write it as a folder that ``models add`` takes.

    What is under way lies in a folder beside it, ``OUT.training``; interrupted at any moment, the
    same call goes on from there. That folder is deleted at the end.

    Parameters
    ----------
    sources : sequence of TextSource
        The texts.
    tower : Tower
        What embeds them: that of the model whose regions are to be captioned.
    out : path
        The folder to write; it must not exist.
    about : About
        Id, title, licence.
    recipe : Recipe, optional
        What kind of decoder, and how large; DeCap's by default.
    settings : Settings, optional
        How long and how fast.
    steps : int, optional
        Batches to learn from; by default twelve passes over the texts, 6,000 batches at most.
    held_out, split
        As of `read_corpus`.
    placement : Placement
        Where the decoder is trained.
    progress : callable, optional
        Called with the fraction done; may raise ``Cancelled``.

    Returns
    -------
    TrainingCard
        With the scores on what was held out.

    Raises
    ------
    FormatError
        A source cannot be read, or the folder is there.
    ModelError
        A model is missing, or what lies in ``OUT.training`` is of something else.
    """
    out, progress = Path(out), progress or no_progress
    recipe, settings = recipe or Recipe(), settings or Settings()
    if out.exists():
        raise FormatError(f"{out}: is there; choose another name")
    folder = unfinished(out)
    is_new, lock = not folder.exists(), WriteLock(folder)
    try:
        request = {
            **recipe.described(),
            "tower": dict(tower.provenance),
            "texts": [source.digest() for source in (*sources, *held_out)],
            "held out": asdict(split or Split(seed=settings.seed)),
        }
        claim(folder, request)
        corpus = read_corpus(
            sources,
            tower,
            folder,
            held_out=held_out,
            split=split or Split(seed=settings.seed),
            progress=part(progress, 0, _BEFORE),
        )
        if steps is None:
            steps = usual_steps(len(corpus.training), settings.batch)
        settings = replace(settings, steps=steps, warmup=min(settings.warmup, steps // 10))
        work = _Workbench(folder, corpus, tower, recipe, settings)
        outcome = work.train(placement, part(progress, _BEFORE, _AFTER))
        scores = work.scores(part(progress, _AFTER, 1.0))
        data = _data(sources, held_out, corpus, about.licence)
        progress(1.0, f"writing {out}")
        card = work.export(out, about, outcome, scores, data)
    except FormatError:
        # Texts that cannot be read leave nothing to go on with.
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        lock.release()
    shutil.rmtree(folder, ignore_errors=True)
    return card


def unfinished(out: str | Path) -> Path:
    """Return the folder of a training that is under way."""
    return Path(out).with_name(f"{Path(out).name}.training")


def usual_steps(texts: int, batch: int) -> int:
    """Return how many batches suit so many texts.

    >>> usual_steps(500, 64), usual_steps(22_000, 64), usual_steps(591_753, 64)
    (400, 4125, 6000)
    """
    return min(max(math.ceil(_EPOCHS * texts / batch), _FEWEST), _MOST)


def _data(
    sources: Sequence[TextSource], held_out: Sequence[TextSource], corpus: Corpus, licence: str
) -> list[DataSource]:
    """Describe what was learned from."""
    total = len(corpus.training) + (0 if held_out else len(corpus.held_out))
    alone = len(sources) == 1
    listed = [
        DataSource(source.name, source.digest(), total if alone else 0, licence)
        for source in sources
    ]
    return listed + [
        DataSource(f"{source.name} (held out)", source.digest(), 0, licence) for source in held_out
    ]


class _Workbench:
    """One decoder in the making, in the folder of an interrupted training."""

    def __init__(
        self, folder: Path, corpus: Corpus, tower: Tower, recipe: Recipe, settings: Settings
    ) -> None:
        self._folder, self._corpus, self._tower = folder, corpus, tower
        self._recipe, self._settings = recipe, settings
        self._is_viecap = recipe.kind == "viecap"
        self._tokenizer = self._open_pieces()
        sizes, dim = recipe.sizes, corpus.training.dim
        if recipe.gpt2 is not None:
            self.network = network_on_gpt2(recipe.gpt2, sizes, dim, settings.seed)
        else:
            self.network = new_network(sizes, self._tokenizer.size, dim, settings.seed)
        self.framing = Framing(
            self._tokenizer, "sentence" if self._is_viecap else "plain", sizes.longest
        )
        self.task = PrefixTask(
            self.network, self.framing, corpus.training, corpus.held_out, recipe.objective()
        )

    def _open_pieces(self) -> ClipTokenizer | Gpt2Tokenizer:
        """Open the word pieces, which are learned if there are none yet."""
        recipe = self._recipe
        if recipe.merges is not None:
            return ClipTokenizer(recipe.merges)
        if recipe.gpt2 is not None:
            return Gpt2Tokenizer(recipe.gpt2)
        folder = self._folder / PIECES
        if not folder.is_dir():
            learn_pieces(self._spelt(), recipe.pieces, folder)
        return Gpt2Tokenizer(folder)

    def _spelt(self) -> Iterable[str]:
        """Return the training captions as they are spelt."""
        captions = self._corpus.training.captions
        if self._is_viecap:
            return (f"{caption.strip(' .')}." for caption in captions)
        return (f" {caption.strip(' .')}" for caption in captions)

    def train(self, placement: Placement, progress: Progress) -> Outcome:
        """Train it, or go on."""
        described = json.dumps(self._recipe.described(), sort_keys=True)
        stamp = sha256(f"{self._corpus.digest} {described}".encode()).hexdigest()
        return train(
            self.network,
            self.task.loss,
            self.task.held_out,
            rows=len(self._corpus.training),
            folder=self._folder,
            settings=self._settings,
            stamp=stamp,
            placement=placement,
            progress=progress,
        )

    def decode(self) -> Decode:
        """Return the decoder as a function; the names of ViECap are those in each caption."""
        if not self._is_viecap:
            plain = DeCapDecoder(self.network, self._tokenizer)

            def rebuild(vectors: npt.NDArray[np.float32], _captions: Sequence[str]) -> list[str]:
                return [caption.text for caption in plain.decode(vectors)]

            return rebuild
        assert isinstance(self._tokenizer, Gpt2Tokenizer)
        named, finder = (
            ViECapDecoder(self.network, self._tokenizer),
            EntityFinder(self._recipe.names),
        )
        options = CaptionOptions(beams=1, alternatives=0)

        def rebuild_named(vectors: npt.NDArray[np.float32], captions: Sequence[str]) -> list[str]:
            evidence = [
                Evidence(concepts=tuple((name, 1.0) for name in finder.names_in(caption)))
                for caption in captions
            ]
            return [item.text for item in named.decode(vectors, options, evidence=evidence)]

        return rebuild_named

    def scores(self, progress: Progress) -> dict[str, float]:
        """Measure it on what was held out."""
        corpus = self._corpus
        ways = score_ways(
            self.decode(),
            corpus.training,
            corpus.held_out,
            unit=self._averages_unit_rows,
            progress=progress,
        )
        scores = {"next token right": self.task.token_accuracy()}
        for way, result in ways.items():
            scores |= _named_scores(way, result)
        return {name: round(value, 4) for name, value in scores.items()}

    @property
    def _averages_unit_rows(self) -> bool:
        """Whether the memory averages rows of length one, as CLIP's do, not as they are stored."""
        return "projection" not in self._tower.provenance

    def export(
        self,
        out: Path,
        about: About,
        outcome: Outcome,
        scores: Mapping[str, float],
        data: Sequence[DataSource],
    ) -> TrainingCard:
        """Write all files of the model into a folder, whole or not at all."""
        beside = self._folder / "made"
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        tower, recipe = self._tower, self._recipe
        self.network.save(
            beside / WEIGHTS, **tower.provenance, kind=recipe.kind, texts=self._corpus.digest
        )
        roles = {"decoder": WEIGHTS} | self._copy_pieces(beside)
        files = {"weights": "decoder"}
        files |= {"merges": "merges"} if "merges" in roles else {"tokenizer": "tokenizer"}
        decoder = Part("viecap" if self._is_viecap else "decap", files)
        bridge = self._bridge(beside, roles)
        method = METHODS[recipe.kind]
        title = about.title or f"{about.id}: {recipe.kind} trained on {data[0].name}"
        licence = about.licence or "not stated"
        if tower.licence:
            licence = f"texts: {licence}; {tower.name}: {tower.licence}"
        if tower.preset is not None:
            write_preset(
                beside,
                tower.preset,
                id=about.id,
                title=title,
                note=f"{method} Trained on {len(self._corpus.training):,} texts.",
                licence=licence,
                bridge=bridge,
                decoder=decoder,
                local=roles,
            )
        shutil.copyfile(self._folder / LOSSES, beside / LOSSES)
        best = outcome.best
        card = TrainingCard(
            id=about.id,
            title=title,
            kind=recipe.kind,
            method=method,
            licence=licence,
            tower=tower.name,
            provenance=tower.provenance,
            data=data,
            settings={
                **recipe.described(),
                **asdict(self._settings),
                "weights": count_weights(self.network),
                "texts to learn from": len(self._corpus.training),
                "texts held out": len(self._corpus.held_out),
                "best step": best.step,
            },
            scores={"loss per token (nats)": round(best.held_out, 4), **scores},
            limits=_LIMITS,
        )
        card.write(beside)
        for path in beside.rglob("*.safetensors"):
            path.chmod(0o644)  # which its library keeps to the person alone
        beside.rename(out)
        return card

    def _copy_pieces(self, folder: Path) -> dict[str, str]:
        """Put the word pieces beside the weights."""
        recipe = self._recipe
        if recipe.merges is not None:
            name = recipe.merges.name if recipe.merges.suffix == ".gz" else _MERGES
            shutil.copyfile(recipe.merges, folder / name)
            return {"merges": name}
        source = self._folder / PIECES if recipe.gpt2 is None else recipe.gpt2
        (folder / PIECES).mkdir()
        for name in ("vocab.json", "merges.txt"):
            shutil.copyfile(source / name, folder / PIECES / name)
        return {"tokenizer": PIECES}

    def _bridge(self, folder: Path, roles: dict[str, str]) -> Part:
        """Make what stands between the regions and the decoder."""
        if self._recipe.kind == "noise":
            return Part("normalize")
        if self._recipe.kind == "decoder":
            shutil.copytree(self._folder / TRAINING, folder / BANK)
            roles["bank"] = BANK
            return Part("memory", {"bank": "bank"}, {"unit": self._averages_unit_rows})
        tower = self._tower
        EntityTable.build(self._recipe.names, tower.embed, tower.provenance).save(folder / ENTITIES)
        roles["entities"] = ENTITIES
        return Part("entities", {"entities": "entities"})


def _named_scores(way: str, result: Rebuilt) -> dict[str, float]:
    """Return the scores of one way of rebuilding, by names for people."""
    shown = {
        "retrieval": "nearest training caption",
        "decoder": "decoder",
        "memory": "decoder behind the memory",
    }[way]
    return {f"{name}, {shown}": value for name, value in asdict(result).items()}
