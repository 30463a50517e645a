"""The whole node as a pure machine: `step(event, now) -> Effects`, and when it wants to be woken.

The same events at the same times give the same effects. `step` never raises on anything a peer can
cause; a failed assertion means that the driver or the core itself is wrong.
"""

from typing import assert_never

from mesh import limits
from mesh.core.agenda import Agenda, ExpiryDue, Matter, StreamDue, TransfersDue
from mesh.core.backoff import Random
from mesh.core.bounds import BOUNDS, Bounds
from mesh.core.candidates import Candidates
from mesh.core.changes import MarkShown
from mesh.core.effects import Denied, Done, Effects, EffectsDraft
from mesh.core.events import (
    Broadcast,
    Event,
    LinkLost,
    LocalNodes,
    MailboxReleased,
    MailboxTaken,
    Moved,
    PacketReceived,
    ProfileChanged,
    Rename,
    Resumed,
    Shown,
    Sighted,
    Stopping,
    Submit,
    Timeout,
    Trust,
)
from mesh.core.fetches import Fetches
from mesh.core.filework import (
    ChunkKept,
    ChunkSent,
    FileEnded,
    FileEvent,
    FileFound,
    NearLost,
    SpoolLost,
    SweepFiles,
)
from mesh.core.hints import Hints, MayDial
from mesh.core.intake import Intake
from mesh.core.link_rounds import LinkRounds
from mesh.core.links import Links
from mesh.core.mailbox import Mailbox
from mesh.core.offers import Offers
from mesh.core.origins import Origins
from mesh.core.post import Post
from mesh.core.remembered import Remembered
from mesh.core.requests import Requests
from mesh.core.roster import Roster
from mesh.core.transfer import FileQuota
from mesh.model import LinkId, MailboxKey, MessageId, Why
from mesh.packet import (
    Ack,
    Announce,
    Chunk,
    Decline,
    FilePacket,
    Gap,
    Greeting,
    Have,
    Hello,
    Leave,
    Mail,
    Noted,
    Offer,
    Packet,
    Peers,
    Ping,
    Pong,
    Spooling,
    Want,
    Welcome,
)


