"""Networks on ONNX Runtime, in place of PyTorch: converted once, judged, and kept on disk.

Only files that this package wrote itself are run: each carries a digest, is read whole, and brings
no code of its own. What is damaged is made anew.
"""

from __future__ import annotations

import io
import json
import os
import platform
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from napari_patchioner import __version__
from napari_patchioner.errors import Cancelled, FormatError
from napari_patchioner.grids import cache_folder
from napari_patchioner.locking import PathTaken, WriteLock
from napari_patchioner.progress import Progress, no_progress
from napari_patchioner.quiet import ignored_warnings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    import numpy.typing as npt
    from torch import Tensor, nn

DISK_BYTES = 2_000_000_000
"""What converted networks may take on disk; the least recently used go first."""

LEAST_COSINE = {False: 0.99999, True: 0.995}
"""How alike outputs must be, per cell, to those of PyTorch: in single precision, in 8 bits."""

MOST_TIME = 0.9
"""Share of PyTorch's time beyond which an engine is not worth a second copy of the weights."""

_OPSET = 17
_WAIT_S = 0.2
_LONGEST_NOTE = 10_000


class Engine:
    """A network as ONNX Runtime runs it, on as many cores as torch would; threads may share it."""

    def __init__(self, model: bytes) -> None:
        self._model, self._lock = model, Lock()
        self._session: tuple[int, Any] = (0, None)

    def __reduce__(self) -> tuple[type[Engine], tuple[bytes]]:
        """Copy the network alone; a copy starts a session of its own."""
        return Engine, (self._model,)

    def __call__(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Pass pixels, shape (1, 3, height, width), through the network."""
        import torch

        feed = {"pixels": pixels.contiguous().numpy()}
        outputs = self._on(torch.get_num_threads()).run(None, feed)
        return tuple(map(torch.from_numpy, outputs))

    def _on(self, threads: int) -> Any:
        """Return a session with so many threads, the last one if it has as many."""
        with self._lock:
            if self._session[0] != threads:
                self._session = threads, _session(self._model, threads)
            return self._session[1]


@dataclass(frozen=True, slots=True)
class Conversion:
    """What it takes to have another engine run a network.

    ``pictures`` prepares some for the network, shape (1, 3, height, width) each; the first is what
    it is traced with. ``resizable`` networks take pictures of any size afterwards. ``channels`` is
    the axis of the outputs along which a cell's vector lies. ``in_8_bits`` has matrices of weights
    rounded to 8 bits. ``about`` is whatever else the outputs depend on but the weights.
    ``exported`` makes what an exporter can follow, the network itself by default.
    """

    network: nn.Module
    pictures: Callable[[], Sequence[Tensor]]
    outputs: tuple[str, ...]
    about: str
    channels: int
    resizable: bool = False
    in_8_bits: bool = False
    exported: Callable[[], nn.Module] | None = None


def engine_folder() -> Path:
    """Return where converted networks are kept: in a folder beside that of grids."""
    return cache_folder().parent / "engines"


def prepared(conversion: Conversion, progress: Progress | None = None) -> Engine | None:
    """Return what runs a network quicker than PyTorch does, and alike; None if nothing does.

    It is found out once on a computer, on the pictures given, and what came of it is kept on disk
    until the weights or libraries are others. ``progress`` may raise ``Cancelled``.
    """
    report = progress or no_progress
    path = engine_folder() / f"{_key(conversion)}.json"
    try:
        kept = _kept(path)
        if kept is None:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _alone(path, report):
                kept = _kept(path) or _made(conversion, path, report)
    except (OSError, FormatError):
        # Where nothing can be kept, it would be converted at every start.
        return None
    return kept[0]


def try_pictures() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return a photograph and a stained tissue, on which engines are tried."""
    from skimage import data

    return data.coffee(), data.immunohistochemistry()


def kept_files() -> list[tuple[Path, int]]:
    """List the files of converted networks and their sizes, the least recently used first."""
    entries: list[tuple[float, Path, int]] = []
    with suppress(OSError):
        for path in engine_folder().iterdir():
            if path.suffix in (".json", ".onnx", ".part"):
                with suppress(OSError):
                    status = path.stat()
                    entries.append((status.st_mtime, path, status.st_size))
    return [(path, size) for _, path, size in sorted(entries)]


def delete_kept(most: int = 0) -> int:
    """Delete converted networks until they take at most so many bytes; return how many that are."""
    files = kept_files()
    total, freed = sum(size for _, size in files), 0
    for path, size in files:
        if total - freed <= most:
            break
        with suppress(OSError):
            path.unlink()
            freed += size
    return freed


def _session(model: bytes, threads: int) -> Any:
    """Start ONNX Runtime on a network; nothing of it leaves this computer."""
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    # Threads that spin while they wait would take the cores of whatever comes next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _key(conversion: Conversion) -> str:
    """Name what a conversion depends on: weights, versions, this processor; 32 hex digits."""
    import onnxruntime
    import torch

    processor = platform.machine(), torch.backends.cpu.get_cpu_capability()
    versions = __version__, torch.__version__, onnxruntime.__version__
    about = conversion.about, conversion.in_8_bits, conversion.outputs
    digest = blake2b(repr((versions, processor, about)).encode(), digest_size=16)
    for name, weight in sorted(conversion.network.state_dict().items()):
        digest.update(f"{name} {tuple(weight.shape)}".encode())
        digest.update(weight.contiguous().numpy().data.cast("B"))
    return digest.hexdigest()


@contextmanager
def _alone(path: Path, report: Progress) -> Iterator[None]:
    """Let other processes wait until what is made here can be read."""
    while True:
        try:
            lock = WriteLock(path)
            break
        except PathTaken:
            report(0.0, "waiting for another process that prepares this model")
            time.sleep(_WAIT_S)
    try:
        yield
    finally:
        lock.release()


def _kept(path: Path) -> tuple[Engine | None] | None:
    """Read what was made before: an engine, or that there is none; nothing if it is damaged."""
    try:
        with path.open(encoding="utf-8") as file:
            notes = json.loads(file.read(_LONGEST_NOTE))
        os.utime(path)
        if not notes["used"]:
            return (None,)
        model = path.with_suffix(".onnx")
        data = model.read_bytes()
        os.utime(model)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (Engine(data),) if notes.get("digest") == _digest(data) else None


def _made(conversion: Conversion, path: Path, report: Progress) -> tuple[Engine | None]:
    """Convert a network, judge and keep it."""
    data, notes = b"", dict[str, Any](used=False)
    report(0.0, "preparing the model for this computer, once")
    try:
        pictures = conversion.pictures()
        network = (conversion.exported or (lambda: conversion.network))()
        data = _converted(conversion, network, pictures[0])
        notes |= _judged(conversion, network, Engine(data), pictures, report)
    except (Cancelled, OSError, MemoryError):
        raise
    except Exception as error:
        # Exporters refuse what they do not know with errors of any kind; PyTorch runs it.
        notes["why"] = f"{type(error).__name__}: {error}"[:500]
    if notes["used"]:
        notes["digest"] = _digest(data)
        _write(path.with_suffix(".onnx"), data)
    _write(path, json.dumps(notes).encode())
    delete_kept(DISK_BYTES)
    return (Engine(data) if notes["used"] else None,)


def _converted(conversion: Conversion, network: nn.Module, picture: Tensor) -> bytes:
    """Write a network as ONNX, in memory."""
    import torch

    file = io.BytesIO()
    axes = {"pixels": {2: "height", 3: "width"}} if conversion.resizable else None
    with ignored_warnings():
        # The newer exporter takes ten times as long and another library.
        torch.onnx.export(
            network,
            (picture,),
            file,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=_OPSET,
            input_names=["pixels"],
            output_names=list(conversion.outputs),
            dynamic_axes=axes,
        )
    data = file.getvalue()
    return _rounded(data) if conversion.in_8_bits else data


def _rounded(data: bytes) -> bytes:
    """Round the weights of matrices to 8 bits; what they are multiplied with is at run time."""
    import logging

    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logger = logging.getLogger()
    quieter = logging.Filter()
    quieter.filter = lambda record: "pre-processing" not in record.getMessage()  # type: ignore[method-assign]
    logger.addFilter(quieter)
    try:
        with tempfile.TemporaryDirectory() as folder, ignored_warnings():
            target = Path(folder) / "network.onnx"
            quantize_dynamic(
                onnx.load_from_string(data),
                target,
                weight_type=QuantType.QInt8,
                per_channel=True,
                op_types_to_quantize=["MatMul"],
            )
            return target.read_bytes()
    finally:
        logger.removeFilter(quieter)


def _judged(
    conversion: Conversion,
    network: nn.Module,
    engine: Engine,
    pictures: Sequence[Tensor],
    report: Progress,
) -> dict[str, Any]:
    """Compare an engine with PyTorch on all pictures: the least cosine, and the share of time."""
    cosines, shares = [], []
    for done, picture in enumerate(pictures):
        report(done / len(pictures), "trying the model on this computer, once")
        expected, usual = _timed(network, picture)
        outputs, time_taken = _timed(engine, picture)
        cosines += [
            _least_cosine(output, other, conversion.channels)
            for output, other in zip(outputs, expected, strict=True)
        ]
        shares.append(time_taken / usual)
    # The first pass of each may have had to get ready.
    cosine, share = min(cosines), min(shares)
    used = cosine >= LEAST_COSINE[conversion.in_8_bits] and share <= MOST_TIME
    return {"used": used, "cosine": cosine, "share": share}


def _timed(network: Any, picture: Tensor) -> tuple[tuple[Tensor, ...], float]:
    """Return outputs and processor time, to which other programs add nothing."""
    import torch

    start = time.process_time()
    with torch.inference_mode():
        outputs = network(picture)
    return tuple(outputs), max(time.process_time() - start, 1e-6)


def _least_cosine(output: Tensor, expected: Tensor, channels: int) -> float:
    """Return the least cosine of all cells; -1 where shapes differ."""
    if output.shape != expected.shape:
        return -1.0
    rows, others = (part.double().movedim(channels, -1) for part in (output, expected))
    lengths = rows.norm(dim=-1) * others.norm(dim=-1)
    cosines = (rows * others).sum(-1) / lengths.clamp_min(1e-12)
    # Nothing is like nothing.
    cosines[(rows == others).all(-1)] = 1.0
    return float(cosines.nan_to_num(-1.0).min())


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=32).hexdigest()


def _write(path: Path, data: bytes) -> None:
    """Write a file beside its place and rename it."""
    handle, name = tempfile.mkstemp(suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
