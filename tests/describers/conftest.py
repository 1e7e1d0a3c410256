from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from chat_server import ChatServer, serving

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def chat() -> Iterator[ChatServer]:
    with serving() as server:
        yield server
