"""SPICE as the COCO caption tools run it: scene graphs of captions, parsed by CoreNLP in Java."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_patchioner.errors import ModelError, pip_install

from ._captioned import Scored
from ._tokens import tokenize_captions, tokenize_references

if TYPE_CHECKING:
    from collections.abc import Sequence

PARSER = "stanford-corenlp-3.6.0.jar"


class JavaSpice:
    """SPICE in a Java process of its own.

    Raises
    ------
    ModelError
        Java, the package ``pycocoevalcap`` (extra ``metrics``) or its parser is not there.
    """

    def __init__(self) -> None:
        if shutil.which("java") is None:
            raise ModelError(
                "SPICE needs Java, which is not there; install a Java 8 runtime (newer ones do not "
                "run its parser)."
            )
        found = importlib.util.find_spec("pycocoevalcap")
        # The package has no file of its own, only folders.
        folders = list((found and found.submodule_search_locations) or ())
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
        """SPICE of captions.

        Parameters
        ----------
        candidates : sequence of str, length n
        references : sequence of sequence of str, length n

        Returns
        -------
        Scored
            F-measure of each caption's scene graph; the corpus score is their mean.

        Raises
        ------
        ModelError
            The Java process failed.
        """
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
