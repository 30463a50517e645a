"""All stores of a node, used by one thread at a time: their own, or the caller's if quick."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self, TypeVar

from mesh.core.changes import Change
from mesh.core.effects import Transmission
from mesh.errors import StoreError
from mesh.model import MailboxKey
from mesh.store.interface import InboxMessage, Store, StoredLetter

T = TypeVar("T")

_QUICK_S: Final = 0.002
"""A disk whose commits take less than this on average may be waited for by the event loop."""
_STALL_S: Final = 0.02
_WEIGHT: Final = 0.2


class Stores:
    """The open stores, by mailbox. Every call waits its turn on the one writer thread."""

    def __init__(self) -> None:
        self._stores: dict[MailboxKey, Store] = {}
        self._is_closed = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._running = 0
        self._commit_s = _STALL_S
        self._put_off: dict[MailboxKey, list[Change]] = {}
        self._failed: dict[MailboxKey, StoreError] = {}
        self.alarm: Callable[[], None] = lambda: None
        """Called when a store has failed outside a commit, which the next `commit` will tell."""

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
        self._running += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._running -= 1

    async def use(self, key: MailboxKey, work: Callable[[Store], T]) -> T:
        """Run `work` with the store of a mailbox, which then holds all that was put off.

        Raises:
            StoreError: the mailbox is not held any more, or whatever the store raises.
        """
        if key in self._put_off:
            await self.flush()
        try:
            return await self.run(lambda: work(self._store(key)))
        except StoreError as exc:
            self._note_failures({key: exc})
            raise

    def recent(self, key: MailboxKey, after_row: int, *, limit: int) -> list[InboxMessage] | None:
        """Return the oldest unread messages after a row at once; None: ask the disk (`use`)."""
        if self._running or key not in self._stores:
            return None
        return self._stores[key].recent(after_row, limit=limit)

    @property
    def has_put_off(self) -> bool:
        """Whether changes wait for the next commit."""
        return bool(self._put_off)

    def put_off(self, changes: Mapping[MailboxKey, list[Change]]) -> None:
        """Write these with the next commit, whenever that is; a crash may lose them."""
        for key, batch in changes.items():
            self._put_off.setdefault(key, []).extend(batch)

    async def flush(self) -> None:
        """Write what was put off; what fails is reported by the next `commit`."""
        self._note_failures(await self._commit_all({}))

    async def commit(
        self, changes: Mapping[MailboxKey, list[Change]]
    ) -> dict[MailboxKey, StoreError]:
        """Commit each mailbox's changes in one transaction; return what failed.

        While the disk is quick and nothing else waits, the calling thread does it: two changes of
        threads cost more than the commit. A disk that is slow never blocks the event loop twice.
        """
        failed = await self._commit_all(changes)
        earlier, self._failed = self._failed, {}
        return {key: error for key, error in earlier.items() if self._has_failed(key)} | failed

    async def _commit_all(
        self, changes: Mapping[MailboxKey, list[Change]]
    ) -> dict[MailboxKey, StoreError]:
        batches, self._put_off = self._put_off, {}
        for key, batch in changes.items():
            batches[key] = batches[key] + batch if key in batches else batch
        if not batches:
            return {}
        if self._running == 0 and not self._is_closed and self._commit_s < _QUICK_S:
            return self._commit(batches)
        return await self.run(lambda: self._commit(batches))

    def _note_failures(self, failed: Mapping[MailboxKey, StoreError]) -> None:
        """Have the mailboxes opened again whose stores have failed."""
        for key, error in failed.items():
            if self._has_failed(key):
                self._failed.setdefault(key, error)
                self.alarm()

    async def load(
        self, transmissions: Iterable[Transmission]
    ) -> dict[tuple[MailboxKey, int], StoredLetter]:
        """Return the letters that are to be transmitted; unreadable ones are left out."""
        wanted: dict[MailboxKey, list[int]] = {}
        for transmission in transmissions:
            rows = wanted.setdefault(transmission.mailbox, [])
            rows.extend(row for row, _, _ in transmission.letters)
        loaded, failed = await self.run(lambda: self._load(wanted))
        self._note_failures(failed)
        return loaded

    def _has_failed(self, key: MailboxKey) -> bool:
        return key in self._stores and self._stores[key].is_failed

    def _store(self, key: MailboxKey) -> Store:
        store = self._stores.get(key)
        if store is None:
            raise StoreError("This mailbox is not held by this process any more.")
        if store.is_failed:
            raise StoreError("The disk has failed; the mailbox is about to be opened again.")
        return store

    def _commit(self, changes: Mapping[MailboxKey, list[Change]]) -> dict[MailboxKey, StoreError]:
        failed: dict[MailboxKey, StoreError] = {}
        for key, batch in changes.items():
            started = time.perf_counter()
            try:
                self._store(key).commit(batch)
            except StoreError as exc:
                failed[key] = exc
            took_s = time.perf_counter() - started
            weight = _WEIGHT if took_s < _STALL_S else 1.0
            self._commit_s += weight * (took_s - self._commit_s)
        return failed

    def _load(
        self, wanted: Mapping[MailboxKey, list[int]]
    ) -> tuple[dict[tuple[MailboxKey, int], StoredLetter], dict[MailboxKey, StoreError]]:
        loaded: dict[tuple[MailboxKey, int], StoredLetter] = {}
        failed: dict[MailboxKey, StoreError] = {}
        for key, rows in wanted.items():
            try:
                letters = self._store(key).letters(rows)
            except StoreError as exc:
                failed[key] = exc
                continue
            loaded.update({(key, letter.row): letter for letter in letters})
        return loaded, failed
