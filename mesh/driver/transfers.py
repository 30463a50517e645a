"""The disk's side of files that are streamed: one bounded thread of their own, in order.

The core decides; its tasks are carried out a few at a time (`file_desk`), so that neither the event
loop nor the store thread ever waits for a file. Memory holds at most what the core has asked for,
one window of pieces coming in, and `limits.chunks_sending_max` going out.
"""

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from mesh import limits
from mesh.config import Config
from mesh.core.events import Event
from mesh.core.filework import (
    ChunkKept,
    ChunkSent,
    CopyNear,
    DropSpool,
    FileReached,
    FileTask,
    FindFile,
    FinishFile,
    KeepChunk,
    LeaveFile,
    ReadAhead,
    SendChunk,
)
from mesh.driver.file_desk import FileDesk
from mesh.errors import StoreError
from mesh.model import Address, LinkId, MailboxKey
from mesh.packet import Packet, Spooling
from mesh.sharing import near
from mesh.sharing.confine import Fence
from mesh.sharing.memory import keep_freed_memory
from mesh.sharing.spool import SpooledFile, free_bytes, inode_of, spool_name, spool_shared_file
from mesh.sharing.threads import file_threads

Progress = Callable[[int, int], None]
"""Told how many bytes of how many are on their way or there."""


class Surroundings(Protocol):
    """What the transfers need of their node."""

    def post(self, event: Event, *, can_wait: bool = False) -> None: ...
    def send(self, link: LinkId, packet: Packet) -> None: ...
    def files_of(self, key: MailboxKey) -> Path: ...
    def needs_file(self, key: MailboxKey, digest: bytes) -> bool: ...
    def letters_with_file(self, key: MailboxKey, digest: bytes) -> int: ...
    def route_to(self, key: MailboxKey, address: Address) -> tuple[LinkId, MailboxKey] | None: ...


