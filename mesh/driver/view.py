"""The core's roster as people see it."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from mesh.config import Config
from mesh.core.mailbox import Mailbox
from mesh.core.node import Node
from mesh.core.roster import Seen
from mesh.driver.clock import now_s
from mesh.driver.results import Reached, RosterEntry, Status
from mesh.model import MailboxKey, NodeId, Presence, Verified, fingerprint, fold
from mesh.store.interface import Counts

_ADDRESS_PREFIX_CHARS = 8


def roster_entries(core: Node, own: MailboxKey | None, *, is_open: bool) -> list[RosterEntry]:
    """Return every agent known, live ones first, then by name."""
    mailbox = core.mailboxes.get(own) if own else None
    entries = [_entry(core, seen, mailbox, is_open=is_open) for seen in core.roster]
    order = {"live": 0, "suspect": 1, "away": 2}
    return sorted(entries, key=lambda e: (order[e.state], fold(e.id), e.fingerprint))


def peer_counts(core: Node) -> dict[str, int]:
    """Count the other nodes by presence."""
    counts = {"live": 0, "suspect": 0}
    for peer in core.roster.peers.values():
        is_live = peer.link is not None and not peer.is_suspect
        counts["live" if is_live else "suspect"] += 1
    return counts


def reached(core: Node) -> list[Reached]:
    """Return the nodes this one is or was just linked to, then where it reaches nobody."""
    agents: dict[NodeId, list[str]] = {}
    for seen in core.roster:
        if seen.node is not None:
            agents.setdefault(seen.node, []).append(seen.card.name)
    found = []
    for node, peer in core.roster.peers.items():
        state = "linked" if peer.link is not None and not peer.is_suspect else "suspect"
        endpoint = next(iter(peer.greeting.endpoints), "an unknown address")
        found.append(Reached(endpoint, state, tuple(sorted(agents.get(node, ())))))
    lost = core.out_of_reach(now_s())
    return found + [Reached(e, "out of reach", failing_s=failing_s) for e, failing_s in lost]


def node_status(
    core: Node,
    config: Config,
    *,
    own: MailboxKey | None,
    counts: Counts | None,
    endpoints: tuple[str, ...],
    drops: Mapping[str, int],
    problems: tuple[str, ...],
    refusals: Mapping[str, int],
) -> Status:
    """Return how a node and its agent `own` are doing; who refuses whom is named by address."""
    mailbox = core.mailboxes.get(own) if own else None
    return Status(
        instance_id=mailbox.name if mailbox else None,
        fingerprint=fingerprint(mailbox.key) if mailbox else None,
        mode=config.mode,
        mesh=config.mesh,
        outbox={"queued": counts.queued if counts else 0},
        inbox={
            "unread": counts.unread if counts else 0,
            "history": counts.history if counts else 0,
        },
        peers=peer_counts(core),
        push=config.push,
        endpoints=endpoints,
        drops=dict(drops),
        problems=(
            *problems,
            *(f"{address} {what}" for address, what in core.problems.items()),
            *(
                f"{address} was refused {count} times: another secret or mesh"
                for address, count in refusals.items()
            ),
            *(_stranger(key, name) for key, name in (core.strangers(own) if own else ())),
        ),
    )


def _stranger(key: MailboxKey, name: str) -> str:
    print_ = fingerprint(key)
    return (
        f"{name}#{print_[:_ADDRESS_PREFIX_CHARS]} is not trusted, so its mail waits: compare its "
        f"fingerprint {print_} with its owner, then `mesh trust {name} {print_}`"
    )


def _entry(core: Node, seen: Seen, mailbox: Mailbox | None, *, is_open: bool) -> RosterEntry:
    card = seen.card
    presence = core.roster.presence(seen)
    print_ = fingerprint(card.key)
    return RosterEntry(
        id=card.name,
        address=f"{card.name}#{print_[:_ADDRESS_PREFIX_CHARS]}",
        state=presence.value,
        host=card.profile.host,
        registered_at=datetime.fromtimestamp(card.registered_ms / 1000, UTC).isoformat(),
        last_seen=_last_seen(core, seen, presence).isoformat(timespec="seconds"),
        fingerprint=print_,
        verified=_verified(seen, mailbox, is_open=is_open).value,
        client=card.profile.client,
        summary=card.profile.summary,
        wake=card.profile.wake,
        place=card.profile.place,
        you=mailbox is not None and card.key == mailbox.key,
    )


def _last_seen(core: Node, seen: Seen, presence: Presence) -> datetime:
    now = datetime.now(UTC)
    if presence is Presence.LIVE and seen.node == core.roster.node:
        return now
    peer = core.roster.peers.get(seen.node) if seen.node else None
    heard_at = peer.heard_at if peer else seen.seen_at
    return now - timedelta(seconds=max(0.0, now_s() - heard_at))


def _verified(seen: Seen, mailbox: Mailbox | None, *, is_open: bool) -> Verified:
    if is_open:
        return Verified.OPEN
    if mailbox is not None and seen.card.key == mailbox.key:
        return Verified.PINNED
    pin = mailbox.pins.get(fold(seen.card.name)) if mailbox else None
    if pin is None:
        return Verified.FIRST_CONTACT
    return Verified.PINNED if pin.key == seen.card.key else Verified.CHANGED
