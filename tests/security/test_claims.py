"""What members claim, without any network: names, former names, hints, and how much of each."""

import os

from mesh import limits
from mesh.core.agenda import Agenda
from mesh.core.candidates import Candidates
from mesh.core.effects import EffectsDraft
from mesh.core.events import Loss, Sighted, Source
from mesh.core.mailbox import Mailbox
from mesh.core.names import resolve
from mesh.core.roster import Peer, Roster
from mesh.core.snapshot import MailboxSnapshot, Pin
from mesh.model import (
    Address,
    Alias,
    Card,
    CurveKey,
    HostId,
    Incarnation,
    LinkId,
    MailboxKey,
    NodeId,
    Profile,
    Verified,
)
from mesh.net.addresses import told_by_member
from mesh.packet import Greeting

OWN, EVIL, GOOD = (NodeId(bytes([n]) * 16) for n in range(3))
HOST = HostId(b"h" * 16)
VICTIM, MALLORY, OTHER = (MailboxKey(bytes([n]) * 32) for n in (9, 1, 2))


def card(key: MailboxKey, name: str, *aliases: Alias, claim: int = 1) -> Card:
    return Card(key, name, Incarnation(b"i" * 8), claim, True, 0.0, 0, Profile(), aliases)


def roster_of(**held: list[Card]) -> Roster:
    """A roster where the nodes `evil` and `good` are linked and hold these cards."""
    roster = Roster(node=OWN, host=HOST)
    for name, cards in held.items():
        node = {"evil": EVIL, "good": GOOD}[name]
        greeting = Greeting(1, node, HOST, CurveKey(bytes(32)), ())
        roster.peers[node] = Peer(greeting, LinkId(1), 0.0)
        roster.announce(node, cards, 0.0)
    return roster


def meant(roster: Roster, name: str = "victim", pin: MailboxKey | None = None):
    pins = {name: Pin(name, pin)} if pin else {}
    found = resolve(Address(name), pins=pins, roster=roster, age_s=0.0, now=0.0)
    return found and found.key


FORMER = Alias("victim", 10.0, 7000.0)


def test_an_alias_counts_only_for_the_key_pinned_under_the_old_name() -> None:
    roster = roster_of(evil=[card(MALLORY, "mallory", FORMER)])
    assert meant(roster, pin=VICTIM) == VICTIM
    assert meant(roster, pin=MALLORY) == MALLORY
    both = roster_of(
        evil=[card(MALLORY, "mallory", FORMER)], good=[card(VICTIM, "newname", FORMER)]
    )
    assert meant(both, pin=VICTIM) == VICTIM


def test_an_alias_never_beats_somebody_who_carries_the_name() -> None:
    evil = [card(MALLORY, "mallory", FORMER)]
    roster = roster_of(evil=evil, good=[card(VICTIM, "victim")])
    assert meant(roster) == VICTIM
    roster.drop_peer(GOOD, 1.0)
    assert meant(roster) == VICTIM


def test_a_rename_that_was_witnessed_forwards_though_another_takes_the_name() -> None:
    roster = roster_of(good=[card(VICTIM, "victim")])
    roster.announce(GOOD, [card(VICTIM, "newname", FORMER)], 0.0)
    assert meant(roster) == VICTIM
    roster = roster_of(good=[card(VICTIM, "victim")])
    roster.announce(GOOD, [card(VICTIM, "newname", FORMER)], 0.0)
    roster.announce(EVIL, [card(MALLORY, "victim")], 0.0)
    assert meant(roster) == VICTIM
    # Two under one name: whoever leaves it was not alone seen under it, so it proves nothing.
    roster = roster_of(evil=[card(MALLORY, "victim")], good=[card(VICTIM, "victim")])
    roster.announce(EVIL, [card(MALLORY, "mallory", FORMER)], 0.0)
    assert meant(roster) == VICTIM


def test_an_alias_lasts_no_longer_than_the_protocol_lets_it() -> None:
    year = 366 * 86400.0
    roster = roster_of(evil=[card(MALLORY, "mallory", Alias("victim", 1.0, 1000 * year))])
    late = 2 * limits.alias_s
    assert roster.forwarding("victim", age_s=0.0, now=0.0)
    assert not roster.forwarding("victim", age_s=0.0, now=late)


