"""What OpenCLIP itself makes of a tiny model, for those who have it: golden numbers come from here.

``python tests/support/open_clip_reference.py`` prints those that the tests know.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))

from published import openclip as published

if TYPE_CHECKING:
    import numpy.typing as npt

TEXTS = ("A purple  cell.", "two red cells, close together and much longer than the context is")


def picture() -> npt.NDArray[np.float32]:
    """Return two normalised pictures of 32 by 32 pixels, the same everywhere."""
    rows, columns = np.mgrid[:32, :32] / 31
    planes = [rows, columns, rows * columns]
    one = np.stack([np.sin(7 * plane) for plane in planes])
    return np.stack([one, one[::-1]]).astype(np.float32)


def load_open_clip() -> Any:
    """Import OpenCLIP; an ImportError where it, or a torchvision that works, is missing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import open_clip
            import timm  # noqa: F401
    except (ImportError, RuntimeError) as error:
        # A torchvision for another torch is found by an operator that is not there.
        raise ImportError(str(error)) from error
    return open_clip


def reference(folder: Path) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return what OpenCLIP makes of the pictures and of the texts, not normalised."""
    open_clip = load_open_clip()
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        copy = Path(name) / "model"
        shutil.copytree(folder, copy)
        config = json.loads((copy / "open_clip_config.json").read_text())
        if "hf_model_name" in config["model_cfg"]["text_cfg"]:
            (copy / "config.json").write_text(json.dumps(published.bert_config()))
            config["model_cfg"]["text_cfg"]["hf_model_name"] = str(copy)
            config["model_cfg"]["vision_cfg"]["timm_model_name"] = _registered()
            # Published for two names of one tensor.
            (copy / "open_clip_config.json").write_text(json.dumps(config))
        model = open_clip.create_model(f"local-dir:{copy}").eval()
        tokenizer = open_clip.get_tokenizer(f"local-dir:{copy}")
        with torch.inference_mode():
            images = model.encode_image(torch.from_numpy(picture()))
            texts = model.encode_text(tokenizer(list(TEXTS)))
    return images.numpy(), texts.numpy()


def _registered() -> str:
    """Make timm know a vision transformer of the tiny model's size."""
    from timm.models import is_model, register_model
    from timm.models.vision_transformer import VisionTransformer

    name = "vit_reference_of_tests"
    if not is_model(name):

        def make(pretrained: bool = False, **options: Any) -> VisionTransformer:
            made = VisionTransformer(
                img_size=32, patch_size=8, embed_dim=published.WIDTH, depth=2, num_heads=2
            )
            made.default_cfg = {}
            return made

        make.__name__, make.__module__ = name, "timm.models.vision_transformer"
        register_model(make)
    return name


if __name__ == "__main__":
    for bert in (False, True):
        with tempfile.TemporaryDirectory() as scratch:
            published.write(Path(scratch), bert=bert)
            for kind, rows in zip(("images", "texts"), reference(Path(scratch)), strict=True):
                shown = [[round(float(x), 5) for x in row[:5]] for row in rows]
                print(f"bert={bert} {kind}: {shown}")
