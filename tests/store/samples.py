"""Values and clocks that the tests of this folder share."""

import hashlib
from dataclasses import replace

from mesh.core.snapshot import OutboxEntry
from mesh.model import Incarnation, Kind, Letter, MailboxKey, MessageId

OWN = MailboxKey(b"o" * 32)
BOB = MailboxKey(b"b" * 32)
EVE = MailboxKey(b"e" * 32)
LIFE = Incarnation(b"l" * 8)


class FakeClocks:
    """Clocks that move when told to."""

    def __init__(self) -> None:
        self.wall = 1_700_000_000_000
        self.boot = 1000.0
        self.boot_id = "boot-1"

    def wall_ms(self) -> int:
        return self.wall

    def boot_s(self) -> float:
        return self.boot

    def pass_s(self, seconds: float) -> None:
        self.wall += round(seconds * 1000)
        self.boot += seconds


def message_id(number: int) -> MessageId:
    return MessageId(hashlib.blake2b(str(number).encode(), digest_size=16).digest())


def letter(number: int, **changes: object) -> Letter:
    made = Letter(
        message_id=message_id(number),
        kind=Kind.DIRECT,
        author=BOB,
        author_name="Bob",
        incarnation=LIFE,
        to="alice",
        recipient=OWN,
        sequence=number,
        ttl_s=3600.0,
        created_ms=1_700_000_000_000 + number,
        reply_to=None,
        is_urgent=False,
        is_auto=False,
        chain=(),
        body_digest=b"d" * 32,
        body_bytes=5,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def outgoing(number: int, **changes: object) -> Letter:
    return replace(
        letter(number, author=OWN, author_name="alice", to="bob", recipient=BOB),
        **changes,  # type: ignore[arg-type]
    )


def entry(row: int, **changes: object) -> OutboxEntry:
    return OutboxEntry(row, outgoing(row, **changes), remaining_s=3600.0)
