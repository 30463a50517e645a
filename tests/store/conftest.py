"""Stores of both kinds, each on a disk that outlives it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mesh.store.interface import Store
from mesh.store.memory import MemoryStore
from mesh.store.memory_disk import MemoryDisk
from mesh.store.sqlite import SqliteStore
from tests.store.samples import LIFE, OWN, FakeClocks

Reopen = Callable[..., Store]


@pytest.fixture
def clocks() -> FakeClocks:
    return FakeClocks()


@pytest.fixture(params=["sqlite", "memory"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path, clocks: FakeClocks) -> Iterator[Reopen]:
    """Open the mailbox; each call closes the store that the one before gave."""
    disk = MemoryDisk(OWN, "alice", "default", LIFE)
    stores: list[Store] = []

    def open_again(*, mesh: str = "default", **settings: float) -> Store:
        while stores:
            stores.pop().close()
        if request.param == "memory":
            store: Store = MemoryStore.open(disk, mesh=mesh, clocks=clocks, **settings)
        else:
            path = tmp_path / "alice" / "mailbox.db"
            path.parent.mkdir(mode=0o700, exist_ok=True)
            store = SqliteStore.open(
                path, key=OWN, name="alice", mesh=mesh, clocks=clocks, **settings
            )
        stores.append(store)
        return store

    yield open_again
    while stores:
        stores.pop().close()


@pytest.fixture
def store(reopen: Reopen) -> Store:
    return reopen()
