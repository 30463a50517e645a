"""The roster as people see it."""

import random
from dataclasses import replace

from mesh.core.events import LinkLost, Loss, MailboxTaken, PacketReceived
from mesh.core.node import Node
from mesh.core.snapshot import MailboxSnapshot, Pin
from mesh.driver import view
from mesh.driver.clock import now_s
from mesh.driver.results import Reached
from mesh.model import (
    Card,
    CurveKey,
    HostId,
    Incarnation,
    LinkId,
    MailboxKey,
    NodeId,
    Profile,
    fingerprint,
)
from mesh.packet import Announce, Greeting, Hello, Leave
from tests.store.samples import BOB, EVE, LIFE, OWN

LINK = LinkId(-1)


def greeting(letter: bytes) -> Greeting:
    curve = CurveKey(letter * 32)
    return Greeting(1, NodeId(letter * 16), HostId(letter * 16), curve, ("tcp://x:1",))


def card(key: MailboxKey, name: str, **changes) -> Card:
    made = Card(
        key=key,
        name=name,
        incarnation=Incarnation(LIFE),
        claim=1,
        is_live=True,
        claimed_s=0.0,
        registered_ms=1_700_000_000_000,
        profile=Profile(client="c", summary="s", wake="w", host="h", place="p"),
    )
    return replace(made, **changes)


def core_that_sees(*cards: Card, **snapshot) -> Node:
    core = Node(greeting(b"a"), is_open=False, random=random.random, now=now_s())
    own = MailboxSnapshot(OWN, "alice", LIFE, 1, 0, **snapshot)
    core.step(MailboxTaken(own, is_live=True, profile=Profile()), now_s())
    core.step(PacketReceived(LINK, Hello(greeting(b"b"))), now_s())
    core.step(PacketReceived(LINK, Announce(cards)), now_s())
    return core


def entries(core: Node, own: MailboxKey | None = OWN, *, is_open: bool = False):
    return view.roster_entries(core, own, is_open=is_open)


def test_live_agents_come_first_then_by_name_without_case():
    core = core_that_sees(card(EVE, "Zoe"), card(BOB, "aaron", is_live=False))
    assert [(e.id, e.state) for e in entries(core)] == [
        ("alice", "live"),
        ("Zoe", "live"),
        ("aaron", "away"),
    ]


def test_entry_shows_the_card():
    _, bob = entries(core_that_sees(card(BOB, "bob")))
    assert (bob.client, bob.summary, bob.wake, bob.host, bob.place) == (*"cswhp",)
    assert bob.fingerprint == fingerprint(BOB)
    assert bob.address == f"bob#{fingerprint(BOB)[:8]}"
    assert bob.registered_at == "2023-11-14T22:13:20+00:00"
    assert not bob.you


def test_keys_are_judged_by_the_pins_of_the_one_who_looks():
    def verified(**pins: MailboxKey) -> str:
        known = {name: Pin(name, key) for name, key in pins.items()}
        return entries(core_that_sees(card(BOB, "bob"), pins=known))[1].verified

    assert verified() == "first_contact"
    assert verified(bob=BOB) == "pinned"
    assert verified(bob=EVE) == "changed"


def test_open_mode_verifies_nobody():
    core = core_that_sees(card(BOB, "bob"), pins={"bob": Pin("bob", BOB)})
    assert {e.verified for e in entries(core, is_open=True)} == {"open"}


def test_session_without_a_name_sees_everybody_and_is_nobody():
    found = entries(core_that_sees(card(BOB, "bob")), own=None)
    assert [e.id for e in found] == ["alice", "bob"]
    assert not any(e.you for e in found)


def test_agent_that_left_is_away_and_its_peer_no_longer_counted():
    core = core_that_sees(card(BOB, "bob"))
    assert view.peer_counts(core) == {"live": 1, "suspect": 0}
    core.step(PacketReceived(LINK, Leave()), now_s())
    assert [(e.id, e.state) for e in entries(core)] == [("alice", "live"), ("bob", "away")]
    assert view.peer_counts(core) == {"live": 0, "suspect": 0}


def test_linked_nodes_are_told_with_their_agents_and_suspects_as_such():
    core = core_that_sees(card(BOB, "bob"), card(EVE, "eve"))
    assert view.reached(core) == [Reached("tcp://x:1", "linked", ("bob", "eve"))]
    core.step(LinkLost(LINK, Loss.CLOSED), now_s())
    assert view.reached(core)[0].state == "suspect"
    assert Reached.from_json(view.reached(core)[0].to_json()) == view.reached(core)[0]
