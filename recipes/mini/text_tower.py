"""The text tower of the embedded models: all-MiniLM-L6-v2 distilled into a small file.

``python -m recipes.mini.text_tower --data DIR [--work DIR] [--out DIR] [--design NAME]``

Word pieces start from what the sentence encoder makes of each of them alone, cut down to the
directions that matter (principal components), and stay near it; layers that read them together
start from nothing. All of it is fitted to the encoder's own vectors of `text_corpus`: their
directions, and how alike the texts of a batch are. The encoder is not contained in the result.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_patchioner.backbones.mini_text import HEAD_WIDTH, NEIGHBOURS, MiniText, tokenizer_of

from .options import recipe_parser
from .sentence_encoder import SentenceEncoder
from .text_corpus import Texts, read_texts

Floats = npt.NDArray[np.float32]

FILE = "text_tower.safetensors"
# Pieces of English and of the few signs of science; others are spelt with these, or unknown.
_KEPT = re.compile(r"(?:##)?[a-z0-9]+|[!-/:-@\[-`{-~°±µ×αβγδκλ]")
_UNKNOWN = "[UNK]"
# As many pieces as the sentence encoder was read with, less its first and last.
_LONGEST = 30
_SIF = 1e-3


@dataclass(frozen=True, slots=True)
class Design:
    """One way to build and fit the tower.

    Attributes
    ----------
    width : int
        Numbers per piece.
    layers, hidden, head : int
        Layers that read the pieces together, none for a bag of pieces, their hidden numbers, and
        those between the means of a text and its vector.
    epochs, rate : float
        How often each text is seen, none for no fitting, and the peak rate of learning.
    batch : int
        Texts of a step.
    near : float
        Pull of each piece towards where it began, per step and rate.
    alike : float
        Weight of the likeness of texts beside their directions.
    """

    width: int
    layers: int = 0
    hidden: int = 0
    head: int = 0
    epochs: float = 0.0
    rate: float = 2e-3
    batch: int = 384
    near: float = 0.01
    alike: float = 2.0


DESIGNS = {
    "single": Design(256),
    "bag": Design(256, epochs=6, rate=3e-3),
    "layers": Design(192, layers=2, hidden=768, head=512, epochs=8, batch=320),
}
"""What can be compared; the last is shipped."""


class Student(nn.Module):
    """The tower while it is fitted; `MiniText` does the same with numpy."""

    def __init__(self, table: Floats, importance: Floats, out: Floats, design: Design) -> None:
        super().__init__()
        width = table.shape[1]
        self.table = nn.Parameter(torch.from_numpy(table.copy()))
        self.importance = nn.Parameter(torch.from_numpy(importance.copy()))
        self.near = nn.Parameter(torch.zeros(2 * NEIGHBOURS, width))
        self.layers = nn.ModuleList(_Layer(width, design.hidden) for _ in range(design.layers))
        self.score = nn.Parameter(torch.zeros(width))
        self.contextual = design.layers > 0
        # The bag, and beside it what the layers made of its pieces.
        means, dim = 1 + self.contextual, out.shape[1]
        self.out = nn.Linear(means * width, dim)
        if self.contextual:
            self.wide = nn.Linear(means * width, design.head)
            self.narrow = nn.Linear(design.head, dim, bias=False)
        with torch.no_grad():
            self.out.weight.copy_(torch.from_numpy(out.T.copy()).repeat(1, means) / means)
            self.out.bias.zero_()
            if self.contextual:
                self.narrow.weight.normal_(std=1e-3)

    def forward(self, ids: Tensor) -> Tensor:
        """Embed pieces, (n, length), -1 where there is none, to unit rows (n, dim)."""
        known = ids >= 0
        safe = ids.clamp_min(0)
        rows = functional.embedding(safe, self.table) * known[..., None]
        score = self.importance[safe].masked_fill(~known, -1e9)
        pooled = mean_of(rows, score)
        if self.contextual:
            length = rows.shape[1]
            padded = functional.pad(rows, (0, 0, NEIGHBOURS, NEIGHBOURS))
            steps = [step for step in range(2 * NEIGHBOURS + 1) if step != NEIGHBOURS]
            for place, step in enumerate(steps):
                rows = rows + padded[:, step : step + length] * self.near[place]
            for layer in self.layers:
                rows = layer(rows, known)
            score = score + normed(rows) @ self.score
            pooled = torch.cat([pooled, mean_of(rows, score)], 1)
        made = self.out(pooled)
        if self.contextual:
            made = made + self.narrow(functional.relu(self.wide(pooled)))
        return functional.normalize(made, dim=-1)


class _Layer(nn.Module):
    """Attention among the pieces, then two linear layers; each adds to its input."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.heads = width // HEAD_WIDTH
        self.qkv, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, hidden), nn.Linear(hidden, width)
        for last in (self.join, self.narrow):
            nn.init.normal_(last.weight, std=1e-3)
            nn.init.zeros_(last.bias)

    def forward(self, rows: Tensor, known: Tensor) -> Tensor:
        n, length, width = rows.shape
        qkv = self.qkv(normed(rows)).reshape(n, length, 3, self.heads, HEAD_WIDTH)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=known[:, None, None, :]
        )
        rows = rows + self.join(mixed.transpose(1, 2).reshape(n, length, width))
        return rows + self.narrow(functional.relu(self.wide(normed(rows))))


