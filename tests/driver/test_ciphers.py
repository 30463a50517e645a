"""Links between real ciphers: who learns the keys, and who gets nothing."""

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from mesh.driver.ciphers import Ciphers
from mesh.errors import MalformedError, PeerError, SignatureError
from mesh.model import (
    Card,
    HostId,
    Incarnation,
    LinkId,
    MailboxKey,
    Profile,
)
from mesh.packet import Announce, Chunk, Greeting, Hello, Ping, Welcome
from mesh.wire import frames, greetings, packets
from mesh.wire.frames import Suite
from mesh.wire.greetings import Opening
from mesh.wire.keys import LinkSecret, MailboxSigner, MeshKeys, NodeSigner, open_keys

MESH = open_keys("one")
OTHER_MESH = open_keys("other")
_links = itertools.count(1)


@dataclass
class Side:
    """One node, as far as its ciphers go."""

    name: str
    mesh_keys: list[MeshKeys] = field(default_factory=lambda: [MESH])
    signers: dict[MailboxKey, MailboxSigner] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.node = NodeSigner(self.name.encode().ljust(32, b"."))
        self.curve = self.node.curve.public
        self.ciphers = Ciphers(self.mesh_keys, node=self.node, sign=self.sign, random=os.urandom)

    def sign(self, key: MailboxKey, message: bytes) -> bytes:
        return self.signers[key].sign(message)

    def greeting(self) -> Greeting:
        host = HostId(self.name.encode().ljust(16, b"h"))
        return Greeting(1, self.node.id, host, self.curve, ("tcp://127.0.0.1:1",))


def card_of(signer: MailboxSigner) -> Card:
    return Card(
        key=signer.key,
        name="alice",
        incarnation=Incarnation(bytes(8)),
        claim=1,
        is_live=True,
        claimed_s=0.0,
        registered_ms=0,
        profile=Profile(),
    )


def new_link() -> LinkId:
    return LinkId(next(_links))


def linked(dialler: Side, listener: Side, *, is_door: bool = False) -> tuple[LinkId, LinkId]:
    """Open a link and return its numbers at both ends."""
    out, into = new_link(), LinkId(-new_link())
    dialled = None if is_door else listener.curve
    hello = dialler.ciphers.hello(out, dialler.greeting(), dialled=dialled)
    assert listener.ciphers.open(into, hello, is_door=is_door) == ([Hello(dialler.greeting())], 0)
    welcome = listener.ciphers.welcome(into, listener.greeting())
    assert dialler.ciphers.open(out, welcome, is_door=False) == ([Welcome(listener.greeting())], 0)
    return out, into


def sealed(side: Side, link: LinkId, *packets) -> tuple[bytes, bytes]:
    return side.ciphers.envelope(link, side.ciphers.encode(link, packets))


@pytest.fixture
def alice() -> Side:
    return Side("alice")


@pytest.fixture
def bob() -> Side:
    return Side("bob")


@pytest.mark.parametrize("is_door", [False, True])
def test_both_ends_of_a_link_read_what_the_other_seals(alice, bob, is_door):
    out, into = linked(alice, bob, is_door=is_door)
    assert bob.ciphers.open(into, sealed(alice, out, Ping(1)), is_door=is_door) == ([Ping(1)], 0)
    assert alice.ciphers.open(out, sealed(bob, into, Ping(2)), is_door=False) == ([Ping(2)], 0)


@pytest.mark.parametrize("suite", list(Suite))
def test_large_envelopes_take_the_suite_for_bulk_and_either_is_read(alice, bob, suite, monkeypatch):
    """PROTOCOL.md SEAL-8."""
    monkeypatch.setattr(frames, "suite_for_bulk", suite)
    out, into = linked(alice, bob)
    large = Chunk(MailboxKey(b"a" * 32), MailboxKey(b"b" * 32), b"d" * 32, 0, bytes(16 * 1024))
    for packet, expected in ((Ping(1), Suite.MAIL), (large, suite)):
        envelope = sealed(alice, out, packet)
        assert envelope[0][5] == expected
        assert bob.ciphers.open(into, envelope, is_door=False) == ([packet], 0)
        with pytest.raises(PeerError):
            alice.ciphers.open(out, envelope, is_door=False)


