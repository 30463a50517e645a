"""The mail that all mailboxes of this node owe: sent, settled, sent again.

`Post` keeps to the order that durability demands by putting each thing into the right part of the
effects; it never waits itself. Every method takes `now` and the draft of the step's effects.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from mesh import limits
from mesh.core.agenda import Agenda, ExpiryDue, Matter, StreamDue
from mesh.core.changes import (
    SettleOutbox,
    SettleShown,
)
from mesh.core.effects import EffectsDraft, Notice, Receipt, Severity
from mesh.core.filework import DropSpool
from mesh.core.intake import Intake
from mesh.core.links import Links
from mesh.core.mailbox import Mailbox
from mesh.core.names import Resolution
from mesh.core.origins import Origins
from mesh.core.outbox import Owed, Stream
from mesh.core.roster import Roster
from mesh.model import Address, LinkId, MailboxKey, Presence, State, Why, fold
from mesh.packet import Ack, AckItem, Gap, Noted, Verdict


class Post:
    """Moves letters from the held mailboxes to the links."""

    def __init__(
        self,
        *,
        roster: Roster,
        links: Links,
        agenda: Agenda[Matter],
        origins: Origins,
        intake: Intake,
        mailboxes: dict[MailboxKey, Mailbox],
    ) -> None:
        self._roster = roster
        self._links = links
        self._agenda = agenda
        self.origins = origins
        self._intake = intake
        self.mailboxes = mailboxes

    # Sending.

    def put(
        self,
        mailbox: Mailbox,
        letters: Sequence[Owed],
        *,
        must_wait: bool,
        now: float,
        out: EffectsDraft,
    ) -> None:
        """Add fresh letters to one recipient; if their stream is free they leave at once.

        With `must_wait` they leave only after the commit.
        """
        for owed in letters:
            mailbox.outbox.put(owed)
        expires_at = min([owed.expires_at for owed in letters])
        self._agenda.set_earlier(ExpiryDue(mailbox.key), expires_at)
        recipient = letters[0].letter.recipient
        if recipient is None:
            return
        stream = mailbox.outbox.stream(recipient)
        stream.connect(self._links.route(recipient))
        is_leaving = stream.link is not None and now >= stream.paused_until
        for owed in letters:
            owed.was_sent = is_leaving
        self._pump(mailbox, stream, now, out, durable_first=must_wait)

    def explain(self, mailbox: Mailbox, owed: Owed, now: float) -> Why:
        """Say why a letter is still queued; `NONE` when it is simply on its way."""
        recipient = owed.letter.recipient
        if recipient is None and owed.letter.file is not None:
            found = self.resolve(mailbox, owed, now)
            recipient = found.key if found else None
        if recipient is None:
            return self.origins.why_unbound(owed.letter.to)
        if owed.held_back is not Why.NONE:
            return owed.held_back
        stream = mailbox.outbox.stream(recipient)
        if now < stream.paused_until:
            return stream.paused_why
        if self._links.route(recipient) is not None:
            return Why.NONE
        seen = self._roster.agent(recipient)
        rivals = self._roster.named(owed.letter.to.partition("#")[0])
        if any(s.card.key != recipient and self._roster.is_live(s) for s in rivals):
            return Why.PIN_CONFLICT
        is_suspect = seen is not None and self._roster.presence(seen) is Presence.SUSPECT
        return Why.UNREACHABLE if is_suspect else Why.AWAY

    def agents_changed(self, keys: Iterable[MailboxKey], now: float, out: EffectsDraft) -> None:
        """Agents came, went or moved: bind waiting letters, use the links there are now."""
        for key in dict.fromkeys(keys):
            link = self._links.route(key)
            seen = self._roster.agent(key)
            for mailbox in self.mailboxes.values():
                if seen is not None:
                    names = {seen.card.name, *(alias.name for alias in seen.card.aliases)}
                    self._bind_waiting(mailbox, names, now, out)
                stream = mailbox.outbox.streams.get(key)
                if stream is not None and stream.connect(link):
                    self._pump(mailbox, stream, now, out)
                if link is not None:
                    self._intake.tell_shown(mailbox, key, mailbox.untold(key), out)

    def stream_due(self, matter: StreamDue, now: float, out: EffectsDraft) -> None:
        """A pause is over or acks are overdue: begin again with the oldest letter."""
        mailbox = self.mailboxes.get(matter.mailbox)
        stream = mailbox.outbox.streams.get(matter.recipient) if mailbox else None
        if mailbox is None or stream is None or stream.link is None or not stream.owed:
            return
        if stream.inflight:
            stream.ack_timeout_s = min(2 * stream.ack_timeout_s, limits.ack_timeout_s_max)
        stream.go_back()
        self._pump(mailbox, stream, now, out)

    def expiry_due(self, key: MailboxKey, now: float, out: EffectsDraft) -> None:
        """End every letter whose time has come, visibly."""
        mailbox = self.mailboxes.get(key)
        if mailbox is None:
            return
        for owed in mailbox.outbox.expired(now):
            self._end(mailbox, owed, State.EXPIRED, Why.NONE, out)
        deadline = mailbox.outbox.next_expiry()
        if deadline is not None:
            # Each round looks at every letter, so there may not be a round for each letter.
            self._agenda.set(ExpiryDue(key), max(deadline, now + limits.expiry_interval_s))
        for stream in mailbox.outbox.streams.values():
            self._pump(mailbox, stream, now, out)

    def take_ack(self, link: LinkId, ack: Ack, now: float, out: EffectsDraft) -> None:
        """Record the verdicts of a recipient (its signature was verified on the way in)."""
        mailbox = self.mailboxes.get(ack.author)
        if mailbox is None:
            return
        shown = [item for item in ack.items if item.verdict is Verdict.SHOWN]
        if mailbox.incarnation != ack.incarnation:
            # Of a life this mailbox has lost: nothing to record, but the recipient may stop.
            self._noted(link, mailbox, ack.recipient, shown, out)
            return
        stream = mailbox.outbox.streams.get(ack.recipient)
        if stream is not None:
            for item in ack.items:
                self._settle(mailbox, stream, item, now, out)
            self._agenda.drop(StreamDue(mailbox.key, ack.recipient))
            self._pump(mailbox, stream, now, out)
        for item in shown:
            row = mailbox.outbox.take_delivered(ack.recipient, item.message_id)
            out.changes.append((mailbox.key, SettleShown(ack.recipient, item.message_id, row)))
            receipt = Receipt(mailbox.key, item.message_id, ack.recipient, State.SHOWN)
            out.receipts.append(receipt)
        self._noted(link, mailbox, ack.recipient, shown, out)

    def take_gap(self, link: LinkId, gap: Gap, now: float, out: EffectsDraft) -> None:
        """The recipient missed a letter: go back, but not for each report of the same gap."""
        if not self._links.proves(link, gap.recipient):
            out.notices.append(Notice(Severity.DEBUG, f"gap of an unproven agent on {link}"))
            return
        mailbox = self.mailboxes.get(gap.author)
        stream = mailbox.outbox.streams.get(gap.recipient) if mailbox else None
        if mailbox is None or stream is None or mailbox.incarnation != gap.incarnation:
            return
        if now < stream.gaps_ignored_until:
            return
        stream.gaps_ignored_until = now + limits.gap_pause_s
        stream.go_back()
        self._pump(mailbox, stream, now, out)

    def _pump(
        self,
        mailbox: Mailbox,
        stream: Stream,
        now: float,
        out: EffectsDraft,
        *,
        durable_first: bool = False,
    ) -> None:
        pumped = mailbox.outbox.pump(stream, now, durable_first=durable_first)
        out.transmissions.extend(pumped.at_once)
        out.transmissions_after.extend(pumped.after)
        out.changes.extend((mailbox.key, change) for change in pumped.changes)
        matter = StreamDue(mailbox.key, stream.recipient)
        if stream.link is None or not stream.owed:
            self._agenda.drop(matter)
        elif now < stream.paused_until:
            self._agenda.set(matter, stream.paused_until)
        else:
            self._agenda.set_earlier(matter, now + stream.ack_timeout_s)

    def _bind_waiting(
        self, mailbox: Mailbox, names: set[str], now: float, out: EffectsDraft
    ) -> None:
        touched: set[MailboxKey] = set()
        for name in sorted(fold(name) for name in names):
            for owed in list(mailbox.outbox.waiting.get(name, {}).values()):
                found = self.resolve(mailbox, owed, now)
                if found is None:
                    continue
                self._bind(mailbox, owed, found.key, found.name, out)
                touched.add(found.key)
        for key in sorted(touched):
            self._send_bound(mailbox, key, now, out)

    def resolve(self, mailbox: Mailbox, owed: Owed, now: float) -> Resolution | None:
        """Say whom the name on a waiting letter means now."""
        address = Address(owed.letter.to.partition("#")[0], owed.to_prefix)
        return self.origins.whom(mailbox, address, age_s=owed.age_s(now), now=now)

    def bind(
        self,
        mailbox: Mailbox,
        owed: Owed,
        key: MailboxKey,
        name: str,
        now: float,
        out: EffectsDraft,
    ) -> None:
        """Give a waiting letter its place in the stream to `key`, who is called `name`."""
        self._bind(mailbox, owed, key, name, out)
        self._send_bound(mailbox, key, now, out)

    def refuse_file(
        self,
        mailbox: Mailbox,
        owed: Owed,
        recipient: MailboxKey | None,
        why: Why,
        out: EffectsDraft,
    ) -> None:
        """End a letter whose file will not arrive."""
        mailbox.outbox.drop_file(owed)
        owed.letter = replace(owed.letter, recipient=recipient)
        self._end(mailbox, owed, State.REFUSED, why, out)

    def _bind(
        self, mailbox: Mailbox, owed: Owed, key: MailboxKey, name: str, out: EffectsDraft
    ) -> None:
        bound = mailbox.outbox.bind(owed, key, name)
        out.changes.extend((mailbox.key, change) for change in bound)
        self.origins.pin_new(mailbox, name, key, out)

    def _send_bound(self, mailbox: Mailbox, key: MailboxKey, now: float, out: EffectsDraft) -> None:
        stream = mailbox.outbox.stream(key)
        stream.connect(self._links.route(key))
        self._pump(mailbox, stream, now, out, durable_first=True)

    def _settle(
        self, mailbox: Mailbox, stream: Stream, item: AckItem, now: float, out: EffectsDraft
    ) -> None:
        owed = stream.owed.get(item.sequence)
        if owed is None or owed.letter.message_id != item.message_id:
            return
        if item.verdict is Verdict.LATER:
            stream.pause(now, item.why)
            return
        mailbox.outbox.settle(stream.recipient, item.sequence)
        stream.ack_timeout_s = limits.ack_timeout_s
        is_refused = item.verdict is Verdict.REFUSED
        state = State.REFUSED if is_refused else State.DELIVERED
        if not is_refused:
            mailbox.outbox.note_delivered(stream.recipient, owed)
        self._end(mailbox, owed, state, item.why, out)

    def _end(self, mailbox: Mailbox, owed: Owed, state: State, why: Why, out: EffectsDraft) -> None:
        letter = owed.letter
        out.changes.append((mailbox.key, SettleOutbox(owed.row, state, why)))
        receipt = Receipt(mailbox.key, letter.message_id, letter.recipient, state, why)
        out.receipts.append(receipt)
        if letter.file is not None and not mailbox.outbox.needs_file(letter.file.digest):
            out.files.append(DropSpool(mailbox.key, letter.file.digest))

    def _noted(
        self,
        link: LinkId,
        mailbox: Mailbox,
        recipient: MailboxKey,
        shown: list[AckItem],
        out: EffectsDraft,
    ) -> None:
        if shown:
            ids = tuple(item.message_id for item in shown)
            out.acks.append((link, mailbox.key, Noted(mailbox.key, recipient, ids)))

    def rebind(
        self, mailbox: Mailbox, name: str, key: MailboxKey, now: float, out: EffectsDraft
    ) -> None:
        """Move letters addressed to `name` that never left this host to the key now trusted.

        One with a file waits until that key has it, whoever else may have it already.
        """
        self._bind_waiting(mailbox, {name}, now, out)
        moving = [
            owed
            for owed in mailbox.outbox
            if not owed.was_sent
            and owed.letter.recipient not in {None, key}
            and fold(owed.letter.to) == fold(name)
        ]
        widened = mailbox.outbox.widen_files(name)
        out.changes.extend((mailbox.key, change) for change in widened)
        for owed in sorted(moving, key=lambda o: o.row):
            has_file = owed.letter.file is not None
            outbox = mailbox.outbox
            bound = outbox.unbind(owed, name) if has_file else outbox.rebind(owed, key, name)
            out.changes.extend((mailbox.key, change) for change in bound)
        stream = mailbox.outbox.stream(key)
        stream.connect(self._links.route(key))
        self._pump(mailbox, stream, now, out, durable_first=True)