def mean_of(rows: Tensor, score: Tensor) -> Tensor:
    """Mean of the pieces of each text, weighted by the softmax of their scores."""
    return torch.einsum("nl,nld->nd", torch.softmax(score, 1), rows)


def normed(rows: Tensor) -> Tensor:
    """Rows of mean zero and variance one."""
    return functional.layer_norm(rows, rows.shape[-1:])


def kept_pieces(encoder: SentenceEncoder) -> tuple[list[str], list[int]]:
    """Pieces of the encoder that are kept, the unknown one first, and their numbers there."""
    pieces = encoder.pieces
    kept = [index for index, piece in enumerate(pieces) if _KEPT.fullmatch(piece)]
    return [_UNKNOWN, *(pieces[index] for index in kept)], [pieces.index(_UNKNOWN), *kept]


def start(
    singles: Floats, ids: Sequence[Sequence[int]], width: int
) -> tuple[Floats, Floats, Floats]:
    """Table, importance and way back of a bag of pieces, from each piece's own vector.

    Importance is the logarithm of smooth inverse frequency, a / (a + p) (Arora et al., 2017).
    """
    counts = np.bincount(np.concatenate([np.asarray(row, int) for row in ids]), None, len(singles))
    importance = np.log(_SIF / (_SIF + counts / counts.sum()))
    _, _, axes = np.linalg.svd(singles, full_matrices=False)
    basis = axes[:width]
    return (
        np.asarray(singles @ basis.T, np.float32),
        np.asarray(importance, np.float32),
        np.asarray(basis, np.float32),
    )


def batches(
    ids: Sequence[npt.NDArray[np.int64]], size: int, generator: np.random.Generator
) -> list[npt.NDArray[np.int64]]:
    """Texts of about one length together, in a new order each time."""
    lengths = np.array([len(row) for row in ids]) + generator.random(len(ids))
    order = np.argsort(lengths, kind="stable")
    parts = [order[first : first + size] for first in range(0, len(order), size)]
    return [parts[place] for place in generator.permutation(len(parts))]


def padded(rows: Sequence[npt.NDArray[np.int64]]) -> Tensor:
    """Piece numbers, shape (n, longest), -1 where a text has ended."""
    wide = np.full((len(rows), max(map(len, rows))), -1, np.int64)
    for place, row in enumerate(rows):
        wide[place, : len(row)] = row
    return torch.from_numpy(wide)