def test_link_is_open_only_once_both_greetings_are_known_and_until_it_is_dropped(alice, bob):
    out, into = new_link(), LinkId(-new_link())
    hello = alice.ciphers.hello(out, alice.greeting(), dialled=bob.curve)
    bob.ciphers.open(into, hello, is_door=False)
    assert not alice.ciphers.is_open(out)
    assert not bob.ciphers.is_open(into)
    alice.ciphers.open(out, bob.ciphers.welcome(into, bob.greeting()), is_door=False)
    assert alice.ciphers.is_open(out)
    assert bob.ciphers.is_open(into)
    alice.ciphers.drop(out)
    alice.ciphers.drop(out)
    assert not alice.ciphers.is_open(out)


def test_node_that_still_accepts_an_older_secret_answers_under_it():
    old = Side("old", [OTHER_MESH])
    rotated = Side("rotated", [MESH, OTHER_MESH])
    out, into = linked(old, rotated)
    assert rotated.ciphers.open(into, sealed(old, out, Ping(1)), is_door=False) == ([Ping(1)], 0)
    out, into = linked(old, rotated, is_door=True)
    assert old.ciphers.open(out, sealed(rotated, into, Ping(2)), is_door=False) == ([Ping(2)], 0)


def test_hello_of_another_mesh_is_refused(bob):
    stranger = Side("stranger", [OTHER_MESH])
    hello = stranger.ciphers.hello(new_link(), stranger.greeting(), dialled=bob.curve)
    with pytest.raises(SignatureError):
        bob.ciphers.open(LinkId(-1), hello, is_door=False)


@pytest.mark.parametrize(("dialled", "is_door"), [("carol", False), ("bob", True), (None, False)])
def test_hello_meant_for_another_socket_is_refused(alice, bob, dialled, is_door):
    met = None if dialled is None else Side(dialled).curve
    hello = alice.ciphers.hello(new_link(), alice.greeting(), dialled=met)
    with pytest.raises(SignatureError, match="another socket"):
        bob.ciphers.open(LinkId(-1), hello, is_door=is_door)


def test_insider_who_relays_greetings_is_found_out(alice, bob):
    """Mallory is a member: alice dials mallory's socket, who passes it all on to bob's."""
    mallory = Side("mallory")
    hello = alice.ciphers.hello(new_link(), alice.greeting(), dialled=mallory.curve)
    with pytest.raises(SignatureError, match="another socket"):
        bob.ciphers.open(LinkId(-1), hello, is_door=False)


def test_insider_who_relays_over_doors_reads_and_says_nothing(alice, bob):
    """All doors have one key, so greetings pass; the link key stays with the two ends."""
    mallory = Side("mallory")
    out, into = new_link(), LinkId(-new_link())
    hello = alice.ciphers.hello(out, alice.greeting(), dialled=None)
    spied = LinkId(-new_link())
    mallory.ciphers.open(spied, hello, is_door=True)
    bob.ciphers.open(into, hello, is_door=True)
    welcome = bob.ciphers.welcome(into, bob.greeting())
    mallory.ciphers.welcome(spied, mallory.greeting())
    alice.ciphers.open(out, welcome, is_door=False)
    with pytest.raises(SignatureError):
        mallory.ciphers.open(spied, sealed(alice, out, Ping(1)), is_door=True)
    with pytest.raises(SignatureError):
        alice.ciphers.open(out, sealed(mallory, spied, Ping(1)), is_door=False)


def test_welcome_of_another_node_than_the_one_dialled_is_refused(alice, bob):
    """A member that reads the hello on its way signs an answer of its own."""
    mallory = Side("mallory")
    out = new_link()
    hello = alice.ciphers.hello(out, alice.greeting(), dialled=bob.curve)
    (packet,) = packets.unpack(frames.open_frame(hello, key=MESH.aead, key_id=MESH.key_id))
    opening = Opening(mallory.greeting(), bytes(16), LinkSecret(os.urandom(32)).public, bob.curve)
    answer = greetings.encode_welcome(opening, hello=packet, signer=mallory.node)
    forged = frames.seal(
        packets.pack([answer]), key=MESH.aead, key_id=MESH.key_id, nonce=os.urandom(24)
    )
    with pytest.raises(SignatureError, match="another socket"):
        alice.ciphers.open(out, forged, is_door=False)
    assert not alice.ciphers.is_open(out)


def test_welcome_to_another_hello_is_refused(alice, bob):
    first, second = new_link(), new_link()
    hello = alice.ciphers.hello(first, alice.greeting(), dialled=bob.curve)
    alice.ciphers.hello(second, alice.greeting(), dialled=bob.curve)
    bob.ciphers.open(LinkId(-1), hello, is_door=False)
    welcome = bob.ciphers.welcome(LinkId(-1), bob.greeting())
    with pytest.raises(SignatureError, match="another hello"):
        alice.ciphers.open(second, welcome, is_door=False)


