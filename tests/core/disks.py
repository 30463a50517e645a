"""The disks of a few joined nodes: file tasks are carried out at once, sizes are remembered."""

from collections import deque
from dataclasses import replace

from mesh import limits
from mesh.core.effects import Effects
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
    NearLost,
    ReadAhead,
    SendChunk,
)
from mesh.model import FileRef, Why
from mesh.packet import Chunk
from tests.core.pair import Party, World
from tests.core.samples import ALICE, BOB

DIGEST = b"f" * 32
CHUNK = limits.chunk_bytes_max
SIZE = 20 * CHUNK + 5
FILE = FileRef(DIGEST, SIZE, "big.bin")
KEY = FetchKey(BOB, ALICE, DIGEST)


def file_found(**changes) -> FileFound:
    return replace(FileFound(KEY, 0, 0, free_bytes=10 * limits.files_free_bytes_min), **changes)


class Disks:
    """Carries out the file tasks of a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.file_tasks = self._take
        self.kept: dict[FetchKey, int] = {}
        self.whole: set[FetchKey] = set()
        self.dropped: list[DropSpool] = []
        self.sent: list[int] = []
        self.reached: list[FileReached] = []
        self.ahead: list[ReadAhead] = []
        self.verdict = Why.NONE
        self.facts: dict[str, int] = {}
        self.near_to: int | None = None
        """How much of the author's own copy can be read; None if it is on another machine."""
        self._waiting: deque[tuple[Party, FileTask]] = deque()
        self._is_busy = False

    def run(self, *, until: int | None = None) -> None:
        """Let packets and tasks run until nothing is left, or so many pieces were sent."""
        while self.world.flying and (until is None or len(self.sent) < until):
            self.world.deliver_next()

    def _take(self, party: Party, effects: Effects) -> None:
        self._waiting.extend((party, task) for task in effects.files)
        if self._is_busy:
            return
        self._is_busy = True
        while self._waiting:
            owner, task = self._waiting.popleft()
            for answer in self.perform(owner, task):
                self.world.step(owner, answer)
        self._is_busy = False

    def perform(self, party: Party, task: FileTask) -> list[Event]:
        match task:
            case FindFile(fetch, number):
                facts = {"kept": self.kept.get(fetch, 0), "is_whole": fetch in self.whole}
                facts |= {"fetch": fetch, "number": number, "is_near": self.near_to is not None}
                return [file_found(**facts, **self.facts)]
            case CopyNear(fetch, offset, length):
                assert offset == self.kept.get(fetch, 0)
                self.kept[fetch] = min(offset + length, self.near_to or 0)
                copied = ChunkKept(fetch, self.kept[fetch])
                is_all = self.kept[fetch] == offset + length
                return [copied] if is_all else [copied, NearLost(fetch)]
            case KeepChunk(fetch, offset, data):
                assert offset == self.kept.get(fetch, 0)
                self.kept[fetch] = offset + len(data)
                return [ChunkKept(fetch, self.kept[fetch])]
            case FinishFile(fetch):
                verdict, self.verdict = self.verdict, Why.NONE
                if verdict is Why.NONE:
                    self.whole.add(fetch)
                self.kept.pop(fetch, None)
                return [FileEnded(fetch, verdict)]
            case SendChunk(link, mailbox, recipient, digest, offset, length):
                self.sent.append(offset)
                chunk = Chunk(mailbox, recipient, digest, offset, bytes(length))
                self.world.post(party, link, chunk)
                return [ChunkSent(mailbox, digest)]
            case ReadAhead():
                self.ahead.append(task)
            case DropSpool():
                self.dropped.append(task)
            case FileReached():
                self.reached.append(task)
        return []
