"""The command line: one command with sub-commands."""

from __future__ import annotations

import argparse
import itertools
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NoReturn, TextIO

# Nothing heavy here: Ctrl+C while the rest is imported gets its message as any other.
from napari_patchioner import __version__
from napari_patchioner.devices import CPU, DEVICES, ENGINES, choose, noticed, once
from napari_patchioner.errors import PatchionerError

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

    from napari_patchioner.captioner import Captioner

    Loader = Callable[[str], Captioner]

_BROKEN, _INTERRUPTED = 2, 130
# Signs of a sentence; what a person wrote, or a file calls itself, may be of any length.
_LONGEST = 1000


def main(argv: Sequence[str] | None = None, *, load: Loader | None = None) -> int:
    """Run the command line with these arguments, by default those of the process.

    ``load`` loads a model by its id, ``models.load_model`` by default. The exit status is 0, 1 if
    some images or regions could not be captioned, 2 after an error, with a message of one
    sentence, 130 after Ctrl+C.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed before the start: let what is written go nowhere
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    try:
        try:
            with noticed(once(lambda message: _say(f"napari-patchioner: {message}"))):
                return _run(argv, load)
        finally:
            sys.stdout.flush()
    except PatchionerError as error:
        _say(f"napari-patchioner: {_line(str(error))}")
        return _BROKEN
    except BrokenPipeError:
        # The reader of our output left.
        _discard(sys.stdout)
        return _BROKEN
    except OSError as error:
        _discard(sys.stdout)
        what = _line(str(error.filename or "the output")[:200])
        _say(f"napari-patchioner: {what}: cannot be read or written ({error.strerror or error})")
        return _BROKEN
    except KeyboardInterrupt:
        _say("napari-patchioner: interrupted")
        return _INTERRUPTED


def _run(argv: Sequence[str] | None, load: Loader | None) -> int:
    """Run one command and return its exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    if wrong := next((text for text in given if "\0" in text), None):
        raise PatchionerError(f"the argument {wrong[:80]!r} holds a NUL, which no name can")
    if (empty := _empty_argument(given)) is not None:
        raise PatchionerError(f"{empty} is empty; name what it stands for, or leave it out")
    arguments = _parser().parse_args(_with_values(given))
    if load is None:
        from napari_patchioner.batch.local import load_installed

        device: str = getattr(arguments, "device", CPU.device)
        engine: str | None = getattr(arguments, "engine", CPU.engine)
        choose(device, engine=engine)  # What is wrong with it is said before the work begins.
        load = partial(load_installed, device=device, engine=engine)
    status: int | None = arguments.run(arguments, load)
    return status or 0


def _empty_argument(given: Sequence[str]) -> str | None:
    """Return what to call an argument without a single letter, as a variable of a shell may be."""
    for before, text in itertools.pairwise(["", *given]):
        if not text:
            return f"the argument after {before!r}" if before else "the first argument"
        if text.startswith("--") and text.endswith("="):
            return text.removesuffix("=")
    return None


def _with_values(given: Sequence[str]) -> list[str]:
    """Join numbers below zero, such as "-1um", to their options, or they pass for options."""
    joined: list[str] = []
    for text in given:
        if joined and re.match(r"-\.?\d", text) and re.fullmatch(r"--[a-z-]*[a-z]", joined[-1]):
            joined[-1] += f"={text}"
        else:
            joined.append(text)
    return joined


def _discard(stream: TextIO) -> None:
    """Let what is left to be written go nowhere, or Python complains when it flushes again."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _say(text: str) -> None:
    """Print a message to a person, if anybody reads it."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        _discard(sys.stderr)


class _Parser(argparse.ArgumentParser):
    """Answers a wrong argument with one sentence, and no help that nobody could read."""

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        """Print help or a sentence; argparse itself would not mind a full drive."""
        (file or sys.stderr).write(message)

    def error(self, message: str) -> NoReturn:
        """Print the sentence and exit with status 2."""
        self.exit(_BROKEN, f"{self.prog}: {_line(message)}; see {self.prog} --help\n")


def _line(text: str) -> str:
    """Return a text on one line: names of files may hold anything, even the ends of lines."""
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]}…{text[-_LONGEST // 2 :]}"
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def _add_device(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--device",
        choices=DEVICES,
        default=CPU.device,
        help="where networks run; auto takes the GPU where there is one (cpu)",
    )


def _add_engine(command: argparse.ArgumentParser, default: str | None) -> None:
    command.add_argument(
        "--engine",
        choices=ENGINES,
        default=default,
        help="what runs the backbone on a processor; auto takes ONNX Runtime where it is installed "
        f"and quicker ({default or ENGINES[0]})",
    )


def _parser() -> argparse.ArgumentParser:
    """Return the grammar of the command line."""
    from .baseline import add_baseline
    from .cache import add_cache
    from .caption import add_caption
    from .check import add_check
    from .compare import add_compare
    from .demo import add_demo
    from .evaluate import add_evaluate
    from .find import add_find
    from .lexicon import add_lexicon
    from .memory import add_memory
    from .models import add_models
    from .reproduce import add_reproduce
    from .server import add_server
    from .teach import add_teach
    from .train import add_train
    from .train_alignment import ALIGNMENTS

    parser = _Parser(
        prog="napari-patchioner",
        description="Caption regions of images: one pass per image, then a sentence per region.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    add_demo(commands.add_parser("demo", help="caption sample pictures, then open napari"))
    caption = commands.add_parser("caption", help="caption regions of image files")
    add_caption(caption)
    teach = commands.add_parser("teach", help="learn names of regions from examples")
    add_teach(teach)
    lexicons = "what was taught: show, merge, rename, forget"
    add_lexicon(commands.add_parser("lexicon", help=lexicons))
    find = commands.add_parser(
        "find", help="find what a phrase says, or more of what example boxes show"
    )
    add_find(find)
    check = commands.add_parser("check", help="compare captions with their images; suggest better")
    add_check(check)
    compare = commands.add_parser(
        "compare", help="say how regions differ, or where a stack changes within one"
    )
    add_compare(compare)
    train = "train a part of a model on your own texts and pictures"
    add_train(commands.add_parser("train", help=train), ALIGNMENTS)
    baseline = "caption crops with a slow method to compare with, for research"
    add_baseline(commands.add_parser("baseline", help=baseline))
    scores = "score a model on a published data set, or compare two runs"
    evaluate = commands.add_parser("evaluate", help=scores)
    add_evaluate(evaluate)
    table = "run a table of the paper, and print it beside its published numbers"
    reproduce = commands.add_parser("reproduce", help=table)
    add_reproduce(reproduce)
    for command in (caption, teach, find, check, compare, evaluate, reproduce):
        _add_device(command)
    for command in (caption, teach, find, check, compare):
        _add_engine(command, None)
    # Numbers to compare with published ones come from the network as it was published.
    for command in (evaluate, reproduce):
        _add_engine(command, CPU.engine)
    memory = "vocabularies: build one from texts, list, show and remove them"
    add_memory(commands.add_parser("memory", help=memory), _add_device)
    add_models(commands.add_parser("models", help="list, get, remove and add models"))
    describing = "a vision-language model on a server of this machine: set up, ask"
    add_server(commands.add_parser("server", help=describing))
    add_cache(commands.add_parser("cache", help="what is kept of images read before; clear it"))
    return parser
