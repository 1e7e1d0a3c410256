"""``train projection`` and ``train bridge``: what joins encoders, texts and decoders."""

from __future__ import annotations

import argparse
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_patchioner.errors import FormatError, ModelError
from napari_patchioner.limits import check_plain_file

from .shared import Bar, above_zero, check_folder, say
from .train import add_result, add_settings, id_of, print_result, settings_of

if TYPE_CHECKING:
    from napari_patchioner.backbones.base import Backbone
    from napari_patchioner.models.preset import Preset
    from napari_patchioner.training import TrainingCard
    from napari_patchioner.training.aligned import Named

_SHOWN = 3


def add_projection(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``train projection``."""
    parser.add_argument(
        "captions",
        type=Path,
        metavar="CAPTIONS",
        help="captions of pictures: COCO's (.json), or a table with the columns image and caption",
    )
    parser.add_argument(
        "--images", required=True, type=Path, metavar="FOLDER", help="where the pictures are"
    )
    parser.add_argument(
        "--vision",
        required=True,
        metavar="MODEL",
        help="model whose DINO encodes the pictures, by its id; or the folder of a DINO",
    )
    parser.add_argument(
        "--text",
        required=True,
        metavar="MODEL",
        help="model whose text tower embeds the captions, by its id; or the folder of a CLIP",
    )
    parser.add_argument(
        "--alignment",
        choices=("max", "weighted"),
        default="max",
        help="how similar a picture is: its best attention head, or all, the better the more (max)",
    )
    add_settings(
        parser,
        steps=20_000,
        batch=128,
        learning_rate=1e-4,
        warmup=0,
        pace="constant",
        weight_decay=0.0,
        check_every=500,
    )
    parser.set_defaults(run=_train_projection)


def add_bridge(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``train bridge``."""
    parser.add_argument(
        "texts",
        nargs="+",
        type=Path,
        metavar="TEXTS",
        help="files of sentences: .txt (one per line), .csv, .jsonl, COCO captions (.json)",
    )
    parser.add_argument("--column", metavar="NAME", help="column or field that holds the texts")
    parser.add_argument(
        "--from",
        dest="source",
        required=True,
        metavar="MODEL",
        help="model that is to get a decoder, by its id",
    )
    parser.add_argument(
        "--to",
        required=True,
        metavar="MODEL",
        help="model with the text tower that the decoder was trained behind: its id, or a folder",
    )
    parser.add_argument("--decoder", metavar="ID", help="model with the decoder (that of --to)")
    parser.add_argument(
        "--bank",
        type=Path,
        metavar="FOLDER",
        help="memory of sentences that the model of --from embedded, to take regions to text first",
    )
    parser.add_argument(
        "--method",
        choices=("least-squares", "orthogonal"),
        default="least-squares",
        help="any linear map, or a rotation (least-squares)",
    )
    parser.add_argument(
        "--no-intercept", action="store_true", help="a map that takes nothing to nothing"
    )
    ridge = parser.add_mutually_exclusive_group()
    ridge.add_argument(
        "--ridge", type=above_zero, metavar="R", help="cost of large weights (what holds best)"
    )
    ridge.add_argument("--no-ridge", action="store_true", help="let large weights cost nothing")
    add_result(parser, "what an interrupted fit has summed up")
    parser.set_defaults(run=_train_bridge)


def _train_bridge(arguments: argparse.Namespace, *_: object) -> None:
    """Fit a linear map between two text towers."""
    from napari_patchioner.bridges import MemoryBank
    from napari_patchioner.models.assemble import check_provenance
    from napari_patchioner.models.install import find_preset
    from napari_patchioner.texts import TextFile, TextReport, unique_texts
    from napari_patchioner.training import DataSource, TrainingCard, fit_bridge, open_tower
    from napari_patchioner.training.aligned import check_decoder, write_bridged

    work = _workplace(arguments)
    for path in arguments.texts:
        check_plain_file(path)
    source, target = open_tower(arguments.source), open_tower(arguments.to)
    decoder = find_preset(arguments.decoder) if arguments.decoder else target.preset
    if arguments.decoder or (decoder is not None and decoder.decoder.files):
        assert decoder is not None
        check_decoder(decoder, target)
    else:
        decoder = None
    if arguments.bank is not None:
        bank = MemoryBank.open(arguments.bank)
        said = [("text tower", source.provenance, False), ("memory bank", bank.provenance, True)]
        check_provenance(said, {})
    files = [TextFile(path, arguments.column) for path in arguments.texts]
    digests = [file.digest() for file in files]
    report = TextReport()
    ridge = 0.0 if arguments.no_ridge else arguments.ridge
    with Bar() as bar:
        scores = fit_bridge(
            source,
            target,
            unique_texts(files, report),
            work,
            method=arguments.method,
            intercept=not arguments.no_intercept,
            ridge=ridge,
            stamp=hashlib.sha256(f"{digests} {arguments.column}".encode()).hexdigest(),
            progress=bar,
        )[1]
    for line in report.sentences():
        say(line)
    source_name, target_name = Path(source.name).name, Path(target.name).name

    def write(folder: Path) -> TrainingCard:
        shutil.copyfile(work / "map.safetensors", folder / "map.safetensors")
        named = _named(
            arguments,
            f"{source_name} with the decoder of {decoder.id}" if decoder else "a linear map",
            f"A linear map takes regions of {source_name} to a decoder behind {target_name}.",
            [source.licence, decoder.licence if decoder else ""],
        )
        if decoder is not None and source.preset is not None:
            write_bridged(folder, named, source.preset, decoder, arguments.bank)
        return TrainingCard(
            named.id,
            named.title,
            kind="bridge",
            method="A linear map between two text towers, in closed form (SITTA, Paischer et al. "
            "2023), fitted on sentences that both embedded.",
            licence=arguments.licence,
            tower=f"{source_name} to {target_name}",
            provenance={
                **{f"from, {key}": value for key, value in source.provenance.items()},
                **{f"to, {key}": value for key, value in target.provenance.items()},
            },
            data=[
                DataSource(file.name, digest, licence=arguments.licence)
                for file, digest in zip(files, digests, strict=True)
            ],
            settings={
                "method": arguments.method,
                "intercept": not arguments.no_intercept,
                "ridge": scores.ridge,
            },
            scores=_rounded(asdict(scores)),
            limits=[
                "Fitted on text; regions are brought to text by the memory alone, where there is "
                "one."
            ],
        )

    if decoder is None:
        part = f"a map alone: {target_name} has no decoder; name a model that has with --decoder"
    else:
        part = f"a map alone: {source_name} is a text encoder without a backbone for pictures"
    _finish(arguments, work, write, asdict(scores), part)


def _train_projection(arguments: argparse.Namespace, *_: object) -> None:
    """Train a projection on pictures with captions."""
    from napari_patchioner.backbones.talk2dino import Projection
    from napari_patchioner.devices import choose
    from napari_patchioner.training import (
        DataSource,
        TrainingCard,
        open_tower,
        read_pairs,
        train_projection,
    )
    from napari_patchioner.training.aligned import write_projected

    work = _workplace(arguments)
    pairs, missing = read_pairs(arguments.captions, arguments.images)
    if missing:
        shown = ", ".join(missing[:_SHOWN])
        verb = "s are" if len(missing) > 1 else " is"
        say(f"{len(missing):,} picture{verb} not in {arguments.images} and left out: {shown}")
    vision, backbone = _vision(arguments.vision)
    tower = open_tower(arguments.text)
    placement = choose(arguments.device)
    backbone.place(placement)
    settings = settings_of(arguments, clip=0.0)
    with Bar() as bar:
        outcome, scores = train_projection(
            pairs,
            backbone,
            tower,
            work,
            settings=settings,
            alignment=arguments.alignment,
            placement=placement,
            progress=bar,
        )

    vision_name, text_name = Path(arguments.vision).name, Path(arguments.text).name

    def write(folder: Path) -> TrainingCard:
        shutil.copyfile(work / "projection.safetensors", folder / "projection.safetensors")
        shutil.copyfile(work / "losses.csv", folder / "losses.csv")
        named = _named(
            arguments,
            f"{vision_name} with texts of {text_name}",
            f"A projection of texts among the patches of {vision_name}, trained on "
            f"{scores.pictures:,} pictures. Captions are the nearest of 5,000 COCO sentences.",
            [vision.licence if not isinstance(vision, Path) else "", tower.licence],
        )
        write_projected(folder, named, vision, tower)
        digest = Projection.open(folder / "projection.safetensors").hash
        return TrainingCard(
            named.id,
            named.title,
            kind="projection",
            method="Talk2DINO's projection (Barsellotti et al. 2025): InfoNCE between captions and "
            "what the best attention head looks at, encoder and text tower frozen.",
            licence=arguments.licence,
            tower=text_name,
            provenance={"projection": digest, **tower.provenance},
            data=[
                DataSource(
                    arguments.captions.name,
                    hashlib.sha256(arguments.captions.read_bytes()).hexdigest(),
                    sum(len(pair.captions) for pair in pairs),
                    arguments.licence,
                )
            ],
            settings={
                **asdict(settings),
                "alignment": arguments.alignment,
                "best step": outcome.best.step,
            },
            scores=_rounded(asdict(scores)),
            limits=["What it was not shown in pictures it cannot tell apart."],
        )

    part = f"a projection alone: {text_name} is no CLIP, which a model with it needs"
    _finish(arguments, work, write, asdict(scores), part)


def _vision(name: str) -> tuple[Preset | Path, Backbone]:
    """Open the backbone of a model, or a DINO in a folder or file."""
    from napari_patchioner.backbones.dino import Dino
    from napari_patchioner.models.embedded import HEADS
    from napari_patchioner.models.install import find_preset, installed_files
    from napari_patchioner.models.parts import open_part
    from napari_patchioner.models.preset import Part

    path = Path(name)
    if path.exists():
        return path, Dino.open({"vision": path})
    preset = None if name in HEADS else find_preset(name)
    role = None if preset is None else preset.backbone.files.get("vision")
    if preset is None or role is None or preset.backbone.kind not in ("talk2dino", "dino"):
        raise ModelError(
            f"The model {name!r} has no DINO, which a projection is trained for; name one that "
            "has, such as talk2dino-b, or the folder of a DINO."
        )
    if preset.backbone.kind == "talk2dino":
        backbone = open_part("backbone", preset.backbone, installed_files(preset))
    else:
        part = Part("dino", {"vision": role}, preset.backbone.options)
        backbone = open_part("backbone", part, installed_files(preset))
    return preset, backbone


def _workplace(arguments: argparse.Namespace) -> Path:
    """Return the folder of a training under way, beside what it will become."""
    out: Path = arguments.out
    check_folder(out.absolute().parent)
    if out.exists():
        raise FormatError(f"{out}: is there; choose another name")
    work = out.with_name(f"{out.name}.training")
    if arguments.fresh:
        shutil.rmtree(work, ignore_errors=True)
    return work


def _finish(
    arguments: argparse.Namespace,
    work: Path,
    write: Callable[[Path], TrainingCard],
    scores: dict[str, Any],
    part: str,
) -> None:
    """Write the folder beside its place, move it there, and say what came of it.

    ``part`` is what a person reads where it is no model.
    """
    out: Path = arguments.out
    beside = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.absolute().parent))
    try:
        card = write(beside)
        card.write(beside)
        beside.chmod(0o755)
        beside.rename(out)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    shutil.rmtree(work, ignore_errors=True)
    shown = {name.replace("_", " "): value for name, value in _rounded(scores).items()}
    print_result(out, card.id, shown, part)


def _named(arguments: argparse.Namespace, title: str, note: str, licences: Sequence[str]) -> Named:
    """Return what people call the new model."""
    from napari_patchioner.training.aligned import Named

    licence = "; ".join(dict.fromkeys(filter(None, [arguments.licence, *licences])))
    return Named(id_of(arguments), arguments.title or title, note, licence or "not stated")


def _rounded(scores: dict[str, Any]) -> dict[str, Any]:
    """Return scores as a card has them."""
    return {name: round(it, 4) if isinstance(it, float) else it for name, it in scores.items()}


ALIGNMENTS: Mapping[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "projection": ("texts among the patches of a DINO, from captions (Talk2DINO)", add_projection),
    "bridge": ("a linear map, so that a decoder serves another encoder (SITTA)", add_bridge),
}
"""What can be trained of this kind, as in `train.KINDS`."""
