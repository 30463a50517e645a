"""Files on their way between two nodes: offered, fetched, resumed, given up, without any disk."""

from dataclasses import replace

import pytest

from mesh import limits
from mesh.core.events import LinkLost, Loss, MailboxReleased, PacketReceived, Timeout
from mesh.core.filework import (
    ChunkKept,
    ChunkSent,
    CopyNear,
    DropSpool,
    FileEnded,
    FinishFile,
    LeaveFile,
    NearLost,
    ReadAhead,
    SpoolLost,
)
from mesh.model import Address, FileRef, LinkId, State, Why
from mesh.packet import Chunk, Decline, Have, Offer, Packet, Spooling, Want
from tests.core.disks import CHUNK, DIGEST, FILE, KEY, SIZE, Disks, file_found
from tests.core.pair import World
from tests.core.samples import ALICE, BOB, CAROL, snapshot

ONE, TWO = LinkId(1), LinkId(2)


@pytest.fixture
def world() -> World:
    world = World()
    for name, key in (("alice", ALICE), ("bob", BOB)):
        world.hold(world.add(name), snapshot(key, name))
    world.meet(world.parties["alice"], world.parties["bob"])
    return world


def accept(world: World) -> None:
    """Let Alice accept a letter with a file; what becomes of the file is up to the test."""
    world.send(world.parties["alice"], ALICE, "bob", 1, file=FILE)


def share(world: World) -> Disks:
    """Do the same, with disks that do what they are told."""
    disks = Disks(world)
    accept(world)
    return disks


def test_letter_gets_its_sequence_only_when_the_recipient_has_the_file(world):
    """PROTOCOL.md FILE-2."""
    disks = share(world)
    alice, bob = world.parties["alice"], world.parties["bob"]
    world.send(alice, ALICE, "bob", 2)
    disks.run(until=3)
    assert bob.bodies() == [b"2"]
    disks.run()
    assert bob.bodies() == [b"2", b"1"]
    assert [a.letter.sequence for a in bob.arrivals] == [1, 2]
    assert disks.sent == list(range(0, SIZE, CHUNK))
    assert disks.dropped == [DropSpool(ALICE, DIGEST)]
    assert not alice.node.offers.needs_file(ALICE, DIGEST)


def test_lost_link_resumes_where_the_disk_is(world):
    """PROTOCOL.md FILE-3, FILE-4."""
    disks = share(world)
    alice, bob = world.parties["alice"], world.parties["bob"]
    disks.run(until=9)
    (link,) = world.links(alice)
    kept = disks.kept[KEY]
    assert kept > 0
    world.cut(alice, link)
    world.step(alice, LinkLost(link, Loss.CLOSED))
    world.flying.clear()
    disks.sent.clear()
    world.sight(alice, bob)
    while alice.node.next_deadline() and not disks.whole and world.now < 300:
        disks.run()
        for party in (alice, bob):
            world.step(party, Timeout())
        world.now += 0.5
    disks.run()
    assert min(disks.sent) == kept
    assert bob.bodies() == [b"1"]


def test_file_on_the_same_machine_is_copied_and_nothing_is_asked_for(world):
    """PROTOCOL.md FILE-10."""
    size = 2 * limits.near_bytes_max + 5
    disks = Disks(world)
    disks.near_to = size
    alice = world.parties["alice"]
    world.send(alice, ALICE, "bob", 1, file=replace(FILE, bytes=size))
    disks.run()
    assert disks.sent == []
    steps = [limits.near_bytes_max, 2 * limits.near_bytes_max, size, size]
    assert [(task.file.bytes, task.up_to) for task in disks.reached] == [(size, n) for n in steps]
    assert world.parties["bob"].bodies() == [b"1"]


@pytest.mark.parametrize("near_to", [0, 4 * CHUNK, 4 * CHUNK + 7])
def test_copy_that_breaks_off_goes_on_over_the_link(world, near_to):
    """PROTOCOL.md FILE-10."""
    disks = share(world)
    disks.near_to = near_to
    disks.run()
    assert disks.sent[0] == near_to
    assert world.parties["bob"].bodies() == [b"1"]


