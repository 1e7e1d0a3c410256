"""The sub-commands of ``models``: which there are, and getting and removing them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_patchioner.errors import ModelError, counted, shell_command
from napari_patchioner.models import ModelCard, add_model, available_models, get_model, remove_model
from napari_patchioner.models.catalog import SEGMENTERS
from napari_patchioner.models.preset import size_text

from .shared import Bar, agreed, say, text_table

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner

_WIDEST = 28
_LONGEST = 200
_FAILURES = 5


def add_models(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands of ``models``; without one, the models are listed."""
    parser.set_defaults(run=_list)
    commands = parser.add_subparsers(metavar="WHAT")
    commands.add_parser("list", help="list the models there are").set_defaults(run=_list)
    info = commands.add_parser("info", help="all that is known of a model")
    info.set_defaults(run=_info)
    get = commands.add_parser("get", help="download a model, or take it from a folder")
    get.add_argument(
        "--from",
        dest="folder",
        type=Path,
        metavar="FOLDER",
        help="folder that holds the files as owner/name/path, as a copied hub cache, or beside "
        "each other; no network is used for them",
    )
    get.add_argument(
        "--keep", action="store_true", help="keep the published files that were converted"
    )
    get.add_argument("--yes", action="store_true", help="do not ask before downloading")
    get.set_defaults(run=_get)
    remove = commands.add_parser("remove", help="delete a model that was got")
    remove.set_defaults(run=_remove)
    for command in (info, get, remove):
        command.add_argument("id", metavar="ID", help="id of the model")
    familiar = commands.add_parser(
        "familiar",
        help="show a model images like those it was made for, so that it warns of others",
    )
    familiar.add_argument("id", metavar="ID", help="id of the model")
    familiar.add_argument(
        "images", nargs="*", metavar="IMAGE", help="image files or folders, 20 images or more"
    )
    familiar.add_argument(
        "-r", "--recursive", action="store_true", help="search folders within folders as well"
    )
    familiar.add_argument("--forget", action="store_true", help="forget what it was shown by you")
    familiar.set_defaults(run=_familiar)
    add = commands.add_parser("add", help="take in a model of your own")
    add.add_argument("folder", type=Path, metavar="FOLDER", help="folder with a preset.toml")
    add.set_defaults(run=_add)


def _state(card: ModelCard) -> str:
    """Say whether a model is installed, or what is still to come."""
    if card.installed:
        return "installed"
    return f"{size_text(card.to_get)} to get" if card.to_get else "to get"


def _list(*_: object) -> None:
    rows = [
        [card.id, card.title, _short(card.licence), _amount(card.size), _state(card)]
        for card in _cards()
    ]
    print(text_table(["id", "what", "licence", "size", "state"], rows))


def _info(arguments: argparse.Namespace, _: object) -> None:
    """Print all that is known of a model."""
    from napari_patchioner.models.install import files_of, trained_card

    card = _card(arguments.id)
    lines = [
        ("id", card.id),
        ("what", card.title),
        ("note", card.note),
        ("licence", card.licence),
        ("size", _amount(card.size)),
        ("memory", _amount(card.ram)),
        ("paper", card.row),
        ("state", _state(card)),
        ("from", ", ".join(card.sources)),
        ("knows", _knows(card.id) if card.installed else ""),
    ]
    print("\n".join(f"{name:<8} {text}" for name, text in lines if text))
    rows = [
        [role, name, _amount(size), str(place or where or "to be downloaded")]
        for role, name, size, place, where in files_of(card.id)
    ]
    if rows:
        print("\n" + text_table(["for", "file", "size", "where"], rows))
    trained, page = trained_card(card.id)
    for part in _trained(trained):
        print("\n" + part)
    if page is not None:
        print(f"\nall of its card: {page}")


def _knows(name: str) -> str:
    """Say what of a model's own kind of images it was shown."""
    from napari_patchioner.models.catalog import SEGMENTERS
    from napari_patchioner.models.familiar import shown
    from napari_patchioner.models.install import find_preset

    known, is_own = shown(name)
    if known is None:
        preset = find_preset(name)
        if preset.server or name in SEGMENTERS:
            return ""
        return f"nobody has shown it: {shell_command('models', 'familiar', name, 'FOLDER')}"
    whose = "shown by you" if is_own else "come along"
    images, regions = known.known_images, known.known_regions
    return f"{counted(images, 'image')}, {counted(regions, 'region')} ({whose})"


