"""Grids kept on disk, so that a report can be repeated after a head has changed."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from napari_patchioner.grids import FeatureGrid, GridTransform

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt


def key_of(pixels: npt.NDArray[np.uint8]) -> str:
    """Return what stands for a picture, shape (height, width, 3), among grids."""
    return blake2b(np.ascontiguousarray(pixels), digest_size=16).hexdigest()


class GridFolder:
    """Encode each picture once and keep its grid as a float16 file.

    Parameters
    ----------
    folder : Path
        Made if missing. It knows nothing of the model: use a new one for another backbone.
    encode : callable
        Image, (height, width, 3) uint8, to grid.
    backbone : str
        Name of what encodes, which the grids bear that are read again.
    """

    def __init__(
        self,
        folder: Path,
        encode: Callable[[npt.NDArray[np.uint8]], FeatureGrid],
        backbone: str = "",
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._encode = encode
        self._backbone = backbone

    def __call__(self, pixels: npt.NDArray[np.uint8], key: str) -> FeatureGrid:
        """Give the grid of a picture, from the file of that key if there is one.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (height, width, 3)
        key : str
            From `key_of`.

        Returns
        -------
        FeatureGrid
        """
        path = self._folder / f"{key}.npz"
        if not path.exists():
            self._write(path, self._encode(pixels))
        return self._read(path)

    def _write(self, path: Path, grid: FeatureGrid) -> None:
        header = {
            "image": grid.transform.image_shape,
            "grid": grid.transform.grid_shape,
            "window": grid.transform.window,
            "key": grid.key,
            "measures": dict(grid.measures),
        }
        # An empty picture stands for none.
        picture = np.zeros(0, np.uint8) if grid.picture is None else grid.picture
        # What half precision cannot hold, measured sums, is kept as it is.
        wide = np.flatnonzero(np.abs(grid.embeddings).max((0, 1)) > np.finfo(np.float16).max)
        narrow = grid.embeddings.copy()
        narrow[:, :, wide] = 0
        np.savez(
            path,
            header=json.dumps(header),
            embeddings=narrow.astype(np.float16),
            wide=wide,
            values=grid.embeddings[:, :, wide],
            picture=picture,
        )

    def _read(self, path: Path) -> FeatureGrid:
        with np.load(path) as file:
            header = json.loads(str(file["header"]))
            embeddings = file["embeddings"].astype(np.float32)
            embeddings[:, :, file["wide"]] = file["values"]
            picture = file["picture"]
        window = header["window"]
        transform = GridTransform(
            tuple(header["image"]), tuple(header["grid"]), window and tuple(window)
        )
        measures = header["measures"]
        return FeatureGrid(
            embeddings,
            transform,
            header["key"],
            measures=measures,
            picture=picture,
            backbone=self._backbone,
        )
