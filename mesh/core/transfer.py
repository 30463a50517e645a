"""Files that are streamed, decided without I/O: what to accept, what to want next, how to resume.

A file is fetched in order, within a window, by the side that receives it, so what is on its disk is
always a beginning of the file and one number says how much. Whatever happens in between, the author
offers again and the recipient goes on from that number (PROTOCOL.md FILE-1 to FILE-9).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from mesh import limits
from mesh.core.filework import CopyNear, FetchKey, FileFound
from mesh.model import FileRef, LinkId, Why
from mesh.packet import Want


@dataclass(frozen=True, slots=True)
class FileQuota:
    """How much is accepted: of one file, of one author, and what stays free on the disk."""

    file_bytes_max: int = limits.streamed_file_bytes_max
    author_bytes_max: int = limits.files_bytes_per_author_max
    author_partials_max: int = limits.partials_per_author_max
    free_bytes_min: int = limits.files_free_bytes_min


@dataclass(slots=True)
class Fetch:
    """One file on its way in. `kept_to` <= `received_to` <= `wanted_to`: written, here, asked for.

    `number` is its own in this node: what the disk still says of earlier fetches is not meant.
    `is_started` once the disk has told what it has of it; `is_ending` while it is verified. One
    that `is_near` is copied from the author's own copy on this disk, and nothing is asked for.
    """

    key: FetchKey
    number: int
    file: FileRef
    link: LinkId
    heard_at: float
    is_started: bool = False
    is_ending: bool = False
    is_near: bool = False
    resumed_from: int = 0
    kept_to: int = 0
    received_to: int = 0
    wanted_to: int = 0
    stalls: int = 0

    def start(self, kept: int, *, is_near: bool = False) -> None:
        """Go on from what the disk has."""
        self.is_started = True
        self.is_near = is_near
        self.resumed_from = kept
        self.kept_to = self.received_to = self.wanted_to = kept

    def rewind(self) -> None:
        """Ask again for everything that did not come."""
        if not self.is_near:
            self.wanted_to = self.received_to

    def lose_near(self) -> None:
        """Fetch what is missing over the link."""
        self.is_near = False
        self.wanted_to = self.received_to

    @property
    def is_complete(self) -> bool:
        """Whether every piece has come."""
        return self.is_started and self.received_to == self.file.bytes

    @property
    def outstanding(self) -> int:
        """How much was asked for and has not come yet."""
        return self.wanted_to - self.received_to

    @property
    def is_backed_up(self) -> bool:
        """Whether the disk is so far behind that nothing more may be asked for."""
        return self.wanted_to - self.kept_to >= limits.fetch_backlog_bytes_max

    def accepts(self, *, offset: int, length: int) -> bool:
        """Whether a piece is the next one, of the size that was asked for."""
        is_next = self.is_started and offset == self.received_to < self.wanted_to
        return is_next and not self.is_near and length == self.piece(offset)

    def piece(self, offset: int) -> int:
        """Return the size of the piece at `offset`."""
        return min(limits.chunk_bytes_max, self.file.bytes - offset)


def judge(file: FileRef, found: FileFound, quota: FileQuota) -> Why:
    """Decide whether an offered file may come; `NONE` if so."""
    if file.bytes > quota.file_bytes_max:
        return Why.TOO_LARGE
    if found.author_bytes + file.bytes > quota.author_bytes_max:
        return Why.QUOTA
    if found.author_partials >= quota.author_partials_max:
        return Why.QUOTA
    if found.free_bytes - (file.bytes - found.kept) < quota.free_bytes_min:
        return Why.RECIPIENT_FULL
    return Why.NONE


def is_final(why: Why) -> bool:
    """Whether a file declined for this reason is not worth offering again."""
    return why in {Why.TOO_LARGE, Why.DAMAGED}


def next_copies(fetches: Iterable[Fetch]) -> list[CopyNear]:
    """Copy each file that is near, a step being waited for while another is made."""
    copies: list[CopyNear] = []
    for fetch in fetches:
        while fetch.is_near and fetch.outstanding <= limits.near_bytes_max:
            length = min(limits.near_bytes_max, fetch.file.bytes - fetch.wanted_to)
            if not length:
                break
            copies.append(CopyNear(fetch.key, fetch.wanted_to, length))
            fetch.wanted_to += length
    return copies


def next_wants(fetches: Iterable[Fetch]) -> list[tuple[LinkId, Want]]:
    """Ask for pieces of the active files, in turn, within one window for each link.

    The window bounds how busy pieces keep both ends, and what mail waits for if there is no lane.
    """
    active = [fetch for fetch in fetches if not fetch.is_near]
    room: dict[LinkId, int] = {}
    for fetch in active:
        room.setdefault(fetch.link, limits.fetch_window_bytes)
        room[fetch.link] -= fetch.outstanding
    wants: list[tuple[LinkId, Want]] = []
    while True:
        before = len(wants)
        for fetch in active:
            size = fetch.piece(fetch.wanted_to)
            if not size or room[fetch.link] < size or fetch.is_backed_up:
                continue
            key = fetch.key
            want = Want(key.mailbox, key.author, key.digest, fetch.wanted_to, size)
            wants.append((fetch.link, want))
            fetch.wanted_to += size
            room[fetch.link] -= size
        if len(wants) == before:
            return wants
