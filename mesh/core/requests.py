"""What agents ask for: send, broadcast, rename, trust; answered or denied, never half done."""

from dataclasses import dataclass, replace

from mesh import limits
from mesh.core.changes import Change, PutName, PutOutbox, PutPin
from mesh.core.effects import Accepted, Denied, Done, EffectsDraft, RecipientState
from mesh.core.events import Broadcast, Draft, Rename, Submit, Token, Trust
from mesh.core.mailbox import Mailbox
from mesh.core.outbox import Owed
from mesh.core.post import Post
from mesh.core.roster import Roster, Seen
from mesh.core.snapshot import OutboxEntry
from mesh.model import Letter, MailboxKey, State, fingerprint, fold


@dataclass(frozen=True, slots=True)
class _Target:
    to: str
    key: MailboxKey | None
    to_prefix: str = ""
    forwarded_from: str = ""
    is_changed: bool = False


class Requests:
    """Carries out the requests of the agents whose mailboxes this node holds."""

    def __init__(self, *, roster: Roster, post: Post) -> None:
        self._roster = roster
        self._post = post

    def submit(self, event: Submit, now: float, out: EffectsDraft) -> None:
        """Accept messages to one recipient, known or not."""
        assert len(event.drafts) == 1 or not any(draft.file for draft in event.drafts)
        mailbox = self._post.mailboxes[event.mailbox]
        found = self._post.origins.whom(mailbox, event.to, age_s=0.0, now=now)
        target = _Target(event.to.name, None, event.to.fingerprint_prefix)
        if found is not None:
            target = _Target(found.name, found.key, "", found.forwarded_from, found.is_changed)
        is_accepted = self._accept(event.token, mailbox, [target], event.drafts, now, out)
        if is_accepted and found is not None:
            self._post.origins.pin_new(mailbox, found.name, found.key, out)

    def broadcast(self, event: Broadcast, now: float, out: EffectsDraft) -> None:
        """Accept a message to every agent seen within the last day, the sender excepted."""
        mailbox = self._post.mailboxes[event.mailbox]
        everybody = self._everybody(mailbox, now)
        self._accept(event.token, mailbox, everybody, (event.draft,), now, out)

    def rename(self, event: Rename, now: float, out: EffectsDraft) -> bool:
        """Give an agent another name, once an hour, and tell everybody once; false if denied."""
        mailbox = self._post.mailboxes[event.mailbox]
        if mailbox.renamed_at is not None:
            wait_s = limits.rename_interval_s - (now - mailbox.renamed_at)
            if wait_s > 0:
                text = f"Rate limit: can rename again in {max(1, round(wait_s / 60))} minutes"
                out.answers.append(Denied(event.token, "rate_limited", text, wait_s))
                return False
        if self._is_taken(event.name, mailbox.key, now):
            text = f"The name {event.name} is in use by another live agent."
            out.answers.append(Denied(event.token, "name_in_use", text))
            return False
        everybody = self._everybody(mailbox, now)
        if not self._has_room(event.token, mailbox, len(everybody), (event.draft,), out):
            return False
        alias = mailbox.rename(event.name, now)
        out.changes.append((mailbox.key, PutName(event.name, alias)))
        self._put(mailbox, everybody, (event.draft,), now, out)
        out.answers.append(Done(event.token, mailbox.key))
        return True

    def trust(self, event: Trust, now: float, out: EffectsDraft) -> None:
        """Accept another key for a name, and let waiting mail follow it."""
        mailbox = self._post.mailboxes[event.mailbox]
        matching = self._roster.matching(event.to.name, event.to.fingerprint_prefix)
        if len(matching) != 1:
            text = f"{len(matching)} agents called {event.to.name} have that fingerprint."
            out.answers.append(Denied(event.token, "usage", text))
            return
        card = matching[0].card
        pin = mailbox.pin(card.name, card.key, is_trusted=True)
        out.changes.append((mailbox.key, PutPin(pin)))
        self._post.origins.trusted(mailbox.key, card.key)
        self._post.rebind(mailbox, card.name, card.key, now, out)
        out.answers.append(Done(event.token, mailbox.key))

    def _accept(
        self,
        token: Token,
        mailbox: Mailbox,
        targets: list[_Target],
        drafts: tuple[Draft, ...],
        now: float,
        out: EffectsDraft,
    ) -> bool:
        if not self._has_room(token, mailbox, len(targets), drafts, out):
            return False
        states = self._put(mailbox, targets, drafts, now, out)
        ids = tuple([draft.message_id for draft in drafts])
        out.answers.append(Accepted(token, mailbox.key, ids, states))
        return True

    def _has_room(
        self,
        token: Token,
        mailbox: Mailbox,
        recipients: int,
        drafts: tuple[Draft, ...],
        out: EffectsDraft,
    ) -> bool:
        body_bytes = recipients * sum([len(draft.body) for draft in drafts])
        if mailbox.outbox.has_room(letters=recipients * len(drafts), body_bytes=body_bytes):
            return True
        text = (
            f"The outbox is full ({limits.outbox_letters_max} messages or "
            f"{limits.outbox_bytes_max // limits.MIB} MiB wait for their recipients)."
        )
        out.answers.append(Denied(token, "quota", text))
        return False

    def _put(
        self,
        mailbox: Mailbox,
        targets: list[_Target],
        drafts: tuple[Draft, ...],
        now: float,
        out: EffectsDraft,
    ) -> tuple[RecipientState, ...]:
        """Write one body for each draft, with a letter to each target."""
        entries: list[list[OutboxEntry]] = [[] for _ in drafts]
        reservations: list[Change] = []
        states: list[RecipientState] = []
        for wanted in targets:
            target = wanted
            if drafts[0].file is not None and wanted.key is not None:
                # It waits for its file, but for nobody else than whom its name means today.
                target = replace(wanted, key=None, to_prefix=fingerprint(wanted.key))
            must_wait = False
            letters: list[Owed] = []
            for draft in drafts:
                sequence, is_early = _take_sequence(mailbox, target, reservations)
                must_wait = must_wait or is_early
                letter = _letter(mailbox, target, sequence, draft)
                row = mailbox.outbox.take_row()
                letters.append(Owed(row, letter, now + draft.ttl_s, target.to_prefix))
            self._post.put(mailbox, letters, must_wait=must_wait, now=now, out=out)
            for beside, owed in zip(entries, letters, strict=True):
                beside.append(owed.entry(now))
            states.append(
                RecipientState(
                    target.to,
                    target.key,
                    State.QUEUED,
                    self._post.explain(mailbox, letters[0], now),
                    target.forwarded_from,
                    is_changed=target.is_changed,
                )
            )
        puts = [
            PutOutbox(tuple(beside), draft.body)
            for beside, draft in zip(entries, drafts, strict=True)
            if beside
        ]
        out.changes.extend([(mailbox.key, change) for change in (*reservations, *puts)])
        return tuple(states)

    def _everybody(self, mailbox: Mailbox, now: float) -> list[_Target]:
        horizon = now - limits.broadcast_horizon_s
        others = [s for s in self._roster if s.card.key != mailbox.key and _recent(s, horizon)]
        others = [s for s in others if self._post.origins.may_write_to(mailbox, s.card)]
        others.sort(key=lambda s: (fold(s.card.name), s.card.key))
        names = [fold(s.card.name) for s in others]
        return [
            _Target(_label(s, is_unique=names.count(fold(s.card.name)) == 1), s.card.key)
            for s in others
        ]

    def _is_taken(self, name: str, key: MailboxKey, now: float) -> bool:
        rivals = [s for s in self._roster.named(name) if s.card.key != key]
        claimants = self._roster.forwarding(name, age_s=0.0, now=now)
        is_forwarded = any(seen.card.key != key for seen, _ in claimants)
        return is_forwarded or any(self._roster.is_live(s) for s in rivals)


