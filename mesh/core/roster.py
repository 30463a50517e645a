"""Whom this node knows: peers (nodes) and the agents whose mailboxes they hold.

Only authenticated packets and the registry of this host get in here; discovery does not. An agent
that has gone stays in the roster as `away`, so that mail for it has an address.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mesh import limits
from mesh.model import (
    Alias,
    Card,
    HostId,
    LinkId,
    MailboxKey,
    NodeId,
    Presence,
    fingerprint,
    fold,
)
from mesh.packet import Greeting


@dataclass(slots=True)
class Peer:
    """Another node that proved to hold the mesh key. `link` is None while it is out of reach."""

    greeting: Greeting
    link: LinkId | None
    heard_at: float
    is_suspect: bool = False


@dataclass(slots=True)
class Seen:
    """An agent as last announced. `node` is None when no live node is known to hold its mailbox."""

    card: Card
    node: NodeId | None
    announced_at: float
    seen_at: float

    @property
    def claimed_at(self) -> float:
        """When the present claim was made, on the core's clock."""
        return self.announced_at - self.card.claimed_s

    def forwards(self, alias: Alias, *, age_s: float, now: float) -> bool:
        """Whether a message made `age_s` ago and addressed to `alias` belongs to this agent."""
        passed_s = now - self.announced_at
        return passed_s - alias.until_s <= age_s <= alias.since_s + passed_s


class Roster:
    """All peers and agents, with indexes by name."""

    def __init__(self, *, node: NodeId, host: HostId) -> None:
        self.node = node
        self.host = host
        self.peers: dict[NodeId, Peer] = {}
        self._agents: dict[MailboxKey, Seen] = {}
        self._by_name: dict[str, set[MailboxKey]] = {}
        self._by_alias: dict[str, set[MailboxKey]] = {}

    def __iter__(self) -> Iterator[Seen]:
        return iter(self._agents.values())

    def agent(self, key: MailboxKey) -> Seen | None:
        """Return what is known of the agent with `key`."""
        return self._agents.get(key)

    def named(self, name: str) -> list[Seen]:
        """Return every agent that carries `name` now."""
        return [self._agents[key] for key in sorted(self._by_name.get(fold(name), ()))]

    def forwarding(self, name: str, *, age_s: float, now: float) -> Seen | None:
        """Return the agent that once was `name` and gets mail made `age_s` ago under it."""
        for key in sorted(self._by_alias.get(fold(name), ())):
            seen = self._agents[key]
            for alias in seen.card.aliases:
                if fold(alias.name) == fold(name) and seen.forwards(alias, age_s=age_s, now=now):
                    return seen
        return None

    def matching(self, name: str, prefix: str) -> list[Seen]:
        """Return the agents called `name` whose fingerprint begins with `prefix`."""
        return [s for s in self.named(name) if fingerprint(s.card.key).startswith(prefix)]

    def presence(self, seen: Seen) -> Presence:
        """Tell whether an agent is there."""
        if seen.node is None or not seen.card.is_live:
            return Presence.AWAY
        if seen.node == self.node:
            return Presence.LIVE
        peer = self.peers.get(seen.node)
        if peer is None:
            return Presence.AWAY
        is_suspect = peer.link is None or peer.is_suspect
        return Presence.SUSPECT if is_suspect else Presence.LIVE

    def is_live(self, seen: Seen) -> bool:
        """Whether the agent itself (not a tending node) is there, as far as anybody knows."""
        return self.presence(seen) in {Presence.LIVE, Presence.SUSPECT}

    def announce(self, node: NodeId, cards: Iterable[Card], now: float) -> list[MailboxKey]:
        """Take over all that `node` holds; return the keys whose entry changed.

        A card with a lower claim than the one known is stale and ignored.
        """
        announced: set[MailboxKey] = set()
        changed: list[MailboxKey] = []
        for card in cards:
            announced.add(card.key)
            old = self._agents.get(card.key)
            if old is not None and old.node not in {node, None} and old.card.claim > card.claim:
                continue
            if old is None or old.card != card or old.node != node:
                changed.append(card.key)
            self._put(Seen(card=card, node=node, announced_at=now, seen_at=now))
        changed.extend(self._leave(node, keep=announced))
        return changed

    def touch(self, node: NodeId, now: float) -> None:
        """Note that `node` was heard just now."""
        peer = self.peers.get(node)
        if peer is not None:
            peer.heard_at = now
            peer.is_suspect = False

    def drop_peer(self, node: NodeId, now: float) -> list[MailboxKey]:
        """Forget a node that has gone; its agents become away. Return their keys."""
        peer = self.peers.pop(node, None)
        for seen in self._agents.values():
            if seen.node == node:
                seen.seen_at = peer.heard_at if peer else now
        return self._leave(node, keep=set())

    def forget(self, now: float) -> None:
        """Drop agents that were away for longer than anybody cares."""
        horizon = now - limits.peer_forget_s
        gone = [k for k, s in self._agents.items() if s.node is None and s.seen_at < horizon]
        for key in gone:
            self._unindex(self._agents.pop(key))

    def _leave(self, node: NodeId, *, keep: set[MailboxKey]) -> list[MailboxKey]:
        gone = [k for k, s in self._agents.items() if s.node == node and k not in keep]
        for key in gone:
            self._agents[key].node = None
        return gone

    def _put(self, seen: Seen) -> None:
        key = seen.card.key
        old = self._agents.get(key)
        if old is not None:
            self._unindex(old)
        self._agents[key] = seen
        self._by_name.setdefault(fold(seen.card.name), set()).add(key)
        for alias in seen.card.aliases:
            self._by_alias.setdefault(fold(alias.name), set()).add(key)

    def _unindex(self, seen: Seen) -> None:
        key = seen.card.key
        self._by_name[fold(seen.card.name)].discard(key)
        for alias in seen.card.aliases:
            self._by_alias[fold(alias.name)].discard(key)
