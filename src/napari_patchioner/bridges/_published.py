"""What lies beside the weights in a published model's folder: its settings and its tokenizer."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from napari_patchioner.checkpoints import read_settings
from napari_patchioner.errors import ModelError
from napari_patchioner.limits import check_plain_file

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer

# Four times GPT-2 XL's.
_MOST_WEIGHTS = 6 * 10**9
# Bytes; the largest published ones have a quarter of that.
_MOST_TOKENIZER = 2**27


def read_config(folder: Path) -> dict[str, Any]:
    """Read the settings of a network.

    Raises
    ------
    ModelError
        ``config.json`` is missing, damaged, or asks for more than a language model needs.
    """
    return read_settings(folder / "config.json", _MOST_WEIGHTS)


def read_tokenizer(folder: Path, *, longest: int, padding: str) -> Tokenizer:
    """Read a tokenizer that cuts long texts and pads the others to the longest of a batch.

    Parameters
    ----------
    folder : Path
        Holds ``tokenizer.json``.
    longest : int
        Most tokens a text may have, special ones included.
    padding : str
        The token to pad with.

    Raises
    ------
    ModelError
        ``tokenizer.json`` is missing, damaged, or lacks that token.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if os.path.exists(path) and check_plain_file(path, ModelError) > _MOST_TOKENIZER:
        raise ModelError(f"{path} is too large to be a tokenizer; get the model again.")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise ModelError(f"{path} is missing or damaged; get the model again.") from error
    place = tokenizer.token_to_id(padding)
    if place is None:
        raise ModelError(f"{path} has no token {padding}; it belongs to another model.")
    tokenizer.enable_truncation(longest)
    # Published files may ask for a fixed length, which would only cost time.
    tokenizer.enable_padding(pad_id=place, pad_token=padding, length=None)
    return tokenizer
