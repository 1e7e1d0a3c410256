"""An image that was looked at before: its key is known without looking, and nothing is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from hashlib import blake2b
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from published import alphaclip, clip, denseclip, dino, dinotxt, regionclip, siglip2, talk2dino

from napari_patchioner import load_model
from napari_patchioner.backbones import BACKBONES, RegionEncoder
from napari_patchioner.backbones.base import Backbone
from napari_patchioner.backbones.mini import MiniBackbone
from napari_patchioner.bridges import NormalizeBridge
from napari_patchioner.captioner import Captioner
from napari_patchioner.decoders import Caption
from napari_patchioner.errors import Cancelled, ImageError
from napari_patchioner.grids import GridStore
from napari_patchioner.models.embedded import FOLDER
from napari_patchioner.regions import Box, Point, Trace, WholeImage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

    from napari_patchioner.grids import FeatureGrid
    from napari_patchioner.regions import Region


def write_proxyclip(folder: Path) -> dict[str, Path]:
    return clip.write(folder / "clip") | {"guide": dino.write(folder / "dino")["vision"]}


WRITERS = {
    "alphaclip": alphaclip.write,
    "clip": clip.write,
    "denseclip": denseclip.write,
    "dino": dino.write,
    "dinotxt": dinotxt.write,
    "invite": clip.write,
    "maskclip": clip.write,
    "proxyclip": write_proxyclip,
    "regionclip": regionclip.write,
    "siglip2": siglip2.write,
    "talk2dino": talk2dino.write,
}
REGIONS: list[Region] = [
    Box(2, 5, 10, 40),
    Point(12, 70),
    Trace(np.array([[4.0, 4.0], [12.0, 60.0]])),
    WholeImage(),
]
SEEN = np.random.default_rng(5).integers(0, 256, (16, 96, 3), np.uint8)
PICTURES: Mapping[str, npt.NDArray[Any]] = {
    "colours": SEEN,
    "every other pixel, mirrored": np.repeat(np.repeat(SEEN, 2, 0), 2, 1)[::2, ::-2],
    "16-bit gray": SEEN[..., 0].astype(np.uint16) * 16,
    "transparent": np.dstack([SEEN, SEEN[..., 1]]),
    "floats": (SEEN / 255)[..., 1],
}


class FingerprintDecoder:
    """Says every bit of what it is given."""

    def decode(self, vectors: npt.NDArray[np.float32], **_: Any) -> list[Caption]:
        return [Caption(blake2b(vector.tobytes()).hexdigest(), 0.0) for vector in vectors]


def captioner_of(backbone: Backbone) -> Captioner:
    return Captioner(backbone, NormalizeBridge(), FingerprintDecoder(), name="fingerprints")


def words(captioner: Captioner, grid: FeatureGrid) -> list[str]:
    ways = ["mean"]
    if not isinstance(captioner.backbone, RegionEncoder):
        ways += ["attention"] * (grid.attention is not None) + ["cls"] * (grid.cls is not None)
    return [
        caption.text for way in ways for caption in captioner.caption(grid, REGIONS, pooling=way)
    ]


def count_passes(captioner: Captioner, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    passes: list[int] = []
    look = captioner.backbone.encode

    def counted(*arguments: Any, **options: Any) -> FeatureGrid:
        passes.append(1)
        return look(*arguments, **options)

    monkeypatch.setattr(captioner.backbone, "encode", counted)
    return passes


@pytest.fixture(scope="module", params=[*BACKBONES, "mini"])
def backbone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    kind = request.param
    if kind == "mini":
        return MiniBackbone(FOLDER / "backbone.safetensors", FOLDER / "gate.safetensors")
    module, name = BACKBONES[kind].target.split(":")
    files = WRITERS[kind](tmp_path_factory.mktemp(kind))
    return getattr(import_module(f"napari_patchioner.{module}"), name).open(files, size=112)


@pytest.mark.parametrize("name", PICTURES)
def test_the_key_is_known_without_looking(backbone: Backbone, name: str) -> None:
    captioner = captioner_of(backbone)
    grid = captioner.encode(PICTURES[name])
    assert captioner.key(PICTURES[name]) == grid.key
    assert grid.backbone == backbone.name


def test_what_is_stored_captions_alike(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = captioner_of(backbone)
    passes = count_passes(captioner, monkeypatch)
    fresh = words(captioner, captioner.encode(SEEN))
    store = GridStore(tmp_path)
    assert words(captioner, captioner.encode(SEEN, store=store)) == fresh
    assert len(passes) == 2
    for source in (store, GridStore(tmp_path), GridStore(tmp_path, ram_bytes=0)):
        assert words(captioner, captioner.encode(SEEN, store=source)) == fresh
    assert len(passes) == 2
    captioner.encode(SEEN[::-1], store=store)
    assert len(passes) == 3


def test_the_same_picture_in_another_form_has_the_same_key(backbone: Backbone) -> None:
    captioner = captioner_of(backbone)
    key = captioner.key(SEEN)
    assert captioner.key(np.asfortranarray(SEEN)) == key
    assert captioner.key(np.dstack([SEEN, np.full(SEEN.shape[:2], 255, np.uint8)])) == key
    assert captioner.key(SEEN.transpose(1, 0, 2)) != key
    changed = SEEN.copy()
    changed[-1, -1, -1] ^= 1
    assert captioner.key(changed) != key


def test_other_weights_are_another_key(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    own = {part: FOLDER / f"{part}.safetensors" for part in ("backbone", "gate")}
    keys = [captioner_of(MiniBackbone(*own.values())).key(SEEN)]
    for part, path in own.items():
        state = load_file(path)
        first = min(state)
        state[first] = state[first] * np.asarray(1.5, state[first].dtype)
        save_file(state, tmp_path / path.name)
        other = own | {part: tmp_path / path.name}
        keys.append(captioner_of(MiniBackbone(*other.values())).key(SEEN))
    assert len(set(keys)) == 3


@pytest.fixture(scope="module")
def mini() -> Captioner:
    return load_model("mini")


def test_a_stored_image_can_be_cancelled_and_is_told(mini: Captioner) -> None:
    store = GridStore()
    told: list[tuple[float, str]] = []
    mini.encode(SEEN, store=store)
    mini.encode(SEEN, store=store, progress=lambda *news: told.append(news))
    assert told == [(1.0, "the image was read before")]

    def cancel(_share: float, _message: str) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        mini.encode(SEEN, store=store, progress=cancel)


def test_what_is_cancelled_or_refused_is_not_stored(mini: Captioner) -> None:
    def cancel(_share: float, _message: str) -> None:
        raise Cancelled

    store = GridStore()
    with pytest.raises(Cancelled):
        mini.encode(SEEN, store=store, progress=cancel)
    for look in (mini.encode, mini.key):
        with pytest.raises(ImageError):
            look(np.zeros((1, 1)))
    assert store.size().ram_grids == 0


def test_a_disk_that_cannot_be_used_is_no_obstacle(mini: Captioner, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = GridStore(tmp_path / "file", ram_bytes=0)
    fresh = words(mini, mini.encode(SEEN))
    assert words(mini, mini.encode(SEEN, store=store)) == fresh
    assert store.error_message


REOPEN = """
import json, sys
from pathlib import Path
import numpy as np
from napari_patchioner import load_model
from napari_patchioner.grids import GridStore
from napari_patchioner.regions import Box, WholeImage

captioner = load_model("mini")
captioner.backbone.encode = None
grid = captioner.encode(np.load(sys.argv[1]), store=GridStore(Path(sys.argv[2])))
captions = captioner.caption(grid, [Box(2, 5, 10, 40), WholeImage()])
print(json.dumps([[caption.text, caption.score] for caption in captions]))
print(*[name for name in ("torch._dynamo", "sympy", "transformers") if name in sys.modules])
"""


def test_a_new_process_captions_without_looking_and_without_the_compiler(
    mini: Captioner, tmp_path: Path
) -> None:
    grid = mini.encode(SEEN, store=GridStore(tmp_path / "cache"))
    np.save(tmp_path / "image.npy", SEEN)
    command = [sys.executable, "-c", REOPEN, str(tmp_path / "image.npy"), str(tmp_path / "cache")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    captions = mini.caption(grid, [Box(2, 5, 10, 40), WholeImage()])
    said, loaded = done.stdout.splitlines()
    assert loaded == ""
    assert json.loads(said) == [[caption.text, caption.score] for caption in captions]
