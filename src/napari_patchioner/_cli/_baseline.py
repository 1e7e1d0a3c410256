"""Captioning image files with the late-guided baselines of the paper's comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ._caption import caption_files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from napari_patchioner.annotations import Annotation
    from napari_patchioner.captioner import Captioner
    from napari_patchioner.evaluation.baselines.late_guided import Method


def baseline_files(
    method: Method,
    paths: Sequence[Path],
    regions: str,
    folders: tuple[Path, Path],
    say: Callable[[str], None],
    *,
    prompt: str | None = None,
    max_tokens: int | None = None,
) -> list[Annotation]:
    """Caption crops of image files with ZeroCap or MAGIC; nothing is written.

    Parameters
    ----------
    method : {"zerocap", "magic"}
        Who writes.
    paths, regions, say
        See ``caption_files``. Regions other than boxes are cut out along their bounding box.
    folders : (Path, Path)
        A CLIP and a GPT-2.
    prompt : str, optional
        What GPT-2 continues; the method's own by default.
    max_tokens : int, optional
        Longest caption; the method's own by default.

    Returns
    -------
    list of Annotation
        See ``caption_files``; the model's name is the method's.

    Raises
    ------
    PatchionerError
        In one sentence, if anything is wrong with an image, the table, a region or a model.
    """

    def load() -> Captioner:
        from napari_patchioner.evaluation.baselines import open_baseline

        clip, gpt2 = folders
        opened = open_baseline(
            method, clip, gpt2, prompt=prompt, max_tokens=max_tokens, progress=tell
        )
        # It has the doors that captioning files goes through: name, encode and caption.
        return cast("Captioner", opened)

    def tell(number: int, total: int) -> None:
        say(f"  {method}: region {number} of {total}")

    return caption_files(paths, regions, load, say)
