"""Taking the whole image out of its regions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    import numpy.typing as npt


def clean_context(
    vectors: npt.ArrayLike,
    context: npt.ArrayLike,
    *,
    how: Literal["orthogonal", "contrastive"] = "orthogonal",
    strength: float = 1.0,
) -> npt.NDArray[np.float32]:
    """Weaken in region vectors what the whole image says.

    Parameters
    ----------
    vectors : array_like, shape (..., d)
        Region or patch vectors.
    context : array_like, shape (d,)
        The vector of the whole image, in the same space.
    how : {"orthogonal", "contrastive"}
        Take away the share along the context, ``v - strength <v, c> / |c|^2 c``, or damp each
        component by it, ``v * (1 - strength c)``.
    strength : float
        How much of it, 0 to 1.

    Returns
    -------
    ndarray of float32, shape (..., d)

    Raises
    ------
    ModelError
        If the lengths differ or ``how`` is unknown.
    """
    rows, whole = np.asarray(vectors, np.float32), np.asarray(context, np.float32)
    if whole.shape != rows.shape[-1:]:
        raise ModelError(
            f"The context has shape {whole.shape} where the vectors have {rows.shape}; "
            "take both from the same model."
        )
    if how == "contrastive":
        return np.asarray(rows * (1 - strength * whole), np.float32)
    if how != "orthogonal":
        raise ModelError(f"Context cleaning is 'orthogonal' or 'contrastive', not {how!r}.")
    square = max(float(whole @ whole), float(np.finfo(np.float32).tiny))
    along = rows @ whole / square
    return np.asarray(rows - strength * along[..., None] * whole, np.float32)
