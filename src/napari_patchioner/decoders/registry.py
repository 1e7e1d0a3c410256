"""The decoders that a preset can name."""

from __future__ import annotations

from napari_patchioner.parts import PartKind

DECODERS = {
    "decap": PartKind("decoders:DeCapDecoder", ("weights", "merges")),
    "viecap": PartKind("decoders:ViECapDecoder", ("weights", "tokenizer")),
    "clipcap": PartKind("decoders:ClipCapDecoder", ("weights", "tokenizer")),
    "quote": PartKind("decoders:QuoteDecoder"),
}
