"""The sub-commands of ``server``: set up a model that runs beside, and ask it."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_patchioner.describers import (
    MOST_TOKENS,
    NOT_SAID,
    Endpoint,
    ServerError,
    cleaned_answer,
    cut_off_sentence,
    is_cut_off,
    list_models,
    question,
    without_thoughts,
)
from napari_patchioner.errors import PatchionerError, shell_command
from napari_patchioner.limits import check_plain_file
from napari_patchioner.models import servers

from .shared import agreed, say, up_to

_LARGEST_KEY = 10_000


def add_server(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands of ``server``; without one, what is set up is shown."""
    parser.set_defaults(run=_show)
    commands = parser.add_subparsers(metavar="WHAT")
    commands.add_parser("show", help="what is set up").set_defaults(run=_show)
    setting = commands.add_parser("set", help="set up an OpenAI-compatible server")
    setting.add_argument("--address", metavar="URL", help="such as http://127.0.0.1:11434/v1")
    setting.add_argument("--model", metavar="NAME", help="its name there; see 'server models'")
    setting.add_argument(
        "--prompt",
        metavar="TEXT",
        help="what is asked of a region; {caption}, {layer}, {image} and {size} are filled in",
    )
    setting.add_argument(
        "--key-from",
        metavar="FILE",
        help=f"file that holds the key, if one is needed; ${servers.KEY} goes before",
    )
    setting.add_argument(
        "--max-tokens",
        type=up_to(servers.LARGEST_TOKENS),
        metavar="N",
        help=f"longest answer ({MOST_TOKENS})",
    )
    setting.set_defaults(run=_set)
    models = commands.add_parser("models", help="list the models of the server")
    models.set_defaults(run=_models)
    allow = commands.add_parser("allow", help="let another host than this machine be sent crops")
    allow.add_argument("--yes", action="store_true", help="do not ask")
    revoke = commands.add_parser("revoke", help="take that back")
    for command, run in ((allow, _allow), (revoke, _revoke)):
        command.add_argument("address", metavar="URL", help="address of the host")
        command.set_defaults(run=run)
    ask = commands.add_parser("ask", help="ask a free question about an image or a box on it")
    ask.add_argument("image", metavar="IMAGE", help="an image file")
    ask.add_argument("question", metavar="QUESTION", help="such as 'what is the mitotic stage?'")
    ask.add_argument(
        "--box",
        nargs=4,
        type=float,
        metavar=("TOP", "LEFT", "BOTTOM", "RIGHT"),
        help="the region, in pixels; the whole image by default",
    )
    ask.add_argument("--model", default="", metavar="NAME", help="another one than was set up")
    ask.set_defaults(run=_ask)
    forget = commands.add_parser("forget", help="delete all that was set up, the key included")
    forget.set_defaults(run=_forget)


def _show(*_: object) -> None:
    """Print what is set up; of the key only whether there is one."""
    settings = servers.read_settings()
    key = "from the environment" if os.environ.get(servers.KEY) else "yes" if settings.key else "no"
    lines = [
        ("address", settings.address or "none: nothing is contacted"),
        ("model", settings.model or "the only one that the server has"),
        ("prompt", settings.prompt),
        ("longest", f"{settings.most_tokens} tokens"),
        ("key", key),
        ("allowed", ", ".join(settings.allowed) or "no host but this machine"),
    ]
    print("\n".join(f"{name:<8} {text}" for name, text in lines))


def _set(arguments: argparse.Namespace, _: object) -> None:
    """Set up what is given, the rest stays."""
    given = {name: getattr(arguments, name) for name in ("address", "model", "prompt")}
    changes: dict[str, Any] = {name: text for name, text in given.items() if text is not None}
    if arguments.max_tokens is not None:
        changes["most_tokens"] = arguments.max_tokens
    if arguments.key_from is not None:
        changes["key"] = _read_key(Path(arguments.key_from))
    if not changes:
        raise PatchionerError(
            "nothing to set; name an address, a model, a prompt, a key or the longest answer"
        )
    before = servers.read_settings()
    settings = replace(before, **changes)
    if settings.address and before.address and "key" not in changes:
        moved = Endpoint(settings.address).host != Endpoint(before.address).host
        # What was given for one host is shown to no other.
        settings = replace(settings, key="") if moved else settings
    servers.write_settings(settings)
    settings = servers.read_settings()
    if settings.is_set_up and not settings.endpoint().is_allowed:
        host = settings.endpoint().host
        say(f"{host} is not this machine; before it is asked: {_command('allow', host)}")
    else:
        say(f"set up; look which models it has with: {_command('models')}")


def _read_key(path: Path) -> str:
    """Read a key from a small file."""
    if check_plain_file(path, PatchionerError) > _LARGEST_KEY:
        raise PatchionerError(f"{path}: is too large for a key")
    try:
        return path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError as error:
        raise PatchionerError(f"{path}: holds no key, for it is not text in UTF-8") from error


def _models(*_: object) -> None:
    """List the models of the server."""
    print("\n".join(list_models(servers.read_settings().endpoint())))


def _allow(arguments: argparse.Namespace, _: object) -> None:
    """Ask plainly before another host may be sent crops."""
    endpoint = Endpoint(arguments.address)
    if endpoint.is_local:
        say(f"{endpoint.host} is this machine, which is always allowed")
        return
    if not arguments.yes:
        say(question(endpoint))
        command = _command("allow", endpoint.host, "--yes")
        if not agreed(f"nobody is there to allow it, so it is not; to allow it: {command}"):
            say("not allowed; nothing is sent there")
            return
    host = servers.allow_host(arguments.address)
    say(f"{host} is allowed; to take it back: {_command('revoke', host)}")


def _revoke(arguments: argparse.Namespace, _: object) -> None:
    """Take back what was allowed."""
    say(f"{servers.revoke_host(arguments.address)} is allowed no more")


def _forget(*_: object) -> None:
    """Delete all that was set up."""
    servers.forget_settings()
    say("all that was set up of a server is deleted; nothing is contacted")


def _ask(arguments: argparse.Namespace, _: object) -> None:
    """Print an answer as it comes."""
    from napari_patchioner.describers import region_picture
    from napari_patchioner.images import read_image
    from napari_patchioner.regions import Box, Region, WholeImage

    server = servers.read_settings().server(arguments.model)
    box = arguments.box
    if box is not None and not all(map(math.isfinite, box)):
        raise PatchionerError("a box has four numbers: top, left, bottom and right, in pixels")
    region: Region = Box(*box) if box is not None else WholeImage()
    server.endpoint.check()
    picture = region_picture(read_image(arguments.image), region)
    answer, is_cut, server = "", False, server.named()
    with closing(server.stream(picture, question=arguments.question)) as pieces:

        def heard() -> Iterator[str]:
            nonlocal is_cut
            for piece in pieces:
                is_cut = is_cut or is_cut_off(piece)
                yield piece

        for piece in without_thoughts(heard()):
            sys.stdout.write(_printable(piece))
            sys.stdout.flush()
            answer += piece
    if answer and not answer.endswith("\n"):
        print()
    if is_cut:
        more = f"allow it more with '{_command('set', '--max-tokens', 'N')}', or ask for less"
        say(cut_off_sentence(server.model, server.most_tokens, more))
    if not cleaned_answer(answer):
        raise ServerError(NOT_SAID)


def _printable(text: str) -> str:
    """Return a text without signs that a terminal would take for commands."""
    return "".join(sign if sign.isprintable() or sign == "\n" else " " for sign in text)


def _command(*words: str) -> str:
    return shell_command("server", *words)
