"""Turns: what each link brings waits in a line of its own, and nobody holds up the others."""

import os
from collections import Counter

from mesh import limits
from mesh.core.events import LinkLost, Loss, PacketReceived
from mesh.driver.inbound import Inbound
from mesh.driver.lanes import Lanes
from mesh.model import LinkId
from mesh.net.interface import FramesReceived, TransportLost
from mesh.net.loopback import LoopbackNetwork
from mesh.packet import Mail, Ping
from mesh.wire.keys import MailboxSigner
from mesh.wire.letters import body_digest
from tests.core.samples import BOB, item
from tests.driver.test_ciphers import Side, linked, sealed

BODY = b"body"


class Reader:
    """A node to which some others are linked; `inbound` is what is tested."""

    def __init__(self, *names: str) -> None:
        self.side = Side("reader")
        self.writers = {name: Side(name) for name in names}
        self.refused: list[LinkId] = []
        self.drops: Counter[str] = Counter()
        lanes = Lanes(LoopbackNetwork().transport("reader"), self.side.ciphers)
        self.inbound = Inbound(
            self.side.ciphers, lanes, refuse=self.refused.append, drops=self.drops
        )
        self.links = {name: linked(side, self.side) for name, side in self.writers.items()}
        self.signers = {name: MailboxSigner(os.urandom(32)) for name in names}
        self._sent = Counter[str]()

    def write(self, name: str, letters: int, now: float = 0.0) -> None:
        """One envelope with so many letters."""
        signer, side = self.signers[name], self.writers[name]
        side.signers = {signer.key: signer}
        items = []
        for _ in range(letters):
            self._sent[name] += 1
            digest = body_digest(BODY)
            items.append(item(self._sent[name], author=signer.key, body_digest=digest))
        self.put(name, sealed(side, self.links[name][0], Mail(signer.key, tuple(items))), now)

    def put(self, name: str, frames, now: float = 0.0) -> None:
        self.inbound.put(FramesReceived(self.links[name][1], frames), now)

    def take(self, now: float) -> dict[str, list[int]]:
        """Return the sequences of the letters that get into a tick, by their writer."""
        found: dict[str, list[int]] = {}
        names = {into: name for name, (_, into) in self.links.items()}
        for event in self.inbound.take(now):
            assert isinstance(event, PacketReceived)
            assert isinstance(event.packet, Mail)
            sequences = [one.letter.sequence for one in event.packet.items]
            assert all(one.letter.recipient == BOB for one in event.packet.items)
            found.setdefault(names[event.link], []).extend(sequences)
        return found


def both_wrote(reader: Reader) -> None:
    for name in reader.writers:
        reader.write(name, 1)
    assert reader.take(0.0) == {name: [1] for name in reader.writers}


def test_a_link_that_is_alone_takes_all_there_is():
    reader = Reader("a", "b")
    for _ in range(3):
        reader.write("a", 100)
    assert reader.take(0.0) == {"a": list(range(1, 301))}
    assert reader.inbound.next_turn(0.0) is None


def test_a_tick_has_an_end_even_for_a_link_that_is_alone():
    reader = Reader("a")
    for _ in range(11):
        reader.write("a", 100)
    assert len(reader.take(0.0)["a"]) == limits.tick_letters_max
    assert reader.inbound.next_turn(0.0) == 0.0
    assert len(reader.take(0.0)["a"]) == 1100 - limits.tick_letters_max


def test_of_several_links_that_write_each_gets_a_share_and_then_pauses():
    reader = Reader("a", "b")
    both_wrote(reader)
    reader.write("a", 100)
    reader.write("b", 2)
    share = limits.share_letters_max
    assert reader.take(0.5) == {"a": list(range(2, 2 + share)), "b": [2, 3]}
    reader.write("b", 1)
    assert reader.inbound.next_turn(0.5) == 0.5
    assert reader.take(0.5) == {"b": [4]}
    turn_at = 0.5 + limits.share_pause_s
    assert reader.inbound.next_turn(0.5) == turn_at
    assert reader.take(0.5) == {}
    assert reader.take(turn_at) == {"a": list(range(2 + share, 2 + 2 * share))}


