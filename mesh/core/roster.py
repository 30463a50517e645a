"""Whom this node knows: peers (nodes) and the agents whose mailboxes they hold.

Only authenticated packets and the registry of this host get in here; discovery does not. An agent
that has gone stays in the roster as `away`, so that mail for it has an address.
"""

from collections import Counter
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
    """An agent as last announced. `node` is None when no live node is known to hold its mailbox.

    `last_node` held it last. `former` are names under which this very node saw it, it alone.
    """

    card: Card
    node: NodeId | None
    announced_at: float
    seen_at: float
    last_node: NodeId
    former: tuple[str, ...] = ()

    @property
    def claimed_at(self) -> float:
        """When the present claim was made, on the core's clock."""
        return self.announced_at - self.card.claimed_s

    def forwards(self, alias: Alias, *, age_s: float, now: float) -> bool:
        """Whether a message made `age_s` ago and addressed to `alias` belongs to this agent.

        Nobody can have a name forwarded for longer than the protocol lets it.
        """
        passed_s = now - self.announced_at
        until_s = min(alias.until_s, limits.alias_s - alias.since_s)
        return passed_s - until_s <= age_s <= alias.since_s + passed_s


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

    def forwarding(self, name: str, *, age_s: float, now: float) -> list[tuple[Seen, bool]]:
        """Return who says that it once was `name` and gets mail made `age_s` ago under it.

        The flag tells whether this node saw it, and nobody else, under that name; such come first.
        """
        wanted = fold(name)
        claimants = [
            (seen, wanted in seen.former)
            for seen in map(self._agents.__getitem__, sorted(self._by_alias.get(wanted, ())))
            for alias in seen.card.aliases
            if fold(alias.name) == wanted and seen.forwards(alias, age_s=age_s, now=now)
        ]
        return sorted(claimants, key=lambda claimant: not claimant[1])

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

        A card with a lower claim than the one known is stale and ignored; so is a newcomer's when
        there is no room, except on this very node.
        """
        announced: set[MailboxKey] = set()
        changed: list[MailboxKey] = []
        for card in cards:
            announced.add(card.key)
            old = self._agents.get(card.key)
            if old is not None and old.node not in {node, None} and old.card.claim > card.claim:
                continue
            if old is None and not self._has_room() and node != self.node:
                continue
            if old is None or old.card != card or old.node != node:
                changed.append(card.key)
            former = self._former(old, card.name) if old is not None else ()
            self._put(Seen(card, node, now, now, last_node=node, former=former))
        gone = self._leave(node, keep=announced)
        self._forget_most(node)
        return [*changed, *gone]

    def touch(self, node: NodeId, now: float) -> bool:
        """Note that `node` was heard just now; return whether it was suspect until then."""
        peer = self.peers.get(node)
        if peer is None:
            return False
        peer.heard_at = now
        was_suspect, peer.is_suspect = peer.is_suspect, False
        return was_suspect

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

    def _has_room(self) -> bool:
        """Whether one more agent fits, perhaps in place of one that is away.

        The node that left most agents behind loses its oldest, so that inventing agents drives out
        none but one's own.
        """
        if len(self._agents) < limits.agents_max:
            return True
        away = [seen for seen in self._agents.values() if seen.node is None]
        if not away:
            return False
        left_behind = Counter(seen.last_node for seen in away)
        worst = max(away, key=lambda seen: (left_behind[seen.last_node], -seen.seen_at))
        self._forget_most(worst.last_node, keep=left_behind[worst.last_node] // 2)
        return True

    def _forget_most(self, node: NodeId, *, keep: int = limits.agents_away_per_node_max) -> None:
        """Keep only the newest of the away agents that `node` held last."""
        away = [s for s in self._agents.values() if s.node is None and s.last_node == node]
        if len(away) > keep:
            away.sort(key=lambda seen: (seen.seen_at, seen.card.key))
            for seen in away[: len(away) - keep]:
                self._unindex(self._agents.pop(seen.card.key))

    def _former(self, old: Seen, name: str) -> tuple[str, ...]:
        was = fold(old.card.name)
        if fold(name) == was or len(self._by_name[was]) > 1:
            return old.former
        return (*(f for f in old.former if f != was), was)[-limits.former_names_max :]

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
        _discard(self._by_name, seen.card.name, seen.card.key)
        for alias in seen.card.aliases:
            _discard(self._by_alias, alias.name, seen.card.key)


def _discard(index: dict[str, set[MailboxKey]], name: str, key: MailboxKey) -> None:
    keys = index.get(fold(name))
    if keys is not None:
        keys.discard(key)
        if not keys:
            del index[fold(name)]
