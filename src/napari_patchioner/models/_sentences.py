"""The sentences that models without a decoder of their own choose from."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

from napari_patchioner.errors import ModelError
from napari_patchioner.limits import check_plain_file

_LARGEST = 2**29
SHIPPED = Path(__file__).parent / "sentences" / "coco_captions.txt.gz"


def read_sentences(path: str | Path = SHIPPED) -> list[str]:
    """Read sentences, one per line.

    Parameters
    ----------
    path : path
        A text file in UTF-8, or one packed with gzip; the 5,000 COCO captions of this package by
        default.

    Returns
    -------
    list of str
        Each once, in the order of the file, white space collapsed, empty lines left out.

    Raises
    ------
    ModelError
        The file cannot be read, is not text, or holds no sentence.
    """
    path = Path(path)
    if os.path.exists(path) and check_plain_file(path, ModelError) > _LARGEST:
        raise ModelError(f"{path} is larger than {_LARGEST:,} bytes; split it.")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise ModelError(f"{path} unpacks to more than {_LARGEST:,} bytes; split it.")
        text = data.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ModelError(
            f"{path} cannot be read as text; give a UTF-8 file with one sentence per line."
        ) from error
    sentences = list(dict.fromkeys(" ".join(line.split()) for line in text.splitlines()))
    sentences = [sentence for sentence in sentences if sentence]
    if not sentences:
        raise ModelError(f"{path} holds no sentence; write one per line.")
    return sentences
