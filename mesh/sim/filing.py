"""Carries out the file tasks of one simulated process, one after the other, as the driver does.

Each takes virtual time, and a crash leaves undone what is still waiting. What the core wants is
judged on the way: a fetch must go on exactly where the disk said, and nothing may be dropped that a
letter still needs.
"""

from collections import deque
from collections.abc import Iterable
from typing import Protocol, assert_never

from mesh import limits
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
    ReadAhead,
    SendChunk,
    SpoolLost,
    SweepFiles,
)
from mesh.core.node import Node
from mesh.model import LinkId, MailboxKey, Why
from mesh.packet import Chunk, Packet
from mesh.sim.disk import Disk
from mesh.sim.history import Violation
from mesh.sim.setting import Setting
from mesh.sim.shelf import Part, Shelf, Spooled, piece_of


class Owner(Protocol):
    """The process that the tasks belong to."""

    core: Node
    disks: dict[MailboxKey, Disk]
    place: bytes
    paused_until: float
    is_alive: bool

    def post(self, event: Event) -> None: ...
    def send(self, link: LinkId, packet: Packet) -> None: ...


class Filing:
    """The file tasks of a process."""

    def __init__(self, owner: Owner, setting: Setting) -> None:
        self._owner = owner
        self._timeline = setting.timeline
        self._history = setting.history
        self._tamper = setting.tamper
        self._random = setting.file_random
        self._tasks: deque[FileTask] = deque()
        self._open: set[FetchKey] = set()
        self._near: set[FetchKey] = set()
        self._is_running = False
        self._pace_s = setting.file_random.choice([0.0005, 0.02, 0.2])

    def take(self, tasks: Iterable[FileTask]) -> None:
        """Add tasks."""
        self._tasks.extend(tasks)
        if self._tasks and not self._is_running:
            self._is_running = True
            self._next()

    def release(self, key: MailboxKey) -> None:
        """Let go of a mailbox: what came for it is synced, nothing more is done for it."""
        self._tasks = deque(task for task in self._tasks if _mailbox_of(task) != key)
        for fetch in [f for f in self._open if f.mailbox == key]:
            self._close(fetch)

    def _next(self) -> None:
        """Carry out the first task once the disk has had its time, and the process runs."""
        at = self._timeline.now + self._pace_s * self._random.uniform(0.2, 2.0)
        self._timeline.at(max(at, self._owner.paused_until), self._carry_out)

    def _carry_out(self) -> None:
        if not self._owner.is_alive:
            return
        if self._timeline.now < self._owner.paused_until:
            self._next()
            return
        if self._tasks:
            task = self._tasks.popleft()
            if _mailbox_of(task) in self._owner.disks:
                self._perform(task)
        self._is_running = bool(self._tasks)
        if self._is_running:
            self._next()

    def _perform(self, task: FileTask) -> None:
        match task:
            case ReadAhead():
                pass  # Nodes of the simulator do not read ahead.
            case SendChunk() | DropSpool() | SweepFiles() | FileReached():
                self._perform_outgoing(task)
            case FindFile():
                self._owner.post(self._find(task))
            case KeepChunk(fetch, offset, data):
                is_right = data == piece_of(fetch.digest, offset, len(data))
                self._keep(fetch, offset, len(data), is_right=is_right)
            case CopyNear():
                self._copy(task)
            case FinishFile(fetch):
                self._finish(fetch)
            case LeaveFile(fetch):
                self._close(fetch)
                if task.is_discarded:
                    self._shelf(fetch.mailbox).parts.pop((fetch.author, fetch.digest), None)
            case _:
                assert_never(task)

    def _perform_outgoing(self, task: SendChunk | DropSpool | SweepFiles | FileReached) -> None:
        match task:
            case SendChunk():
                self._owner.post(self._send(task))
            case DropSpool(mailbox, digest):
                self._drop(mailbox, digest)
            case SweepFiles(mailbox):
                for digest in list(self._shelf(mailbox).spool):
                    self._drop(mailbox, digest)
            case FileReached(file=file, up_to=up_to):
                self._history.files["taken"] += up_to == file.bytes
            case _:
                assert_never(task)

    def _find(self, task: FindFile) -> Event:
        fetch, size = task.fetch, task.file.bytes
        shelf, key = self._shelf(fetch.mailbox), (fetch.author, fetch.digest)
        if key in shelf.received:
            return FileFound(fetch, task.number, size, is_whole=True)
        part = shelf.parts.get(key)
        if part is not None:
            self._close(fetch)
            part.cut()
        kept = part.written if part is not None else 0
        shelf.parts[key] = part or Part(size)
        self._open.add(fetch)
        self._history.files["resumed" if kept else "begun"] += 1
        is_near = task.place == self._owner.place and self._source(fetch, size) is not None
        self._near.discard(fetch)
        if is_near:
            self._near.add(fetch)
        return FileFound(
            fetch,
            task.number,
            kept,
            free_bytes=4 * limits.files_free_bytes_min,
            is_near=is_near,
        )

    def _keep(self, fetch: FetchKey, offset: int, length: int, *, is_right: bool) -> bool:
        """Append a piece; False if the disk has refused it."""
        if fetch not in self._open:
            return False
        shelf, key = self._shelf(fetch.mailbox), (fetch.author, fetch.digest)
        if shelf.is_full:
            self._open.discard(fetch)
            del shelf.parts[key]
            self._owner.post(FileEnded(fetch, Why.RECIPIENT_FULL))
            return False
        part = shelf.parts[key]
        if offset != part.written or offset + length > part.size:
            raise Violation(
                f"a file was written at {offset} where its disk has {part.written} of {part.size}"
            )
        part.append(length, is_right=is_right)
        self._owner.post(ChunkKept(fetch, part.written))
        return True

    def _copy(self, task: CopyNear) -> None:
        fetch = task.fetch
        part = self._shelf(fetch.mailbox).parts.get((fetch.author, fetch.digest))
        is_near = part is not None and fetch in self._near
        source = self._source(fetch, part.size) if part is not None and is_near else None
        if source is None:
            self._near.discard(fetch)
            self._owner.post(NearLost(fetch))
        elif self._keep(fetch, task.offset, task.length, is_right=source.is_good):
            self._history.files["copied"] += 1

    def _finish(self, fetch: FetchKey) -> None:
        if fetch not in self._open:
            return
        self._open.discard(fetch)
        shelf, key = self._shelf(fetch.mailbox), (fetch.author, fetch.digest)
        part = shelf.parts.pop(key)
        if shelf.is_full:
            self._owner.post(FileEnded(fetch, Why.RECIPIENT_FULL))
        elif part.is_right() or not self._tamper.is_verifying:
            shelf.received[key] = (part.written, part.is_right())
            self._owner.post(FileEnded(fetch, Why.NONE))
        else:
            self._history.files["damaged"] += 1
            self._owner.post(FileEnded(fetch, Why.DAMAGED))

    def _send(self, task: SendChunk) -> Event:
        spooled = self._shelf(task.mailbox).spool.get(task.digest)
        if spooled is None or spooled.size != task.file_bytes:
            is_needed = self._owner.core.offers.needs_file(task.mailbox, task.digest)
            if is_needed and task.digest not in self._history.spoiled:
                raise Violation("an outgoing file is gone that a letter needs")
            return SpoolLost(task.mailbox, task.digest)
        digest = task.digest if spooled.is_good else bytes(32)
        data = piece_of(digest, task.offset, task.length)
        chunk = Chunk(task.mailbox, task.recipient, task.digest, task.offset, data)
        self._owner.send(task.link, chunk)
        return ChunkSent(task.mailbox, task.digest)

    def _drop(self, mailbox: MailboxKey, digest: bytes) -> None:
        is_needed = self._owner.core.offers.needs_file(mailbox, digest)
        if not is_needed and not self._history.is_being_shared(mailbox, digest):
            self._shelf(mailbox).spool.pop(digest, None)

    def _source(self, fetch: FetchKey, size: int) -> Spooled | None:
        """Return the author's own copy, if this machine has it."""
        spooled = self._shelf(fetch.author).spool.get(fetch.digest)
        return spooled if spooled is not None and spooled.size == size else None

    def _close(self, fetch: FetchKey) -> None:
        """Sync what there is of a file that was being written."""
        if fetch in self._open:
            self._open.discard(fetch)
            part = self._shelf(fetch.mailbox).parts.get((fetch.author, fetch.digest))
            if part is not None:
                part.durable = part.written

    def _shelf(self, key: MailboxKey) -> Shelf:
        return self._history.disks[key].shelf


def _mailbox_of(task: FileTask) -> MailboxKey:
    match task:
        case FindFile() | KeepChunk() | CopyNear() | FinishFile() | LeaveFile():
            return task.fetch.mailbox
        case _:
            return task.mailbox
