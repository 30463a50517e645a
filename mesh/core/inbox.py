"""Incoming streams of one mailbox: what to do with a letter that has just arrived.

Dedup needs no clock and no list of ids: a stream is (author, incarnation), letters of it are taken
only in order, so one watermark says what was decided (PROTOCOL.md IN-1 to IN-7). Sequences that
were decided but are not in the inbox are remembered as ranges, so that a repeated letter gets the
same answer for ever, or none once the range is forgotten - never a wrong one.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from mesh import limits
from mesh.core.bounds import BOUNDS, Bounds
from mesh.core.changes import Change, PutInbox, Refuse
from mesh.core.snapshot import RefusedRange, ShownLetter, StreamIn, StreamKey, Unread
from mesh.model import MailboxKey, Verified, Why
from mesh.packet import AckItem, MailItem, Verdict

_NEW: Final = StreamIn(watermark=0)
_NONE: Final = Unread(0, 0)


class Order(Enum):
    """Where a letter stands in its stream."""

    NEXT = "next"
    DECIDED = "decided"
    FORGOTTEN = "forgotten"
    GAP = "gap"


@dataclass(slots=True)
class Taken:
    """What becomes of one letter: an answer for its author, and what to write."""

    order: Order
    ack: AckItem | None = None
    changes: tuple[Change, ...] = ()
    is_new: bool = False


class Inbox:
    """Watermarks and unread counts of one mailbox."""

    def __init__(
        self,
        streams: Mapping[StreamKey, StreamIn],
        unread: Mapping[MailboxKey, Unread],
        bounds: Bounds = BOUNDS,
    ) -> None:
        self._bounds = bounds
        self._streams = dict(streams)
        self._lives = Counter(author for author, _ in streams)
        self._unread = dict(unread)
        self._letters = sum(u.letters for u in unread.values())
        self._bytes = sum(u.body_bytes for u in unread.values())

    @property
    def unread_letters(self) -> int:
        """How many letters have not been shown."""
        return self._letters

    def watermark(self, stream: StreamKey) -> int:
        """Return the highest decided sequence of a stream, 0 for a new one."""
        known = self._streams.get(stream)
        return known.watermark if known else 0

    def take(self, item: MailItem, verified: Verified, *, is_welcome: bool = True) -> Taken:
        """Decide on one letter and remember the decision; one that is not welcome may wait."""
        letter = item.letter
        stream_key = (letter.author, letter.incarnation)
        stream = self._streams.get(stream_key, _NEW)
        order = _order(stream, item)
        if order is Order.DECIDED:
            return Taken(order, _ack(item, *_decided(stream, letter.sequence)))
        if order is not Order.NEXT:
            return Taken(order)
        if not is_welcome:
            return Taken(order, _ack(item, Verdict.LATER, Why.PIN_CONFLICT))
        if self._is_full(item, is_new_stream=stream_key not in self._streams):
            return Taken(order, _ack(item, Verdict.LATER, Why.RECIPIENT_FULL))
        skipped_from = stream.watermark + 1 if letter.sequence > stream.watermark + 1 else 0
        if skipped_from:
            stream = _remember(stream, skipped_from, letter.sequence - 1, Why.SKIPPED)
        if stream_key not in self._streams:
            self._lives[letter.author] += 1
        why = _refusal(item)
        if why is not Why.NONE:
            self._streams[stream_key] = _remember(stream, letter.sequence, letter.sequence, why)
            return Taken(order, _ack(item, Verdict.REFUSED, why), _refuse(item, skipped_from, why))
        self._streams[stream_key] = StreamIn(letter.sequence, stream.refused, stream.known_from)
        self._count(letter.author, 1, letter.body_bytes)
        put = PutInbox(letter, item.body, verified, skipped_from)
        return Taken(order, _ack(item, Verdict.DELIVERED), (put,), is_new=True)

    def shown(self, letters: tuple[ShownLetter, ...]) -> None:
        """Make room for what was read."""
        for letter in letters:
            self._count(letter.author, -1, -letter.body_bytes)

    def _is_full(self, item: MailItem, *, is_new_stream: bool) -> bool:
        of_author = self._unread.get(item.letter.author, _NONE)
        body_bytes = item.letter.body_bytes
        return (
            (is_new_stream and len(self._streams) >= limits.streams_in_max)
            or (
                is_new_stream
                and self._lives[item.letter.author] >= limits.streams_in_per_author_max
            )
            or of_author.letters >= self._bounds.inbox_letters_per_author
            or of_author.body_bytes + body_bytes > self._bounds.inbox_bytes_per_author
            or self._letters >= self._bounds.inbox_letters
            or self._bytes + body_bytes > self._bounds.inbox_bytes
        )

    def _count(self, author: MailboxKey, letters: int, body_bytes: int) -> None:
        old = self._unread.get(author, _NONE)
        new = Unread(max(0, old.letters + letters), max(0, old.body_bytes + body_bytes))
        self._letters += new.letters - old.letters
        self._bytes += new.body_bytes - old.body_bytes
        if new.letters:
            self._unread[author] = new
        else:
            self._bytes -= new.body_bytes
            self._unread.pop(author, None)


def _order(stream: StreamIn, item: MailItem) -> Order:
    sequence = item.letter.sequence
    if sequence <= stream.watermark:
        return Order.DECIDED if sequence >= stream.known_from else Order.FORGOTTEN
    return Order.NEXT if item.previous <= stream.watermark else Order.GAP


def _decided(stream: StreamIn, sequence: int) -> tuple[Verdict, Why]:
    for refused in stream.refused:
        if refused.first <= sequence <= refused.last:
            return (Verdict.REFUSED, refused.why)
    return (Verdict.DELIVERED, Why.NONE)


def _refusal(item: MailItem) -> Why:
    if item.age_s >= item.letter.ttl_s:
        return Why.EXPIRED
    if len(item.letter.chain) > limits.chain_hops_max:
        return Why.LOOP
    return Why.NONE


def _remember(stream: StreamIn, first: int, last: int, why: Why) -> StreamIn:
    refused = (*stream.refused, RefusedRange(first, last, why))
    if stream.refused and stream.refused[-1].last + 1 == first and stream.refused[-1].why is why:
        refused = (*stream.refused[:-1], RefusedRange(stream.refused[-1].first, last, why))
    known_from = stream.known_from
    if len(refused) > limits.refused_ranges_max:
        known_from = refused[0].last + 1
        refused = refused[1:]
    return StreamIn(watermark=last, refused=refused, known_from=known_from)


def _refuse(item: MailItem, skipped_from: int, why: Why) -> tuple[Change, ...]:
    letter = item.letter
    one = Refuse(letter.author, letter.incarnation, letter.sequence, letter.sequence, why)
    if not skipped_from:
        return (one,)
    last = letter.sequence - 1
    return (Refuse(letter.author, letter.incarnation, skipped_from, last, Why.SKIPPED), one)


def _ack(item: MailItem, verdict: Verdict, why: Why = Why.NONE) -> AckItem:
    return AckItem(item.letter.sequence, item.letter.message_id, verdict, why)
