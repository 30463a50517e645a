"""All stores on one thread: what fails is told for its mailbox alone."""

import threading

import pytest

from mesh.core.changes import PutOutbox
from mesh.core.effects import Transmission
from mesh.driver.clock import MachineClocks
from mesh.driver.stores import Stores
from mesh.errors import StoreError
from mesh.model import LinkId, MailboxKey
from mesh.store.interface import InboxQuery
from mesh.store.memory import MemoryStore
from mesh.store.memory_disk import Fault, MemoryDisk
from tests.store.samples import BOB, LIFE, OWN, entry


def store_of(key: MailboxKey, fault: Fault | None = None) -> MemoryStore:
    disk = MemoryDisk(key, "someone", "one", LIFE, fault=fault)
    return MemoryStore.open(disk, mesh="one", clocks=MachineClocks())


def letters(key: MailboxKey, *rows: int) -> Transmission:
    return Transmission(LinkId(1), key, tuple((row, 0, 0.0) for row in rows))


async def test_commit_that_fails_is_told_and_the_others_are_made():
    async with Stores() as stores:
        good, bad = store_of(OWN), store_of(BOB, Fault.FULL)
        stores.add(OWN, good)
        stores.add(BOB, bad)
        put = PutOutbox((entry(1),), b"hello")
        failed = await stores.commit({BOB: [put], OWN: [put]})
        assert list(failed) == [BOB]
        assert list(good.disk.outbox) == [1]


async def test_letters_are_loaded_by_mailbox_and_row_as_far_as_they_are_there():
    async with Stores() as stores:
        stores.add(OWN, store_of(OWN))
        await stores.commit({OWN: [PutOutbox((entry(1), entry(2)), b"hello")]})
        loaded = await stores.load([letters(OWN, 1, 2), letters(OWN, 9), letters(BOB, 1)])
        assert {key: letter.body for key, letter in loaded.items()} == {
            (OWN, 1): b"hello",
            (OWN, 2): b"hello",
        }


async def test_mailbox_that_is_not_held_is_an_error_of_the_store():
    async with Stores() as stores:
        stores.add(OWN, store_of(OWN))
        stores.drop(OWN)
        stores.drop(OWN)
        with pytest.raises(StoreError, match="not held"):
            await stores.use(OWN, lambda store: store.read(InboxQuery()))
        assert list(await stores.commit({OWN: []})) == [OWN]


async def test_all_work_runs_in_order_on_one_thread_that_is_not_the_loops():
    async with Stores() as stores:
        threads = {await stores.run(threading.get_ident) for _ in range(5)}
        assert len(threads) == 1
        assert threading.get_ident() not in threads


async def test_work_after_the_end_is_refused():
    stores = Stores()
    async with stores:
        pass
    with pytest.raises(StoreError, match="ended"):
        await stores.run(threading.get_ident)
