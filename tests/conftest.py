"""Fixtures that every layer of tests shares."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
