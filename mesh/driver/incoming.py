"""Files on their way in, on the disk: found, written, copied or linked, put into place.

A file that lies on this machine is linked if its author gives it up, else copied; all others come
as pieces. What stops half-way is kept for the next try as long as the disk has room for mail.
"""

import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, assert_never

from mesh import limits
from mesh.core.events import Event
from mesh.core.filework import (
    ChunkKept,
    CopyNear,
    FetchKey,
    FileEnded,
    FileFound,
    FindFile,
    FinishFile,
    KeepChunk,
    LeaveFile,
    NearLost,
    ReadAhead,
)
from mesh.errors import DiskFullError, StoreError
from mesh.model import MailboxKey, Why
from mesh.sharing import linked, partials
from mesh.sharing.ahead import Ahead
from mesh.sharing.linked import Linked
from mesh.sharing.near import Near, open_near
from mesh.sharing.partials import Partial
from mesh.sharing.received import Coming, find_received

IncomingTask = ReadAhead | FindFile | KeepChunk | CopyNear | FinishFile | LeaveFile
_log: Final = logging.getLogger(__name__)


class Places(Protocol):
    """Where mailboxes keep their files."""

    def files_of(self, key: MailboxKey) -> Path: ...


@dataclass(slots=True)
class _Arriving:
    """What is open of one file."""

    coming: Coming
    near: Near | None = None
    linked: Linked | None = None
    partial: Partial | None = None