def _trained(card: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a card says of how a model was trained, from what, and how well it does."""
    from napari_patchioner.texts import cleaned

    def text(value: object) -> str:
        """Return what a file that may be anybody's says, short and printable."""
        return "" if value in (None, "", 0) else cleaned(str(value))[:_LONGEST]

    facts = [("trained", card.get("kind")), ("behind", card.get("tower")), ("", card.get("method"))]
    if lines := [f"{name:<8} {text(value)}" for name, value in facts if value]:
        yield "\n".join(lines)
    names = ("name", "examples", "licence", "sha256")
    listed = card.get("data")
    data = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    if rows := [[text(item.get(name)) for name in names] for item in data]:
        yield text_table(["data", *names[1:]], rows)
    for title, key in (("held out", "scores"), ("file", "files")):
        pairs = card.get(key)
        if isinstance(pairs, dict) and pairs:
            value = "score" if key == "scores" else "sha256"
            yield text_table([title, value], [[text(k), cleaned(str(v))] for k, v in pairs.items()])


def _get(arguments: argparse.Namespace, _: object) -> None:
    """Download a model after asking."""
    card = _card(arguments.id)
    if card.installed:
        say(f"{card.id} is installed already")
        return
    if arguments.folder is None:
        say(f"{card.id}: {_state(card)} from {', '.join(card.sources)}; licence: {card.licence}")
        if not arguments.yes and not agreed(
            "nobody is there to agree to this download, so nothing was downloaded; to agree "
            f"beforehand: {shell_command('models', 'get', card.id, '--yes')}"
        ):
            say("nothing was downloaded")
            return
    with Bar() as bar:
        freed = get_model(card.id, folder=arguments.folder, progress=bar, keep=arguments.keep)
    if freed:
        say(f"{size_text(freed)} of published files were converted and are free again")
    if card.id in SEGMENTERS:
        say(f"{card.id} is installed; in the dock, Outline has what it does")
        return
    how = shell_command("caption", "--model", card.id)
    say(f"{card.id} is installed; caption with: {how} ...")


def _remove(arguments: argparse.Namespace, _: object) -> None:
    """Delete a model."""
    freed = remove_model(arguments.id)
    say(f"{arguments.id} is removed; {size_text(freed)} are free again")


def _familiar(arguments: argparse.Namespace, load: Callable[[str], Captioner]) -> None:
    """Learn what a model knows, or forget it."""
    from napari_patchioner.batch import find_images
    from napari_patchioner.models.familiar import forget_familiarity, learn_familiarity

    card = _card(arguments.id)
    if arguments.forget:
        if arguments.images:
            raise ModelError("--forget takes no images; leave one of both out.")
        forget_familiarity(card.id)
        say(f"{card.id} forgot what it was shown")
        return
    if not arguments.images:
        raise ModelError(
            f"Name images like those that {card.id} was made for, or a folder of them."
        )
    paths = find_images(arguments.images, recursive=arguments.recursive)
    with Bar() as bar:
        known, failures = learn_familiarity(load(card.id), paths, bar)
    for failure in failures[:_FAILURES]:
        say(failure)
    if len(failures) > _FAILURES:
        say(f"and {len(failures) - _FAILURES} more could not be read")
    say(
        f"{card.id} knows {counted(known.known_images, 'image')} and "
        f"{counted(known.known_regions, 'region')} of them; its captions say how unlike these they "
        "are, in the column familiarity"
    )


def _add(arguments: argparse.Namespace, _: object) -> None:
    """Take in a model of a person's own."""
    with Bar() as bar:
        preset = add_model(arguments.folder, progress=bar)
    next_step = _card(preset.id)
    say(
        f"{preset.id} is added and installed"
        if next_step.installed
        else f"{preset.id} is added; get it with: {shell_command('models', 'get', preset.id)}"
    )


def _card(name: str) -> ModelCard:
    """Return what is known of a model."""
    from napari_patchioner.models.install import find_preset

    cards = {card.id: card for card in _cards()}
    if name not in cards:
        find_preset(name)
    return cards[name]


def _cards() -> list[ModelCard]:
    """Return the cards of all models, those for outlines last."""
    from napari_patchioner.models.segmenters import segmenter_cards

    return [*available_models(), *segmenter_cards()]


def _amount(size: int) -> str:
    return size_text(size) if size else ""


def _short(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1].rstrip()}…"
