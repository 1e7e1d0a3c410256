"""The sub-commands of ``memory``: building one from texts, listing, showing and removing them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from napari_patchioner.errors import Cancelled, FormatError, counted, shell_command
from napari_patchioner.models.preset import size_text

from .shared import Bar, positive, say, text_table

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner
    from napari_patchioner.texts import TextSource

_PROJECT = ".patchioner.json"
_BY_PEOPLE = ("human", "edited")


def add_memory(parser: argparse.ArgumentParser, devices: Callable[..., None]) -> None:
    """Add the sub-commands of ``memory``; ``devices`` adds the choice of a device to one."""
    commands = parser.add_subparsers(metavar="WHAT", required=True)
    build = commands.add_parser("build", help="make one from texts")
    build.add_argument(
        "texts",
        nargs="+",
        metavar="TEXT",
        help="a text file (a caption on each line), .csv, .tsv, .jsonl, a .json as of COCO, a "
        f"project ({_PROJECT}) for what people wrote there, or the folder of another memory",
    )
    build.add_argument("--model", default="mini", help="id of the model it is for (mini)")
    target = build.add_mutually_exclusive_group(required=True)
    target.add_argument("--name", help="keep it under this name")
    target.add_argument("--out", type=Path, metavar="FOLDER", help="write it as this folder")
    build.add_argument(
        "--column", metavar="NAME", help="column or field that holds the captions (caption)"
    )
    build.add_argument(
        "--longest", type=positive, metavar="N", help="drop texts of more characters (400)"
    )
    devices(build)
    build.set_defaults(run=_build)
    commands.add_parser("list", help="list the memories there are").set_defaults(run=_list)
    info = commands.add_parser("info", help="all that is known of a memory")
    info.add_argument("memory", metavar="NAME|FOLDER", help="name of a memory, or its folder")
    info.set_defaults(run=_info)
    remove = commands.add_parser("remove", help="delete a memory that was built")
    remove.add_argument("name", metavar="NAME", help="name of the memory")
    remove.set_defaults(run=_remove)


def text_sources(paths: Iterable[str], column: str | None = None) -> list[TextSource]:
    """Return where texts come from: files, projects, or folders of memories."""
    from napari_patchioner.texts import TextFile, TextList

    sources: list[TextSource] = []
    for name in paths:
        path = Path(name)
        if name.endswith(_PROJECT):
            sources.append(TextList(path.name, tuple(_captions_of_people(path))))
        elif path.is_dir():
            if not (path / "captions.txt").is_file():
                raise FormatError(f"{path}: is a folder and no memory; name files of texts")
            sources.append(TextFile(path / "captions.txt"))
        else:
            sources.append(TextFile(path, column))
    return sources


def _captions_of_people(path: Path) -> list[str]:
    """Return what people wrote in a project, or accepted."""
    from napari_patchioner.annotations import read_project

    return [
        record.caption
        for record in read_project(path).records
        if record.caption and (record.source in _BY_PEOPLE or record.reviewed)
    ]


def _build(arguments: argparse.Namespace, load: Callable[[str], Captioner]) -> None:
    """Build a memory; what was dropped is said before it is embedded."""
    from napari_patchioner.models.memories import build_memory, memory_folder
    from napari_patchioner.texts import LONGEST, TextFile, TextReport

    sources, report = text_sources(arguments.texts, arguments.column), TextReport()
    for source in sources:
        if isinstance(source, TextFile) and source.column is None:
            names, taken = source.columns()
            if taken and len(names) > 1:
                kind = "column" if source.is_table else "field"
                say(f"{source.name}: texts are taken from the {kind} {taken!r}")
    captioner = load(arguments.model)
    folder = arguments.out
    if folder is None:
        folder = memory_folder(arguments.name, captioner)
    said = False

    def follow(fraction: float, message: str) -> None:
        nonlocal said
        # Texts are all read by now.
        if report.kept and message.endswith("sentences") and not said:
            said = True
            for line in report.sentences():
                bar.say(line)
        bar(fraction, message)

    with Bar() as bar:
        try:
            bank = build_memory(
                folder.absolute(),
                sources,
                captioner,
                report=report,
                longest=arguments.longest or LONGEST,
                progress=follow,
            )
        except (KeyboardInterrupt, Cancelled):
            bar.say("stopped: what was embedded is kept; the same command goes on from there")
            raise
    if not said:
        for line in report.sentences():
            say(line)
    if unknown := report.kept - len(bank):
        hold = "holds" if unknown == 1 else "hold"
        say(f"{unknown:,} {hold} no word that {captioner.name} knows")
    shown = arguments.name or arguments.out
    say(f"{shown}: {counted(bank, 'sentence')} for {captioner.name}")
    how = shell_command("caption", "--model", captioner.name, "--memory", shown)
    say(f"caption with: {how} ...")


def _list(*_: object) -> None:
    from napari_patchioner.models.memories import memories

    rows = [
        [
            card.name,
            f"{card.rows:,}" if card.rows else "",
            ", ".join(card.models) or "built when first used",
            size_text(card.size) if card.size else "",
            card.note,
        ]
        for card in memories()
    ]
    print(text_table(["name", "sentences", "models", "size", "made of"], rows))


def _info(arguments: argparse.Namespace, _: object) -> None:
    from napari_patchioner.models.memories import memory_card, memory_notes

    card = memory_card(arguments.memory)
    print(f"{card.name}: {card.note}")
    for folder, rows, notes in memory_notes(arguments.memory):
        print()
        facts = [("folder", str(folder)), ("sentences", f"{rows:,}"), *sorted(notes.items())]
        print("\n".join(f"{name:<14} {text}" for name, text in facts))


def _remove(arguments: argparse.Namespace, _: object) -> None:
    from napari_patchioner.models.memories import remove_memory

    freed = remove_memory(arguments.name)
    say(f"{arguments.name} is removed; {size_text(freed)} are free again")
