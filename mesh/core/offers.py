"""Files on their way out: offered to whoever their letters are for, served, and at last bound.

A letter with a file waits outside all streams, so it holds up nobody. Its recipient is whom its
name means now; when that one has the whole file, the letter joins the stream (PROTOCOL.md FILE-2).
"""

from dataclasses import dataclass

from mesh import limits
from mesh.core.effects import EffectsDraft
from mesh.core.filework import ChunkSent, FileReached, SendChunk, SpoolLost
from mesh.core.links import Links
from mesh.core.mailbox import Mailbox
from mesh.core.outbox import Owed
from mesh.core.post import Post
from mesh.core.transfer import is_final
from mesh.model import Address, FileRef, LinkId, MailboxKey, Why
from mesh.packet import Decline, Have, Offer, Want

OfferKey = tuple[MailboxKey, MailboxKey, bytes]
"""Author, recipient and digest."""


@dataclass(slots=True)
class Offering:
    """One file offered to one recipient; `again_at` is when to offer it once more."""

    file: FileRef
    link: LinkId | None = None
    again_at: float = 0.0
    is_declined: bool = False


class Offers:
    """What the mailboxes of this node have to give."""

    def __init__(self, *, post: Post, links: Links) -> None:
        self._post = post
        self._links = links
        self._open: dict[OfferKey, Offering] = {}
        self._sending = 0

    @property
    def is_open(self) -> bool:
        """Whether something is offered to somebody who can be reached."""
        return any(offering.link is not None for offering in self._open.values())

    def needs_file(self, mailbox: MailboxKey, digest: bytes) -> bool:
        """Whether a letter of this mailbox is owed that carries this file."""
        held = self._post.mailboxes.get(mailbox)
        return held is None or held.outbox.needs_file(digest)

    def letters_with_file(self, mailbox: MailboxKey, digest: bytes) -> int:
        """Return how many letters of this mailbox are owed that carry this file."""
        held = self._post.mailboxes.get(mailbox)
        return held.outbox.letters_with_file(digest) if held is not None else 0

    def route_to(
        self, mailbox: MailboxKey, address: Address, now: float
    ) -> tuple[LinkId, MailboxKey] | None:
        """Return by which link whom an address means to a mailbox is reached now, and its key."""
        held = self._post.mailboxes.get(mailbox)
        found = self._post.origins.whom(held, address, age_s=0.0, now=now) if held else None
        link = self._links.route(found.key) if found is not None else None
        return (link, found.key) if found is not None and link is not None else None

    def look(self, mailbox: Mailbox, now: float, out: EffectsDraft) -> None:
        """Offer what may be offered now, a few files at a time to each recipient."""
        wanted: dict[OfferKey, Offering] = {}
        counts: dict[MailboxKey, int] = {}
        for owed in mailbox.outbox.files.values():
            found = self._post.resolve(mailbox, owed, now)
            file = owed.letter.file
            if found is None or file is None:
                continue
            key = (mailbox.key, found.key, file.digest)
            if key in wanted:
                continue
            offering = self._open.get(key) or Offering(file)
            if owed.held_back is Why.NONE:
                counts[found.key] = counts.get(found.key, 0) + 1
                if counts[found.key] > limits.offers_open_max:
                    continue
            wanted[key] = offering
            self._offer(key, offering, now, out)
        others = {k: o for k, o in self._open.items() if k[0] != mailbox.key}
        self._open = others | wanted

    def due(self, now: float, out: EffectsDraft) -> None:
        """Offer again what nobody has asked for lately."""
        for mailbox in self._post.mailboxes.values():
            self.look(mailbox, now, out)

    def take_want(self, link: LinkId, want: Want, now: float, out: EffectsDraft) -> None:
        """A recipient asks for a piece; only of what was offered to it, only over its own link."""
        offering = self._open.get((want.author, want.recipient, want.digest))
        if offering is None or not self._links.proves(link, want.recipient):
            return
        if want.offset + want.length > offering.file.bytes:
            return
        offering.again_at = now + limits.offer_interval_s
        if offering.is_declined:
            self._take_back_decline(want, offering, now)
        if not want.length:
            out.files.append(FileReached(want.author, offering.file, want.offset))
            return
        if self._sending >= limits.chunks_sending_max:
            return  # It asks again.
        self._sending += 1
        out.files.append(
            SendChunk(
                link,
                *(want.author, want.recipient, want.digest),
                *(want.offset, want.length, offering.file.bytes),
            )
        )

    def sent(self, _: ChunkSent) -> None:
        """A piece has left."""
        self._sending = max(0, self._sending - 1)

    def take_have(self, have: Have, now: float, out: EffectsDraft) -> None:
        """The recipient has the whole file: its letters may go."""
        mailbox = self._post.mailboxes.get(have.author)
        if mailbox is None:
            return
        offering = self._open.get((have.author, have.recipient, have.digest))
        if offering is not None:
            out.files.append(FileReached(have.author, offering.file, offering.file.bytes))
        for owed, name in self._letters(mailbox, have.recipient, have.digest, now):
            self._post.bind(mailbox, owed, have.recipient, name, now, out)
        self.look(mailbox, now, out)

    def take_decline(self, decline: Decline, now: float, out: EffectsDraft) -> None:
        """The recipient does not take a file, now or ever."""
        mailbox = self._post.mailboxes.get(decline.author)
        if mailbox is None:
            return
        for owed, _ in self._letters(mailbox, decline.recipient, decline.digest, now):
            if is_final(decline.why):
                self._post.refuse_file(mailbox, owed, decline.recipient, decline.why, out)
            else:
                is_known = decline.why is not Why.NONE
                owed.held_back = decline.why if is_known else Why.RECIPIENT_FULL
        offering = self._open.get((decline.author, decline.recipient, decline.digest))
        if offering is not None:
            offering.again_at = now + limits.offer_pause_s
            offering.is_declined = True
        self.look(mailbox, now, out)

    def spool_lost(self, event: SpoolLost, now: float, out: EffectsDraft) -> None:
        """Without its content a letter is worth nothing; it certainly never left."""
        self._sending = max(0, self._sending - 1)
        mailbox = self._post.mailboxes.get(event.mailbox)
        if mailbox is None:
            return
        for owed in list(mailbox.outbox.files.values()):
            if owed.letter.file is not None and owed.letter.file.digest == event.digest:
                self._post.refuse_file(mailbox, owed, None, Why.DAMAGED, out)
        self.look(mailbox, now, out)

    def released(self, mailbox: MailboxKey) -> None:
        """Forget what a mailbox had to give."""
        self._open = {k: o for k, o in self._open.items() if k[0] != mailbox}

    def _offer(self, key: OfferKey, offering: Offering, now: float, out: EffectsDraft) -> None:
        author, recipient, _ = key
        link = self._links.route(recipient)
        is_same_link = link == offering.link
        offering.link = link
        if link is None or (is_same_link and now < offering.again_at):
            return
        offering.again_at = now + limits.offer_interval_s
        out.packets.append((link, Offer(author, recipient, offering.file)))

    def _take_back_decline(self, want: Want, offering: Offering, now: float) -> None:
        """What was declined is wanted after all."""
        offering.is_declined = False
        mailbox = self._post.mailboxes[want.author]
        for owed, _ in self._letters(mailbox, want.recipient, want.digest, now):
            owed.held_back = Why.NONE

    def _letters(
        self, mailbox: Mailbox, recipient: MailboxKey, digest: bytes, now: float
    ) -> list[tuple[Owed, str]]:
        """Return the waiting letters that carry this file to this recipient, with its name."""
        found: list[tuple[Owed, str]] = []
        for owed in mailbox.outbox.files.values():
            file = owed.letter.file
            if file is None or file.digest != digest:
                continue
            target = self._post.resolve(mailbox, owed, now)
            if target is not None and target.key == recipient:
                found.append((owed, target.name))
        return sorted(found, key=lambda pair: pair[0].row)
