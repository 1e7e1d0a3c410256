"""Describers: vision-language models on a server of this machine, asked about regions.

Nothing is contacted unless a person names a server; another host than this machine is refused
unless they allowed it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

from .client import Limits, ServerError, list_models, stream_chat
from .endpoint import Endpoint, question
from .prompt import ASK, DESCRIBE, FIELDS, check_template, fill
from .server import (
    MOST_TOKENS,
    NOT_SAID,
    Server,
    cleaned_answer,
    cut_off_sentence,
    is_cut_off,
    without_thoughts,
)

if TYPE_CHECKING:
    from .describer import Describer, PictureBackbone, picture_on, size_in_words
    from .picture import RegionPicture, crop_window, draw_region, region_picture

__all__ = [
    "ASK",
    "DESCRIBE",
    "FIELDS",
    "MOST_TOKENS",
    "NOT_SAID",
    "Describer",
    "Endpoint",
    "Limits",
    "PictureBackbone",
    "RegionPicture",
    "Server",
    "ServerError",
    "check_template",
    "cleaned_answer",
    "crop_window",
    "cut_off_sentence",
    "draw_region",
    "fill",
    "is_cut_off",
    "list_models",
    "picture_on",
    "question",
    "region_picture",
    "size_in_words",
    "stream_chat",
    "without_thoughts",
]

__getattr__, *_ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "describer": ["Describer", "PictureBackbone", "picture_on", "size_in_words"],
        "picture": ["RegionPicture", "crop_window", "draw_region", "region_picture"],
    },
)


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return list(__all__)
