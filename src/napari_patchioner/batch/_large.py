"""Captions for regions of an image that is looked at piece by piece."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_patchioner.annotations import other_axes
from napari_patchioner.errors import ImageError, RegionError
from napari_patchioner.grids import GridStore
from napari_patchioner.pyramid import BIG

from ._captions import written

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_patchioner.annotations import Annotation
    from napari_patchioner.captioner import Captioner
    from napari_patchioner.images import StoredImage
    from napari_patchioner.pyramid import Plan, Pyramid

# Tiles are kept for regions nearby, not for another day.
_STORE_BYTES = 256 * 2**20


def caption_stored(
    captioner: Captioner,
    image: StoredImage,
    annotations: Sequence[Annotation],
    options: Mapping[str, Any] | None = None,
    *,
    big: int = BIG,
) -> tuple[list[Annotation], str]:
    """Caption regions of an image of any size, each from as close as its size asks for.

    Parameters
    ----------
    captioner : Captioner
        The model.
    image : StoredImage
        Only what regions need of it is read.
    annotations : sequence of Annotation
        Its regions; the extra ``"plane"`` of each says where in a stack it lies.
    options : mapping of str to object, optional
        Keywords of `Captioner.caption`, and ``"zoom"``: whether what is smaller than a patch is
        enlarged.
    big : int
        Long side, in pixels, up to which an image is looked at in one pass.

    Returns
    -------
    annotations : list of Annotation
        In the same order; regions at fault as they were. Their ``origin`` says what was looked at.
    why : str
        What is wrong with the regions at fault, each named by its uid; empty if there are none.

    Raises
    ------
    ImageError, ModelError
        In one sentence.
    """
    work = _Work(captioner, image, list(annotations), dict(options or {}), big)
    for index, places in work.planes().items():
        work.caption_plane(dict(index), places)
    if annotations and len(work.unread) == len(annotations):
        raise work.unread[0]
    return work.annotations, "; ".join(work.faults[place] for place in sorted(work.faults))


@dataclass(slots=True)
class _Work:
    """What is being captioned."""

    captioner: Captioner
    image: StoredImage
    annotations: list[Annotation]
    options: dict[str, Any]
    big: int
    faults: dict[int, str] = field(default_factory=dict)
    unread: list[ImageError] = field(default_factory=list)

    def planes(self) -> dict[tuple[tuple[str, int], ...], list[int]]:
        """Return the places of the regions on each plane."""
        found: dict[tuple[tuple[str, int], ...], list[int]] = defaultdict(list)
        for place, one in enumerate(self.annotations):
            try:
                if (axes := other_axes(one)) is not None:
                    raise RegionError(
                        f"it lies along the axes {axes[0]} and {axes[1]} of the stack; caption it "
                        "in the window, where that view is displayed"
                    )
                index = self.image.find(one.extra.get("plane", ""))
            except RegionError as error:
                self._blame(place, error)
            else:
                found[tuple(index.items())].append(place)
        return found

    def caption_plane(self, index: dict[str, int], places: Sequence[int]) -> None:
        """Caption the regions of one plane, those that see the same tiles together."""
        store = GridStore(ram_bytes=_STORE_BYTES)
        levels = self.image.levels(index)
        pyramid = self.captioner.pyramid(levels, store=store, big=self.big)
        zoom = bool(self.options.get("zoom"))
        sound = []
        for place in places:
            try:
                pyramid.plan(self.annotations[place].region, zoom=zoom)
            except RegionError as error:
                self._blame(place, error)
            else:
                sound.append(place)
        regions = [self.annotations[place].region for place in sound]
        for plan, members in pyramid.plans(regions, zoom=zoom):
            self._look(pyramid, plan, [sound[member] for member in members], index)

    def _look(
        self, pyramid: Pyramid, plan: Plan, places: Sequence[int], index: dict[str, int]
    ) -> None:
        """Caption the regions of one look; what cannot be read is the fault of these alone."""
        usual = {name: value for name, value in self.options.items() if name != "zoom"}
        found = [self.annotations[place] for place in places]
        try:
            grid = pyramid.encode(plan)
        except ImageError as error:
            for place in places:
                self._blame(place, error)
                self.unread.append(error)
            return
        captions = self.captioner.caption(grid, [one.region for one in found], **usual)
        for place, one, caption in zip(places, found, captions, strict=True):
            looked = self._looked(plan, one, index)
            self.annotations[place] = written(
                self.captioner, grid, one, caption, self.options, looked
            )

    def _looked(self, plan: Plan, one: Annotation, index: dict[str, int]) -> dict[str, str]:
        """Say what a caption comes from, where that is not the image as a whole."""
        is_large = max(self.image.shape) > self.big
        notes = dict(plan.notes) if is_large or plan.window is not None else {}
        choices = self.image.lengths
        chosen = {axis: position for axis, position in index.items() if choices[axis] > 1}
        if chosen:
            where = ", ".join(f"{axis} {position}" for axis, position in chosen.items())
            first = "" if one.extra.get("plane", "").strip() else " (the first)"
            notes["plane"] = f"{where}{first}"
        return notes

    def _blame(self, place: int, error: Exception) -> None:
        self.faults[place] = f"region {self.annotations[place].uid!r}: {error}"
