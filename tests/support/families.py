"""Every published kind of backbone, tiny, for laws that hold for all of them."""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from published import (
    alphaclip,
    clip,
    denseclip,
    dino,
    dinotxt,
    openclip,
    regionclip,
    siglip2,
    talk2dino,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


class Family(NamedTuple):
    """A kind of backbone.

    Attributes
    ----------
    target : str
        ``module:class``.
    patch : int
        Side of a patch in pixels of the resized picture.
    write : callable
        Folder and number of layers to role and file.
    options : mapping of str to object
        Of ``open``.
    """

    target: str
    patch: int
    write: Callable[[Path, int], dict[str, Path]]
    options: Mapping[str, Any] = MappingProxyType({})

    def open(self, files: dict[str, Path], **options: Any) -> Any:
        """Open the backbone."""
        module, _, name = self.target.partition(":")
        opener = getattr(import_module(f"napari_patchioner.backbones.{module}"), name)
        return opener.open(files, **self.options, **options)


def _guided(folder: Path, layers: int) -> dict[str, Path]:
    guide = dino.write(folder / "guide", layers=layers)["vision"]
    return clip.write(folder / "clip", layers=layers) | {"guide": guide}


def _dinov3(folder: Path, layers: int) -> dict[str, Path]:
    return talk2dino.write(folder, kind="dinov3_vit", layers=layers)


FAMILIES = {
    "talk2dino": Family("talk2dino:Talk2DINO", 14, lambda f, n: talk2dino.write(f, layers=n)),
    "talk2dino-dinov3": Family("talk2dino:Talk2DINO", 16, _dinov3),
    "dino": Family("dino:Dino", 14, lambda f, n: dino.write(f, layers=n)),
    "dino-v1": Family("dino:Dino", 8, lambda f, n: dino.write(f, kind="vit", layers=n)),
    "dinotxt": Family("dinotxt:DinoTxt", 14, lambda f, n: dinotxt.write(f, layers=n)),
    "clip": Family("clip:ClipDense", 8, lambda f, n: clip.write(f, layers=n)),
    "maskclip": Family("clip:MaskClip", 8, lambda f, n: clip.write(f, layers=n)),
    "invite": Family("clip:Invite", 8, lambda f, n: clip.write(f, layers=n)),
    # Squares by its reference convention are a little askew, as published.
    "proxyclip": Family("proxyclip:ProxyClip", 14, _guided, {"convention": "paper"}),
    "denseclip": Family("clip:DenseClip", 16, lambda f, n: denseclip.write(f, layers=n)),
    "openclip": Family("clip:MaskClip", 8, lambda f, n: openclip.write(f, bert=True, layers=n)),
    "siglip2": Family("siglip2:SigLip2", 16, lambda f, n: siglip2.write(f, layers=n)),
    "alphaclip": Family("alphaclip:AlphaClip", 16, lambda f, n: alphaclip.write(f, layers=n)),
    "regionclip": Family("regionclip:RegionClip", 32, lambda f, n: regionclip.write(f)),
}
