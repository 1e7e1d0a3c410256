"""METEOR 1.5 and SPICE as the COCO caption tools run them: the published jars."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_patchioner.errors import ModelError, pip_install

from .metric import Scored
from .tokens import tokenize_captions, tokenize_references

PARSER = "stanford-corenlp-3.6.0.jar"
# The jar reads one question a line, its parts separated by this sign.
_BETWEEN = re.compile(r"\s*\|\|\|\s*|[\r\n\u2028\u2029\x85]+")


def _package_folders(metric: str, java: str) -> list[str]:
    """Return where the package of the caption tools lies; a ModelError without it or Java."""
    if shutil.which("java") is None:
        raise ModelError(f"{metric} needs Java, which is not there; install a Java {java}.")
    spec = importlib.util.find_spec("pycocoevalcap")
    # The package has no file of its own, only folders.
    folders = list((spec and spec.submodule_search_locations) or ())
    if not folders:
        raise ModelError(
            f"{metric} needs the package pycocoevalcap, which is not there; run: "
            f"{pip_install('pycocoevalcap')}"
        )
    return folders


def _asked(
    candidates: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    """Return references and captions as the package takes them, tokenized."""
    wrote = {
        place: [" ".join(tokens) for tokens in others]
        for place, others in enumerate(tokenize_references(references))
    }
    said = {place: [" ".join(line)] for place, line in enumerate(tokenize_captions(candidates))}
    return wrote, said


class JavaMeteor:
    """METEOR 1.5 with its paraphrase table, in a Java process that lives as long as this object."""

    def __init__(self) -> None:
        _package_folders(
            "METEOR", "runtime (8 or newer), for example the package default-jre-headless"
        )
        from pycocoevalcap.meteor.meteor import Meteor

        self._meteor: Any = Meteor()
        # The package leaves the process's pipes open.
        weakref.finalize(self, _end, self._meteor.meteor_p)

    def score(self, candidates: Sequence[str], references: Sequence[Sequence[str]]) -> Scored:
        """METEOR of captions as the COCO caption tools report it."""
        if not candidates:
            return Scored(float("nan"), np.empty(0))
        return Scored(*self._ask(*_asked(candidates, references)))

    def items(
        self, candidates: Sequence[str], references: Sequence[Sequence[str]]
    ) -> npt.NDArray[np.float64]:
        """METEOR of each caption, words as they stand; 0 where there is no reference.

        This is how dense-captioning mAP asks for it.
        """
        results = np.zeros(len(candidates))
        asked = [place for place, others in enumerate(references) if others]
        if asked:
            said = {index: [candidates[place]] for index, place in enumerate(asked)}
            wrote = {index: list(references[place]) for index, place in enumerate(asked)}
            results[asked] = self._ask(wrote, said)[1]
        return results

    def _ask(
        self, wrote: dict[int, list[str]], said: dict[int, list[str]]
    ) -> tuple[float, npt.NDArray[np.float64]]:
        for texts in (*wrote.values(), *said.values()):
            texts[:] = [_BETWEEN.sub(" ", text) for text in texts]
        try:
            corpus, items = self._meteor.compute_score(wrote, said)
        except (OSError, ValueError) as error:
            # The package holds its lock when it fails, and would wait for it when it is deleted.
            with suppress(RuntimeError):
                self._meteor.lock.release()
            raise ModelError(
                f"METEOR's Java process ended early ({error}); check that 'java -version' works."
            ) from error
        return float(corpus), np.array(items, dtype=np.float64)


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in filter(None, (process.stdin, process.stdout, process.stderr)):
        with suppress(OSError):
            pipe.close()
    process.kill()
    process.wait()


class JavaSpice:
    """SPICE in a Java process of its own."""

    def __init__(self) -> None:
        folders = _package_folders("SPICE", "8 runtime (newer ones do not run its parser)")
        if not any((Path(folder) / "spice" / "lib" / PARSER).exists() for folder in folders):
            # The package would download half a gigabyte unasked, and print while it does.
            raise ModelError(
                f"SPICE needs {PARSER}, which is not there; get it once with: "
                "python -m pycocoevalcap.spice.get_stanford_models"
            )

    def score(self, candidates: Sequence[str], references: Sequence[Sequence[str]]) -> Scored:
        """SPICE of captions."""
        from pycocoevalcap.spice.spice import Spice

        try:
            corpus, parts = Spice().compute_score(*_asked(candidates, references))
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            raise ModelError(
                f"SPICE's Java process failed ({error}); its parser runs on Java 8 only."
            ) from error
        return Scored(float(corpus), np.array([part["All"]["f"] for part in parts], dtype=float))
