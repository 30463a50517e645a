"""Fixtures of the attacks: a mesh of real processes, and somebody who attacks it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.processes.hosts import SECRET, Mesh, new_mesh
from tests.security.insider import Insider


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    async with new_mesh() as made:
        yield made


@pytest.fixture
def insider(mesh: Mesh) -> Iterator[Insider]:
    """A member who holds the secret."""
    with Insider(SECRET, mesh.settings["mesh"]) as made:
        yield made
