"""CLIP's byte-pair tokenizer, which the published decoders were trained with."""

from __future__ import annotations

import gzip
import html
import os
import zlib
from functools import lru_cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import regex

from napari_patchioner.errors import ModelError
from napari_patchioner.limits import check_plain_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Pair: TypeAlias = tuple[str, str]

MERGES_NAME = "bpe_simple_vocab_16e6.txt.gz"
_START, _END = "<|startoftext|>", "<|endoftext|>"
# 49,408 tokens: 256 bytes, each alone and ending a word, the merges, and the two special ones.
_MERGES = 49152 - 256 - 2
# The published file has four million, of which a fifth is used.
_MOST_LETTERS = 2**23
_WORDS = regex.compile(
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d"
    r"|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+",
    regex.IGNORECASE,
)
# Packages that carry the merges, by the name they are imported by.
_CARRIERS = ("clip", "open_clip")


def find_merges() -> Path:
    """Find the merges file in an installed package, without importing that package.

    Returns
    -------
    Path
        ``bpe_simple_vocab_16e6.txt.gz`` of ``openai-clip`` or ``open-clip-torch``.

    Raises
    ------
    ModelError
        If neither is installed.
    """
    for name in _CARRIERS:
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

    Text is cleaned as CLIP does it: encoding accidents are mended where ``ftfy`` is installed,
    HTML entities resolved, white space collapsed, letters lowered.

    Parameters
    ----------
    merges : path, optional
        The published ``bpe_simple_vocab_16e6.txt.gz``, or a ``merges.txt`` with the same lines;
        looked for in installed packages by default.

    Raises
    ------
    ModelError
        If the file is missing or is not CLIP's list of merges.
    """

    def __init__(self, merges: str | Path | None = None) -> None:
        pairs = _read_merges(Path(merges) if merges is not None else find_merges())
        self._letters = byte_letters()
        self._bytes = {letter: byte for byte, letter in self._letters.items()}
        letters = list(self._letters.values())
        pieces = [*letters, *(letter + "</w>" for letter in letters)]
        pieces += ["".join(pair) for pair in pairs] + [_START, _END]
        self._pieces = pieces
        self._ids = {piece: index for index, piece in enumerate(pieces)}
        self._ranks = {pair: rank for rank, pair in enumerate(pairs)}
        self._clean = _cleaner()
        # Captions repeat their words: joining pieces once per word makes the rest a look-up.
        self._join = lru_cache(maxsize=2**16)(self._join_pieces)

    @property
    def start(self) -> int:
        """Id of the token before a text, 49406."""
        return self._ids[_START]

    @property
    def end(self) -> int:
        """Id of the token after a text, 49407."""
        return self._ids[_END]

    @property
    def size(self) -> int:
        """Number of tokens, 49408."""
        return len(self._pieces)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without the start and end tokens; empty for an empty text."""
        return [token for word in _WORDS.findall(self._clean(text)) for token in self._join(word)]

    def frame(self, text: str, length: int = 77) -> list[int]:
        """Token ids with start and end token, cut to ``length`` with the end token kept."""
        tokens = [self.start, *self.encode(text), self.end]
        return tokens if len(tokens) <= length else [*tokens[: length - 1], self.end]

    def decode(self, tokens: Iterable[int]) -> str:
        """Text of token ids, special tokens included, a space after every word.

        Bytes that are no UTF-8 become U+FFFD.

        Raises
        ------
        ModelError
            If an id is not one of the tokenizer's.
        """
        ids = list(tokens)
        strange = [token for token in ids if not 0 <= token < self.size]
        if strange:
            raise ModelError(
                f"Token {strange[0]} is not one of CLIP's {self.size} word pieces; "
                "the decoder was trained with another tokenizer."
            )
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

    def _join_pieces(self, word: str) -> tuple[int, ...]:
        """Join the pieces of one word, lowest-ranked pair first."""
        if word in (_START, _END):
            return (self._ids[word],)
        pieces = [self._letters[byte] for byte in word.encode("utf-8")]
        pieces[-1] += "</w>"
        while len(pieces) > 1:
            pairs = set(pairwise(pieces))
            best = min(pairs, key=lambda pair: self._ranks.get(pair, _MERGES))
            if best not in self._ranks:
                break
            pieces = _merge(pieces, best)
        return tuple(self._ids[piece] for piece in pieces)


def _merge(pieces: Sequence[str], pair: Pair) -> list[str]:
    """Join every occurrence of a pair, from the left."""
    merged: list[str] = []
    place = 0
    while place < len(pieces):
        if tuple(pieces[place : place + 2]) == pair:
            merged.append("".join(pair))
            place += 2
        else:
            merged.append(pieces[place])
            place += 1
    return merged


def byte_letters() -> dict[int, str]:
    """Give every byte a visible letter: its own where it has one, in CLIP's order of ids."""
    visible = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    letters = {byte: chr(byte) for byte in visible}
    return letters | {byte: chr(256 + place) for place, byte in enumerate(hidden)}


def _read_merges(path: Path) -> list[Pair]:
    """Read the merges CLIP uses: the first 48,894 after the header line."""
    opener = gzip.open if path.suffix == ".gz" else open
    if os.path.exists(path):
        check_plain_file(path, ModelError)
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            # Not line by line, as one line may be all there is and unpack to any length.
            text = file.read(_MOST_LETTERS)
        lines = [line.split() for line in text.split("\n", _MERGES + 1)[: _MERGES + 1]]
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise ModelError(f"The word pieces in {path} cannot be read: {error}.") from error
    pairs = [(line[0], line[1]) for line in lines[1:] if len(line) == 2]
    if len(pairs) != _MERGES:
        raise ModelError(
            f"{path} holds {len(pairs)} merges where CLIP has {_MERGES}; "
            f"give the merges.txt of a CLIP model, or the published {MERGES_NAME}."
        )
    return pairs


def _cleaner() -> Callable[[str], str]:
    """Return CLIP's text cleaning, with ``ftfy`` where it is installed."""
    mend: Callable[[str], str] = str
    if find_spec("ftfy") is not None:
        from ftfy import fix_text

        mend = fix_text

    def clean(text: str) -> str:
        plain = html.unescape(html.unescape(mend(text))).strip()
        return str(regex.sub(r"\s+", " ", plain).strip().lower())

    return clean
