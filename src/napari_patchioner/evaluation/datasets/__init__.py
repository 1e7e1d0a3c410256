"""Labelled images to measure on: a dataset is an iterator of images with labelled regions."""

from __future__ import annotations

from ._coco_folders import FOLDERS, development_images
from ._labels import LabelledImage, LabelledRegion
from ._rle import decode_rle

__all__ = ["FOLDERS", "LabelledImage", "LabelledRegion", "decode_rle", "development_images"]
