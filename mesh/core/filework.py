"""What the core asks of the disk for files that are streamed, and what it hears back.

Tasks of one node are carried out one after the other, in order; each answer comes back as an event.
"""

from dataclasses import dataclass

from mesh.model import FileRef, LinkId, MailboxKey, Why


@dataclass(frozen=True, slots=True)
class FetchKey:
    """Names a file that a mailbox receives from an author."""

    mailbox: MailboxKey
    author: MailboxKey
    digest: bytes


# Tasks.


@dataclass(frozen=True, slots=True)
class FindFile:
    """Look what the disk has of a file; answered by `FileFound` with the same `number`.

    The number tells apart fetches of one file that follow each other in a node. `place` may tell,
    to a process of the same machine and user, where the author's own copy lies.
    """

    fetch: FetchKey
    number: int
    file: FileRef
    place: bytes = b""


@dataclass(frozen=True, slots=True)
class ReadAhead:
    """Begin to verify the file that an author of this machine is still copying; not answered."""

    mailbox: MailboxKey
    author: MailboxKey
    place: bytes
    up_to: int


@dataclass(frozen=True, slots=True)
class KeepChunk:
    """Append a piece to what is there; answered by `ChunkKept`, or `FileEnded` if it cannot be."""

    fetch: FetchKey
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class CopyNear:
    """Append a piece of the author's own copy, which this disk has, too.

    Answered by `ChunkKept`, by `NearLost`, or by `FileEnded` if it cannot be kept.
    """

    fetch: FetchKey
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class FinishFile:
    """All pieces are there: verify, put into place durably; answered by `FileEnded`."""

    fetch: FetchKey


@dataclass(frozen=True, slots=True)
class LeaveFile:
    """Nothing more comes for now; what is there is kept for another try, or discarded."""

    fetch: FetchKey
    is_discarded: bool = False


@dataclass(frozen=True, slots=True)
class SendChunk:
    """Read a piece of an outgoing file and send it; answered by `ChunkSent` or `SpoolLost`."""

    link: LinkId
    mailbox: MailboxKey
    recipient: MailboxKey
    digest: bytes
    offset: int
    length: int
    file_bytes: int


@dataclass(frozen=True, slots=True)
class FileReached:
    """A recipient that copies has come so far, or has it all: whoever watches may know."""

    mailbox: MailboxKey
    file: FileRef
    up_to: int


@dataclass(frozen=True, slots=True)
class DropSpool:
    """No letter needs this outgoing file any more (asked again before it is removed)."""

    mailbox: MailboxKey
    digest: bytes


@dataclass(frozen=True, slots=True)
class SweepFiles:
    """A mailbox was taken: remove what crashes and abandoned files have left."""

    mailbox: MailboxKey


FileTask = (
    FindFile
    | ReadAhead
    | KeepChunk
    | CopyNear
    | FinishFile
    | LeaveFile
    | SendChunk
    | FileReached
    | DropSpool
    | SweepFiles
)


# Answers.


@dataclass(frozen=True, slots=True)
class FileFound:
    """What is on disk: `kept` bytes of a partial file, or all of it, verified before.

    `author_bytes` and `author_partials` count everything else this author has sent; `free_bytes`
    is what the disk has left once all partial files are whole. `is_near` when the author's own copy
    can be read here.
    """

    fetch: FetchKey
    number: int
    kept: int
    is_whole: bool = False
    author_bytes: int = 0
    author_partials: int = 0
    free_bytes: int = 0
    is_near: bool = False


@dataclass(frozen=True, slots=True)
class ChunkKept:
    """Everything up to `up_to` was written; not necessarily durable yet."""

    fetch: FetchKey
    up_to: int


@dataclass(frozen=True, slots=True)
class NearLost:
    """The author's own copy cannot be read any more: what is missing must come over the link."""

    fetch: FetchKey


@dataclass(frozen=True, slots=True)
class FileEnded:
    """The file is whole, verified and durable (`NONE`), or was given up for this reason."""

    fetch: FetchKey
    why: Why


@dataclass(frozen=True, slots=True)
class ChunkSent:
    """A piece was handed to the wire."""

    mailbox: MailboxKey
    digest: bytes


@dataclass(frozen=True, slots=True)
class SpoolLost:
    """The content of an outgoing file is gone or cut short."""

    mailbox: MailboxKey
    digest: bytes


FileEvent = FileFound | ChunkKept | NearLost | FileEnded | ChunkSent | SpoolLost
