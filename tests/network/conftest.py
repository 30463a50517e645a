"""A LAN of network namespaces, and the mesh on it; skipped where they may not be made."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.network.machines import NotPermittedError, Switch
from tests.processes.hosts import Mesh, new_mesh


@pytest.fixture
def lan() -> Iterator[Switch]:
    switch = Switch()
    try:
        try:
            switch.open()
        except (NotPermittedError, FileNotFoundError) as exc:
            pytest.skip(f"network namespaces are not permitted here: {exc}")
        yield switch
    finally:
        switch.close()


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    async with new_mesh() as made:
        made.settings |= {"bind": None, "mdns": True, "port": 47600}
        yield made
