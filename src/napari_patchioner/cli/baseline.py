"""The sub-command ``baseline``: the late-guided baselines of the paper's comparison."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, cast

from .caption import BatchRun, run_batch
from .shared import say, up_to

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner


def add_baseline(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``baseline``."""
    parser.add_argument("method", choices=("zerocap", "magic"), help="who writes the captions")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files, folders, patterns")
    parser.add_argument("--clip", required=True, type=Path, metavar="DIR", help="folder of a CLIP")
    parser.add_argument("--gpt2", required=True, type=Path, metavar="DIR", help="folder of a GPT-2")
    parser.add_argument(
        "--regions",
        default="whole",
        metavar="FILE|whole|grid:N|labels:DIR",
        help="regions, whose bounding boxes are cut out; the whole image by default",
    )
    parser.add_argument("--prompt", help="what GPT-2 continues; the method's own by default")
    parser.add_argument("--max-tokens", type=up_to(1000), metavar="N", help="longest caption (15)")
    parser.add_argument(
        "--out", default="-", metavar="FILE", help="file to write; standard output by default"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with a run that was stopped, if there is one"
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="caption what has a caption by a person as well, and replace FILE though it is no "
        "result of an earlier run",
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace, _: object) -> int:
    """Caption crops of image files and write one file; return the exit status."""

    def load(method: str) -> Captioner:
        from napari_patchioner.evaluation.baselines import open_baseline

        baseline = open_baseline(
            arguments.method,
            arguments.clip,
            arguments.gpt2,
            prompt=arguments.prompt,
            max_tokens=arguments.max_tokens,
            progress=lambda number, total: say(f"  {method}: region {number} of {total}"),
        )
        # It has what captioning files needs: name, encode and caption.
        return cast("Captioner", baseline)

    given = arguments
    about = (given.images, given.regions, given.method, given.out, load)
    return run_batch(BatchRun(*about, resume=given.resume, overwrite=given.overwrite))