def fit(
    student: Student,
    ids: Sequence[npt.NDArray[np.int64]],
    targets: Floats,
    design: Design,
    *,
    seed: int = 0,
    tell: Callable[[str], None] = print,
) -> None:
    """Fit the student to the encoder's vectors, shape (n, dim), in a fixed number of steps."""
    generator = np.random.default_rng(seed)
    steps = int(design.epochs * -(-len(ids) // design.batch))
    optimizer = torch.optim.AdamW(
        student.parameters(), lr=design.rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True
    )
    begun, queue, loss_sum = student.table.detach().clone(), [], 0.0
    started = time.perf_counter()
    for step in range(steps):
        if not queue:
            queue = batches(ids, design.batch, generator)
        chosen = queue.pop()
        warm, left = min(1.0, (step + 1) / 100), 1 - step / steps
        rate = design.rate * warm * (0.02 + 0.98 * left)
        for group in optimizer.param_groups:
            group["lr"] = rate
        wanted = torch.from_numpy(np.asarray(targets[chosen], np.float32))
        made = student(padded([ids[place] for place in chosen]))
        away = (1 - (made * wanted).sum(-1)).mean()
        alike = (made @ made.T - wanted @ wanted.T).square().mean()
        loss = away + design.alike * alike
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        if design.near:
            with torch.no_grad():
                student.table.lerp_(begun, rate * design.near)
        loss_sum += float(away.detach())
        if (step + 1) % 100 == 0:
            seconds = time.perf_counter() - started
            tell(f"step {step + 1} of {steps}: 1 - cosine {loss_sum / 100:.4f}, {seconds:.0f} s")
            loss_sum = 0.0


def arrays_of(student: Student, pieces: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Return what is stored: matrices in 8 bits, scaled by rows, the rest in half precision."""
    arrays: dict[str, npt.NDArray[Any]] = {
        "pieces": np.frombuffer("\n".join(pieces).encode(), np.uint8)
    }
    for name, value in student.state_dict().items():
        if name in ("near", "score") and not student.contextual:
            continue
        if name != "table" and not name.endswith("weight"):
            arrays[name] = value.numpy().astype(np.float16)
            continue
        matrix = value.numpy()
        scale = (np.maximum(np.abs(matrix).max(1), 1e-4) / 127).astype(np.float16)
        steps = np.round(matrix / scale[:, None].astype(np.float32))
        arrays[name] = np.clip(steps, -127, 127).astype(np.int8)
        arrays[f"{name}.scale"] = scale
    return arrays


def write(student: Student, pieces: Sequence[str], path: Path) -> Path:
    """Write the file of the tower and return its path."""
    from safetensors.numpy import save_file

    note = (
        "word-piece embeddings distilled from all-MiniLM-L6-v2 (Apache-2.0); fitted to its vectors "
        "of COCO captions (CC BY 4.0), names, words and generated phrases"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(arrays_of(student, pieces), str(path), metadata={"made_with": note})
    path.chmod(0o644)
    return path


@dataclass(frozen=True, eq=False, slots=True)
class Lesson:
    """All that towers are fitted to and measured with, and the encoder's vectors of it."""

    pieces: list[str]
    singles: Floats
    texts: Texts
    ids: list[npt.NDArray[np.int64]]
    targets: npt.NDArray[np.float16]
    held_back: dict[str, Floats]


def prepare(data: Path, work: Path, seed: int = 0) -> Lesson:
    """Make the texts and let the encoder embed them, once for each work folder."""
    encoder = SentenceEncoder()
    pieces, numbers = kept_pieces(encoder)
    texts = read_texts(data, encoder.pieces, seed)
    file = work / "text_targets.npz"
    if not file.exists():
        work.mkdir(parents=True, exist_ok=True)
        made = {
            "singles": encoder.encode_pieces(numbers),
            "fit": encoder.encode(texts.fit),
            **{f"held_{kind}": encoder.encode(some) for kind, some in texts.held_back.items()},
        }
        np.savez(file, **{name: part.astype(np.float16) for name, part in made.items()})
    with np.load(file) as stored:
        parts = {name: stored[name] for name in stored.files}
    tokenizer = tokenizer_of(pieces)
    tokenizer.enable_truncation(_LONGEST)
    ids = [
        np.array([piece for piece in row.ids if piece] or [0], np.int64)
        for row in tokenizer.encode_batch(texts.fit)
    ]
    held = {kind: parts[f"held_{kind}"].astype(np.float32) for kind in texts.held_back}
    return Lesson(pieces, parts["singles"].astype(np.float32), texts, ids, parts["fit"], held)


def build(lesson: Lesson, design: Design, path: Path, tell: Callable[[str], None] = print) -> Path:
    """Build a tower, fit it and write it."""
    torch.manual_seed(0)
    student = Student(*start(lesson.singles, lesson.ids, design.width), design)
    fit(student, lesson.ids, lesson.targets, design, tell=tell)
    return write(student, lesson.pieces, path)


def rebuild(data: Path, work: Path, out: Path) -> Path:
    """Build the tower that ships and return its path."""
    *_, design = DESIGNS.values()
    return build(prepare(data, work), design, out / FILE)


def main() -> None:
    """Read the command line, build and measure."""
    from .text_scores import agreement

    parser = recipe_parser(__doc__)
    parser.add_argument("--design", choices=DESIGNS, default="layers")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lesson = prepare(options.data, options.work)
    design = DESIGNS[options.design]
    path = build(lesson, design, options.out / FILE)
    tower = MiniText(path)
    scores = {
        kind: agreement(tower.embed_text(lesson.texts.held_back[kind]), wanted)
        for kind, wanted in lesson.held_back.items()
    }
    size = path.stat().st_size
    print(json.dumps({"design": asdict(design), "bytes": size, "scores": scores}, indent=1))


if __name__ == "__main__":
    main()
