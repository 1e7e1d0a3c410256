"""The sub-commands of ``train``: parts of a model, from a person's own texts and pictures."""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from napari_patchioner.devices import CPU, DEVICES
from napari_patchioner.errors import FormatError, shell_command
from napari_patchioner.limits import check_plain_file

from .shared import (
    Bar,
    above_zero,
    check_folder,
    positive,
    say,
    share_of_one,
    text_table,
    up_to,
)

if TYPE_CHECKING:
    from napari_patchioner.training import Noise, Settings, Tower

_PACES = ("cosine", "linear", "constant")
_SEEDS = 2**31 - 1
# The noise of the paper's decoders, and of ViECap.
_STD, _VARIANCE = 0.08, 0.016

Kinds: TypeAlias = Mapping[str, tuple[str, Callable[[argparse.ArgumentParser], None]]]


def add_train(parser: argparse.ArgumentParser, more: Kinds) -> None:
    """Add the sub-commands of ``train``: `KINDS`, and those of other modules."""
    kinds = parser.add_subparsers(metavar="KIND", required=True)
    for name, (text, add) in {**KINDS, **more}.items():
        add(kinds.add_parser(name, help=text))


def add_result(parser: argparse.ArgumentParser, work: str) -> None:
    """Add where the result goes and what it is called; ``work`` is what --fresh forgets."""
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="folder to write")
    parser.add_argument("--id", metavar="ID", help="id of the model (the name of the folder)")
    parser.add_argument("--title", metavar="TEXT", help="what people call it")
    parser.add_argument(
        "--licence", default="", metavar="TEXT", help="licence of the data, for the card"
    )
    parser.add_argument("--fresh", action="store_true", help=f"forget {work}")


def add_settings(parser: argparse.ArgumentParser, **defaults: Any) -> None:
    """Add what trained kinds have in common; ``defaults`` are those of `Settings` that differ."""
    add_result(parser, "what an interrupted training has learned")
    options: list[tuple[str, Any, str]] = [
        ("steps", positive, "batches to learn from at most"),
        ("batch", positive, "examples in a batch"),
        ("learning-rate", above_zero, "the largest"),
        ("warmup", _count, "steps over which the learning rate rises"),
        ("weight-decay", share_of_one, "of AdamW"),
        ("check-every", positive, "steps between checks of what is held out, and checkpoints"),
        ("patience", _count, "checks without a better loss until training ends; 0 for never"),
        ("seed", _count, "of weights, order, dropout and noise"),
    ]
    usual = _defaults(defaults)
    for name, kind, text in options:
        value = usual[name.replace("-", "_")]
        shown = "as many as suit the data" if value is None else f"{value:g}"
        parser.add_argument(
            f"--{name}", type=kind, default=value, metavar="N", help=f"{text} ({shown})"
        )
    parser.add_argument(
        "--pace",
        choices=_PACES,
        default=usual["pace"],
        help=f"how the learning rate falls ({usual['pace']})",
    )
    parser.add_argument(
        "--device",
        choices=DEVICES,
        default=CPU.device,
        help="where to train; auto takes the GPU where there is one (cpu)",
    )


def settings_of(arguments: argparse.Namespace, **changes: Any) -> Settings:
    """Return the settings of a command line; ``changes`` replace what could not be known before."""
    from napari_patchioner.training import Settings

    names = [item.name for item in fields(Settings) if hasattr(arguments, item.name)]
    return Settings(**{name: getattr(arguments, name) for name in names} | changes)


