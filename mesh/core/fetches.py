"""Files on their way into the mailboxes of this node: accepted, fetched, resumed, given up."""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import count

from mesh import limits
from mesh.core.effects import EffectsDraft, Notice, Severity
from mesh.core.filework import (
    ChunkKept,
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
from mesh.core.links import Links
from mesh.core.mailbox import Mailbox
from mesh.core.origins import Origins
from mesh.core.transfer import Fetch, FileQuota, judge, next_copies, next_wants
from mesh.model import LinkId, MailboxKey, Why
from mesh.packet import Chunk, Decline, Have, Offer, Spooling, Want


class Fetches:
    """What is being fetched, the oldest first. A few are active at a time, the others wait."""

    def __init__(
        self,
        *,
        links: Links,
        mailboxes: Mapping[MailboxKey, Mailbox],
        origins: Origins,
        quota: FileQuota,
    ) -> None:
        self._links = links
        self._mailboxes = mailboxes
        self._origins = origins
        self._quota = quota
        self._fetches: dict[FetchKey, Fetch] = {}
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._fetches)

    def take_offer(self, link: LinkId, offer: Offer, now: float, out: EffectsDraft) -> None:
        """An author has a file for one of our mailboxes (PROTOCOL.md FILE-3)."""
        card = self._links.card(link, offer.author)
        if card is None:
            text = f"a file offered by an unproven author on {link}"
            out.notices.append(Notice(Severity.WARNING, text))
            return
        mailbox = self._mailboxes.get(offer.recipient)
        if mailbox is None:
            return
        key = FetchKey(offer.recipient, offer.author, offer.file.digest)
        known = self._fetches.get(key)
        if known is not None:
            if known.link != link:
                known.link = link
                known.heard_at = now
                known.rewind()
                self._go_on(now, out)
            return
        if not self._origins.judge(mailbox, card, card.name, out).is_welcome:
            _decline(link, key, Why.PIN_CONFLICT, out)
            return
        if self._is_crowded(offer.author):
            _decline(link, key, Why.QUOTA, out)
            return
        fetch = Fetch(key, next(self._numbers), offer.file, link, now)
        self._begin(fetch, out, place=offer.place)

    def take_spooling(self, link: LinkId, packet: Spooling, out: EffectsDraft) -> None:
        """An author will have a file for one of our mailboxes (PROTOCOL.md FILE-11)."""
        author, mailbox = packet.author, packet.recipient
        if mailbox in self._mailboxes and self._links.proves(link, author):
            out.files.append(ReadAhead(mailbox, author, packet.place, packet.bytes))

    def found(self, event: FileFound, now: float, out: EffectsDraft) -> None:
        """The disk says what it has of a file."""
        fetch = self._fetches.get(event.fetch)
        if fetch is None:
            out.files.append(LeaveFile(event.fetch))
            return
        if fetch.number != event.number:
            return
        if event.is_whole:
            self._end(fetch, Why.NONE, now, out)
            return
        why = judge(fetch.file, event, self._quota)
        if why is not Why.NONE:
            out.files.append(LeaveFile(event.fetch, is_discarded=why is Why.TOO_LARGE))
            self._end(fetch, why, now, out)
            return
        fetch.start(min(event.kept, fetch.file.bytes), is_near=event.is_near)
        fetch.heard_at = now
        self._finish_if_complete(fetch, out)
        self._go_on(now, out)

    def take_chunk(self, link: LinkId, chunk: Chunk, now: float, out: EffectsDraft) -> None:
        """A piece came; one that was not asked for next is dropped and asked for in time."""
        fetch = self._fetches.get(FetchKey(chunk.recipient, chunk.author, chunk.digest))
        if fetch is None or fetch.link != link or fetch.is_ending:
            return
        if not fetch.accepts(offset=chunk.offset, length=len(chunk.data)):
            return
        fetch.received_to += len(chunk.data)
        fetch.heard_at = now
        fetch.stalls = 0
        out.files.append(KeepChunk(fetch.key, chunk.offset, chunk.data))
        self._finish_if_complete(fetch, out)
        self._go_on(now, out)

    def kept(self, event: ChunkKept, now: float, out: EffectsDraft) -> None:
        """Pieces were written: there is room for the next ones."""
        fetch = self._started(event.fetch)
        if fetch is None:
            return
        if fetch.is_near and fetch.received_to < event.up_to <= fetch.wanted_to:
            fetch.received_to = event.up_to
            key = fetch.key
            copied = Want(key.mailbox, key.author, key.digest, event.up_to, 0)
            out.packets.append((fetch.link, copied))
            self._finish_if_complete(fetch, out)
        if fetch.kept_to < event.up_to <= fetch.received_to:
            fetch.kept_to = event.up_to
            self._go_on(now, out)

    def near_lost(self, event: NearLost, now: float, out: EffectsDraft) -> None:
        """The author's own copy is gone or cut short: the rest comes as pieces."""
        fetch = self._started(event.fetch)
        if fetch is not None and fetch.is_near:
            fetch.lose_near()
            self._go_on(now, out)

    def ended(self, event: FileEnded, now: float, out: EffectsDraft) -> None:
        """A file is in place, or the disk has given it up."""
        fetch = self._started(event.fetch)
        if fetch is None:
            return
        if event.why is Why.DAMAGED and (fetch.resumed_from or fetch.is_near):
            # Perhaps it is only what we had or found that was damaged: once more, from nothing.
            number = next(self._numbers)
            self._begin(Fetch(fetch.key, number, fetch.file, fetch.link, now), out)
            return
        self._end(fetch, event.why, now, out)

    def agents_changed(self, keys: Iterable[MailboxKey], now: float, out: EffectsDraft) -> None:
        """Authors came or went: what was coming from one out of reach waits on the disk."""
        gone = {key for key in keys if self._links.route(key) is None}
        for fetch in [f for f in self._fetches.values() if f.key.author in gone]:
            self._leave(fetch, out)
        if gone:
            self._go_on(now, out)

    def released(self, mailbox: MailboxKey) -> None:
        """Forget what was coming for a mailbox that is not held any more."""
        self._fetches = {k: f for k, f in self._fetches.items() if k.mailbox != mailbox}

    def due(self, now: float, out: EffectsDraft) -> None:
        """Ask again for what did not come; give up on an author that does not answer."""
        for fetch in list(self._fetches.values()):
            is_waiting = fetch.is_started and not fetch.is_ending and not fetch.is_near
            if not is_waiting or fetch.wanted_to == fetch.received_to:
                continue
            if now - fetch.heard_at < limits.fetch_stall_s:
                continue
            fetch.stalls += 1
            fetch.heard_at = now
            if fetch.stalls > limits.fetch_stalls_max:
                self._leave(fetch, out)
            else:
                fetch.rewind()
        self._go_on(now, out)

    def _begin(self, fetch: Fetch, out: EffectsDraft, *, place: bytes = b"") -> None:
        self._fetches[fetch.key] = fetch
        out.files.append(FindFile(fetch.key, fetch.number, fetch.file, place))

    def _started(self, key: FetchKey) -> Fetch | None:
        """Return the fetch that the disk speaks of.

        It works in order: before it has said what there is, it still tells of an earlier fetch.
        """
        fetch = self._fetches.get(key)
        return fetch if fetch is not None and fetch.is_started else None

    def _go_on(self, now: float, out: EffectsDraft) -> None:
        started = [f for f in self._fetches.values() if f.is_started and not f.is_ending]
        active = _in_turn(started)[: limits.fetches_active_max]
        for fetch in active:
            if fetch.wanted_to == fetch.received_to:
                fetch.heard_at = now
        out.files.extend(next_copies(active))
        out.packets.extend(next_wants(active))

    def _finish_if_complete(self, fetch: Fetch, out: EffectsDraft) -> None:
        if fetch.is_complete:
            fetch.is_ending = True
            out.files.append(FinishFile(fetch.key))

    def _end(self, fetch: Fetch, why: Why, now: float, out: EffectsDraft) -> None:
        del self._fetches[fetch.key]
        key = fetch.key
        if why is Why.NONE:
            out.packets.append((fetch.link, Have(key.mailbox, key.author, key.digest)))
        else:
            _decline(fetch.link, key, why, out)
        self._go_on(now, out)

    def _leave(self, fetch: Fetch, out: EffectsDraft) -> None:
        if fetch.is_ending:  # What is whole already needs nobody.
            return
        del self._fetches[fetch.key]
        out.files.append(LeaveFile(fetch.key))

    def _is_crowded(self, author: MailboxKey) -> bool:
        of_author = sum(key.author == author for key in self._fetches)
        is_too_many = of_author >= limits.fetches_per_author_max
        return is_too_many or len(self._fetches) >= limits.fetches_max


def _in_turn(fetches: Iterable[Fetch]) -> list[Fetch]:
    """Let authors take turns, the oldest first, and those who keep silent come last."""
    ranks: Counter[MailboxKey] = Counter()
    places: list[tuple[bool, int, int, Fetch]] = []
    for number, fetch in enumerate(fetches):
        ranks[fetch.key.author] += 1
        places.append((fetch.stalls > 0, ranks[fetch.key.author], number, fetch))
    return [fetch for *_, fetch in sorted(places)]


def _decline(link: LinkId, key: FetchKey, why: Why, out: EffectsDraft) -> None:
    text = f"a file of {key.digest.hex()[:12]} was declined: {why.value}"
    out.notices.append(Notice(Severity.WARNING, text))
    out.packets.append((link, Decline(key.mailbox, key.author, key.digest, why)))
