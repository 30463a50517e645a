"""Mail that comes in: taken, answered, and reported to its author once it was shown.

Every method takes the draft of the step's effects and puts each thing where durability demands it.
"""

from collections.abc import Mapping
from typing import Final

from mesh import limits
from mesh.core.changes import MarkTold
from mesh.core.effects import Arrival, EffectsDraft, Notice, Severity
from mesh.core.events import Shown
from mesh.core.inbox import Order
from mesh.core.links import Links
from mesh.core.mailbox import Mailbox
from mesh.core.origins import Origin, Origins
from mesh.core.snapshot import ShownLetter, StreamKey
from mesh.model import Card, LinkId, MailboxKey, Verified
from mesh.packet import Ack, AckItem, Gap, Mail, MailItem, Noted, Verdict


class Intake:
    """Takes mail for the held mailboxes."""

    def __init__(
        self, *, links: Links, origins: Origins, mailboxes: Mapping[MailboxKey, Mailbox]
    ) -> None:
        self._links = links
        self._origins = origins
        self._mailboxes = mailboxes

    def take_mail(self, link: LinkId, mail: Mail, out: EffectsDraft) -> None:
        """Put letters into inboxes and answer for each (PROTOCOL.md IN-1 to IN-7)."""
        card = self._links.card(link, mail.author)
        if card is None:
            out.notices.append(Notice(Severity.WARNING, f"mail by an unproven author on {link}"))
            return
        acks: dict[tuple[MailboxKey, StreamKey], list[AckItem]] = {}
        stopped: set[tuple[MailboxKey, StreamKey]] = set()
        judged: dict[tuple[MailboxKey, str], Origin] = {}
        for item in mail.items:
            recipient = item.letter.recipient
            mailbox = self._mailboxes.get(recipient) if recipient else None
            if mailbox is None:
                continue
            stream = (mailbox.key, (item.letter.author, item.letter.incarnation))
            if stream in stopped:
                continue
            order, answer = self._take(mailbox, item, card, judged, out)
            if answer is not None:
                acks.setdefault(stream, []).append(answer)
            if order is Order.GAP or (answer and answer.verdict is Verdict.LATER):
                stopped.add(stream)
            if order is Order.GAP:
                out.packets.append((link, _gap(mailbox, stream[1])))
        for (recipient, (author, incarnation)), items in acks.items():
            ack = Ack(recipient, author, incarnation, tuple(items))
            out.acks.append((link, recipient, ack))

    def shown(self, event: Shown, out: EffectsDraft) -> None:
        """Letters were read: make room, and tell their authors."""
        mailbox = self._mailboxes[event.mailbox]
        mailbox.inbox.shown(event.letters)
        mailbox.owe_shown(event.letters)
        by_author: dict[MailboxKey, list[ShownLetter]] = {}
        for letter in event.letters:
            by_author.setdefault(letter.author, []).append(letter)
        for author, letters in by_author.items():
            self.tell_shown(mailbox, author, tuple(letters), out)

    def take_noted(self, link: LinkId, noted: Noted, out: EffectsDraft) -> None:
        """An author has recorded what was shown."""
        if not self._links.proves(link, noted.author):
            out.notices.append(Notice(Severity.DEBUG, f"note of an unproven author on {link}"))
            return
        mailbox = self._mailboxes.get(noted.recipient)
        if mailbox is None:
            return
        letters = mailbox.told(noted.author, noted.message_ids)
        if letters:
            out.changes.append((mailbox.key, MarkTold(letters)))

    def tell_shown(
        self,
        mailbox: Mailbox,
        author: MailboxKey,
        letters: tuple[ShownLetter, ...],
        out: EffectsDraft,
    ) -> None:
        """Tell an author what was shown, if it can be reached now."""
        link = self._links.route(author)
        if link is None:
            return
        by_incarnation: dict[bytes, list[ShownLetter]] = {}
        for letter in letters:
            by_incarnation.setdefault(letter.incarnation, []).append(letter)
        for group in by_incarnation.values():
            items = [AckItem(s.sequence, s.message_id, Verdict.SHOWN) for s in group]
            for start in range(0, len(items), limits.ack_items_max):
                part = tuple(items[start : start + limits.ack_items_max])
                ack = Ack(mailbox.key, author, group[0].incarnation, part)
                out.acks.append((link, mailbox.key, ack))

    def _take(
        self,
        mailbox: Mailbox,
        item: MailItem,
        card: Card,
        judged: dict[tuple[MailboxKey, str], Origin],
        out: EffectsDraft,
    ) -> tuple[Order, AckItem | None]:
        """Decide on one letter; `judged` holds what is known of those before it."""
        letter = item.letter
        name = letter.author_name
        origin = judged.get((mailbox.key, name))
        is_judged = origin is not None
        if origin is None:
            origin = self._origins.judge(mailbox, card, name, out)
        taken = mailbox.inbox.take(item, origin.verified, is_welcome=origin.is_welcome)
        for change in taken.changes:
            out.changes.append((mailbox.key, change))
        if taken.is_new:
            out.arrivals.append(Arrival(mailbox.key, letter, item.body, origin.verified))
            if origin.has_name and not is_judged:
                self._origins.pin_new(mailbox, name, letter.author, out)
            if origin.verified in _LASTING:
                judged[mailbox.key, name] = origin
        return (taken.order, taken.ack)


_LASTING: Final = frozenset({Verified.PINNED, Verified.OPEN})
"""Judgements that taking a letter does not change."""


def _gap(mailbox: Mailbox, stream: StreamKey) -> Gap:
    author, incarnation = stream
    return Gap(mailbox.key, author, incarnation, mailbox.inbox.watermark(stream))
