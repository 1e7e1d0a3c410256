"""The command line: one command with sub-commands."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from . import __version__
from .errors import FormatError, PatchionerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .annotations import Annotation
    from .captioner import Captioner

    Loader = Callable[[str], Captioner]

_BROKEN, _INTERRUPTED = 2, 130


def main(argv: Sequence[str] | None = None, *, load: Loader | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of the process by default.
    load : callable, optional
        Loads a model by its id; ``models.load_model`` by default.

    Returns
    -------
    int
        Exit status: 0, 2 after an error told in one sentence, 130 after Ctrl+C.
    """
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments, load or _load_model)
        sys.stdout.flush()
    except PatchionerError as error:
        say(f"napari-patchioner: {error}")
        return _BROKEN
    except BrokenPipeError:
        # The reader of our output left; keep Python from complaining when it flushes again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN
    except KeyboardInterrupt:
        say("napari-patchioner: interrupted")
        return _INTERRUPTED
    return 0


def _load_model(name: str) -> Captioner:
    """Load a model; torch is imported only now."""
    from .models import load_model

    return load_model(name)


def say(text: str) -> None:
    """Tell a person something without touching the output."""
    print(text, file=sys.stderr, flush=True)


class _Parser(argparse.ArgumentParser):
    """Tells a wrong argument in one sentence."""

    def error(self, message: str) -> NoReturn:
        """Print the sentence and exit with status 2."""
        self.exit(_BROKEN, f"{self.prog}: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    """Return the grammar of the command line."""
    from ._cli import add_cache, add_models

    parser = _Parser(
        prog="napari-patchioner",
        description="Caption regions of images: one look at an image, then a sentence per region.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_demo(commands.add_parser("demo", help="caption sample pictures, then open napari"))
    _add_caption(commands.add_parser("caption", help="caption regions of image files"))
    baseline = "caption crops with a slow method to compare with, for research"
    _add_baseline(commands.add_parser("baseline", help=baseline))
    add_models(commands.add_parser("models", help="list, get, remove and add models"))
    add_cache(commands.add_parser("cache", help="what is kept of images read before; clear it"))
    return parser


def _add_demo(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``demo``."""
    parser.add_argument(
        "--out", type=Path, default=Path("demo"), metavar="DIR", help="folder to write (demo)"
    )
    parser.add_argument("--no-viewer", action="store_true", help="do not open napari at the end")
    parser.add_argument("--model", default="mini", help="id of the model (mini)")
    parser.set_defaults(run=_run_demo)


def _positive(text: str) -> int:
    """Read a number above 0."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, not {text!r}")
    return int(text)


def _add_caption(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``caption``."""
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="image files")
    parser.add_argument(
        "--regions",
        required=True,
        metavar="FILE|whole",
        help="a table of regions (image, uid, kind, wkt; or shapes saved by napari), in which rows "
        "without an image go with every image; or the word whole",
    )
    parser.add_argument("--model", default="mini", help="id of the model (mini)")
    parser.add_argument(
        "--out", default="-", metavar="FILE.csv", help="table to write; standard output by default"
    )
    parser.set_defaults(run=_run_caption)


def _run_caption(arguments: argparse.Namespace, load: Loader) -> None:
    """Caption image files and write one table."""
    from ._cli import caption_files

    out = arguments.out
    if out != "-":
        _check_target(Path(out))
    loader = partial(load, arguments.model)
    _write_table(caption_files(arguments.images, arguments.regions, loader, say), out)


def _add_baseline(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``baseline``."""
    parser.add_argument("method", choices=("zerocap", "magic"), help="who writes the captions")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="image files")
    parser.add_argument("--clip", required=True, type=Path, metavar="DIR", help="folder of a CLIP")
    parser.add_argument("--gpt2", required=True, type=Path, metavar="DIR", help="folder of a GPT-2")
    parser.add_argument(
        "--regions",
        default="whole",
        metavar="FILE|whole",
        help="a table of regions, whose bounding boxes are cut out; the whole image by default",
    )
    parser.add_argument("--prompt", help="what GPT-2 continues; the method's own by default")
    parser.add_argument("--max-tokens", type=_positive, metavar="N", help="longest caption (15)")
    parser.add_argument(
        "--out", default="-", metavar="FILE.csv", help="table to write; standard output by default"
    )
    parser.set_defaults(run=_run_baseline)


def _run_baseline(arguments: argparse.Namespace, _: Loader) -> None:
    """Caption crops of image files with a late-guided baseline and write one table."""
    from ._cli._baseline import baseline_files

    if arguments.out != "-":
        _check_target(Path(arguments.out))
    annotations = baseline_files(
        arguments.method,
        arguments.images,
        arguments.regions,
        (arguments.clip, arguments.gpt2),
        say,
        prompt=arguments.prompt,
        max_tokens=arguments.max_tokens,
    )
    _write_table(annotations, arguments.out)


def _write_table(annotations: Sequence[Annotation], out: str) -> None:
    """Write a table to a file, or print it for ``-``."""
    from .annotations import encode_text, format_tidy_csv, write_tidy_csv

    if out == "-":
        _print_exactly(encode_text(format_tidy_csv(annotations)))
    else:
        write_tidy_csv(out, annotations)
        say(f"{out}: {len(annotations)} regions")


def _check_target(path: Path) -> None:
    """Refuse a table that could not be written, before any work is done."""
    if path.is_dir():
        raise FormatError(f"{path}: is a folder; name a file to write")
    if not path.parent.is_dir():
        raise FormatError(f"{path.parent}: there is no such folder to write into")


def _print_exactly(data: bytes) -> None:
    """Print UTF-8 as it is, whatever the console's encoding and line ends."""
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:
        sys.stdout.write(data.decode())
    else:
        sys.stdout.flush()
        buffer.write(data)
    sys.stdout.flush()


def _run_demo(arguments: argparse.Namespace, load: Loader) -> None:
    """Caption the samples, print the table, write the files and open napari."""
    from .demo import demo

    demo(arguments.out, partial(load, arguments.model), say, viewer=not arguments.no_viewer)


if __name__ == "__main__":
    sys.exit(main())
