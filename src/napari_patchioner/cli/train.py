"""The sub-commands of ``train``: parts of a model, from a person's own texts and pictures."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from napari_patchioner.devices import CPU, DEVICES

from .shared import above_zero, positive, share_of_one, up_to

if TYPE_CHECKING:
    from napari_patchioner.training import Settings

_PACES = ("cosine", "linear", "constant")
_SEEDS = 2**31 - 1

Kinds: TypeAlias = Mapping[str, tuple[str, Callable[[argparse.ArgumentParser], None]]]

KINDS: Kinds = {}
"""What can be trained: a line of help, and what adds its options and sets ``run``."""


def add_train(parser: argparse.ArgumentParser, more: Kinds) -> None:
    """Add the sub-commands of ``train``: `KINDS`, and those of other modules."""
    kinds = parser.add_subparsers(metavar="KIND", required=True)
    for name, (text, add) in {**KINDS, **more}.items():
        add(kinds.add_parser(name, help=text))


def add_settings(parser: argparse.ArgumentParser, **defaults: Any) -> None:
    """Add what all kinds have in common; ``defaults`` are those of `Settings` that differ."""
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="folder to write")
    parser.add_argument("--id", metavar="ID", help="id of the model (the name of the folder)")
    parser.add_argument("--title", metavar="TEXT", help="what people call it")
    parser.add_argument(
        "--licence", default="", metavar="TEXT", help="licence of the data, for the card"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="forget what an interrupted training has learned"
    )
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
