"""What every test may ask for: where the golden numbers lie."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import settings

if TYPE_CHECKING:
    import pytest

GOLDEN = Path(__file__).parent / "golden"
# pytest --hypothesis-profile=thorough: minutes instead of seconds.
settings.register_profile("thorough", max_examples=2000, deadline=None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--conformance-dir",
        type=Path,
        default=GOLDEN,
        help="folder of golden numbers, with its manifest.json; tests/golden by default",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "cases(*patterns): run once per golden case whose id matches one of the glob patterns",
    )