def test_replayed_hello_gets_a_link_that_its_replayer_cannot_use(alice, bob):
    out, into = new_link(), LinkId(-new_link())
    hello = alice.ciphers.hello(out, alice.greeting(), dialled=bob.curve)
    bob.ciphers.open(into, hello, is_door=False)
    alice.ciphers.open(out, bob.ciphers.welcome(into, bob.greeting()), is_door=False)
    traffic = sealed(alice, out, Ping(1))
    again = LinkId(-new_link())
    bob.ciphers.open(again, hello, is_door=False)
    bob.ciphers.welcome(again, bob.greeting())
    with pytest.raises(SignatureError):
        bob.ciphers.open(again, traffic, is_door=False)


def test_reflected_envelopes_open_nothing(alice, bob):
    out, _ = linked(alice, bob)
    with pytest.raises(SignatureError):
        alice.ciphers.open(out, sealed(alice, out, Ping(1)), is_door=False)
    hello = alice.ciphers.hello(new_link(), alice.greeting(), dialled=bob.curve)
    with pytest.raises(SignatureError):
        alice.ciphers.open(LinkId(-9), hello, is_door=False)


def test_reflected_hello_does_not_open_its_own_link(alice, bob):
    out = new_link()
    hello = alice.ciphers.hello(out, alice.greeting(), dialled=bob.curve)
    with pytest.raises(PeerError):
        alice.ciphers.open(out, hello, is_door=False)
    assert not alice.ciphers.is_open(out)


def test_envelope_of_one_link_is_refused_on_another(alice, bob):
    first, _ = linked(alice, bob)
    _, second = linked(alice, bob)
    with pytest.raises(SignatureError):
        bob.ciphers.open(second, sealed(alice, first, Ping(1)), is_door=False)


def test_second_hello_on_a_link_is_refused(alice, bob):
    into = LinkId(-new_link())
    for is_first in (True, False):
        hello = alice.ciphers.hello(new_link(), alice.greeting(), dialled=bob.curve)
        if is_first:
            bob.ciphers.open(into, hello, is_door=False)
            continue
        with pytest.raises(MalformedError):
            bob.ciphers.open(into, hello, is_door=False)


def test_announced_card_needs_the_key_of_its_mailbox(alice, bob):
    out, into = linked(alice, bob)
    owner, thief = MailboxSigner(os.urandom(32)), MailboxSigner(os.urandom(32))
    alice.signers = {owner.key: owner}
    card = card_of(owner)
    assert bob.ciphers.open(into, sealed(alice, out, Announce((card,))), is_door=False) == (
        [Announce((card,))],
        0,
    )
    alice.signers = {owner.key: thief}
    with pytest.raises(SignatureError):
        bob.ciphers.open(into, sealed(alice, out, Announce((card,))), is_door=False)


def test_card_signed_for_one_link_is_no_proof_on_another(alice, bob):
    """An insider who was shown a card cannot show it to somebody else as his own."""
    mallory = Side("mallory")
    owner = MailboxSigner(os.urandom(32))
    alice.signers = {owner.key: owner}
    to_mallory, from_alice = linked(alice, mallory)
    encoded = alice.ciphers.encode(to_mallory, [Announce((card_of(owner),))])
    mallory.ciphers.open(from_alice, alice.ciphers.envelope(to_mallory, encoded), is_door=False)
    to_bob, from_mallory = linked(mallory, bob)
    with pytest.raises(SignatureError):
        bob.ciphers.open(from_mallory, mallory.ciphers.envelope(to_bob, encoded), is_door=False)


def _cut(parts: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    return (parts[0], parts[1][:-1])


def _flip(parts: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    return (parts[0], bytes((parts[1][0] ^ 1,)) + parts[1][1:])


def _bare(parts: tuple[bytes, bytes]) -> tuple[bytes, ...]:
    return parts[:1]


@pytest.mark.parametrize("spoil", [_cut, _flip, _bare])
def test_spoilt_envelopes_are_dropped_and_leave_the_link_as_it_was(
    alice, bob, spoil: Callable[[tuple[bytes, bytes]], tuple[bytes, ...]]
):
    out, into = linked(alice, bob)
    parts = sealed(alice, out, Ping(1))
    with pytest.raises(PeerError):
        bob.ciphers.open(into, spoil(parts), is_door=False)
    assert bob.ciphers.open(into, parts, is_door=False) == ([Ping(1)], 0)
