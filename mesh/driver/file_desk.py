"""What is done with files on their own thread: pieces read, copied and kept, files put into place.

Nothing here is decided: each task of the core is carried out, and what the disk says goes back as
an event. Only one thread at a time comes here.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, assert_never

from mesh.core.events import Event
from mesh.core.filework import (
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
    SpoolLost,
    SweepFiles,
)
from mesh.driver.incoming import Incoming, Places
from mesh.errors import MeshError, StoreError
from mesh.model import LinkId, MailboxKey
from mesh.packet import Chunk, Packet
from mesh.sharing.spool import Spool, spool_name
from mesh.sharing.threads import file_threads

_log: Final = logging.getLogger(__name__)

Sending = tuple[LinkId, Packet]


class FileDesk:
    """Holds the outgoing files that are open, and has `Incoming` for the others.

    `is_needed` tells of an outgoing file whether it may not go, `free` how much a disk has left,
    `has_stopped` that no time is left for long work.
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
        self._is_needed = is_needed
        self._syncing = file_threads("files-sync")
        self._incoming = Incoming(
            node, machine=machine, free=free, syncing=self._syncing, has_stopped=has_stopped
        )
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
            case ReadAhead() | FindFile() | KeepChunk() | CopyNear() | FinishFile() | LeaveFile():
                events.extend(self._incoming.perform(task))
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
        self._incoming.sweep(key)

    def _spool_of(self, key: MailboxKey) -> Spool:
        directory = self._node.files_of(key).parent / spool_name
        spool = self._spools.get(key)
        if spool is None:
            spool = self._spools[key] = Spool(directory)
        spool.directory = directory
        return spool

    def close(self, key: MailboxKey | None) -> None:
        """Close the files of one mailbox, or of all."""
        self._incoming.close(key)
        for mailbox in [m for m in self._spools if key in {None, m}]:
            self._spools.pop(mailbox).close()

    def end(self) -> None:
        """Close everything, for good."""
        self.close(None)
        self._syncing.shutdown(wait=True)