def test_copy_with_the_wrong_digest_is_fetched_over_the_link_once(world):
    """PROTOCOL.md FILE-10."""
    disks = share(world)
    disks.near_to = SIZE
    disks.verdict = Why.DAMAGED
    perform = disks.perform

    def far_the_second_time(party, task):
        if isinstance(task, FinishFile):
            disks.near_to = None
        return perform(party, task)

    disks.perform = far_the_second_time
    disks.run()
    assert disks.sent[0] == 0
    assert world.parties["bob"].bodies() == [b"1"]


def test_new_link_does_not_disturb_a_copy(world):
    """What is being copied is not begun a second time because the offer came again."""
    bob = world.parties["bob"]
    accept(world)
    (link,) = world.links(bob)
    world.step(bob, PacketReceived(link, Offer(ALICE, BOB, FILE)))
    copying = world.step(bob, file_found(is_near=True))
    assert copying.files == (CopyNear(KEY, 0, min(SIZE, limits.near_bytes_max)),)
    again = world.step(bob, PacketReceived(link, Offer(ALICE, BOB, FILE)))
    assert again.files == ()
    world.now += 10 * limits.fetch_stall_s
    assert world.step(bob, Timeout()).files == ()
    chunk = Chunk(ALICE, BOB, DIGEST, 0, bytes(CHUNK))
    assert world.step(bob, PacketReceived(link, chunk)).files == ()


def test_recipient_that_has_the_file_already_says_so_at_once(world):
    disks = share(world)
    disks.whole.add(KEY)
    disks.run()
    assert disks.sent == []
    assert world.parties["bob"].bodies() == [b"1"]


def test_piece_that_was_lost_is_asked_for_again(world):
    """PROTOCOL.md FILE-6."""

    disks = share(world)
    lost: list[Packet] = []

    def lose(_to, packet):
        if isinstance(packet, Chunk) and packet.offset == 3 * CHUNK and not lost:
            lost.append(packet)
            return False
        return True

    world.filter = lose
    disks.run()
    assert world.parties["bob"].bodies() == []
    world.now += limits.fetch_stall_s
    world.step(world.parties["bob"], Timeout())
    disks.run()
    assert world.parties["bob"].bodies() == [b"1"]


def test_file_that_is_not_what_was_signed_is_refused_for_good(world):
    disks = share(world)
    disks.verdict = Why.DAMAGED
    disks.run()
    alice = world.parties["alice"]
    assert [(r.state, r.why) for r in alice.receipts] == [(State.REFUSED, Why.DAMAGED)]
    assert world.parties["bob"].bodies() == []
    assert disks.dropped == [DropSpool(ALICE, DIGEST)]


def test_damage_after_a_resume_is_tried_once_more_from_nothing(world):
    """PROTOCOL.md FILE-8."""
    disks = share(world)
    disks.kept[KEY] = 4 * CHUNK
    disks.verdict = Why.DAMAGED
    disks.run()
    assert disks.sent[0] == 4 * CHUNK
    assert disks.sent.count(0) == 1
    assert world.parties["bob"].bodies() == [b"1"]


@pytest.mark.parametrize(
    ("facts", "why"),
    [({"free_bytes": 0}, Why.RECIPIENT_FULL), ({"author_partials": 64}, Why.QUOTA)],
)
def test_recipient_without_room_says_why_and_is_asked_again(world, facts, why):
    """PROTOCOL.md FILE-9."""

    disks = share(world)
    disks.facts = facts
    disks.run()
    alice = world.parties["alice"]
    (message_id,) = alice.answers[-1].message_ids
    assert alice.node.why(ALICE, message_id, "bob", world.now) is why
    disks.facts = {}
    world.now += limits.offer_pause_s - 1
    world.step(alice, Timeout())
    disks.run()
    assert disks.sent == []
    world.now += 1 + limits.transfers_interval_s
    world.step(alice, Timeout())
    disks.run()
    assert world.parties["bob"].bodies() == [b"1"]


def test_outgoing_file_that_is_gone_ends_its_letter(world):
    disks = share(world)
    alice = world.parties["alice"]
    effects = world.step(alice, SpoolLost(ALICE, DIGEST))
    assert [(r.state, r.why) for r in effects.receipts] == [(State.REFUSED, Why.DAMAGED)]
    disks.run()
    assert disks.sent == []


