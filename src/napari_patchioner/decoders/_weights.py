"""Published decoders on GPT-2, told in this package's names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import torch

from napari_patchioner.checkpoints import fit, read_notes, read_state, rename
from napari_patchioner.errors import ModelError

from ._gpt import PrefixGPT, PrefixGPTConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torch import Tensor

    from ._mapping import MapperConfig

Names: TypeAlias = tuple[tuple[str, str], ...]
"""Published names and ours; ``{n}`` stands for a number, ``{kind}`` for weight or bias."""

_BLOCK = {
    "ln_1": "norm_mix",
    "attn.c_attn": "mix",
    "attn.c_proj": "mix_out",
    "ln_2": "norm_think",
    "mlp.c_fc": "think",
    "mlp.c_proj": "think_out",
}
_FIELDS = {"{n}": ("n", r"\d+"), "{kind}": ("kind", "weight|bias")}
_NAMED = 4


def open_prefix_gpt(
    path: str | Path, published: Callable[[Mapping[str, Tensor], object], PrefixGPT]
) -> PrefixGPT:
    """Open a decoder of this package or a published one.

    Parameters
    ----------
    path : path
        What `PrefixGPT.save` wrote, or a checkpoint.
    published : callable
        Makes a decoder of a checkpoint's weights, told where they came from.

    Raises
    ------
    ModelError
        The file is missing, damaged, or no such decoder.
    """
    path = Path(path)
    if path.suffix == ".safetensors" and "config" in read_notes(path):
        return PrefixGPT.open(path)
    return published(read_state(path), path)


class PublishedGpt:
    """The weights of a published decoder: a GPT-2 and what makes its prefix.

    The head is left out, since GPT-2 ties it to the token embedding, and so are the buffers that
    old versions of transformers stored. GPT-2's linear layers, published as (in, out), are turned.

    Parameters
    ----------
    state : mapping of str to Tensor
        Weights under their published names.
    gpt : str
        What the names of GPT-2 begin with.
    prefix : sequence of (str, str)
        Published names of what makes the prefix, and ours.
    source : object
        Where the weights came from, for messages.
    """

    def __init__(
        self, state: Mapping[str, Tensor], *, gpt: str, prefix: Names, source: object
    ) -> None:
        self.source = source
        self._names = (*prefix, *_body(f"{gpt}.transformer"))
        stem = re.escape(gpt)
        turned = re.compile(rf"{stem}\.transformer\.h\.\d+\.\w+\.c_\w+\.weight")
        straight = {
            name: value.T.contiguous() if turned.fullmatch(name) else value
            for name, value in state.items()
        }
        left_out = [
            (rf"{stem}\.lm_head\.weight", None),
            (rf"{stem}\.transformer\.h\.\d+\.attn\.(masked_)?bias", None),
        ]
        self.state = rename(straight, [*left_out, *map(_rule, self._names)])

    def shape(self, name: str) -> tuple[int, int]:
        """Shape of a matrix by our name.

        Raises
        ------
        ModelError
            There is none.
        """
        self.require([name])
        shape = self.state[name].shape
        if len(shape) != 2:
            raise ModelError(
                f"{self.source} does not fit: {self._published(name)} has the shape "
                f"{tuple(shape)}; choose the matching file."
            )
        return shape[0], shape[1]

    def count(self, stem: str) -> int:
        """Return how many layers there are under one of our names."""
        found = (re.match(rf"{re.escape(stem)}\.(\d+)\.", name) for name in self.state)
        return len({match[1] for match in found if match})

    def require(self, names: Iterable[str]) -> None:
        """Raise ModelError that lists what is missing, by its published name."""
        missing = [self._published(name) for name in names if name not in self.state]
        if missing:
            more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
            raise ModelError(
                f"{self.source} does not fit: missing: {', '.join(missing[:_NAMED])}{more}. "
                "Choose the matching file."
            )

    def build(
        self, *, heads: int, dim: int, numbers: int, mapper: MapperConfig | None = None
    ) -> PrefixGPT:
        """Make the decoder.

        Parameters
        ----------
        heads : int
            Attention heads of GPT-2.
        dim : int
            Length of the vectors it reads.
        numbers : int
            How many numbers a vector becomes: soft tokens times their length.
        mapper : MapperConfig, optional
            What makes the prefix, if not one linear layer.

        Raises
        ------
        ModelError
            Weights are missing, left over, of another shape or not finite; they are named.
        """
        vocab_size, width = self.shape("tokens.weight")
        config = PrefixGPTConfig(
            vocab_size=vocab_size,
            width=width,
            layers=self.count("blocks"),
            heads=heads,
            positions=self.shape("positions.weight")[0],
            prefix_dim=dim,
            prefix_tokens=max(1, numbers // width),
            dropout=0.1,
            mapper=mapper,
        )
        with torch.device("meta"):
            model = PrefixGPT(config)
        self.require(model.state_dict())
        return fit(model, self.state, source=self.source)

    def _published(self, name: str) -> str:
        """Return the published name of one of ours."""
        (published,) = rename({name: torch.empty(0)}, [_rule(pair[::-1]) for pair in self._names])
        return published


def _body(trunk: str) -> Names:
    """Names of GPT-2's own weights."""
    inner = (
        (f"{trunk}.h.{{n}}.{theirs}.{{kind}}", f"blocks.{{n}}.{ours}.{{kind}}")
        for theirs, ours in _BLOCK.items()
    )
    return (
        (f"{trunk}.wte.weight", "tokens.weight"),
        (f"{trunk}.wpe.weight", "positions.weight"),
        (f"{trunk}.ln_f.{{kind}}", "norm.{kind}"),
        *inner,
    )


def _rule(names: tuple[str, ...]) -> tuple[str, str]:
    """Turn a pair of names into a rule of `rename`."""
    before, after = names
    pattern = re.escape(before)
    for field, (group, values) in _FIELDS.items():
        pattern = pattern.replace(re.escape(field), f"(?P<{group}>{values})")
        after = after.replace(field, rf"\g<{group}>")
    return pattern, after