def test_agents_that_were_invented_drive_out_none_but_their_like() -> None:
    roster = roster_of(good=[card(VICTIM, "victim"), card(OTHER, "other")])
    roster.announce(GOOD, [card(VICTIM, "victim")], 1.0)
    for turn in range(100):
        cards = [card(MailboxKey(os.urandom(32)), f"n{n}") for n in range(80)]
        roster.announce(EVIL, cards, 2.0 + turn)
    agents = list(roster)
    assert len(agents) <= limits.agents_away_per_node_max + 80 + 2
    assert {VICTIM, OTHER} <= {seen.card.key for seen in agents}
    for number in range(200):
        node = NodeId(number.to_bytes(16, "big"))
        cards = [card(MailboxKey(os.urandom(32)), f"m{n}") for n in range(80)]
        roster.announce(node, cards, 200.0)
        roster.drop_peer(node, 201.0)
    agents = list(roster)
    assert len(agents) <= limits.agents_max
    assert {VICTIM, OTHER} <= {seen.card.key for seen in agents}
    assert len(roster._by_name) <= 2 * limits.agents_max


def test_one_key_has_few_names_remembered() -> None:
    snapshot = MailboxSnapshot(VICTIM, "victim", Incarnation(b"i" * 8), 1, 0)
    mailbox = Mailbox(snapshot, is_live=True, profile=Profile(), now=0.0)
    for number in range(1000):
        mailbox.pin_new(f"name{number}", MALLORY)
    assert len(mailbox.pins) == limits.pins_per_key_max
    assert mailbox.pin_new("other", OTHER) is not None
    assert mailbox.verify(OTHER, "other") is Verified.PINNED


def test_hints_neither_replace_what_is_known_nor_take_all_the_room() -> None:
    candidates = Candidates(curve=CurveKey(bytes(32)), agenda=Agenda(), random=lambda: 0.5)
    curve = CurveKey(b"v" * 32)
    true = "tcp://10.0.0.1:1"
    candidates.sight(Sighted(Source.MDNS, curve, (true,), GOOD), 0.0)
    lies = tuple(f"tcp://10.6.6.6:{n}" for n in range(1, 17))
    candidates.sight(Sighted(Source.EXCHANGE, curve, lies, EVIL), 0.0)
    known = candidates.candidate(curve)
    assert known is not None
    assert (known.endpoints[0], known.node) == (true, GOOD)
    for _ in range(2 * limits.peers_max):
        candidates.sight(Sighted(Source.EXCHANGE, CurveKey(os.urandom(32)), lies), 0.0)
    assert len(candidates) <= limits.hinted_candidates_max + 1
    candidates.sight(Sighted(Source.STATIC, None, ("tcp://192.168.0.9:47600",)), 0.0)
    assert candidates.candidate(b"tcp://192.168.0.9:47600") is not None


def test_who_once_welcomed_us_is_dialled_again_soon_however_it_hangs_up() -> None:
    """Else whoever can cut a connection keeps two members apart for minutes."""
    agenda: Agenda = Agenda()
    candidates = Candidates(curve=CurveKey(bytes(32)), agenda=agenda, random=lambda: 0.5)
    endpoint = "tcp://192.168.0.9:47600"
    candidates.sight(Sighted(Source.STATIC, None, (endpoint,)), 0.0)
    out = EffectsDraft()
    candidates.dial(endpoint.encode(), 0.0, out, is_linked=False)
    candidates.succeed(out.dials[0].link, GOOD, 0.0, out)
    candidates.fail(out.dials[0].link, Loss.CLOSED, 1.0, was_up=True)
    now = 1.0
    for _ in range(3):
        due = agenda.next_deadline()
        assert due is not None
        assert due < now + 10
        list(agenda.take_due(due))
        now, before = due, len(out.dials)
        candidates.dial(endpoint.encode(), now, out, is_linked=False)
        for dial in out.dials[before:]:
            candidates.fail(dial.link, Loss.REJECTED, now, was_up=False)


def test_only_private_numeric_addresses_are_dialled_on_a_members_word() -> None:
    refused = (
        "tcp://8.8.8.8:80",
        "tcp://[2606:4700::1111]:80",
        "tcp://localhost:80",
        "tcp://internal.example:80",
        "tcp://0.0.0.0:80",
        "tcp://224.0.0.251:5353",
        "tcp://[::ffff:8.8.8.8]:80",
        "tcp://[::ffff:127.0.0.1]:80",
        "tcp://127.0.0.1:6379",
        "tcp://[::1]:6379",
        "ipc:///run/docker.sock",
        "ipc://@abstract",
        "inproc://zeromq.zap.01",
        "tcp://10.0.0.1:0",
        "tcp://10.0.0.1:99999",
        "tcp://10.0.0.1;10.0.0.2:80",
        "udp://10.0.0.1:80",
        "",
    )
    for endpoint in refused:
        assert not told_by_member(endpoint, is_loopback_allowed=False), endpoint
    assert told_by_member("tcp://127.0.0.1:5", is_loopback_allowed=True)
    assert told_by_member("tcp://192.168.1.5:47600", is_loopback_allowed=False)
