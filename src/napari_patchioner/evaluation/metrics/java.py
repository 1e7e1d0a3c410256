"""METEOR 1.5 as the COCO caption tools run it: the published jar, with its paraphrase table."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_patchioner.errors import ModelError, pip_install

from .metric import Scored
from .tokens import tokenize_captions, tokenize_references

if TYPE_CHECKING:
    from collections.abc import Sequence

# The jar reads one question a line, its parts separated by this sign.
_BETWEEN = re.compile(r"\s*\|\|\|\s*|[\r\n\u2028\u2029\x85]+")


class JavaMeteor:
    """METEOR 1.5 in a Java process that lives as long as this object."""

    def __init__(self) -> None:
        if shutil.which("java") is None:
            raise ModelError(
                "METEOR needs Java, which is not there; install a Java runtime (8 or newer), "
                "for example the package default-jre-headless."
            )
        if importlib.util.find_spec("pycocoevalcap") is None:
            raise ModelError(
                "METEOR needs the package pycocoevalcap, which is not there; run: "
                f"{pip_install('pycocoevalcap')}"
            )
        from pycocoevalcap.meteor.meteor import Meteor

        self._meteor: Any = Meteor()
        # The package leaves the process's pipes open.
        weakref.finalize(self, _end, self._meteor.meteor_p)

    def score(self, candidates: Sequence[str], references: Sequence[Sequence[str]]) -> Scored:
        """METEOR of captions as the COCO caption tools report it."""
        if not candidates:
            return Scored(float("nan"), np.empty(0))
        said = [" ".join(tokens) for tokens in tokenize_captions(candidates)]
        wrote = [
            [" ".join(tokens) for tokens in others] for others in tokenize_references(references)
        ]
        corpus, items = self._ask(said, wrote)
        return Scored(corpus, items)

    def items(
        self, candidates: Sequence[str], references: Sequence[Sequence[str]]
    ) -> npt.NDArray[np.float64]:
        """METEOR of each caption, words as they stand; 0 where there is no reference.

        This is how dense-captioning mAP asks for it.
        """
        results = np.zeros(len(candidates))
        asked = [place for place, others in enumerate(references) if others]
        if asked:
            said, wrote = [candidates[p] for p in asked], [list(references[p]) for p in asked]
            results[asked] = self._ask(said, wrote)[1]
        return results

    def _ask(
        self, candidates: Sequence[str], references: Sequence[Sequence[str]]
    ) -> tuple[float, npt.NDArray[np.float64]]:
        said = {place: [_plain(candidate)] for place, candidate in enumerate(candidates)}
        wrote = {
            place: [_plain(other) for other in others] for place, others in enumerate(references)
        }
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
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    process.kill()
    process.wait()


def _plain(text: str) -> str:
    """Take out what would end a question to the jar."""
    return _BETWEEN.sub(" ", text)


PARSER = "stanford-corenlp-3.6.0.jar"


class JavaSpice:
    """SPICE in a Java process of its own."""

    def __init__(self) -> None:
        if shutil.which("java") is None:
            raise ModelError(
                "SPICE needs Java, which is not there; install a Java 8 runtime (newer ones do not "
                "run its parser)."
            )
        spec = importlib.util.find_spec("pycocoevalcap")
        # The package has no file of its own, only folders.
        folders = list((spec and spec.submodule_search_locations) or ())
        if not folders:
            raise ModelError(
                "SPICE needs the package pycocoevalcap, which is not there; run: "
                f"{pip_install('pycocoevalcap')}"
            )
        if not any((Path(folder) / "spice" / "lib" / PARSER).exists() for folder in folders):
            # The package would download half a gigabyte unasked, and print while it does.
            raise ModelError(
                f"SPICE needs {PARSER}, which is not there; get it once with: "
                "python -m pycocoevalcap.spice.get_stanford_models"
            )

    def score(self, candidates: Sequence[str], references: Sequence[Sequence[str]]) -> Scored:
        """SPICE of captions."""
        from pycocoevalcap.spice.spice import Spice

        said = {
            index: [" ".join(tokens)] for index, tokens in enumerate(tokenize_captions(candidates))
        }
        wrote = {
            index: [" ".join(tokens) for tokens in others]
            for index, others in enumerate(tokenize_references(references))
        }
        try:
            corpus, parts = Spice().compute_score(wrote, said)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            raise ModelError(
                f"SPICE's Java process failed ({error}); its parser runs on Java 8 only."
            ) from error
        return Scored(float(corpus), np.array([part["All"]["f"] for part in parts], dtype=float))