class Transfers:
    """Carries out file tasks. `free` tells how much a disk has left."""

    def __init__(
        self, node: Surroundings, config: Config, *, free: Callable[[Path], int] = free_bytes
    ) -> None:
        keep_freed_memory()
        self._node = node
        self._config = config
        self._tasks: deque[FileTask] = deque()
        self._wake = asyncio.Event()
        self._thread = file_threads("files")
        self._spooling = file_threads("files-spool", number=limits.spooling_max)
        self._machine = near.own_machine_key()
        self._stopped = threading.Event()
        self._desk = FileDesk(
            node,
            machine=self._machine,
            is_needed=self._is_needed,
            free=free,
            has_stopped=self._stopped.is_set,
        )
        self._pins_lock = threading.Lock()
        self._pins: Counter[tuple[MailboxKey, bytes]] = Counter()
        self._common: set[tuple[MailboxKey, bytes]] = set()
        self._untold = 0
        self._watchers: dict[tuple[MailboxKey, bytes], list[Progress]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._thread.submit(self._desk.end)
        # A copy under way may take a moment: the loop does not stand still for it, and a cancelled
        # end does not cut it off.
        await asyncio.shield(asyncio.to_thread(self._end_threads))

    def _end_threads(self) -> None:
        for pool in (self._thread, self._spooling):
            pool.shutdown(wait=True)

    # What agents use.

    async def spool(
        self, key: MailboxKey, to: Address, path: str | Path, fence: Fence, *, pinned: list[bytes]
    ) -> SpooledFile:
        """Copy a file into the mailbox's spool; a few at a time.

        The digest is added to `pinned` and must be given to `unpin` in the end. Whom it is for may
        read it meanwhile.
        """
        loop = asyncio.get_running_loop()

        def told(number: int, size: int) -> None:
            loop.call_soon_threadsafe(self._tell_spooling, key, to, number, size)

        copy = partial(self._spool, key, path, fence, pinned=pinned, told=told)
        return await loop.run_in_executor(self._spooling, copy)

    def _tell_spooling(self, key: MailboxKey, to: Address, number: int, size: int) -> None:
        """Tell the recipient of a file how much of it lies in the spool."""
        route = self._node.route_to(key, to)
        if route is None:
            return
        try:
            place = near.place_of(self._spool_of(key), key=self._machine, given=number)
        except StoreError:  # The mailbox has just been released.
            return
        if place:
            link, recipient = route
            self._node.send(link, Spooling(key, recipient, place, size))

    def _spool(
        self,
        key: MailboxKey,
        path: str | Path,
        fence: Fence,
        *,
        pinned: list[bytes],
        told: Callable[[int, int], None],
    ) -> SpooledFile:
        def pin(digest: bytes) -> None:
            with self._pins_lock:
                if self._is_needed(key, digest):
                    self._common.add((key, digest))
                self._pins[(key, digest)] += 1
            pinned.append(digest)

        return spool_shared_file(
            path,
            self._spool_of(key),
            fence,
            bytes_max=self._config.file_bytes_max,
            pin=pin,
            told=told,
            has_stopped=self._stopped.is_set,
        )

    def unpin(self, key: MailboxKey, digest: bytes) -> None:
        """The message was accepted, or was not: from now on only its letters keep the file."""
        with self._pins_lock:
            self._pins[(key, digest)] -= 1
            if self._pins[(key, digest)] <= 0:
                del self._pins[(key, digest)]
                self._common.discard((key, digest))
        self.take([DropSpool(key, digest)])

    def watch(self, key: MailboxKey, digest: bytes, progress: Progress) -> None:
        """Tell `progress` of each piece that leaves, and when a recipient has all of them."""
        self._watchers.setdefault((key, digest), []).append(progress)

    # What the node uses.

    def place_of(self, key: MailboxKey, digest: bytes) -> bytes:
        """Return where an outgoing file lies, legible on this machine only.

        If nobody else needs it, its recipient may have the very file. (While a message that is
        accepted has its pin still, only those are counted that were pinned after it.)
        """
        try:
            directory = self._spool_of(key)
        except StoreError:  # The mailbox has just been released.
            return b""
        is_common = (key, digest) in self._common or self._node.letters_with_file(key, digest) > 1
        given = 0 if is_common else inode_of(directory, digest)
        return near.place_of(directory, key=self._machine, given=given)

    def _spool_of(self, key: MailboxKey) -> Path:
        return self._node.files_of(key).parent / spool_name

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
            events, sendings = await loop.run_in_executor(self._thread, self._desk.perform, batch)
            for link, packet in sendings:
                self._node.send(link, packet)
            can_wait = self._can_wait(batch, events)
            for event in events:
                self._node.post(event, can_wait=can_wait)
            for task in batch:
                self._tell(task)

    async def release(self, key: MailboxKey) -> None:
        """Let go of all files of a mailbox, durably; nothing more is done for it."""
        kept = [task for task in self._tasks if _mailbox_of(task) != key]
        self._tasks = deque(kept)
        await asyncio.get_running_loop().run_in_executor(self._thread, self._desk.close, key)

    def _next_batch(self) -> list[FileTask]:
        batch: list[FileTask] = []
        size = 0
        while self._tasks and size < limits.file_batch_bytes_max:
            task = self._tasks.popleft()
            if isinstance(task, DropSpool) and self._is_needed(task.mailbox, task.digest):
                continue
            batch.append(task)
            size += _weight(task)
        if not self._tasks:
            self._wake.clear()
        return batch

    def _can_wait(self, batch: list[FileTask], events: list[Event]) -> bool:
        """Whether the core need not hear at once how pieces fared: the next ones will wake it.

        It asks for no more while it believes that many wait for the disk, so now and then it must.
        """
        if not all(isinstance(event, ChunkSent | ChunkKept) for event in events):
            return False
        if not all(isinstance(task, SendChunk | KeepChunk) for task in batch):
            return False
        self._untold += sum(len(task.data) for task in batch if isinstance(task, KeepChunk))
        if self._untold < limits.fetch_backlog_bytes_max // 2:
            return True
        self._untold = 0
        return False

    def _is_needed(self, key: MailboxKey, digest: bytes) -> bool:
        """Whether a message that is being accepted, or a letter that is owed, has this file."""
        return self._pins[(key, digest)] > 0 or self._node.needs_file(key, digest)

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
        case ReadAhead():
            return limits.near_bytes_max
        case _:
            return limits.KIB
