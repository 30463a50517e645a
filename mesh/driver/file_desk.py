"""What is done with files on their own thread: pieces read, copied and kept, files put into place.

Nothing here is decided: each task of the core is carried out, and what the disk says goes back as
an event. Only one thread at a time comes here.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol, assert_never

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
from mesh.sharing.spool import Spool, spool_name
from mesh.sharing.threads import file_threads

_log: Final = logging.getLogger(__name__)

Sending = tuple[LinkId, Packet]


class Places(Protocol):
    """Where mailboxes keep their files."""

    def files_of(self, key: MailboxKey) -> Path: ...


class FileDesk:
    """Holds the files that are open. `is_needed` tells of an outgoing file whether it may not go,
    `free` how much a disk has left, `has_stopped` that no time is left for long work.
    """

    def __init__(
        self,
        node: Places,
        *,
        machine: bytes | None,
        is_needed: Callable[[MailboxKey, bytes], bool],
        free: Callable[[Path], int],
        has_stopped: Callable[[], bool],
    ) -> None:
        self._node = node
        self._machine = machine
        self._is_needed = is_needed
        self._free = free
        self._has_stopped = has_stopped
        self._syncing = file_threads("files-sync")
        self._coming: dict[FetchKey, Coming] = {}
        self._near: dict[FetchKey, int] = {}
        self._partials: dict[FetchKey, Partial] = {}
        self._spools: dict[MailboxKey, Spool] = {}

    def perform(self, batch: list[FileTask]) -> tuple[list[Event], list[Sending]]:
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
                return _found(task, task.file.bytes, is_whole=True)
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            used = partials.usage(directory, coming)
            kept = partials.kept_bytes(directory, coming)
            free = self._free(directory) - used.promised_bytes
        except (OSError, StoreError) as exc:
            _log.warning("a file cannot be received: %s", exc)
            return _found(task, 0)  # No room: declined.
        self._coming[fetch] = coming
        self._close_near(fetch)
        source = near.open_near(
            task.place, key=self._machine, digest=coming.digest, size=coming.bytes
        )
        if source is not None:
            self._near[fetch] = source
        return FileFound(
            fetch,
            task.number,
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
        self._spool_of(key).sweep(lambda digest: self._is_needed(key, digest))
        files = self._node.files_of(key)
        if files.is_dir():
            partials.sweep(files)

    def _partial(self, fetch: FetchKey) -> Partial:
        partial = self._partials.get(fetch)
        if partial is None:
            directory = self._node.files_of(fetch.mailbox)
            partial = partials.open_partial(
                directory, self._coming[fetch], self._syncing, self._has_stopped
            )
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

    def close(self, key: MailboxKey | None) -> None:
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

    def end(self) -> None:
        """Close everything, for good."""
        self.close(None)
        self._syncing.shutdown(wait=True)


def _found(task: FindFile, kept: int, *, is_whole: bool = False) -> FileFound:
    """Say what there is of a file that takes no room: all of it, or none and no room either."""
    return FileFound(
        task.fetch,
        task.number,
        kept,
        is_whole=is_whole,
        author_bytes=0,
        author_partials=0,
        free_bytes=0,
    )
