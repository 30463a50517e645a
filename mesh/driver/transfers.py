"""The disk's side of files that are streamed: one bounded thread of their own, in order.

The core decides; here its tasks are carried out a few at a time, so that neither the event loop nor
the store thread ever waits for a file. Memory holds at most what the core has asked for: one window
of pieces coming in and `limits.chunks_sending_max` going out.
"""

import asyncio
import logging
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, assert_never

from mesh import limits
from mesh.config import Config
from mesh.core.events import Event
from mesh.core.filework import (
    ChunkKept,
    ChunkSent,
    CopyNear,
    DropSpool,
    FetchKey,
    FileEnded,
    FileFound,
    FileReached,
    FileTask,
    FindFile,
    FinishFile,
    KeepChunk,
    LeaveFile,
    NearLost,
    SendChunk,
    SpoolLost,
    SweepFiles,
)
from mesh.errors import MeshError, StoreError
from mesh.model import LinkId, MailboxKey, Why
from mesh.packet import Chunk, Packet
from mesh.sharing import near, partials
from mesh.sharing.partials import Coming, Partial
from mesh.sharing.spool import (
    Spool,
    SpooledFile,
    free_bytes,
    spool_name,
    spool_shared_file,
)
from mesh.sharing.threads import file_threads

_log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Told how many bytes of how many are on their way or there."""

Sending = tuple[LinkId, Packet]


class Surroundings(Protocol):
    """What the transfers need of their node."""

    def post(self, event: Event) -> None: ...
    def send(self, link: LinkId, packet: Packet) -> None: ...
    def files_of(self, key: MailboxKey) -> Path: ...
    def needs_file(self, key: MailboxKey, digest: bytes) -> bool: ...


class Transfers:
    """Carries out file tasks. `free` tells how much a disk has left."""

    def __init__(
        self, node: Surroundings, config: Config, *, free: Callable[[Path], int] = free_bytes
    ) -> None:
        self._node = node
        self._config = config
        self._free = free
        self._tasks: deque[FileTask] = deque()
        self._wake = asyncio.Event()
        self._thread = file_threads("files")
        self._syncing = file_threads("files-sync")
        self._spooling = file_threads("files-spool", number=limits.spooling_max)
        self._machine = near.own_machine_key()
        self._coming: dict[FetchKey, Coming] = {}
        self._near: dict[FetchKey, int] = {}
        self._partials: dict[FetchKey, Partial] = {}
        self._spools: dict[MailboxKey, Spool] = {}
        self._pins_lock = threading.Lock()
        self._pins: Counter[tuple[MailboxKey, bytes]] = Counter()
        self._watchers: dict[tuple[MailboxKey, bytes], list[Progress]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.submit(self._close, None)
        self._thread.shutdown(wait=True)
        self._syncing.shutdown(wait=True)
        self._spooling.shutdown(wait=True)

    # What agents use.

    async def spool(
        self, key: MailboxKey, path: str | Path, *, cwd: Path, pinned: list[bytes]
    ) -> SpooledFile:
        """Copy a file into the mailbox's spool; a few at a time.

        The digest is added to `pinned` and must be given to `unpin` in the end.
        """
        loop = asyncio.get_running_loop()
        copy = partial(self._spool, key, path, cwd=cwd, pinned=pinned)
        return await loop.run_in_executor(self._spooling, copy)

    def _spool(
        self, key: MailboxKey, path: str | Path, *, cwd: Path, pinned: list[bytes]
    ) -> SpooledFile:

        def pin(digest: bytes) -> None:
            with self._pins_lock:
                self._pins[(key, digest)] += 1
            pinned.append(digest)

        return spool_shared_file(
            path,
            self._node.files_of(key).parent / spool_name,
            roots=self._config.share_roots,
            cwd=cwd,
            home=self._config.home,
            allowed=self._config.share_allow,
            bytes_max=self._config.file_bytes_max,
            pin=pin,
        )

    def unpin(self, key: MailboxKey, digest: bytes) -> None:
        """The message was accepted, or was not: from now on only its letters keep the file."""
        with self._pins_lock:
            self._pins[(key, digest)] -= 1
            if self._pins[(key, digest)] <= 0:
                del self._pins[(key, digest)]
        self.take([DropSpool(key, digest)])

    def watch(self, key: MailboxKey, digest: bytes, progress: Progress) -> None:
        """Tell `progress` of each piece that leaves, and when a recipient has all of them."""
        self._watchers.setdefault((key, digest), []).append(progress)

    # What the node uses.

    def place_of(self, key: MailboxKey) -> bytes:
        """Return where a mailbox's outgoing files lie, legible on this machine only."""
        try:
            directory = self._node.files_of(key).parent / spool_name
        except StoreError:  # The mailbox has just been released.
            return b""
        return near.place_of(directory, key=self._machine)

    def take(self, tasks: Iterable[FileTask]) -> None:
        """Add tasks; they are carried out in order."""
        self._tasks.extend(tasks)
        if self._tasks:
            self._wake.set()

    async def run(self) -> None:
        """Carry out tasks until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            batch = self._next_batch()
            events, sendings = await loop.run_in_executor(self._thread, self._perform, batch)
            for link, packet in sendings:
                self._node.send(link, packet)
            for event in events:
                self._node.post(event)
            for task in batch:
                self._tell(task)

    async def release(self, key: MailboxKey) -> None:
        """Let go of all files of a mailbox, durably; nothing more is done for it."""
        kept = [task for task in self._tasks if _mailbox_of(task) != key]
        self._tasks = deque(kept)
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close, key)

    def _next_batch(self) -> list[FileTask]:
        batch: list[FileTask] = []
        size = 0
        while self._tasks and size < limits.file_batch_bytes_max:
            task = self._tasks.popleft()
            if isinstance(task, DropSpool) and not self._may_drop(task):
                continue
            batch.append(task)
            size += _weight(task)
        if not self._tasks:
            self._wake.clear()
        return batch

    def _may_drop(self, task: DropSpool) -> bool:
        is_pinned = self._pins[(task.mailbox, task.digest)] > 0
        return not is_pinned and not self._node.needs_file(task.mailbox, task.digest)

    def _tell(self, task: FileTask) -> None:
        match task:
            case SendChunk(mailbox=mailbox, digest=digest):
                reached, size = task.offset + task.length, task.file_bytes
            case FileReached(mailbox, file, reached):
                digest, size = file.digest, file.bytes
            case DropSpool(mailbox, digest):
                self._watchers.pop((mailbox, digest), None)
                return
            case _:
                return
        for progress in self._watchers.get((mailbox, digest), ()):
            progress(reached, size)

    # On the thread of the files.

    def _perform(self, batch: list[FileTask]) -> tuple[list[Event], list[Sending]]:
        events: list[Event] = []
        sendings: list[Sending] = []
        for task in batch:
            try:
                self._perform_one(task, events, sendings)
            except (OSError, MeshError) as exc:
                _log.warning("a file task failed: %s", exc)
        return events, sendings

    def _perform_one(self, task: FileTask, events: list[Event], sendings: list[Sending]) -> None:
        match task:
            case FindFile():
                events.append(self._find(task))
            case KeepChunk():
                events.extend(self._keep(task))
            case CopyNear():
                events.extend(self._copy_near(task))
            case FinishFile():
                events.extend(self._finish(task.fetch))
            case LeaveFile():
                self._leave(task)
            case SendChunk():
                self._send(task, events, sendings)
            case FileReached():
                pass  # Only told.
            case DropSpool():
                self._spool_of(task.mailbox).drop(task.digest)
            case SweepFiles(mailbox):
                self._sweep(mailbox)
            case _:
                assert_never(task)

    def _find(self, task: FindFile) -> Event:
        fetch = task.fetch
        coming = Coming(fetch.author.hex(), fetch.digest.hex(), task.file.bytes, task.file.name)
        try:
            earlier = self._partials.pop(fetch, None)
            if earlier is not None:
                earlier.close()
            directory = self._node.files_of(fetch.mailbox)
            whole = partials.find_received(directory, author=coming.author, digest=coming.digest)
            if whole is not None and whole.stat().st_size == task.file.bytes:
                return FileFound(fetch, task.file.bytes, True, 0, 0, 0)  # noqa: FBT003
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            used = partials.usage(directory, coming)
            kept = partials.kept_bytes(directory, coming)
            free = self._free(directory) - used.promised_bytes
        except (OSError, StoreError) as exc:
            _log.warning("a file cannot be received: %s", exc)
            return FileEnded(fetch, Why.RECIPIENT_FULL)
        self._coming[fetch] = coming
        self._close_near(fetch)
        source = near.open_near(
            task.place, key=self._machine, digest=coming.digest, size=coming.bytes
        )
        if source is not None:
            self._near[fetch] = source
        return FileFound(
            fetch,
            kept,
            is_whole=False,
            author_bytes=used.author_bytes,
            author_partials=used.author_partials,
            free_bytes=free,
            is_near=source is not None,
        )

    def _keep(self, task: KeepChunk) -> list[Event]:
        fetch = task.fetch
        if fetch not in self._coming:
            return []
        try:
            partial = self._partial(fetch)
            if not partial.write(task.offset, task.data):
                return []
        except (OSError, StoreError) as exc:
            return [self._give_up(fetch, exc)]
        return [ChunkKept(fetch, partial.received)]

    def _copy_near(self, task: CopyNear) -> list[Event]:
        fetch = task.fetch
        source = self._near.get(fetch)
        if fetch not in self._coming or source is None:
            return [NearLost(fetch)]
        try:
            partial = self._partial(fetch)
            is_all = partial.copy(source, offset=task.offset, length=task.length)
        except (OSError, StoreError) as exc:
            return [self._give_up(fetch, exc)]
        if is_all:
            return [ChunkKept(fetch, partial.received)]
        self._close_near(fetch)
        return [ChunkKept(fetch, partial.received), NearLost(fetch)]

    def _finish(self, fetch: FetchKey) -> list[Event]:
        self._close_near(fetch)
        if fetch not in self._coming:
            return []
        try:
            is_good = self._partial(fetch).finish()
        except (OSError, StoreError) as exc:
            return [self._give_up(fetch, exc)]
        self._coming.pop(fetch)
        self._partials.pop(fetch)
        return [FileEnded(fetch, Why.NONE if is_good else Why.DAMAGED)]

    def _leave(self, task: LeaveFile) -> None:
        self._close_near(task.fetch)
        coming = self._coming.pop(task.fetch, None)
        partial = self._partials.pop(task.fetch, None)
        if partial is not None:
            partial.close()
        if coming is not None and task.is_discarded:
            partials.discard_partial(self._node.files_of(task.fetch.mailbox), coming)

    def _give_up(self, fetch: FetchKey, exc: Exception) -> Event:
        """The disk refuses: what was written is removed, a full disk harms more than this file."""
        _log.warning("a file cannot be kept: %s", exc)
        self._close_near(fetch)
        self._coming.pop(fetch, None)
        partial = self._partials.pop(fetch, None)
        if partial is not None:
            try:
                partial.discard()
            except OSError as error:
                _log.warning("a partial file cannot be removed: %s", error)
        return FileEnded(fetch, Why.RECIPIENT_FULL)

    def _send(self, task: SendChunk, events: list[Event], sendings: list[Sending]) -> None:
        try:
            data = self._spool_of(task.mailbox).read(
                task.digest, offset=task.offset, length=task.length, file_bytes=task.file_bytes
            )
        except StoreError:  # The mailbox has just been released.
            events.append(ChunkSent(task.mailbox, task.digest))
            return
        if data is None:
            events.append(SpoolLost(task.mailbox, task.digest))
            return
        chunk = Chunk(task.mailbox, task.recipient, task.digest, task.offset, data)
        sendings.append((task.link, chunk))
        events.append(ChunkSent(task.mailbox, task.digest))

    def _sweep(self, key: MailboxKey) -> None:
        self._spool_of(key).sweep(
            lambda digest: self._pins[(key, digest)] > 0 or self._node.needs_file(key, digest)
        )
        files = self._node.files_of(key)
        if files.is_dir():
            partials.sweep(files)

    def _partial(self, fetch: FetchKey) -> Partial:
        partial = self._partials.get(fetch)
        if partial is None:
            directory = self._node.files_of(fetch.mailbox)
            partial = partials.open_partial(directory, self._coming[fetch], self._syncing)
            self._partials[fetch] = partial
        return partial

    def _spool_of(self, key: MailboxKey) -> Spool:
        directory = self._node.files_of(key).parent / spool_name
        spool = self._spools.get(key)
        if spool is None:
            spool = self._spools[key] = Spool(directory)
        spool.directory = directory
        return spool

    def _close_near(self, fetch: FetchKey) -> None:
        source = self._near.pop(fetch, None)
        if source is not None:
            os.close(source)

    def _close(self, key: MailboxKey | None) -> None:
        """Close the files of one mailbox, or of all."""
        for fetch in [f for f in self._near if key in {None, f.mailbox}]:
            self._close_near(fetch)
        for fetch in [f for f in self._partials if key in {None, f.mailbox}]:
            self._coming.pop(fetch, None)
            try:
                self._partials.pop(fetch).close()
            except OSError as exc:
                _log.warning("a partial file was not synced: %s", exc)
        for mailbox in [m for m in self._spools if key in {None, m}]:
            self._spools.pop(mailbox).close()


def _mailbox_of(task: FileTask) -> MailboxKey:
    match task:
        case FindFile() | KeepChunk() | CopyNear() | FinishFile() | LeaveFile():
            return task.fetch.mailbox
        case _:
            return task.mailbox


def _weight(task: FileTask) -> int:
    match task:
        case KeepChunk():
            return len(task.data)
        case SendChunk() | CopyNear():
            return task.length
        case _:
            return limits.KIB