def test_nothing_is_served_that_was_not_offered_to_the_one_who_asks(world):
    """PROTOCOL.md FILE-7."""
    alice, bob = world.parties["alice"], world.parties["bob"]
    (link,) = world.links(alice)
    share(world)
    wrong = [
        Want(BOB, ALICE, b"x" * 32, 0, CHUNK),
        Want(ALICE, ALICE, DIGEST, 0, CHUNK),
        Want(BOB, ALICE, DIGEST, SIZE - 1, 2),
    ]
    for want in wrong:
        assert world.step(alice, PacketReceived(link, want)).files == ()
    (back,) = world.links(bob)
    chunk = Chunk(ALICE, BOB, b"x" * 32, 0, b"unasked")
    assert world.step(bob, PacketReceived(back, chunk)).files == ()
    forged = Offer(BOB, BOB, FILE)
    assert world.step(bob, PacketReceived(back, forged)).files == ()


def test_no_more_pieces_are_read_ahead_than_memory_allows(world):
    alice = world.parties["alice"]
    (link,) = world.links(alice)
    accept(world)
    tasks = 0
    for _ in range(2 * limits.chunks_sending_max):
        tasks += len(world.step(alice, PacketReceived(link, Want(BOB, ALICE, DIGEST, 0, 1))).files)
    assert tasks == limits.chunks_sending_max


def test_few_files_are_offered_at_once_and_all_arrive(world):
    alice = world.parties["alice"]
    disks = Disks(world)
    number = 2 * limits.offers_open_max + 1
    for n in range(number):
        file = FileRef(bytes([n]) * 32, CHUNK, f"{n}")
        world.send(alice, ALICE, "bob", n, file=file)
    offers = [p for _, _, p in world.flying if isinstance(p, Offer)]
    assert len(offers) == limits.offers_open_max
    disks.run()
    assert sorted(world.parties["bob"].bodies()) == sorted(str(n).encode() for n in range(number))


def test_silent_author_with_many_files_does_not_hold_up_another(world):
    """PROTOCOL.md FILE-5: authors take turns, and who does not answer waits."""
    bob = world.parties["bob"]
    world.hold(world.add("carol"), snapshot(CAROL, "carol"))
    world.meet(world.parties["carol"], bob)
    alices, carols = (
        next(n for n in world.links(bob) if bob.node._links.proves(n, key))
        for key in (ALICE, CAROL)
    )
    for n in range(2 * limits.fetches_active_max):
        file = FileRef(bytes([n]) * 32, SIZE, "f")
        (asked,) = world.step(bob, PacketReceived(alices, Offer(ALICE, BOB, file))).files
        world.step(bob, file_found(fetch=asked.fetch, number=asked.number))
    (asked,) = world.step(bob, PacketReceived(carols, Offer(CAROL, BOB, FILE))).files
    wants = world.step(bob, file_found(fetch=asked.fetch, number=asked.number)).packets
    assert {(link, packet.digest) for link, packet in wants} == {(carols, DIGEST)}


def test_author_that_crowds_is_declined(world):
    bob = world.parties["bob"]
    (link,) = world.links(bob)
    packets: list[Packet] = []
    for n in range(limits.fetches_per_author_max + 1):
        offer = Offer(ALICE, BOB, FileRef(bytes([n]) * 32, SIZE, "f"))
        effects = world.step(bob, PacketReceived(link, offer))
        packets += [p for _, p in effects.packets]
    assert packets == [Decline(BOB, ALICE, bytes([n]) * 32, Why.QUOTA)]


def test_expired_letter_lets_its_file_go(world):
    disks = Disks(world)
    alice = world.parties["alice"]
    world.send(alice, ALICE, "nobody", 1, file=FILE, ttl_s=5.0)
    assert alice.node.offers.needs_file(ALICE, DIGEST)
    assert alice.node.offers.letters_with_file(ALICE, DIGEST) == 1
    assert alice.node.offers.letters_with_file(BOB, DIGEST) == 0

    world.now += 6
    world.step(alice, Timeout())
    assert [r.state for r in alice.receipts] == [State.EXPIRED]
    assert disks.dropped == [DropSpool(ALICE, DIGEST)]


def test_released_mailbox_forgets_what_was_coming(world):
    disks = share(world)
    disks.run(until=3)
    bob = world.parties["bob"]
    world.step(bob, MailboxReleased(BOB))
    effects = world.step(bob, ChunkKept(KEY, SIZE))
    assert (effects.packets, effects.files) == ((), ())
    assert world.step(bob, file_found()).files == (LeaveFile(KEY),)