def test_where_all_bring_much_nobody_pauses_until_somebody_brings_little():
    reader = Reader("a", "b", "c")
    many, share = limits.quiet_letters_max + 1, limits.share_letters_max
    for turn in range(2):
        first = turn * many + 1
        reader.write("a", many)
        reader.write("b", many)
        whole = list(range(first, first + many))
        assert reader.take(0.0) == {"a": whole, "b": whole}
        assert reader.inbound.next_turn(0.0) is None
    reader.write("c", 1)
    assert reader.take(0.0) == {"c": [1]}
    reader.write("a", many)
    assert reader.take(0.0) == {"a": list(range(2 * many + 1, 2 * many + 1 + share))}
    assert reader.inbound.next_turn(0.0) == limits.share_pause_s


def test_who_is_alone_again_need_not_pause():
    reader = Reader("a", "b")
    both_wrote(reader)
    reader.write("a", 100)
    reader.take(limits.contention_s)
    later = 2 * limits.contention_s + 0.1
    assert reader.inbound.next_turn(later) == later
    assert reader.take(later) == {"a": list(range(2 + limits.share_letters_max, 102))}


def test_a_line_that_is_full_loses_what_comes_only_while_others_write():
    reader = Reader("a", "b")
    junk = (b"x" * 39, bytes(limits.line_bytes_max))
    for _ in range(2):
        reader.put("a", junk)
    assert reader.drops == {}
    assert not reader.inbound.has_room(0.0)
    list(reader.inbound.take(0.0))
    both_wrote(reader)
    reader.put("a", junk)
    reader.write("b", 1)
    assert reader.drops["flood"] == 1
    assert reader.take(0.1) == {"b": [2]}


def test_few_envelopes_wait_of_a_link_that_is_alone_and_more_of_several():
    reader = Reader("a", "b")
    for _ in range(limits.inbound_frames_alone_max):
        assert reader.inbound.has_room(0.0)
        reader.put("a", (b"", b""))
    assert not reader.inbound.has_room(0.0)
    list(reader.inbound.take(0.0))
    assert reader.inbound.has_room(0.0)
    both_wrote(reader)
    for _ in range(limits.inbound_frames_alone_max):
        reader.put("a", (b"", b""))
    assert reader.inbound.has_room(0.0)


def test_the_end_of_a_link_comes_after_what_it_has_brought():
    reader = Reader("a")
    out, into = reader.links["a"]
    reader.put("a", sealed(reader.writers["a"], out, Ping(1), Ping(2)))
    reader.inbound.put(TransportLost(into, Loss.CLOSED), 0.0)
    events = [PacketReceived(into, Ping(1)), PacketReceived(into, Ping(2))]
    assert list(reader.inbound.take(0.0)) == [*events, LinkLost(into, Loss.CLOSED)]
    assert not reader.side.ciphers.is_open(into)


def test_what_a_link_brought_that_was_closed_from_here_is_forgotten():
    reader = Reader("a", "b")
    both_wrote(reader)
    for _ in range(limits.inbound_frames_alone_max):
        reader.write("a", 1)
    reader.write("b", 1)
    reader.inbound.drop(reader.links["a"][1])
    reader.inbound.drop(reader.links["a"][1])
    assert reader.inbound.has_room(0.0)
    assert reader.take(0.0) == {"b": [2]}
    assert reader.drops == {}


def test_what_does_not_open_is_counted_and_its_link_refused():
    reader = Reader("a")
    reader.put("a", (b"x" * 39, b"junk"))
    assert list(reader.inbound.take(0.0)) == []
    assert reader.drops == {"MalformedError": 1}
    assert reader.refused == [reader.links["a"][1]]
