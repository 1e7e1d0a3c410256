"""Name what was encoded, so that a result can say what it belongs to."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import numpy.typing as npt


def grid_key(image: npt.ArrayLike, backbone: str, **options: object) -> str:
    """Hash an image and the way it is encoded.

    Parameters
    ----------
    image : array_like
        The pixels as the backbone gets them.
    backbone : str
        Its name, weights and preprocessing included.
    **options : object
        Whatever else changes the embeddings; compared by ``repr``, in any order.

    Returns
    -------
    str
        32 hexadecimal digits.

    Examples
    --------
    >>> grid_key(np.zeros((2, 2)), "mini") == grid_key(np.zeros((2, 2)), "mini")
    True
    >>> grid_key(np.zeros((2, 2)), "mini") == grid_key(np.zeros((1, 4)), "mini")
    False
    """
    pixels = np.ascontiguousarray(image)
    digest = blake2b(digest_size=16)
    digest.update(
        repr((pixels.shape, pixels.dtype.str, backbone, sorted(options.items()))).encode()
    )
    digest.update(pixels.data.cast("B") if pixels.size else b"")
    return digest.hexdigest()
