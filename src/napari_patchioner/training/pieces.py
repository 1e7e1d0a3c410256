"""Word pieces: learned from a person's own texts, or CLIP's or GPT-2's, and captions as tokens."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from napari_patchioner.decoders import ClipTokenizer, Gpt2Tokenizer
from napari_patchioner.decoders.bpe import END_OF_TEXT

Form: TypeAlias = Literal["plain", "sentence"]
IGNORED = -100
"""The target of positions that do not count."""


def learn_pieces(texts: Iterable[str], size: int, folder: str | Path) -> Path:
    """Learn word pieces from texts, and write them in the form of GPT-2's into a new folder.

    They spell every text, byte by byte where nothing else fits, and know the mark that ends a
    document. The same texts give the same pieces.

    Parameters
    ----------
    texts : iterable of str
        Read once.
    size : int
        How many pieces at most; 257 at least, the bytes and the mark.
    folder : path
        Written beside and renamed.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    folder = Path(folder)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=max(size, 257),
        min_frequency=2,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    tokenizer.model.save(str(beside))
    beside.chmod(0o755)
    beside.rename(folder)
    return folder


class Framing:
    """Turns captions into tokens as one decoder is trained on them, and marks where they end.

    Captions are ``"plain"`` (DeCap): without the full stop, and with a token for their end; CLIP's
    pieces also have one for the start. Or each is a ``"sentence"`` (ViECap): it begins with a
    capital letter and ends with a full stop, after which nothing follows. A caption of more than
    ``longest`` tokens is cut, and then has no end.
    """

    def __init__(self, tokenizer: ClipTokenizer | Gpt2Tokenizer, form: Form, longest: int) -> None:
        self.tokenizer, self.form, self.longest = tokenizer, form, longest

    def text(self, caption: str) -> str:
        """Return a caption in the form it is learned in.

        >>> from napari_patchioner.decoders import ClipTokenizer
        >>> Framing(ClipTokenizer(), "sentence", 20).text("a dog runs")
        'A dog runs.'
        """
        plain = caption.strip(" .")
        if self.form == "plain":
            return plain
        end = "" if plain.endswith(("!", "?")) else "."
        return f"{plain[:1].upper()}{plain[1:]}{end}"

    def tokens(self, caption: str) -> list[int]:
        """Return the tokens of a caption."""
        text, tokenizer = self.text(caption), self.tokenizer
        if isinstance(tokenizer, ClipTokenizer):
            ids = [tokenizer.start, *tokenizer.encode(text), tokenizer.end]
        elif self.form == "plain":
            # With the space before it, so that a first word has the pieces of any other.
            ids = tokenizer.encode(f" {text}")
            ids += [] if tokenizer.end is None else [tokenizer.end]
        else:
            ids = tokenizer.encode(text)
        return ids[: self.longest]


def padded(
    captions: Sequence[Sequence[int]], prompts: Sequence[Sequence[int]] | None = None
) -> tuple[Tensor, Tensor]:
    """Return tokens and what they have to be predicted as, both of shape (n, longest).

    Each row is a prompt, where there are some, and a caption; of both parts of the result, only
    captions count: prompts and what fills the rest are `IGNORED` among the targets.
    """
    heads = prompts if prompts is not None else [()] * len(captions)
    rows = [[*head, *tokens] for head, tokens in zip(heads, captions, strict=True)]
    longest = max(map(len, rows))
    inputs = torch.zeros(len(rows), longest, dtype=torch.long)
    targets = torch.full_like(inputs, IGNORED)
    for place, (row, head) in enumerate(zip(rows, heads, strict=True)):
        inputs[place, : len(row)] = torch.tensor(row, dtype=torch.long)
        targets[place, len(head) : len(row)] = inputs[place, len(head) : len(row)]
    return inputs, targets
