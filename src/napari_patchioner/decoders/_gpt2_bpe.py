"""GPT-2's byte-level pair encoding, which decoders on a pretrained GPT-2 read and write."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_patchioner.errors import ModelError

from ._bpe import byte_letters

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tokenizers import Tokenizer

# The hub's names for the two files, then those GPT-2 was published with.
_FILES = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
_END_OF_TEXT = "<|endoftext|>"


class Gpt2Tokenizer:
    """Text to GPT-2 token ids and back; nothing is cleaned, every byte can be spelt.

    Parameters
    ----------
    folder : path
        Holds ``vocab.json`` and ``merges.txt``, or ``encoder.json`` and ``vocab.bpe``.

    Raises
    ------
    ModelError
        The files are missing, damaged or do not belong together.
    """

    def __init__(self, folder: str | Path) -> None:
        self._tokenizer = _read(Path(folder))
        self._end_of_text = self._tokenizer.token_to_id(_END_OF_TEXT)
        stops = [self._one(text) for text in (".", " .")]
        if stops[0] is None:
            raise ModelError(
                f"The word pieces in {folder} cannot spell a full stop; get the tokenizer again."
            )
        self.stop = stops[0]
        self.stops = tuple(stop for stop in stops if stop is not None)

    @property
    def size(self) -> int:
        """Number of tokens, 50257 for GPT-2."""
        return int(self._tokenizer.get_vocab_size())

    def encode(self, text: str) -> list[int]:
        """Token ids of a text; empty for an empty text."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, tokens: Iterable[int], *, special: bool = True) -> str:
        """Text of token ids; ``special=False`` leaves out the mark at the end of a document.

        Raises
        ------
        ModelError
            If an id is not one of the tokenizer's.
        """
        ids = [int(token) for token in tokens]
        if strange := [token for token in ids if not 0 <= token < self.size]:
            raise ModelError(
                f"Token {strange[0]} is not one of the {self.size} word pieces; "
                "use the tokenizer the decoder was trained with."
            )
        return str(self._tokenizer.decode(ids, skip_special_tokens=not special))

    def pieces(self) -> list[bytes]:
        """Return what each token adds to a text; nothing for the mark of a document's end."""
        bytes_of = {letter: byte for byte, letter in byte_letters().items()}
        spelt = [b""] * self.size
        for piece, token in self._tokenizer.get_vocab().items():
            if token != self._end_of_text and all(letter in bytes_of for letter in piece):
                spelt[token] = bytes(bytes_of[letter] for letter in piece)
        return spelt

    def _one(self, text: str) -> int | None:
        """Id of a text that is one token."""
        ids = self.encode(text)
        return ids[0] if len(ids) == 1 else None


def _read(folder: Path) -> Tokenizer:
    """Put the tokenizer together from its two files."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    for vocabulary, merges in ((folder / one, folder / other) for one, other in _FILES):
        if vocabulary.is_file() and merges.is_file():
            break
    else:
        raise ModelError(f"{folder} holds no vocab.json and merges.txt; get the model again.")
    try:
        tokenizer = Tokenizer(models.BPE.from_file(str(vocabulary), str(merges)))
    except Exception as error:  # the library raises nothing narrower
        reason = str(error).splitlines()[0][:120]
        raise ModelError(
            f"The word pieces in {folder} are damaged or do not belong together ({reason}); "
            "get the model again."
        ) from error
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if tokenizer.token_to_id(_END_OF_TEXT) is not None:
        tokenizer.add_special_tokens([_END_OF_TEXT])
    return tokenizer