class Incoming:
    """Holds the files that are open for writing; only one thread at a time comes here."""

    def __init__(
        self,
        node: Places,
        *,
        machine: bytes | None,
        free: Callable[[Path], int],
        syncing: Executor,
        has_stopped: Callable[[], bool],
    ) -> None:
        self._node = node
        self._machine = machine
        self._free = free
        self._syncing = syncing
        self._has_stopped = has_stopped
        self._arriving: dict[FetchKey, _Arriving] = {}
        self._ahead: dict[tuple[MailboxKey, MailboxKey], Ahead] = {}

    def perform(self, task: IncomingTask) -> list[Event]:
        """Carry out a task and return its answers."""
        match task:
            case ReadAhead():
                self._read_ahead(task)
                return []
            case FindFile():
                return [self._find(task)]
            case KeepChunk():
                return self._keep(task)
            case CopyNear():
                return self._copy_near(task)
            case FinishFile(fetch):
                return self._finish(fetch)
            case LeaveFile():
                self._leave(task)
                return []
        assert_never(task)

    def _read_ahead(self, task: ReadAhead) -> None:
        """Verify what there is of a file that is still being copied; one for each author."""
        key = (task.mailbox, task.author)
        ahead = self._ahead.pop(key, None) or Ahead()
        if len(self._ahead) >= limits.read_ahead_max:
            del self._ahead[next(iter(self._ahead))]
        self._ahead[key] = ahead
        ahead.read(task.place, key=self._machine, up_to=task.up_to, bytes_max=limits.near_bytes_max)

    def _find(self, task: FindFile) -> Event:
        """Look what the disk has of a file, and whether its author's copy can be reached."""
        fetch = task.fetch
        coming = Coming(fetch.author.hex(), fetch.digest.hex(), task.file.bytes, task.file.name)
        try:
            self._let_go(fetch)
            directory = self._node.files_of(fetch.mailbox)
            whole = find_received(directory, author=coming.author, digest=coming.digest)
            if whole is not None and whole.stat().st_size == task.file.bytes:
                return FileFound(fetch, task.number, task.file.bytes, is_whole=True)
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            used = partials.usage(directory, coming)
            kept = partials.kept_bytes(directory, coming)
            free = self._free(directory) - used.promised_bytes
        except (OSError, StoreError) as exc:
            _log.warning("a file cannot be received: %s", exc)
            return FileFound(fetch, task.number, 0)  # No room: declined.
        arriving = self._arriving[fetch] = _Arriving(coming)
        arriving.near = open_near(
            task.place, key=self._machine, digest=coming.digest, size=coming.bytes
        )
        if arriving.near is not None:
            ahead = self._ahead.get((fetch.mailbox, fetch.author))
            arriving.linked = linked.link(directory, coming, arriving.near, ahead)
        takes_no_room = arriving.linked is not None
        return FileFound(
            fetch,
            task.number,
            arriving.linked.received if arriving.linked is not None else kept,
            author_bytes=used.author_bytes,
            author_partials=used.author_partials,
            free_bytes=free + coming.bytes if takes_no_room else free,
            is_near=arriving.near is not None,
        )

    def _keep(self, task: KeepChunk) -> list[Event]:
        """Append a piece that came over a link."""
        arriving = self._arriving.get(task.fetch)
        if arriving is None:
            return []
        try:
            partial = self._partial(task.fetch, arriving)
            if not partial.write(task.offset, task.data):
                return []
        except (OSError, StoreError) as exc:
            return [self._give_up(task.fetch, exc)]
        return [ChunkKept(task.fetch, partial.received)]

    def _copy_near(self, task: CopyNear) -> list[Event]:
        """Append a piece of the author's own copy, or verify it where it is linked."""
        fetch = task.fetch
        arriving = self._arriving.get(fetch)
        if arriving is None or arriving.near is None:
            return [NearLost(fetch)]
        if arriving.linked is not None:
            return [self._read_linked(task, arriving.linked)]
        try:
            partial = self._partial(fetch, arriving)
            source = arriving.near.descriptor
            is_all = partial.copy(source, offset=task.offset, length=task.length)
        except (OSError, StoreError) as exc:
            return [self._give_up(fetch, exc)]
        if is_all:
            return [ChunkKept(fetch, partial.received)]
        arriving.near.close()
        arriving.near = None
        return [ChunkKept(fetch, partial.received), NearLost(fetch)]

    def _finish(self, fetch: FetchKey) -> list[Event]:
        """Verify a complete file and put it into place."""
        arriving = self._arriving.get(fetch)
        if arriving is None:
            return []
        try:
            file = arriving.linked or self._partial(fetch, arriving)
            is_good = file.finish()
            if arriving.linked is not None:
                self._discard(fetch, arriving.coming)  # An earlier try, as pieces.
        except (OSError, StoreError) as exc:
            return [self._give_up(fetch, exc)]
        arriving.partial = None
        self._let_go(fetch)
        return [FileEnded(fetch, Why.NONE if is_good else Why.DAMAGED)]

    def _leave(self, task: LeaveFile) -> None:
        """Let a file be, for now or for good."""
        arriving = self._let_go(task.fetch)
        if arriving is not None and task.is_discarded:
            self._discard(task.fetch, arriving.coming)

    def sweep(self, key: MailboxKey) -> None:
        """Remove what crashes and abandoned files have left in a mailbox."""
        files = self._node.files_of(key)
        if files.is_dir():
            partials.sweep(files)
            linked.sweep(files)

    def close(self, key: MailboxKey | None) -> None:
        """Close the files of one mailbox, or of all; what came of them is kept."""
        for fetch in [f for f in self._arriving if key in {None, f.mailbox}]:
            try:
                self._let_go(fetch)
            except OSError as exc:
                _log.warning("a partial file was not synced: %s", exc)
        for pair in [pair for pair in self._ahead if key in {None, pair[0]}]:
            del self._ahead[pair]

    def _read_linked(self, task: CopyNear, file: Linked) -> Event:
        with contextlib.suppress(OSError):
            if file.read(offset=task.offset, length=task.length):
                return ChunkKept(task.fetch, file.received)
        self._let_go(task.fetch)  # It is fetched anew, as pieces.
        return FileEnded(task.fetch, Why.DAMAGED)

    def _partial(self, fetch: FetchKey, arriving: _Arriving) -> Partial:
        directory = self._node.files_of(fetch.mailbox)
        if arriving.partial is None:
            arriving.partial = partials.open_partial(
                directory, arriving.coming, self._syncing, self._has_stopped
            )
        if self._free(directory) < limits.files_free_bytes_stop:
            raise DiskFullError("What is left of the disk is for mail.")
        return arriving.partial

    def _let_go(self, fetch: FetchKey) -> _Arriving | None:
        """Close what is open of a file; what came of it is kept."""
        arriving = self._arriving.pop(fetch, None)
        if arriving is None:
            return None
        if arriving.near is not None:
            arriving.near.close()
        if arriving.linked is not None:
            arriving.linked.discard()
        if arriving.partial is not None:
            arriving.partial.close()
        return arriving

    def _discard(self, fetch: FetchKey, coming: Coming) -> None:
        partials.discard_partial(self._node.files_of(fetch.mailbox), coming)

    def _give_up(self, fetch: FetchKey, exc: Exception) -> Event:
        """The disk refuses. What it certainly has is kept, unless mail needs the room."""
        _log.warning("a file cannot be kept: %s", exc)
        arriving = self._arriving[fetch]
        partial, arriving.partial = arriving.partial, None
        try:
            self._let_go(fetch)
            if partial is not None:
                partial.cut()
                if self._free(self._node.files_of(fetch.mailbox)) < limits.files_free_bytes_scarce:
                    self._discard(fetch, arriving.coming)
        except (OSError, StoreError) as error:
            _log.warning("a partial file cannot be cut: %s", error)
        return FileEnded(fetch, Why.RECIPIENT_FULL)
