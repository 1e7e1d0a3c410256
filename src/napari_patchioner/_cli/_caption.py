"""The sub-command ``caption``: regions of image files, folders and patterns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._batch import BatchRun, run_batch
from ._numbers import above_zero, up_to

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from napari_patchioner.captioner import Captioner

    Loader = Callable[[str], Captioner]


def add_caption(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``caption``."""
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="image files, zarr images, folders, or patterns in quotes such as 'scans/**/*.png'",
    )
    parser.add_argument(
        "--regions",
        required=True,
        metavar="FILE|whole|grid:N|labels:DIR",
        help="a file of regions, in which those without an image go with every image; the word "
        "whole; N by N boxes on each image; or a folder of label images of the same names",
    )
    parser.add_argument("--model", default="mini", help="id of the model (mini)")
    parser.add_argument(
        "--out",
        default="-",
        metavar="FILE|FOLDER/",
        help="file to write, its format told by its ending, or a folder for Parquet files written "
        "as results come; standard output by default",
    )
    parser.add_argument("--format", metavar="NAME", help="format to write, whatever the ending")
    _add_running(parser.add_argument_group("running"))
    _add_wording(parser.add_argument_group("wording"))
    parser.set_defaults(run=_run)


def _add_running(group: Any) -> None:
    """Add what says which images are captioned, and where."""
    group.add_argument(
        "-r", "--recursive", action="store_true", help="search folders within folders as well"
    )
    group.add_argument(
        "--resume", action="store_true", help="go on with a run that was stopped, if there is one"
    )
    group.add_argument(
        "--only-empty",
        action="store_true",
        help="keep captions that are there, by a model or a person; a person's always stay",
    )
    group.add_argument(
        "--overwrite",
        action="store_true",
        help="caption what has a caption by a person, or of unknown source, as well; the old text "
        "is kept beside the new one where the format can; locked regions stay",
    )
    group.add_argument(
        "--workers", type=up_to(256), default=1, metavar="N", help="processes, a model in each (1)"
    )
    group.add_argument(
        "--threads", type=up_to(256), default=1, metavar="N", help="threads of each process (1)"
    )
    group.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="caption on a dask cluster: the address of its scheduler, or the file it wrote",
    )


def _add_wording(group: Any) -> None:
    """Add what `Captioner.caption` offers."""
    group.add_argument("--length", choices=("label", "phrase", "sentence"), help="how long")
    group.add_argument("--beams", type=up_to(64), metavar="N", help="sentences side by side (4)")
    group.add_argument("--max-tokens", type=up_to(1000), metavar="N", help="longest caption")
    group.add_argument(
        "--pooling",
        choices=("mean", "gaussian", "attention", "cls"),
        help="how patches become one vector; the model's own way by default",
    )
    group.add_argument("--temperature", type=above_zero, metavar="T", help="of the memory")
    group.add_argument(
        "--repetition", type=up_to(1000), metavar="N", help="no N tokens come twice in a caption"
    )
    words = {"action": "append", "metavar": "WORD", "default": []}
    group.add_argument("--must", **words, help="a word captions have to hold; may be repeated")
    group.add_argument("--never", **words, help="a word captions may not hold; may be repeated")
    group.add_argument(
        "--plurals", action="store_true", help="the plurals of these words count as they do"
    )
    group.add_argument(
        "--union", action="store_true", help="patches shared by the parts of a set count once"
    )
    group.add_argument(
        "--zoom", action="store_true", help="look again, enlarged, at regions smaller than a patch"
    )


_WORDING = (
    "length",
    "beams",
    "max_tokens",
    "pooling",
    "temperature",
    "repetition",
    "must",
    "never",
    "plurals",
    "union",
    "zoom",
)


def _run(arguments: argparse.Namespace, load: Loader) -> int:
    """Caption and write one file; return the exit status."""
    given = {name: getattr(arguments, name) for name in _WORDING}
    return run_batch(
        BatchRun(
            arguments.images,
            arguments.regions,
            arguments.model,
            arguments.out,
            load,
            recursive=arguments.recursive,
            format_name=arguments.format,
            resume=arguments.resume,
            only_empty=arguments.only_empty,
            overwrite=arguments.overwrite,
            workers=arguments.workers,
            threads=arguments.threads,
            scheduler=arguments.scheduler,
            options={name: value for name, value in given.items() if value},
        )
    )