def _recent(seen: Seen, horizon: float) -> bool:
    return seen.node is not None or seen.seen_at >= horizon


def _label(seen: Seen, *, is_unique: bool) -> str:
    if is_unique:
        return seen.card.name
    prefix = fingerprint(seen.card.key)[: limits.fingerprint_prefix_chars_min]
    return f"{seen.card.name}#{prefix}"


def _take_sequence(
    mailbox: Mailbox, target: _Target, reservations: list[Change]
) -> tuple[int, bool]:
    """Return the next sequence, and whether its reservation must be durable before it is used."""
    if target.key is None:
        return (0, False)
    sequence, reserve, must_wait = mailbox.outbox.take_sequence(target.key)
    if reserve is not None:
        reservations.append(reserve)
    return (sequence, must_wait)


def _letter(mailbox: Mailbox, target: _Target, sequence: int, draft: Draft) -> Letter:
    # In the order of the dataclass: keywords would cost a third more time.
    return Letter(
        draft.message_id,
        draft.kind,
        mailbox.key,
        mailbox.name,
        mailbox.incarnation,
        target.to,
        target.key,
        sequence,
        draft.ttl_s,
        draft.created_ms,
        draft.reply_to,
        draft.is_urgent,
        draft.is_auto,
        draft.chain,
        draft.body_digest,
        len(draft.body),
        draft.file,
    )