def _defaults(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of `Settings`, whose module loads torch."""
    usual = {
        "steps": 4000,
        "batch": 64,
        "learning_rate": 1e-3,
        "warmup": 200,
        "pace": "cosine",
        "weight_decay": 0.01,
        "check_every": 200,
        "patience": 5,
        "seed": 0,
    }
    return usual | dict(changes)


def _count(text: str) -> int:
    """Read a whole number from 0."""
    return 0 if text == "0" else up_to(_SEEDS)(text)


def _add_texts(parser: argparse.ArgumentParser, **defaults: Any) -> None:
    """Add what the decoders have in common that are trained on text alone."""
    parser.add_argument(
        "texts",
        nargs="+",
        type=Path,
        metavar="TEXTS",
        help="files of captions: .txt (one per line), .csv, .jsonl, COCO captions (.json)",
    )
    parser.add_argument(
        "--tower",
        required=True,
        metavar="MODEL",
        help="model whose regions are to be captioned: its id; or the folder of a text encoder",
    )
    parser.add_argument("--column", metavar="NAME", help="column or field that holds the captions")
    parser.add_argument(
        "--held-out", type=Path, metavar="FILE", help="captions to hold out (5 %% of the others)"
    )
    add_settings(parser, **{"steps": None, "learning_rate": 2e-3} | defaults)
    sizes: list[tuple[str, int, str]] = [
        ("pieces", 4000, "word pieces to learn from the texts"),
        ("width", 256, "numbers that stand for a token inside"),
        ("layers", 3, "layers of the decoder"),
        ("heads", 4, "heads of attention, which divide the width"),
        ("longest", 40, "tokens of the longest caption"),
    ]
    for name, value, text in sizes:
        parser.add_argument(
            f"--{name}", type=up_to(100_000), default=value, metavar="N", help=f"{text} ({value})"
        )


def _add_decoder(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``train decoder``."""
    _add_texts(parser)
    _add_merges(parser)
    parser.set_defaults(run=_train_decoder, kind="decoder")


def _add_noise(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``train noise``."""
    _add_texts(parser)
    _add_merges(parser)
    _add_spread(parser, f"standard deviation of the noise, as CLOSE states it ({_STD})")
    parser.set_defaults(run=_train_decoder, kind="noise")


def _add_viecap(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``train viecap``."""
    _add_texts(parser)
    _add_spread(parser, f"standard deviation of the noise (that of the variance {_VARIANCE})")
    parser.add_argument(
        "--entities", type=Path, metavar="FILE", help="names to recognise (the 80 of COCO)"
    )
    parser.add_argument(
        "--masking",
        type=share_of_one,
        default=0.4,
        metavar="P",
        help="probability that a name is left out of the prompt in training (0.4)",
    )
    parser.add_argument(
        "--gpt2", type=Path, metavar="FOLDER", help="GPT-2 to start from, with its word pieces"
    )
    parser.set_defaults(run=_train_decoder, kind="viecap")


def _add_merges(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--merges", type=Path, metavar="FILE", help="take CLIP's word pieces, from this file"
    )


def _add_spread(parser: argparse.ArgumentParser, text: str) -> None:
    """Add how strong the noise is."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--std", type=share_of_one, metavar="S", help=text)
    group.add_argument(
        "--variance", type=share_of_one, metavar="V", help="its variance, as CapDec states it"
    )
    group.add_argument(
        "--alike",
        type=Path,
        metavar="FILE",
        help="images with several captions each, to estimate it from as CapDec does: COCO "
        "captions, or a table with the columns image and caption",
    )


def _train_decoder(arguments: argparse.Namespace, *_: object) -> None:
    """Train a decoder on texts."""
    from napari_patchioner import training
    from napari_patchioner.bridges import read_names
    from napari_patchioner.devices import choose
    from napari_patchioner.texts import TextFile

    out: Path = arguments.out
    check_folder(out.absolute().parent)
    if out.exists():
        raise FormatError(f"{out}: is there; choose another name")
    for path in (*arguments.texts, *filter(None, [arguments.held_out])):
        check_plain_file(path)
    about = training.About(id_of(arguments), arguments.title or "", arguments.licence)
    sizes = training.Sizes(
        arguments.width, arguments.layers, arguments.heads, longest=arguments.longest
    )
    if arguments.kind == "viecap":
        sizes = replace(sizes, prefix_tokens=10, mapper_layers=8 if arguments.gpt2 else 2)
    tower = training.open_tower(arguments.tower)
    names = getattr(arguments, "entities", None)
    recipe = training.Recipe(
        kind=arguments.kind,
        sizes=sizes,
        noise=_noise(arguments, tower),
        masking=getattr(arguments, "masking", 0.0),
        pieces=arguments.pieces,
        merges=getattr(arguments, "merges", None),
        gpt2=getattr(arguments, "gpt2", None),
        entities=None if names is None else read_names(names),
    )
    steps = arguments.steps
    settings = settings_of(arguments, steps=steps or 1)
    if arguments.fresh:
        shutil.rmtree(training.unfinished(out), ignore_errors=True)
    with Bar() as bar:
        card = training.train_decoder(
            [TextFile(path, arguments.column) for path in arguments.texts],
            tower,
            out,
            about=about,
            recipe=recipe,
            settings=settings,
            steps=steps,
            held_out=[TextFile(path) for path in filter(None, [arguments.held_out])],
            placement=choose(arguments.device),
            progress=bar,
        )
    print_result(out, card.id, card.scores, "a decoder behind a text encoder alone")


def print_result(out: Path, model: str, scores: Mapping[str, Any], part: str) -> None:
    """Print scores, and how the model is added; ``part`` is what there is where that is none."""
    print(text_table(["held out", "score"], [[name, f"{it}"] for name, it in scores.items()]))
    if (out / "preset.toml").is_file():
        say(f"{out}: the model {model}; add it with: {shell_command('models', 'add', out)}")
    else:
        say(f"{out}: no model that could be added, but {part}")


def _noise(arguments: argparse.Namespace, tower: Tower) -> Noise:
    """Return the noise that is asked for."""
    from napari_patchioner.training import Noise, estimate_noise

    if getattr(arguments, "std", None) is not None:
        return Noise(arguments.std)
    if getattr(arguments, "variance", None) is not None:
        return Noise.of_variance(arguments.variance)
    if getattr(arguments, "alike", None) is not None:
        noise = estimate_noise(arguments.alike, tower.embed)
        say(f"noise of a standard deviation of {noise.std:.4f}, from {arguments.alike}")
        return noise
    return Noise.of_variance(_VARIANCE) if arguments.kind == "viecap" else Noise(_STD)


def id_of(arguments: argparse.Namespace) -> str:
    """Return the id of the model: as given, or made of the name of the folder."""
    if arguments.id:
        return str(arguments.id)
    made = re.sub(r"[^a-z0-9]+", "-", arguments.out.name.lower()).strip("-")
    return made[:64].strip("-") or "trained"


KINDS: Kinds = {
    "decoder": ("a decoder on text alone, behind a memory (DeCap)", _add_decoder),
    "noise": ("a decoder on text alone, with noise (CapDec, CLOSE)", _add_noise),
    "viecap": ("a decoder that is given names in words (ViECap)", _add_viecap),
}
"""What can be trained: a line of help, and what adds its options and sets ``run``."""
