"""The paper's main model at full size, random weights, beside what others do with the regions.

Talk2DINO ViT-B at 518 pixels (37 x 37 patches), a memory of 591,753 sentences in half precision
and DeCap's four-layer decoder are written to a temporary folder (about 1.7 GB) in their published
layouts and read as any other model is. The captions mean nothing; their cost is the real one,
except that random captions seldom end and so all have 30 tokens, in every way that is compared:

- the *public loop*: on the same grid, one region at a time, the memory in single precision, and
  30 steps of the decoder that each read the whole caption so far;
- *crops*: the same for the cut-out picture of each region, with a look at each;
- BLIP-base and Florence-2-base on the same cut-out pictures, as transformers runs them.

What takes minutes for many regions is measured on a few and reckoned for all.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import bank
from .rows import Row, fastest, in_turn, peak

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from napari_patchioner.captioner import Captioner

MEMORY, DIM, TEXT_DIM, TOKENS, FEW = 591_753, 768, 512, 30, 2
VISION = {
    "architectures": ["Dinov2WithRegistersModel"],
    "model_type": "dinov2_with_registers",
    "hidden_size": DIM,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "mlp_ratio": 4,
    "image_size": 518,
    "patch_size": 14,
    "num_register_tokens": 4,
}
GREEDY: dict[str, Any] = {"beams": 1, "alternatives": 0, "max_tokens": TOKENS}


def rows(threads: int, quick: bool) -> list[Row]:
    """Measure encoding, decoding and captions of 1 to 256 regions."""
    import torch

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    with tempfile.TemporaryDirectory(prefix="models-") as place:
        folder = Path(place)
        write(folder, MEMORY // (100 if quick else 1))
        started = time.perf_counter()
        captioner = load(folder)
        told = [Row("reading the model from files", time.perf_counter() - started)]
        return told + measure(captioner, (1, 8) if quick else (1, 8, 64, 256), quick)


def write(folder: Path, count: int) -> None:
    """Write random weights in the published layouts."""
    import torch
    from safetensors.torch import save_file
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    from napari_patchioner.decoders import PrefixGPT, PrefixGPTConfig

    torch.manual_seed(0)
    (folder / "vision").mkdir()
    vision = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**VISION))
    save_file(dict(vision.state_dict()), folder / "vision" / "model.safetensors")
    (folder / "vision" / "config.json").write_text(json.dumps(VISION), encoding="utf-8")
    save_file(
        {
            "linear_layer.weight": torch.randn(DIM, TEXT_DIM) / TEXT_DIM**0.5,
            "linear_layer.bias": torch.zeros(DIM),
            "hidden_layers.0.weight": torch.randn(DIM, DIM) / DIM**0.5,
            "hidden_layers.0.bias": torch.zeros(DIM),
        },
        folder / "projection.safetensors",
    )
    bank.build(folder / "bank", count)
    sizes = PrefixGPTConfig(50257, 768, layers=4, heads=4, positions=1024, prefix_dim=DIM)
    PrefixGPT(sizes).save(folder / "decoder.safetensors")


def load(folder: Path) -> Captioner:
    """Read the model as any other is read."""
    from napari_patchioner.backbones.talk2dino import Talk2DINO
    from napari_patchioner.bridges import MemoryBank, MemoryBridge
    from napari_patchioner.captioner import Captioner
    from napari_patchioner.decoders import ClipTokenizer, DeCapDecoder, PrefixGPT

    files = {"vision": folder / "vision", "projection": folder / "projection.safetensors"}
    decoder = DeCapDecoder(PrefixGPT.open(folder / "decoder.safetensors"), ClipTokenizer())
    bridge = MemoryBridge(MemoryBank.open(folder / "bank"))
    return Captioner(Talk2DINO.open(files), bridge, decoder, name="full size")


def measure(captioner: Captioner, counts: tuple[int, ...], quick: bool) -> list[Row]:
    """Time looks and captions, of ours and of the others."""
    import skimage.data

    from napari_patchioner.regions import Box

    image = skimage.data.coffee()
    looking, plain, products = in_turn(
        [lambda: captioner.encode(image), *plain_encodings(captioner)], 2 if quick else 4
    )
    grid = captioner.encode(image)
    boxes = [Box(n, n, n + 150, n + 200) for n in range(max(counts))]
    times = {
        count: fastest(lambda c=count: captioner.caption(grid, boxes[:c], **GREEDY), 2)
        for count in counts
    }
    held = peak()
    loop = PublicLoop(captioner)
    vectors = captioner.embed(grid, boxes[:FEW])
    one = fastest(lambda: [loop(vector[None]) for vector in vectors], 1) / FEW
    told = [
        Row(
            "a look at an image",
            looking,
            against="the network alone, by transformers",
            baseline=plain,
        ),
        Row("the same", looking, against="its matrix products alone", baseline=products),
        Row("memory, with the grid and captions", held, "GB"),
    ]
    for count, taken in times.items():
        regions = f"{count} region{'s' * (count > 1)}"
        told.append(
            Row(f"{regions}, grid at hand", taken, against="public loop", baseline=one * count)
        )
        told.append(
            Row(
                f"{regions}, with the look",
                looking + taken,
                against="crops",
                baseline=count * (plain + one),
            )
        )
    crop = image[:150, :200]
    most = max(count for count in counts if count <= 64)
    for name, make in (("BLIP-base", blip), ("Florence-2-base", florence)):
        caption = make()
        if caption is None:
            continue
        other = fastest(lambda caption=caption: caption(crop), FEW) * most
        told.append(
            Row(
                f"{most} regions, with the look",
                looking + times[most],
                against=f"{name} on crops",
                baseline=other,
            )
        )
    batch = captioner.bridge.bank.project(captioner.embed(grid, boxes[:most]))
    told.append(decoding(captioner, loop, batch))
    return told


def plain_encodings(captioner: Captioner) -> list[Callable[[], object]]:
    """Return the network by transformers on a picture, and as much work of matrix products."""
    import torch

    from napari_patchioner.products import as_torch_does

    network = captioner.backbone.networks[0]
    picture = torch.randn(1, 3, 518, 518)
    tokens, layers = 37 * 37 + 5, VISION["num_hidden_layers"]
    hidden, inner = torch.randn(tokens, DIM), torch.randn(tokens, 4 * DIM)
    square, wide, tall = torch.randn(DIM, DIM), torch.randn(DIM, 4 * DIM), torch.randn(4 * DIM, DIM)
    heads, keys = torch.randn(12, tokens, 64), torch.randn(12, 64, tokens)
    scores = torch.rand(12, tokens, tokens)

    def products() -> None:
        for _ in range(layers):
            for _ in range(4):
                hidden @ square
            hidden @ wide
            inner @ tall
            heads @ keys
            scores @ heads

    def plain() -> None:
        with as_torch_does():
            network(picture)

    return [plain, products]


class PublicLoop:
    """Captions as the published code makes them: the memory in full, and 30 whole passes."""

    def __init__(self, captioner: Captioner) -> None:
        import torch

        self.network = captioner.decoder.model
        stored = torch.from_numpy(np.asarray(captioner.bridge.bank.embeddings)).float()
        self.memory = stored
        self.unit = torch.nn.functional.normalize(stored, dim=1)

    def __call__(self, vector: np.ndarray) -> torch.Tensor:
        """Caption one vector, (1, DIM)."""
        import torch

        query = torch.nn.functional.normalize(torch.from_numpy(vector), dim=1)
        weights = torch.softmax(query @ self.unit.T / 0.01, dim=1)
        return self.decode(torch.nn.functional.normalize(weights @ self.memory, dim=1))

    def decode(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return tokens, (n, TOKENS), each from one more pass over all before it."""
        import torch

        from napari_patchioner.products import as_torch_does

        tokens = torch.zeros(len(vectors), 0, dtype=torch.long)
        with as_torch_does():
            for _ in range(TOKENS):
                logits = self.network(vectors, tokens)[:, -1]
                tokens = torch.cat([tokens, logits.argmax(dim=1, keepdim=True)], dim=1)
        return tokens