class Node:
    """One node. `random` is uniform in [0, 1) and the only source of chance.

    `may_dial` tells whether an endpoint that a member named may be dialled; discovery judges its
    own. `roster`, `problems` and `mailboxes` may be read between steps and must not be changed.
    """

    def __init__(
        self,
        greeting: Greeting,
        *,
        is_open: bool,
        is_strict: bool = False,
        random: Random,
        now: float = 0.0,
        may_dial: MayDial = lambda _: True,
        quota: FileQuota | None = None,
        bounds: Bounds = BOUNDS,
    ) -> None:
        self._bounds = bounds
        self._agenda: Agenda[Matter] = Agenda()
        self.roster = Roster(node=greeting.node, host=greeting.host)
        candidates = Candidates(curve=greeting.curve, agenda=self._agenda, random=random)
        self._candidates = candidates
        mailboxes: dict[MailboxKey, Mailbox] = {}
        self._remembered = Remembered(candidates=candidates, mailboxes=mailboxes)
        self._links = Links(
            greeting,
            hints=Hints(
                roster=self.roster,
                candidates=candidates,
                remembered=self._remembered,
                may_dial=may_dial,
            ),
            roster=self.roster,
            candidates=candidates,
            agenda=self._agenda,
            mailboxes=mailboxes,
        )
        origins = Origins(roster=self.roster, is_open=is_open, is_strict=is_strict)
        self._intake = Intake(links=self._links, origins=origins, mailboxes=mailboxes)
        self._post = Post(
            roster=self.roster,
            links=self._links,
            agenda=self._agenda,
            origins=origins,
            intake=self._intake,
            mailboxes=mailboxes,
        )
        self._requests = Requests(roster=self.roster, post=self._post)
        self.offers = Offers(post=self._post, links=self._links)
        self._fetches = Fetches(
            links=self._links,
            mailboxes=self._post.mailboxes,
            origins=origins,
            quota=quota or FileQuota(),
        )
        self._rounds = LinkRounds(self._links, candidates, self._agenda, now)

    @property
    def mailboxes(self) -> dict[MailboxKey, Mailbox]:
        """The mailboxes held now."""
        return self._post.mailboxes

    @property
    def problems(self) -> dict[str, str]:
        """Addresses that could not be linked to for a reason a person must mend."""
        return self._links.problems

    def out_of_reach(self, now: float) -> list[tuple[str, float]]:
        """Return where nobody was reached of late, and for how many seconds."""
        return self._candidates.out_of_reach(now)

    def why(self, mailbox: MailboxKey, message_id: MessageId, to: str, now: float) -> Why:
        """Say why a letter is queued; `NONE` if it is on its way or not queued at all."""
        held = self._post.mailboxes.get(mailbox)
        for owed in held.outbox if held else ():
            if owed.letter.message_id == message_id and owed.letter.to == to:
                return self._post.explain(held, owed, now) if held else Why.NONE
        return Why.NONE

    def strangers(self, mailbox: MailboxKey) -> tuple[tuple[MailboxKey, str], ...]:
        """Return whose mail to a mailbox waits, in strict mode, for somebody to trust them."""
        return self._post.origins.strangers(mailbox)

    def next_deadline(self) -> float | None:
        """Return when `Timeout` is due, or None."""
        return self._agenda.next_deadline()

    def step(self, event: Event, now: float) -> Effects:
        """Take in one event and say what is to be done about it."""
        out = EffectsDraft()
        match event:
            case PacketReceived():
                self._packet(event.link, event.packet, now, out)
            case Timeout():
                self._due(now, out)
            case Submit() | Broadcast() | Shown() | Rename() | Trust():
                self._request(event, now, out)
            case MailboxTaken() | MailboxReleased() | ProfileChanged():
                self._mailbox(event, now, out)
            case Sighted() | LocalNodes() | LinkLost() | Resumed() | Moved() | Stopping():
                self._surroundings(event, now, out)
            case FileFound() | ChunkKept() | NearLost() | FileEnded() | ChunkSent() | SpoolLost():
                self._file(event, now, out)
            case _:
                assert_never(event)
        if self._fetches or self.offers.is_open:
            self._agenda.set_earlier(TransfersDue(), now + limits.transfers_interval_s)
        return out.freeze()

    def _file(self, event: FileEvent, now: float, out: EffectsDraft) -> None:
        match event:
            case FileFound():
                self._fetches.found(event, now, out)
            case ChunkKept():
                self._fetches.kept(event, now, out)
            case NearLost():
                self._fetches.near_lost(event, now, out)
            case FileEnded():
                self._fetches.ended(event, now, out)
            case ChunkSent():
                self.offers.sent(event)
            case SpoolLost():
                self.offers.spool_lost(event, now, out)
            case _:
                assert_never(event)

    def _request(
        self, event: Submit | Broadcast | Shown | Rename | Trust, now: float, out: EffectsDraft
    ) -> None:
        if event.mailbox not in self._post.mailboxes:
            if event.token is not None:
                text = "This mailbox is not held by this process any more."
                out.answers.append(Denied(event.token, "storage", text))
            return
        match event:
            case Submit():
                self._requests.submit(event, now, out)
                if any(draft.file is not None for draft in event.drafts):
                    self.offers.look(self._post.mailboxes[event.mailbox], now, out)
            case Broadcast():
                self._requests.broadcast(event, now, out)
            case Shown():
                self._shown(event, out)
            case Rename():
                if self._requests.rename(event, now, out):
                    self._announce(now, out)
            case Trust():
                self._requests.trust(event, now, out)
                self.offers.look(self._post.mailboxes[event.mailbox], now, out)
            case _:
                assert_never(event)

    def _shown(self, event: Shown, out: EffectsDraft) -> None:
        self._intake.shown(event, out)
        out.changes.append((event.mailbox, MarkShown(event.letters)))
        if event.token is not None:
            out.answers.append(Done(event.token, event.mailbox))

    def _mailbox(
        self,
        event: MailboxTaken | MailboxReleased | ProfileChanged,
        now: float,
        out: EffectsDraft,
    ) -> None:
        match event:
            case MailboxTaken(snapshot=snapshot):
                mailbox = Mailbox(
                    snapshot,
                    is_live=event.is_live,
                    profile=event.profile,
                    now=now,
                    bounds=self._bounds,
                )
                self._post.mailboxes[snapshot.key] = mailbox
                expiry = mailbox.outbox.next_expiry()
                if expiry is not None:
                    self._agenda.set_earlier(ExpiryDue(snapshot.key), expiry)
                out.files.append(SweepFiles(snapshot.key))
                self.offers.look(mailbox, now, out)
                self._remembered.taken(snapshot, now, out)
            case MailboxReleased():
                self._post.mailboxes.pop(event.key, None)
                self._fetches.released(event.key)
                self.offers.released(event.key)
            case ProfileChanged():
                if event.key in self._post.mailboxes:
                    self._post.mailboxes[event.key].profile = event.profile
            case _:
                assert_never(event)
        self._announce(now, out)
        if isinstance(event, MailboxTaken):
            self._changed([seen.card.key for seen in self.roster], now, out)

    def _surroundings(
        self,
        event: Sighted | LocalNodes | LinkLost | Resumed | Moved | Stopping,
        now: float,
        out: EffectsDraft,
    ) -> None:
        match event:
            case Sighted():
                self._candidates.sight(event, now)
            case LocalNodes():
                self._changed(self._links.local_nodes(event, now, out), now, out)
            case LinkLost():
                self._changed(self._links.lost(event, now, out), now, out)
            case Resumed() | Moved():
                self._links.resumed(now, out)
            case Stopping():
                self._links.tell(Leave(), out)
            case _:
                assert_never(event)

    def _announce(self, now: float, out: EffectsDraft) -> None:
        announcement = self._links.announcement(now)
        changed = self.roster.announce(self.roster.node, announcement.cards, now)
        self._links.tell(announcement, out)
        out.roster_changed = True
        self._changed(changed, now, out)

    def _packet(self, link: LinkId, packet: Packet, now: float, out: EffectsDraft) -> None:
        match packet:
            case Hello():
                self._changed(self._links.greet(link, packet, now, out), now, out)
            case Welcome():
                self._changed(self._links.welcome(link, packet, now, out), now, out)
            case Announce():
                self._changed(self._links.announced(link, packet, now, out), now, out)
            case _:
                cut_off = self._links.traffic(link, now, out)
                if cut_off is not None:
                    self._changed(cut_off, now, out)
                elif isinstance(packet, FilePacket):
                    self._file_packet(link, packet, now, out)
                else:
                    self._traffic(link, packet, now, out)

    def _file_packet(self, link: LinkId, packet: FilePacket, now: float, out: EffectsDraft) -> None:
        match packet:
            case Offer():
                self._fetches.take_offer(link, packet, now, out)
            case Want():
                self.offers.take_want(link, packet, now, out)
            case Chunk():
                self._fetches.take_chunk(link, packet, now, out)
            case Have():
                self.offers.take_have(packet, now, out)
            case Decline():
                self.offers.take_decline(packet, now, out)
            case Spooling():
                self._fetches.take_spooling(link, packet, out)
            case _:
                assert_never(packet)

    def _traffic(
        self,
        link: LinkId,
        packet: Mail | Ack | Gap | Noted | Peers | Ping | Pong | Leave,
        now: float,
        out: EffectsDraft,
    ) -> None:
        match packet:
            case Mail():
                self._intake.take_mail(link, packet, out)
            case Ack():
                self._post.take_ack(link, packet, now, out)
            case Gap():
                self._post.take_gap(link, packet, now, out)
            case Noted():
                self._intake.take_noted(link, packet, out)
            case Peers():
                self._links.hints(link, packet, now)
            case Ping():
                out.packets.append((link, Pong(packet.token)))
            case Pong():
                pass
            case Leave():
                self._changed(self._links.left(link, now, out), now, out)
            case _:
                assert_never(packet)

    def _due(self, now: float, out: EffectsDraft) -> None:
        due_at = self._agenda.next_deadline()
        if due_at is not None and now - due_at > limits.asleep_s_min:
            # We were asleep or stuck ourselves, so the silence proves nothing.
            self._links.resumed(now, out)
        for matter in list(self._agenda.take_due(now)):
            match matter:
                case ExpiryDue():
                    self._post.expiry_due(matter.mailbox, now, out)
                case StreamDue():
                    self._post.stream_due(matter, now, out)
                case TransfersDue():
                    self._fetches.due(now, out)
                    self.offers.due(now, out)
                case _:
                    self._changed(self._rounds.due(matter, now, out), now, out)

    def _changed(self, keys: list[MailboxKey], now: float, out: EffectsDraft) -> None:
        if keys:
            self._post.agents_changed(keys, now, out)
            self._fetches.agents_changed(keys, now, out)
            for mailbox in self._post.mailboxes.values():
                if mailbox.outbox.files:
                    self.offers.look(mailbox, now, out)
