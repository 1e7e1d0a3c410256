"""Golden numbers, one test per case.

The set is a folder with a ``manifest.json`` (``pytest --conformance-dir DIR``; ``tests/golden`` by
default). A test names the cases it wants by glob on their id and takes the fixture ``case``::

    @pytest.mark.cases("02_memory/project_*")
    def test_projection(case):
        bank = MemoryBank(case.texts_in["captions"], case.inputs["memory"])
        case.check("reference_projection", bank.project(case.inputs["queries"]))

Nothing about sizes or seeds is written in a test: read ``case.params``, ``case.inputs`` (the
``in__*`` arrays), ``case.expected`` (the ``out__*`` arrays), ``case.texts_in`` / ``case.texts_out``
(the JSON beside them) and ``case.file(name)`` (the path of one of ``files``). ``case.check``
applies the tolerance the manifest gives for that output; integers and booleans must be equal.
A set without a matching case skips the test.

Outputs that a test reads count as compared; those of the cases at hand that no test has read are
named at the end of the run by ``golden_count`` (``docs/conformance.md`` tells why).
"""

from __future__ import annotations

import json
from collections import UserDict
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from golden_count import READ, THERE

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_TOLERANCE = {"atol": 1e-5, "rtol": 1e-4}


class Outputs(UserDict[str, Any]):
    """Expected values by name, which remembers the names that were asked for."""

    def __init__(self, case: str, values: dict[str, Any]) -> None:
        self.data = values
        self._read = READ.setdefault(case, set())
        THERE.setdefault(case, set()).update(values)

    def __getitem__(self, name: str) -> Any:
        value = self.data[name]
        self._read.add(name)
        return value


@dataclass(frozen=True)
class Case:
    """One entry of the manifest, its arrays read on first use."""

    root: Path
    entry: dict[str, Any] = field(repr=False)

    @property
    def id(self) -> str:
        return str(self.entry["id"])

    @property
    def params(self) -> dict[str, Any]:
        return dict(self.entry["params"])

    @cached_property
    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        if not self.entry.get("npz"):
            return {}
        with np.load(self.root / self.entry["npz"]) as archive:
            return dict(archive)

    @cached_property
    def _texts(self) -> dict[str, Any]:
        if not self.entry.get("json"):
            return {"in": {}, "out": {}}
        return dict(json.loads((self.root / self.entry["json"]).read_text(encoding="utf-8")))

    @property
    def inputs(self) -> dict[str, npt.NDArray[Any]]:
        """The ``in__*`` arrays by their bare names."""
        return {k.removeprefix("in__"): v for k, v in self._arrays.items() if k.startswith("in__")}

    @cached_property
    def expected(self) -> Outputs:
        """The ``out__*`` arrays by their bare names."""
        outputs = {
            k.removeprefix("out__"): v for k, v in self._arrays.items() if k.startswith("out__")
        }
        return Outputs(self.id, outputs)

    @property
    def texts_in(self) -> dict[str, Any]:
        return dict(self._texts["in"])

    @cached_property
    def texts_out(self) -> Outputs:
        return Outputs(self.id, dict(self._texts["out"]))

    def file(self, name: str) -> Path:
        """Path of one of the entry's ``files`` (a remark after the name is dropped)."""
        return self.root / str(self.entry["files"][name]).split(" (")[0]

    def tolerance(self, name: str) -> dict[str, float]:
        """``atol`` and ``rtol`` of one output; the first matching glob of the manifest decides."""
        for pattern, limits in self.entry.get("tolerance", {}).items():
            if fnmatchcase(name, pattern):
                if isinstance(limits, str):
                    return {"atol": 0.0, "rtol": 0.0}
                return DEFAULT_TOLERANCE | limits
        return dict(DEFAULT_TOLERANCE)

    def check(self, name: str, actual: npt.ArrayLike, rows: Any = ...) -> None:
        """Assert that ``actual`` is the output ``name``, or the ``rows`` of it that are given."""
        expected = self.expected[name][rows]
        actual = np.asarray(actual)
        assert actual.shape == expected.shape, f"{name}: {actual.shape} is not {expected.shape}"
        if expected.dtype.kind in "biu":
            np.testing.assert_array_equal(actual, expected, err_msg=name)
        else:
            limits = self.tolerance(name)
            np.testing.assert_allclose(actual, expected, err_msg=name, **limits)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test marked ``cases`` one run per matching entry of the manifest."""
    marker = metafunc.definition.get_closest_marker("cases")
    if marker is None:
        return
    root: Path = metafunc.config.getoption("--conformance-dir")
    entries = json.loads((root / "manifest.json").read_text(encoding="utf-8"))["cases"]
    found = [
        Case(root, entry)
        for entry in entries
        if any(fnmatchcase(entry["id"], pattern) for pattern in marker.args)
    ]
    if found:
        metafunc.parametrize("case", found, ids=[case.id for case in found])
        return
    reason = f"{root} has no case {' or '.join(marker.args)}; see docs/conformance.md"
    metafunc.parametrize("case", [pytest.param(None, marks=pytest.mark.skip(reason=reason))])