def decoding(captioner: Captioner, loop: PublicLoop, vectors: np.ndarray) -> Row:
    """Time the decoder alone on many vectors."""
    import torch

    few = torch.from_numpy(vectors[:FEW])
    plain = fastest(lambda: [loop.decode(vector[None]) for vector in few], 1) / FEW
    ours = fastest(lambda: captioner.decoder.decode(vectors, **GREEDY), 2)
    count = len(vectors)
    return Row(
        f"decoding {count} vectors",
        ours,
        against="one by one, 30 whole passes",
        baseline=plain * count,
    )


def blip() -> Callable[[np.ndarray], object] | None:
    """Return BLIP-base with random weights, 384 pixels."""
    from transformers import BlipConfig, BlipForConditionalGeneration

    model = BlipForConditionalGeneration(BlipConfig(vision_config={"image_size": 384})).eval()
    return lambda crop: model.generate(
        pixel_values=pixels(crop, 384), max_new_tokens=TOKENS, min_new_tokens=TOKENS, num_beams=1
    )


def florence() -> Callable[[np.ndarray], object] | None:
    """Return Florence-2-base with random weights, 768 pixels; None where transformers lacks it."""
    try:
        from transformers import Florence2Config, Florence2ForConditionalGeneration
    except ImportError:
        return None
    import torch

    text = {
        "d_model": 768,
        "encoder_layers": 6,
        "decoder_layers": 6,
        "encoder_ffn_dim": 3072,
        "decoder_ffn_dim": 3072,
        "encoder_attention_heads": 12,
        "decoder_attention_heads": 12,
        "vocab_size": 51_290,
    }
    config = Florence2Config(text_config=text, vision_config={"projection_dim": 768})
    model = Florence2ForConditionalGeneration(config).eval()
    images = torch.full((1, 577), config.image_token_id)
    prompt = torch.cat([images, torch.randint(4, 1000, (1, 8))], dim=1)
    return lambda crop: model.generate(
        input_ids=prompt,
        pixel_values=pixels(crop, 768),
        max_new_tokens=TOKENS,
        min_new_tokens=TOKENS,
        num_beams=1,
    )


def pixels(crop: np.ndarray, side: int) -> torch.Tensor:
    """Return a picture as a network takes it, (1, 3, side, side)."""
    import torch
    from PIL import Image

    resized = np.asarray(Image.fromarray(crop).resize((side, side)), np.float32)
    return torch.from_numpy(resized / 127.5 - 1).permute(2, 0, 1)[None].contiguous()
