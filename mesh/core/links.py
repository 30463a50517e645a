"""All links of a node: handshake, presence, goodbye, and which link a peer is reached by."""

from collections.abc import Mapping

from mesh import limits
from mesh.core.agenda import Agenda, AwayDue, HandshakeDue, Matter
from mesh.core.candidate import Candidate
from mesh.core.candidates import Candidates
from mesh.core.effects import EffectsDraft, Notice, Severity
from mesh.core.events import LinkLost, LocalNodes, Loss
from mesh.core.hints import Hints
from mesh.core.link import SELF_LINK, Link, LinkSignal, LinkState
from mesh.core.mailbox import Mailbox
from mesh.core.probes import Probes
from mesh.core.problems import add_problem
from mesh.core.roster import Peer, Roster
from mesh.model import Card, LinkId, MailboxKey, NodeId
from mesh.packet import Announce, Greeting, Hello, Packet, Peers, Ping, Welcome

PROTOCOL_VERSION = 1


class Links:
    """Opens, keeps and ends links; returns the keys of agents whose reachability changed."""

    def __init__(
        self,
        greeting: Greeting,
        *,
        roster: Roster,
        candidates: Candidates,
        hints: Hints,
        agenda: Agenda[Matter],
        mailboxes: Mapping[MailboxKey, Mailbox],
    ) -> None:
        self._greeting = greeting
        self._mailboxes = mailboxes
        self._roster = roster
        self._candidates = candidates
        self._agenda = agenda
        self._links: dict[LinkId, Link] = {}
        self._probes = Probes(agenda)
        self._hints = hints
        self.problems: dict[str, str] = {}

    def route(self, key: MailboxKey) -> LinkId | None:
        """Return the link by which the holder of a mailbox is reached now.

        Only a link over which that mailbox's key has signed its card will do.
        """
        seen = self._roster.agent(key)
        if seen is None or seen.node is None:
            return None
        if seen.node == self._roster.node:
            return SELF_LINK
        peer = self._roster.peers.get(seen.node)
        if peer is None or peer.link is None or not self.proves(peer.link, key):
            return None
        return peer.link

    def announcement(self, now: float) -> Announce:
        """Return what is held here, with ages as they are now."""
        return Announce(tuple(mailbox.card(now) for mailbox in self._mailboxes.values()))

    def card(self, link: LinkId, key: MailboxKey) -> Card | None:
        """Return the card by which the other end of `link` has proven that it holds `key`."""
        if link == SELF_LINK:
            seen = self._roster.agent(key)
            return seen.card if seen and seen.node == self._roster.node else None
        known = self._links.get(link)
        return known.cards.get(key) if known else None

    def proves(self, link: LinkId, key: MailboxKey) -> bool:
        """Whether the other end of `link` has announced, for this link, that it holds `key`."""
        return self.card(link, key) is not None

    def greet(self, link: LinkId, hello: Hello, now: float, out: EffectsDraft) -> list[MailboxKey]:
        """Answer a peer that has dialled us, or close the link if it means somebody else.

        Our own hello is answered, too: only so does the dialling side see whom it has reached.
        """
        greeting = hello.greeting
        is_wrong = (
            link in self._links
            or greeting.version != PROTOCOL_VERSION
            or greeting.expected not in {None, self._greeting.node}
            or len(self._links) >= limits.links_max
        )
        if is_wrong:
            return self._violation(link, "hello", now, out)
        self._links[link] = Link(link, LinkState.GREETED, now, now, greeting=greeting)
        self._agenda.set(HandshakeDue(link), now + limits.announce_timeout_s)
        out.packets.append((link, Welcome(self._greeting)))
        out.packets.append((link, self.announcement(now)))
        return []

    def dial_due(self, candidate_id: bytes, now: float, out: EffectsDraft) -> None:
        """Dial a candidate that is due."""
        candidate = self._candidates.candidate(candidate_id)
        if candidate is None:
            return
        before = len(out.dials)
        self._candidates.dial(candidate_id, now, out, is_linked=self._is_linked(candidate))
        for dial in out.dials[before:]:
            self._links[dial.link] = Link(dial.link, LinkState.DIALLING, now, now, dial.endpoint)

    def welcome(
        self, link: LinkId, packet: Welcome, now: float, out: EffectsDraft
    ) -> list[MailboxKey]:
        """The peer answered our hello: the link is up, unless it leads to the wrong node."""
        known = self._links.get(link)
        greeting = packet.greeting
        if known is None or not known.move(LinkSignal.WELCOME):
            return self._violation(link, "welcome", now, out)
        if greeting.node == self._greeting.node:
            self._candidates.is_self(link)
            return self._end(known, Loss.CLOSED, now, out)
        if greeting.version != PROTOCOL_VERSION:
            add_problem(self.problems, known, "speaks another version of the protocol", out)
            return self._end(known, Loss.REJECTED, now, out)
        known.greeting = greeting
        known.heard_at = now
        for given_up in self._candidates.succeed(link, greeting.node, now, out):
            del self._links[given_up]
        self._agenda.set(HandshakeDue(link), now + limits.announce_timeout_s)
        self.problems.pop(known.target, None)
        out.packets.append((link, self.announcement(now)))
        return []

    def announced(
        self, link: LinkId, packet: Announce, now: float, out: EffectsDraft
    ) -> list[MailboxKey]:
        """The peer says which mailboxes it holds; the first time this completes the link."""
        known = self._links.get(link)
        if (
            known is None
            or known.greeting is None
            or known.greeting.node == self._greeting.node
            or not known.move(LinkSignal.ANNOUNCE)
        ):
            return self._violation(link, "announce", now, out)
        before = list(known.cards)
        known.cards = {card.key: card for card in packet.cards}
        is_first, known.has_announced = not known.has_announced, True
        node = known.greeting.node
        changed = self._up(known, known.greeting, now, out) if is_first else []
        self._heard(known, node, now, out)
        peer = self._roster.peers.get(node)
        if peer is not None and peer.link == link:
            # What comes late over another link of that node may be older.
            changed += self._roster.announce(node, packet.cards, now)
        out.roster_changed = out.roster_changed or bool(changed)
        return [*changed, *before, *known.cards]

    def traffic(self, link: LinkId, now: float, out: EffectsDraft) -> list[MailboxKey] | None:
        """Note that a packet came in; None if it may be read.

        A packet that came too early ends the link; the agents then out of reach are returned.
        """
        if link == SELF_LINK:
            return None
        known = self._links.get(link)
        if known is None or known.greeting is None or not known.move(LinkSignal.TRAFFIC):
            return self._violation(link, "packet", now, out)
        self._heard(known, known.greeting.node, now, out)
        return None

    def hints(self, link: LinkId, packet: Peers, now: float) -> None:
        """Take note of nodes a peer is linked to, now and then."""
        known = self._links.get(link)
        if known is not None:
            self._hints.take(known, packet, now)

    def left(self, link: LinkId, now: float, out: EffectsDraft) -> list[MailboxKey]:
        """The peer said goodbye."""
        known = self._links.get(link)
        if known is None or known.greeting is None:
            return []
        node = known.greeting.node
        if any(other is not known and _is_spare(other, node) for other in self._links.values()):
            return self._end(known, Loss.CLOSED, now, out)
        return self._ended(node, now, out)

    def lost(self, event: LinkLost, now: float, out: EffectsDraft) -> list[MailboxKey]:
        """A link has ended; its peer is suspect until it comes back or its time is up."""
        known = self._links.get(event.link)
        if known is None:
            return []
        if event.loss is Loss.REJECTED:
            add_problem(self.problems, known, "refuses our secret (or is of another mesh)", out)
        return self._end(known, event.loss, now, out)

    def handshake_due(self, link: LinkId, now: float, out: EffectsDraft) -> list[MailboxKey]:
        """Close a link whose handshake took too long."""
        known = self._links.get(link)
        if known is None or known.has_announced:
            return []
        return self._end(known, Loss.UNREACHABLE, now, out)

    def local_nodes(self, event: LocalNodes, now: float, out: EffectsDraft) -> list[MailboxKey]:
        """The registry knows exactly which nodes of this host are alive."""
        self._candidates.keep_local(event)
        alive = {*event.nodes, self._greeting.node}
        changed: list[MailboxKey] = []
        for node, peer in list(self._roster.peers.items()):
            if peer.greeting.host == self._greeting.host and node not in alive:
                changed += self._ended(node, now, out)
        return changed

    def away_due(self, node: NodeId, now: float, out: EffectsDraft) -> list[MailboxKey]:
        """A peer without a link did not come back in time."""
        peer = self._roster.peers.get(node)
        if peer is None or peer.link is not None:
            return []
        return self._gone(node, now, out)

    def sweep(self, now: float, out: EffectsDraft) -> list[MailboxKey]:
        """Ping silent peers, suspect them, give them up."""
        changed: list[MailboxKey] = []
        for known in [k for k in self._links.values() if k.state is LinkState.UP]:
            silent_s = now - known.heard_at
            if silent_s >= limits.away_after_s:
                changed += self._end(known, Loss.CLOSED, now, out)
                continue
            if silent_s >= limits.suspect_after_s:
                self._suspect(known, out)
            if silent_s >= limits.ping_interval_s:
                out.packets.append((known.id, Ping(abs(known.id))))
        self._roster.forget(now)
        return changed

    def resumed(self, now: float, out: EffectsDraft) -> None:
        """After a sleep or a move: ask everybody for a sign of life before blaming anybody."""
        self._probes.postpone(now)
        for known in self._links.values():
            known.heard_at = now
            if known.state is LinkState.UP:
                self._probes.ask(known.id, now, out)
            else:
                self._agenda.set(HandshakeDue(known.id), now + limits.handshake_timeout_s)
        for node, peer in self._roster.peers.items():
            if peer.link is None:
                self._agenda.set(AwayDue(node), now + limits.suspect_redial_s)
        self._candidates.retry_all(now)

    def probe_due(self, link: LinkId, now: float, out: EffectsDraft) -> list[MailboxKey]:
        """A link gave no sign of life when it was asked for one: what it led to is redialled."""
        self._probes.forget(link)
        known = self._links.get(link)
        return self._end(known, Loss.CLOSED, now, out) if known is not None else []

    def tell(self, packet: Packet, out: EffectsDraft) -> None:
        """Send a packet over every link that our welcome or announcement went over already."""
        for known in self._links.values():
            if known.state in {LinkState.GREETED, LinkState.UP}:
                out.packets.append((known.id, packet))

    def exchange(self, out: EffectsDraft) -> None:
        """Tell every peer about the others."""
        for known in [k for k in self._links.values() if k.state is LinkState.UP]:
            self._hints.tell(known, out)

    def _is_linked(self, candidate: Candidate) -> bool:
        peer = self._roster.peers.get(candidate.node) if candidate.node else None
        return peer is not None and peer.link is not None

    def _fall_back(self, node: NodeId, now: float) -> list[MailboxKey]:
        """Use another link to a node, if there is one, with what was announced over it."""
        spare = next((k for k in self._links.values() if _is_spare(k, node)), None)
        self._roster.peers[node].link = spare.id if spare else None
        changed = self._roster.announce(node, spare.cards.values(), now) if spare else []
        return [*self._agents_of(node), *changed]

    def _up(
        self, link: Link, greeting: Greeting, now: float, out: EffectsDraft
    ) -> list[MailboxKey]:
        node = greeting.node
        self._agenda.drop(HandshakeDue(link.id))
        self._agenda.drop(AwayDue(node))
        out.roster_changed = True
        peer = self._roster.peers.setdefault(node, Peer(greeting, None, now))
        peer.greeting = greeting
        self._hints.met(link, greeting, now, out)
        old = self._links.get(peer.link) if peer.link is not None else None
        if old is not None and not self._is_preferred(link, over=old, node=node):
            self._retire(link, now, out)
            self._doubt(old, now, out)
            return []
        peer.link = link.id
        if old is not None:
            self._retire(old, now, out)
            self._doubt(old, now, out)
        self._hints.tell(link, out)
        return self._agents_of(node)

    def _is_preferred(self, link: Link, *, over: Link, node: NodeId) -> bool:
        """Both ends must choose alike: the newer of two links dialled by the same side, else the
        one dialled by the node with the smaller id (PROTOCOL.md LINK-7)."""
        if link.is_dialled == over.is_dialled:
            return True
        return link.is_dialled == (self._greeting.node < node)

    def _retire(self, link: Link, now: float, out: EffectsDraft) -> None:
        """Close a second link if it is ours to close; otherwise its dialler will."""
        if link.is_dialled:
            self._candidates.release(link.id, now)
            del self._links[link.id]
            out.closes.append(link.id)

    def _doubt(self, link: Link, now: float, out: EffectsDraft) -> None:
        """A peer that dials again may know better than we do that its old link is dead."""
        if link.id in self._links:
            self._probes.ask(link.id, now, out)

    def _suspect(self, link: Link, out: EffectsDraft) -> None:
        peer = self._roster.peers.get(link.greeting.node) if link.greeting else None
        if peer is not None and peer.link == link.id and not peer.is_suspect:
            peer.is_suspect = True
            out.roster_changed = True

    def _violation(
        self, link: LinkId, what: str, now: float, out: EffectsDraft
    ) -> list[MailboxKey]:
        known = self._links.get(link)
        severity = Severity.DEBUG if known is None else Severity.WARNING
        out.notices.append(Notice(severity, f"unexpected {what} on link {link}"))
        if known is None:
            # It ended a moment ago, or is none that we would answer.
            out.closes.append(link)
            return []
        return self._end(known, Loss.CLOSED, now, out)

    def _heard(self, link: Link, node: NodeId, now: float, out: EffectsDraft) -> None:
        link.heard_at = now
        self._probes.forget(link.id)
        if self._roster.touch(node, now):
            out.roster_changed = True

    def _end(self, link: Link, loss: Loss, now: float, out: EffectsDraft) -> list[MailboxKey]:
        was_up = link.state is LinkState.UP
        assert link.move(LinkSignal.LOST)
        del self._links[link.id]
        out.closes.append(link.id)
        self._agenda.drop(HandshakeDue(link.id))
        self._candidates.fail(link.id, loss, now, was_up=was_up)
        greeting = link.greeting
        peer = self._roster.peers.get(greeting.node) if greeting else None
        if greeting is None or peer is None or peer.link != link.id:
            return []
        out.roster_changed = True
        changed = self._fall_back(greeting.node, now)
        if self._roster.peers[greeting.node].link is None:
            self._agenda.set(AwayDue(greeting.node), now + limits.suspect_redial_s)
            self._candidates.retry(greeting.node, now)
        return changed

    def _ended(self, node: NodeId, now: float, out: EffectsDraft) -> list[MailboxKey]:
        """A node is gone and will not come back."""
        changed = self._gone(node, now, out)
        self._candidates.gone(node, now)
        return changed

    def _gone(self, node: NodeId, now: float, out: EffectsDraft) -> list[MailboxKey]:
        for known in [k for k in self._links.values() if k.greeting and k.greeting.node == node]:
            self._candidates.release(known.id, now)
            del self._links[known.id]
            out.closes.append(known.id)
        self._agenda.drop(AwayDue(node))
        out.roster_changed = True
        return self._roster.drop_peer(node, now)

    def _agents_of(self, node: NodeId) -> list[MailboxKey]:
        return [seen.card.key for seen in self._roster if seen.node == node]


def _is_spare(link: Link, node: NodeId) -> bool:
    return link.has_announced and link.greeting is not None and link.greeting.node == node
