"""Fixtures for tests with real processes."""

from collections.abc import AsyncIterator

import pytest

from tests.processes.hosts import Mesh, new_mesh


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    async with new_mesh() as made:
        yield made
