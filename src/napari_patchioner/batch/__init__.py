"""Captioning many images: jobs, where they run, and a journal from which a run goes on."""

from __future__ import annotations

from ._check import ACCOUNT, AGREEMENT, CONTRADICTED, JUDGED, SUGGESTION, Checking, check_image
from ._dataset import Dataset
from ._find import find_images, image_names
from ._folder import Tally, caption_folder
from ._job import Job, LexiconFolder, Outcome, caption_image, work
from ._journal import Journal
from ._match import ImageMatcher
from ._phrase import PhraseSearch, likeliest, ranked
from ._plan import Plan
from ._result import TABLES, Result, check_format, check_people, files_of_result
from ._search import Examples, Search
from ._teach import name_of, teach_image
from .local import run

__all__ = [
    "ACCOUNT",
    "AGREEMENT",
    "CONTRADICTED",
    "JUDGED",
    "SUGGESTION",
    "TABLES",
    "Checking",
    "Dataset",
    "Examples",
    "ImageMatcher",
    "Job",
    "Journal",
    "LexiconFolder",
    "Outcome",
    "PhraseSearch",
    "Plan",
    "Result",
    "Search",
    "Tally",
    "caption_folder",
    "caption_image",
    "check_format",
    "check_image",
    "check_people",
    "files_of_result",
    "find_images",
    "image_names",
    "likeliest",
    "name_of",
    "ranked",
    "run",
    "teach_image",
    "work",
]
