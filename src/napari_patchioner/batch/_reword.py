"""Captions of a job as its options ask for their words: by a context, and told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_patchioner.decoders import Caption, CaptionOptions
from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner
    from napari_patchioner.grids import FeatureGrid
    from napari_patchioner.regions import Region

CONTEXT, APART = "context", "tell_apart"
"""Options of a job that are none of `Captioner.caption`."""

REWORDED = (CONTEXT, APART)
# Options that mean nothing to a server.
_NOT_ASKED = (*REWORDED, "specificity")


class Worded(NamedTuple):
    """A caption, and how it came to its words where the model did not begin with them."""

    caption: Caption
    made: Mapping[str, Any]


def caption_in_words(
    captioner: Captioner,
    grid: FeatureGrid,
    regions: Sequence[Region],
    options: Mapping[str, Any],
    *,
    place: bool = True,
) -> list[Worded]:
    """Caption regions, which are told apart and ranked by a context where the options say so.

    With ``place`` those that look alike are told apart by where they are among these.
    """
    # It loads torch, as whatever captions has done already.
    from napari_patchioner.describers import Describer

    if isinstance(captioner, Describer):
        for name in _NOT_ASKED:
            if options.get(name):
                raise ModelError(
                    f"{captioner.name} runs on a server, which is asked about one region at a "
                    f"time and knows no --{name.replace('_', '-')}: leave it out, or choose "
                    "another model."
                )
    usual = {name: value for name, value in options.items() if name not in REWORDED}
    captions = captioner.caption(grid, regions, **usual)
    worded = [Worded(caption, {}) for caption in captions]
    context = options.get(CONTEXT)
    if not context and not options.get(APART):
        return worded
    # It loads torch, as whatever captioned has done already.
    from napari_patchioner.grounding import alike, captions_in_context, distinct_captions

    if context:
        ranked = captions_in_context(captioner, grid, regions, captions, context)
        by = {"by": f"ranked by the context {context!r}", "context": context}
        for row, caption in enumerate(ranked):
            changed = caption.text != captions[row].text
            worded[row] = Worded(caption, {**by, "text": caption.text} if changed else {})
    if options.get(APART):
        asked = CaptionOptions().changed(usual)
        for group in alike([item.caption.text for item in worded]):
            among, said = [regions[row] for row in group], [worded[row].caption for row in group]
            answers = distinct_captions(captioner, grid, among, said, asked, place=place)
            for row, answer, before in zip(group, answers, said, strict=True):
                if answer.by and answer.text != before.text:
                    others = tuple(dict.fromkeys((before.text, *before.alternatives)))
                    score = before.score if answer.score is None else answer.score
                    caption = replace(before, text=answer.text, score=score, alternatives=others)
                    made = {"by": answer.by, "way": answer.way, "others": answer.others}
                    worded[row] = Worded(caption, {**made, "text": answer.text})
    return worded
