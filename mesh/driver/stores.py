"""All stores of a node on one thread: commits, reads and file work never block the event loop."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

from mesh.core.changes import Change
from mesh.core.effects import Transmission
from mesh.errors import StoreError
from mesh.model import MailboxKey
from mesh.store.interface import Store, StoredLetter

T = TypeVar("T")


class Stores:
    """The open stores, by mailbox. Every call waits its turn on the one writer thread."""

    def __init__(self) -> None:
        self._stores: dict[MailboxKey, Store] = {}
        self._is_closed = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_closed = True
        self._thread.shutdown(wait=True)

    def add(self, key: MailboxKey, store: Store) -> None:
        """Use `store` for a mailbox from now on."""
        self._stores[key] = store

    def drop(self, key: MailboxKey) -> None:
        """Stop using the store of a mailbox; closing it is up to whoever opened it."""
        self._stores.pop(key, None)

    def has(self, key: MailboxKey) -> bool:
        """Whether the mailbox is still held."""
        return key in self._stores

    async def run(self, work: Callable[[], T]) -> T:
        """Run file work on the thread.

        Raises:
            StoreError: the node has ended, or whatever the work raises.
        """
        if self._is_closed:
            raise StoreError("The node has ended.")
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def use(self, key: MailboxKey, work: Callable[[Store], T]) -> T:
        """Run `work` with the store of a mailbox.

        Raises:
            StoreError: the mailbox is not held any more, or whatever the store raises.
        """
        return await self.run(lambda: work(self._store(key)))

    async def commit(
        self, changes: Mapping[MailboxKey, list[Change]]
    ) -> dict[MailboxKey, StoreError]:
        """Commit each mailbox's changes in one transaction; return what failed."""
        return await self.run(lambda: self._commit(changes))

    async def load(
        self, transmissions: Iterable[Transmission]
    ) -> dict[tuple[MailboxKey, int], StoredLetter]:
        """Return the letters that are to be transmitted; unreadable ones are left out."""
        wanted: dict[MailboxKey, list[int]] = {}
        for transmission in transmissions:
            rows = wanted.setdefault(transmission.mailbox, [])
            rows.extend(row for row, _, _ in transmission.letters)
        return await self.run(lambda: self._load(wanted))

    def _store(self, key: MailboxKey) -> Store:
        store = self._stores.get(key)
        if store is None:
            raise StoreError("This mailbox is not held by this process any more.")
        return store

    def _commit(self, changes: Mapping[MailboxKey, list[Change]]) -> dict[MailboxKey, StoreError]:
        failed: dict[MailboxKey, StoreError] = {}
        for key, batch in changes.items():
            try:
                self._store(key).commit(batch)
            except StoreError as exc:
                failed[key] = exc
        return failed

    def _load(
        self, wanted: Mapping[MailboxKey, list[int]]
    ) -> dict[tuple[MailboxKey, int], StoredLetter]:
        loaded: dict[tuple[MailboxKey, int], StoredLetter] = {}
        for key, rows in wanted.items():
            try:
                letters = self._store(key).letters(rows)
            except StoreError:
                continue
            loaded.update({(key, letter.row): letter for letter in letters})
        return loaded
