"""Crashes and failing disks, as simulations use them."""

import pytest

from mesh.core.changes import PutOutbox
from mesh.errors import DiskFullError, StoreError
from mesh.store.memory import MemoryStore
from mesh.store.memory_disk import Fault, MemoryDisk
from tests.store.samples import LIFE, OWN, FakeClocks, entry


def opened(disk: MemoryDisk) -> MemoryStore:
    return MemoryStore.open(disk, mesh="default", clocks=FakeClocks())


@pytest.mark.parametrize(
    ("fault", "error", "rows"),
    [(Fault.FULL, DiskFullError, 1), (Fault.LOST, StoreError, 1), (Fault.UNCERTAIN, StoreError, 2)],
)
def test_a_failed_commit_ends_the_store_and_the_disk_tells_the_truth(
    fault: Fault, error: type[StoreError], rows: int
) -> None:
    disk = MemoryDisk(OWN, "alice", "default", LIFE)
    store = opened(disk)
    store.commit([PutOutbox((entry(1),), b"first")])
    disk.fault = fault
    with pytest.raises(error):
        store.commit([PutOutbox((entry(2),), b"second")])
    assert store.is_failed
    with pytest.raises(AssertionError):
        store.commit([PutOutbox((entry(3),), b"third")])
    assert len(opened(disk).snapshot().outbox) == rows


def test_a_crash_keeps_what_was_committed() -> None:
    disk = MemoryDisk(OWN, "alice", "default", LIFE)
    opened(disk).commit([PutOutbox((entry(1),), b"first")])
    assert [one.body for one in opened(disk).letters([1])] == [b"first"]
