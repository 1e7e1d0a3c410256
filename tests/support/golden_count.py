"""Which golden outputs were there and which a test has read, counted over all test processes."""

from __future__ import annotations

from typing import Any

import pytest

# By the id of a case; filled by its tests.
THERE: dict[str, set[str]] = {}
READ: dict[str, set[str]] = {}
_SENT = "golden_count"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the count of a process of pytest-xdist to the one that reports."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_SENT] = [
            {case: sorted(names) for case, names in count.items()} for count in (THERE, READ)
        ]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add the count of a process; one that has crashed sends none."""
    sent_counts = getattr(node, "workeroutput", {}).get(_SENT, ({}, {}))
    for count, sent in zip((THERE, READ), sent_counts, strict=True):
        for case, names in sent.items():
            count.setdefault(case, set()).update(names)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Name the outputs that nothing was compared with."""
    left = {case: sorted(names - READ[case]) for case, names in THERE.items()}
    total = sum(len(names) for names in THERE.values())
    open_ends = sum(len(names) for names in left.values())
    if total:
        terminalreporter.section("golden numbers")
        terminalreporter.line(f"{total - open_ends} of {total} outputs of {len(THERE)} cases read")
    for case, names in sorted(left.items()):
        if names:
            terminalreporter.line(f"not compared: {case}: {', '.join(names)}")
