"""The door: encode an image once, then caption regions of it as often as you like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from .backbones import CloseUpEncoder, RegionEncoder
from .bridges import Bridge, BridgeOutput, TextSpace
from .bridges.base import Query
from .bridges.familiarity import Familiarity
from .decoders import Caption, CaptionOptions, Decoder, Pooling
from .devices import CPU, Placeable, Placement
from .errors import ModelError
from .grids import PHOTOGRAPH, FeatureGrid, GridStore, grid_key, pool
from .images import as_rgb
from .progress import Progress, no_progress, part
from .regions import PatchWeights, Region, cover_all, united

if TYPE_CHECKING:
    from .backbones.base import Backbone
    from .pyramid import Pyramid


@dataclass(eq=False, repr=False)
class Captioner:
    """A backbone, a bridge and a decoder that belong together.

    Parameters
    ----------
    backbone, bridge, decoder
        Image to patch embeddings, pooled embeddings to what the decoder reads, vectors to captions.
    name : str
        Id of the model, kept with every caption it writes.
    pooling, whole : {"mean", "gaussian", "attention", "cls"}
        How a region's patches become one vector, unless a call says otherwise; and those of whole
        images, where that is another way.
    weighting : {"touch", "area"}
        Whether a patch that a region touches counts whole, or by the share that is covered.
    convention : {"paper", "reference"}
        Which patches a box covers: those it intersects, or those the published code takes.
    variance : float
        Width of the Gaussian of ``pooling="gaussian"``, in half sides of the region.
    spread : float
        Standard deviation, in patches, of the bell that a point takes in a photograph, when it is
        captioned; with 0 it takes its patch alone, as in the paper.
    max_tokens : int
        Longest caption in tokens, unless a call says otherwise.
    known : Familiarity, optional
        What says how familiar regions are to it; see `models.familiar`.

    Examples
    --------
    >>> from napari_patchioner import load_model  # doctest: +SKIP
    >>> from napari_patchioner.regions import Box
    >>> captioner = load_model("mini")  # doctest: +SKIP
    >>> grid = captioner.encode(image)  # doctest: +SKIP
    >>> [caption] = captioner.caption(grid, [Box(10, 20, 110, 90)])  # doctest: +SKIP
    """

    backbone: Backbone
    bridge: Bridge
    decoder: Decoder
    _: KW_ONLY
    name: str
    pooling: Pooling = "mean"
    weighting: Literal["touch", "area"] = "touch"
    convention: Literal["paper", "reference"] = "paper"
    variance: float = 0.5
    whole: Pooling | None = None
    spread: float = 0.0
    max_tokens: int = 20
    known: Familiarity | None = None
    placement: Placement = field(default=CPU, init=False)
    # Which memory stands in for its own, as plain values; nothing where none does
    memory: Mapping[str, Any] = field(default_factory=dict, init=False)
    # What else its captions are made with, as plain values, such as a server
    origin: Mapping[str, Any] = field(default_factory=dict, init=False)

    def place(self, placement: Placement) -> None:
        """Move all parts to another device or precision, from `devices.choose`.

        Of a memory bank the comparison goes along, in the precision of the bank. On the processor
        weights are again what they were before. Where a GPU has too little memory, then or later,
        the processor does that part, and `devices.notify` says so.
        """
        for model_part in (self.backbone, self.bridge, self.decoder):
            if isinstance(model_part, Placeable):
                model_part.place(placement)
        self.placement = placement

    def key(self, image: npt.ArrayLike) -> str:
        """Return the key of the grid that :meth:`encode` would make of an image."""
        return grid_key(as_rgb(image), self.backbone.name)

    def encode(
        self,
        image: npt.ArrayLike,
        *,
        progress: Progress | None = None,
        store: GridStore | None = None,
    ) -> FeatureGrid:
        """Encode an image: the one slow step, the same for any number of regions.

        Parameters
        ----------
        image : array_like, shape (height, width) or (height, width, channels)
            One plane, gray, RGB or RGBA.
        progress : callable, optional
            Called with the fraction done, 0 to 1, and a message; may raise ``Cancelled``.
        store : GridStore, optional
            Searched before anything is encoded, and given the new grid.

        Returns
        -------
        FeatureGrid
            What :meth:`caption` reads. An ``ImageError`` where the array is not a picture.
        """
        if store is None:
            return self.backbone.encode(image, progress=progress)
        # Converted and hashed once, for the store and the backbone alike.
        rgb = as_rgb(image)
        key = grid_key(rgb, self.backbone.name)
        grid = store.get(key)
        if grid is not None:
            if progress is not None:
                progress(1.0, "the image was read before")
            return grid
        grid = self.backbone.encode(rgb, progress=progress, key=key)
        store.put(grid)
        return grid

    def pyramid(self, levels: Any, **options: Any) -> Pyramid:
        """Encode a large image piece by piece, as finely as each region asks for.

        Takes what `pyramid.Pyramid` takes, whose ``caption(regions)`` is what to go on with; lazy
        levels (zarr, dask, memory-mapped) are read only where regions lie.
        """
        from .pyramid import Pyramid

        return Pyramid(levels, self, **options)

    def caption(
        self,
        grid: FeatureGrid,
        regions: Sequence[Region],
        options: CaptionOptions | None = None,
        *,
        progress: Progress | None = None,
        **changes: Any,
    ) -> list[Caption]:
        """Caption regions of an encoded image, all of them together.

        Parameters
        ----------
        grid : FeatureGrid
            From :meth:`encode` of this captioner.
        regions : sequence of Region
            In image pixels, ``(row, column)``.
        options : CaptionOptions, optional
            Length of the search and constraints on the text, such as words that captions must
            include. A caption without all it must include says so in its ``problem``. Small
            regions are looked at once more by a `CloseUpEncoder`, unless ``no_close_up``.
        progress : callable, optional
            Called with the fraction done, 0 to 1, and a message; may raise ``Cancelled``.
        **changes
            Single options by name, which replace those of ``options``: ``beams=1``,
            ``length="label"``, ``must=["dog"]``, ``never=["cat"]``...

        Returns
        -------
        list of Caption
            One per region, in the same order.

        Raises
        ------
        RegionError
            If a region lies outside the image or makes no sense; nothing was computed then.
        ModelError
            If the grid was encoded by another backbone, or an option makes no sense or is about a
            word that the model cannot know.
        """
        options = (options or CaptionOptions()).changed(changes)
        if options.prompt is not None:
            raise ModelError(
                f"{self.name} reads no prompt; leave it out, or choose a model on a server."
            )
        self._check(grid)
        if options.union:
            regions = [united(region) for region in regions]
        weights = self._cover(grid, regions, spread_on(grid, self.spread))
        if not weights:
            return []
        progress = progress or no_progress
        output = self._project(grid, regions, weights, options, part(progress, 0.0, 0.7))
        progress(0.7, "generating captions")
        if options.max_tokens is None:
            options = replace(options, max_tokens=self.max_tokens)
        captions = self.decoder.decode(output.vectors, options=options, evidence=output.evidence)
        if (known := self._known_of_backbone()) is not None:
            shares = self._familiarity(known, grid, regions, weights)
            pairs = zip(captions, shares, strict=True)
            captions = [replace(caption, familiarity=share) for caption, share in pairs]
        progress(1.0, "done")
        if output.neighbours is None:
            return captions
        near = zip(captions, output.neighbours, strict=True)
        return [replace(caption, neighbours=sentences) for caption, sentences in near]

    def project(
        self,
        grid: FeatureGrid,
        regions: Sequence[Region],
        options: CaptionOptions | None = None,
        *,
        progress: Progress | None = None,
    ) -> BridgeOutput:
        """Return what the decoder reads of regions: a vector each, and what was recognised.

        The first half of :meth:`caption`, with the same arguments and errors; a decoder that is a
        `TextRater` says how likely other texts are after it.
        """
        options = options or CaptionOptions()
        self._check(grid)
        if options.union:
            regions = [united(region) for region in regions]
        weights = self._cover(grid, regions, spread_on(grid, self.spread))
        if not weights:
            return BridgeOutput(np.zeros((0, 0), np.float32), evidence=())
        return self._project(grid, regions, weights, options, progress or no_progress)

    def _project(
        self,
        grid: FeatureGrid,
        regions: Sequence[Region],
        weights: list[PatchWeights],
        options: CaptionOptions,
        progress: Progress,
    ) -> BridgeOutput:
        """Pool regions, look closer at what is small, and let the bridge answer."""
        closer = isinstance(self.backbone, CloseUpEncoder) and not options.no_close_up
        pooling = part(progress, 0.0, 0.14 if closer else 0.57)
        vectors = self._embed(grid, regions, weights, options.pooling, pooling)
        close_ups = {}
        if isinstance(self.backbone, CloseUpEncoder) and closer:
            watched = part(progress, 0.14, 0.57)
            close_ups = self.backbone.embed_close_ups(grid, regions, progress=watched)
        return self.bridge.project(
            vectors,
            grid,
            options=options,
            patches=np.array([region.weights.sum() for region in weights]),
            covers=weights,
            close_ups=close_ups,
            progress=part(progress, 0.57, 1.0),
        )

    def embed(self, grid: FeatureGrid, regions: Sequence[Region]) -> npt.NDArray[np.float32]:
        """Pool the patches of regions in the captioner's own way, one vector each, shape (n, dim).

        What :meth:`caption` decodes, before the bridge; the errors are the same.
        """
        self._check(grid)
        return self._embed(grid, regions, self._cover(grid, regions), None, no_progress)

    def text_vectors(self, grid: FeatureGrid, regions: Sequence[Region]) -> npt.NDArray[np.float32]:
        """Vectors of regions to compare with those of sentences, shape (n, d), not normalised.

        Sentences are embedded by ``backbone.embed_text``, where the backbone is a `TextTower`; the
        errors are those of :meth:`caption`.
        """
        self._check(grid)
        weights = self._cover(grid, regions)
        vectors = self._embed(grid, regions, weights, None, no_progress)
        if not isinstance(self.bridge, TextSpace):
            return vectors
        patches = np.array([region.weights.sum() for region in weights])
        return self.bridge.text_vectors(
            Query(vectors, grid, CaptionOptions(), patches, no_progress)
        )

    def familiarity(
        self, grid: FeatureGrid, regions: Sequence[Region]
    ) -> npt.NDArray[np.float64] | None:
        """Return which share of known regions are as unlike the others as these, shape (n,).

        What :meth:`caption` says in ``familiarity`` of each caption; the errors are the same. None
        where nobody has shown the model's backbone what it knows.
        """
        self._check(grid)
        if (known := self._known_of_backbone()) is None:
            return None
        weights = self._cover(grid, regions)
        return np.array(self._familiarity(known, grid, regions, weights), float)

    def _known_of_backbone(self) -> Familiarity | None:
        """Return what is known of this backbone's grids; of another one's nothing can be said."""
        if self.known is None or self.known.is_of(self.backbone.name):
            return self.known
        return None

    def _familiarity(
        self,
        known: Familiarity,
        grid: FeatureGrid,
        regions: Sequence[Region],
        weights: list[PatchWeights],
    ) -> list[float]:
        """Return the share of known images for whole ones, of known regions for all others."""
        shares = known.of_regions(grid, weights).tolist()
        return [
            known.of_image(grid) if region.kind == "image" else share
            for region, share in zip(regions, shares, strict=True)
        ]

    def _check(self, grid: FeatureGrid) -> None:
        """Raise a ModelError if a grid was encoded by another backbone."""
        if grid.dim != self.backbone.dim:
            raise ModelError(
                f"The image was encoded with {grid.dim} numbers per patch but {self.name} reads "
                f"{self.backbone.dim}; encode it again with this model."
            )
        if grid.backbone and grid.backbone != self.backbone.name:
            raise ModelError(
                f"The image was encoded by {grid.backbone} but {self.name} reads what "
                f"{self.backbone.name} makes; encode it again with this model."
            )

    def _cover(
        self, grid: FeatureGrid, regions: Sequence[Region], spread: float = 0.0
    ) -> list[PatchWeights]:
        """Return the patches of each region."""
        return cover_all(
            regions,
            grid.transform,
            weighting=self.weighting,
            convention=self.convention,
            spread=spread,
        )

    def _embed(
        self,
        grid: FeatureGrid,
        regions: Sequence[Region],
        weights: list[PatchWeights],
        pooling: Pooling | None,
        progress: Progress,
    ) -> npt.NDArray[np.float32]:
        """One vector per region, shape (n, dim); whole images may be pooled their own way."""
        if isinstance(self.backbone, RegionEncoder):
            return self.backbone.embed_regions(grid, weights, progress=progress)
        how = pooling or self.pooling
        whole = pooling or self.whole or how
        if whole == how:
            return pool(grid, weights, how, variance=self.variance)
        vectors = np.empty((len(weights), grid.dim), np.float32)
        is_whole = np.array([region.kind == "image" for region in regions])
        for chosen, way in ((is_whole, whole), (~is_whole, how)):
            rows = np.flatnonzero(chosen)
            vectors[rows] = pool(grid, [weights[row] for row in rows], way, variance=self.variance)
        return vectors


def spread_on(grid: FeatureGrid, spread: float) -> float:
    """Return how far a point reaches: in what is no photograph, never beyond its patch."""
    if spread <= 0:
        return 0.0
    return spread if grid.measures.get("photograph", 0.0) >= PHOTOGRAPH else 0.0