def test_what_the_disk_says_of_an_earlier_fetch_does_not_start_a_later_one(world):
    """A mailbox that was opened anew is offered the file again while its disk still works."""
    bob = world.parties["bob"]
    (link,) = world.links(bob)
    offer = PacketReceived(link, Offer(ALICE, BOB, FILE))
    (earlier,) = world.step(bob, offer).files
    world.step(bob, MailboxReleased(BOB))
    world.hold(bob, snapshot(BOB, "bob"))
    (later,) = world.step(bob, offer).files
    stale = (file_found(number=earlier.number), ChunkKept(KEY, CHUNK), FileEnded(KEY, Why.DAMAGED))
    for event in stale:
        effects = world.step(bob, event)
        assert (effects.packets, effects.files) == ((), ())
    packets = world.step(bob, file_found(number=later.number, kept=CHUNK)).packets
    assert {w.offset for _, w in packets if isinstance(w, Want)} == {
        CHUNK * n for n in range(1, 1 + len(packets))
    }


def test_have_for_somebody_elses_letter_binds_nothing(world):
    alice = world.parties["alice"]
    (link,) = world.links(alice)
    share(world)
    effects = world.step(alice, PacketReceived(link, Have(ALICE, ALICE, DIGEST)))
    assert effects.changes == ()


def test_what_is_said_of_unknown_files_and_mailboxes_changes_nothing(world):
    alice, bob = world.parties["alice"], world.parties["bob"]
    for event in (
        NearLost(KEY),
        FileEnded(KEY, Why.NONE),
        ChunkKept(KEY, 5),
        SpoolLost(CAROL, DIGEST),
        ChunkSent(CAROL, DIGEST),
    ):
        effects = world.step(bob, event)
        assert (effects.packets, effects.files, effects.changes) == ((), (), ())
    (link,) = world.links(alice)
    for packet in (Have(BOB, CAROL, DIGEST), Decline(BOB, CAROL, DIGEST, Why.QUOTA)):
        effects = world.step(alice, PacketReceived(link, packet))
        assert (effects.packets, effects.files, effects.changes) == ((), (), ())
    offered = world.step(alice, PacketReceived(link, Offer(BOB, CAROL, FILE)))
    assert (offered.packets, offered.files) == ((), ())


def test_fetch_whose_author_comes_by_another_link_goes_on_there(world):
    """PROTOCOL.md FILE-3: what was asked for over the old link is asked for again."""
    alice, bob = world.parties["alice"], world.parties["bob"]
    disks = share(world)
    disks.run(until=5)
    world.flying.clear()
    (old,) = world.links(bob)
    fetch = bob.node._fetches._fetches[KEY]
    fetch.link = TWO
    (again,) = [
        {want.offset for _, want in effects.packets if isinstance(want, Want)}
        for effects in [world.step(bob, PacketReceived(old, Offer(ALICE, BOB, FILE)))]
    ]
    assert fetch.received_to in again
    disks.run()
    assert bob.bodies() == [b"1"]
    assert alice.states() == ["delivered"]


def test_file_that_is_being_copied_may_be_read_ahead_by_whom_it_is_for(world):
    """PROTOCOL.md FILE-11."""
    disks = Disks(world)
    alice, bob = world.parties["alice"], world.parties["bob"]
    route = alice.node.offers.route_to(ALICE, Address("bob"), 0.0)
    assert route is not None
    link, recipient = route
    assert recipient == BOB
    world.post(alice, link, Spooling(ALICE, BOB, b"place", CHUNK))
    disks.run()
    assert disks.ahead == [ReadAhead(BOB, ALICE, b"place", CHUNK)]
    assert bob.node.offers.route_to(BOB, Address("nobody"), 0.0) is None
    assert bob.node.offers.route_to(CAROL, Address("alice"), 0.0) is None


@pytest.mark.parametrize(("author", "recipient"), [(CAROL, BOB), (BOB, BOB), (ALICE, CAROL)])
def test_nothing_is_read_ahead_of_an_unproven_author_or_for_a_stranger(world, author, recipient):
    """PROTOCOL.md FILE-11."""
    disks = Disks(world)
    alice = world.parties["alice"]
    (link,) = world.links(alice)
    world.post(alice, link, Spooling(author, recipient, b"place", CHUNK))
    disks.run()
    assert disks.ahead == []
