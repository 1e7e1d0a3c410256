"""Published decoders on GPT-2, renamed to this package's names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

import torch

from napari_patchioner.checkpoints import fit, read_notes, read_state, rename
from napari_patchioner.errors import ModelError

from .gpt import MapperConfig, PrefixGPT, PrefixGPTConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from torch import Tensor

Names: TypeAlias = tuple[tuple[str, str], ...]
"""Published names and ours; ``{n}`` stands for a number, ``{kind}`` for weight or bias."""

_BLOCK = {
    "ln_1": "norm_attn",
    "attn.c_attn": "attn",
    "attn.c_proj": "attn_out",
    "ln_2": "norm_mlp",
    "mlp.c_fc": "mlp",
    "mlp.c_proj": "mlp_out",
}
_MAPPER_LAYER = {
    "norm1.{kind}": "norm_attn.{kind}",
    "attn.to_queries.weight": "query.weight",
    "attn.to_keys_values.weight": "key_value.weight",
    "attn.project.{kind}": "attn_out.{kind}",
    "norm2.{kind}": "norm_mlp.{kind}",
    "mlp.fc1.{kind}": "mlp.{kind}",
    "mlp.fc2.{kind}": "mlp_out.{kind}",
}
_FIELDS = {"{n}": ("n", r"\d+"), "{kind}": ("kind", "weight|bias")}
_MAX_NAMED = 4


def open_prefix_gpt(path: Path, published: Callable[..., PrefixGPT]) -> PrefixGPT:
    """Open what `PrefixGPT.save` wrote, or a checkpoint, whose weights ``published`` converts."""
    if path.suffix == ".safetensors" and "config" in read_notes(path):
        return PrefixGPT.open(path)
    return published(read_state(path), source=path)


class PublishedGpt:
    """The weights of a published decoder: a GPT-2 under ``gpt`` and what makes its prefix.

    The head is left out, since GPT-2 ties it to the token embedding, and so are the buffers that
    old versions of transformers stored. GPT-2's linear layers, published as (in, out), are
    transposed. ``source`` says in messages where the weights came from.
    """

    def __init__(
        self, state: Mapping[str, Tensor], *, gpt: str, prefix: Names, source: object
    ) -> None:
        self.source = source
        trunk = f"{gpt}.transformer"
        self._names = (
            *prefix,
            (f"{trunk}.wte.weight", "tokens.weight"),
            (f"{trunk}.wpe.weight", "positions.weight"),
            (f"{trunk}.ln_f.{{kind}}", "norm.{kind}"),
            *(
                (f"{trunk}.h.{{n}}.{theirs}.{{kind}}", f"blocks.{{n}}.{ours}.{{kind}}")
                for theirs, ours in _BLOCK.items()
            ),
        )
        stem = re.escape(gpt)
        transposed = re.compile(rf"{stem}\.transformer\.h\.\d+\.\w+\.c_\w+\.weight")
        straight = {
            name: value.T.contiguous() if transposed.fullmatch(name) else value
            for name, value in state.items()
        }
        left_out = [
            (rf"{stem}\.lm_head\.weight", None),
            (rf"{stem}\.transformer\.h\.\d+\.attn\.(masked_)?bias", None),
        ]
        self.state = rename(straight, [*left_out, *map(_rule, self._names)])

    def shape(self, name: str) -> tuple[int, int]:
        """Shape of a matrix by our name; ModelError if there is none."""
        self._require([name])
        shape = self.state[name].shape
        if len(shape) != 2:
            raise ModelError(
                f"{self.source} does not fit: {self._published(name)} has the shape "
                f"{tuple(shape)}; choose the matching file."
            )
        return shape[0], shape[1]

    def build(
        self, *, heads: int, dim: int, numbers: int, mapper: MapperConfig | None = None
    ) -> PrefixGPT:
        """Make the decoder; ``numbers`` is what a vector of length ``dim`` becomes in all."""
        vocab_size, width = self.shape("tokens.weight")
        config = PrefixGPTConfig(
            vocab_size=vocab_size,
            width=width,
            layers=self._count("blocks"),
            heads=heads,
            positions=self.shape("positions.weight")[0],
            prefix_dim=dim,
            prefix_tokens=max(1, numbers // width),
            dropout=0.1,
            mapper=mapper,
        )
        with torch.device("meta"):
            model = PrefixGPT(config)
        self._require(model.state_dict())
        return fit(model, self.state, source=self.source)

    def build_with_mapper(self, heads: int, mapper_heads: int) -> PrefixGPT:
        """Make a decoder whose prefix comes from a transformer mapper."""
        tokens, width = self.shape("prefix.constants")
        numbers, dim = self.shape("prefix.linear.weight")
        mapper = MapperConfig(
            "transformer",
            hidden=self.shape("prefix.layers.0.mlp.weight")[0],
            layers=self._count("prefix.layers"),
            heads=mapper_heads,
            projected=max(1, numbers // width),
        )
        return self.build(heads=heads, dim=dim, numbers=tokens * width, mapper=mapper)

    def _count(self, stem: str) -> int:
        """Return how many layers there are under one of our names."""
        matches = (re.match(rf"{re.escape(stem)}\.(\d+)\.", name) for name in self.state)
        return len({match[1] for match in matches if match})

    def _require(self, names: Iterable[str]) -> None:
        """Raise ModelError that lists what is missing, by its published name."""
        missing = [self._published(name) for name in names if name not in self.state]
        if missing:
            more = f" and {len(missing) - _MAX_NAMED} more" if len(missing) > _MAX_NAMED else ""
            raise ModelError(
                f"{self.source} does not fit: missing: {', '.join(missing[:_MAX_NAMED])}{more}. "
                "Choose the matching file."
            )

    def _published(self, name: str) -> str:
        """Return the published name of one of ours."""
        (published,) = rename({name: torch.empty(0)}, [_rule(pair[::-1]) for pair in self._names])
        return published


def mapper_names(stem: str) -> Names:
    """Names of a transformer mapper that a checkpoint stores under ``stem``."""
    return (
        (f"{stem}.linear.{{kind}}", "prefix.linear.{kind}"),
        (f"{stem}.prefix_const", "prefix.constants"),
        *(
            (f"{stem}.transformer.layers.{{n}}.{theirs}", f"prefix.layers.{{n}}.{ours}")
            for theirs, ours in _MAPPER_LAYER.items()
        ),
    )


def _rule(names: tuple[str, ...]) -> tuple[str, str]:
    """Turn a pair of names into a rule of `rename`."""
    before, after = names
    pattern = re.escape(before)
    for field, (group, values) in _FIELDS.items():
        pattern = pattern.replace(re.escape(field), f"(?P<{group}>{values})")
        after = after.replace(field, rf"\g<{group}>")
    return pattern, after
