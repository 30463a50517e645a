"""Files that are streamed: what is accepted, asked for, resumed and given up, without any disk."""

from collections import deque
from dataclasses import replace

import pytest

from mesh import limits
from mesh.core.effects import Effects
from mesh.core.events import Event, LinkLost, Loss, MailboxReleased, PacketReceived, Timeout
from mesh.core.filework import (
    ChunkKept,
    ChunkSent,
    CopyNear,
    DropSpool,
    FetchKey,
    FileEnded,
    FileFound,
    FileReached,
    FindFile,
    FinishFile,
    KeepChunk,
    LeaveFile,
    NearLost,
    SendChunk,
    SpoolLost,
)
from mesh.core.transfer import Fetch, FileQuota, judge, next_wants
from mesh.model import FileRef, LinkId, State, Why
from mesh.packet import Chunk, Decline, Have, Offer, Packet, Want
from tests.core.pair import Party, World
from tests.core.samples import ALICE, BOB, CAROL, snapshot

CHUNK = limits.chunk_bytes_max
SIZE = 20 * CHUNK + 5
DIGEST = b"f" * 32
FILE = FileRef(DIGEST, SIZE, "big.bin")
KEY = FetchKey(BOB, ALICE, DIGEST)
ONE, TWO = LinkId(1), LinkId(2)


def found(**changes) -> FileFound:
    return replace(FileFound(KEY, 0, 0, False, 0, 0, 10 * limits.files_free_bytes_min), **changes)


# Decisions.


@pytest.mark.parametrize(
    ("facts", "file", "why"),
    [
        ({}, FILE, Why.NONE),
        ({}, replace(FILE, bytes=limits.streamed_file_bytes_max + 1), Why.TOO_LARGE),
        ({"author_bytes": limits.files_bytes_per_author_max - SIZE + 1}, FILE, Why.QUOTA),
        ({"author_bytes": limits.files_bytes_per_author_max - SIZE}, FILE, Why.NONE),
        ({"author_partials": limits.partials_per_author_max}, FILE, Why.QUOTA),
        ({"free_bytes": limits.files_free_bytes_min + SIZE - 1}, FILE, Why.RECIPIENT_FULL),
        ({"free_bytes": limits.files_free_bytes_min + 5, "kept": SIZE - 5}, FILE, Why.NONE),
    ],
)
def test_an_offer_is_judged_by_what_the_disk_says(facts, file, why):
    assert judge(file, found(**facts), FileQuota()) is why


def started(digest: bytes = DIGEST, link: LinkId = ONE, size: int = SIZE) -> Fetch:
    fetch = Fetch(FetchKey(BOB, ALICE, digest), 0, FileRef(digest, size, "f"), link, 0.0)
    fetch.start(0)
    return fetch


def test_no_more_is_asked_for_than_the_window_of_a_link_holds():
    """PROTOCOL.md FILE-5."""
    fetches = [started(), started(b"g" * 32), started(b"h" * 32, link=TWO)]
    wants = next_wants(fetches)
    for link in (ONE, TWO):
        asked = sum(want.length for over, want in wants if over == link)
        assert limits.fetch_window_bytes - CHUNK < asked <= limits.fetch_window_bytes
    assert fetches[0].outstanding == fetches[1].outstanding
    assert next_wants(fetches) == []


def test_the_last_piece_is_as_long_as_what_is_left():
    fetch = started(size=CHUNK + 5)
    assert [want.length for _, want in next_wants([fetch])] == [CHUNK, 5]
    assert next_wants([fetch]) == []


def test_only_the_next_piece_in_the_size_asked_for_is_accepted():
    fetch = started()
    assert not fetch.accepts(offset=0, length=CHUNK), "not asked for yet"
    next_wants([fetch])
    assert fetch.accepts(offset=0, length=CHUNK)
    assert not fetch.accepts(offset=0, length=CHUNK - 1)
    assert not fetch.accepts(offset=CHUNK, length=CHUNK)


# Conversations.


class Disks:
    """Carries out file tasks at once: remembers sizes, not contents."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.kept: dict[FetchKey, int] = {}
        self.whole: set[FetchKey] = set()
        self.dropped: list[DropSpool] = []
        self.sent: list[int] = []
        self.reached: list[FileReached] = []
        self.verdict = Why.NONE
        self.facts: dict[str, int] = {}
        self.near_to: int | None = None
        """How much of the author's own copy can be read; None if it is on another machine."""

    def run(self, *, until: int | None = None) -> None:
        """Let packets and tasks run until nothing is left, or so many pieces were sent."""
        world = self.world
        while world.flying and (until is None or len(self.sent) < until):
            name, link, packet = world.flying.popleft()
            if world.filter(name, packet):
                self.step(world.parties[name], PacketReceived(link, packet))

    def step(self, party: Party, event: Event) -> Effects:
        effects = self.world.step(party, event)
        self.carry_out(party, effects)
        return effects

    def carry_out(self, party: Party, effects: Effects) -> None:
        tasks = deque(effects.files)
        while tasks:
            for answer in self.perform(party, tasks.popleft()):
                tasks.extend(self.world.step(party, answer).files)

    def perform(self, party: Party, task) -> list[Event]:
        match task:
            case FindFile(fetch, number):
                facts = {"kept": self.kept.get(fetch, 0), "is_whole": fetch in self.whole}
                is_near = self.near_to is not None
                return [
                    replace(
                        found(**facts, **self.facts, is_near=is_near), fetch=fetch, number=number
                    )
                ]
            case CopyNear(fetch, offset, length):
                assert offset == self.kept.get(fetch, 0)
                self.kept[fetch] = min(offset + length, self.near_to or 0)
                copied = ChunkKept(fetch, self.kept[fetch])
                is_all = self.kept[fetch] == offset + length
                return [copied] if is_all else [copied, NearLost(fetch)]
            case KeepChunk(fetch, offset, data):
                assert offset == self.kept.get(fetch, 0)
                self.kept[fetch] = offset + len(data)
                return [ChunkKept(fetch, self.kept[fetch])]
            case FinishFile(fetch):
                verdict, self.verdict = self.verdict, Why.NONE
                if verdict is Why.NONE:
                    self.whole.add(fetch)
                self.kept.pop(fetch, None)
                return [FileEnded(fetch, verdict)]
            case SendChunk():
                self.sent.append(task.offset)
                chunk = Chunk(
                    task.mailbox, task.recipient, task.digest, task.offset, bytes(task.length)
                )
                self.world._post(party, task.link, chunk)
                return [ChunkSent(task.mailbox, task.digest)]
            case DropSpool():
                self.dropped.append(task)
            case FileReached():
                self.reached.append(task)
        return []


@pytest.fixture
def world() -> World:
    world = World()
    for name, key in (("alice", ALICE), ("bob", BOB)):
        world.hold(world.add(name), snapshot(key, name))
    world.meet(world.parties["alice"], world.parties["bob"])
    return world


def share(world: World, number: int = 1, file: FileRef = FILE) -> Disks:
    disks = Disks(world)
    disks.carry_out(
        world.parties["alice"], world.send(world.parties["alice"], ALICE, "bob", number, file=file)
    )
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
    assert not alice.node.needs_file(ALICE, DIGEST)


def test_lost_link_resumes_where_the_disk_is(world):
    """PROTOCOL.md FILE-3, FILE-4."""
    disks = share(world)
    alice, bob = world.parties["alice"], world.parties["bob"]
    disks.run(until=9)
    (link,) = world.links(alice)
    kept = disks.kept[KEY]
    assert kept > 0
    world.cut(alice, link)
    disks.step(alice, LinkLost(link, Loss.CLOSED))
    world.flying.clear()
    disks.sent.clear()
    world.sight(alice, bob)
    while alice.node.next_deadline() and not disks.whole and world.now < 300:
        disks.run()
        for party in (alice, bob):
            disks.step(party, Timeout())
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
    disks.carry_out(alice, world.send(alice, ALICE, "bob", 1, file=replace(FILE, bytes=size)))
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
    share(world)
    (link,) = world.links(bob)
    world.step(bob, PacketReceived(link, Offer(ALICE, BOB, FILE)))
    copying = world.step(bob, found(is_near=True))
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
    disks.step(world.parties["bob"], Timeout())
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
    disks.step(alice, Timeout())
    disks.run()
    assert disks.sent == []
    world.now += 1 + limits.transfers_interval_s
    disks.step(alice, Timeout())
    disks.run()
    assert world.parties["bob"].bodies() == [b"1"]


def test_outgoing_file_that_is_gone_ends_its_letter(world):
    disks = share(world)
    alice = world.parties["alice"]
    effects = disks.step(alice, SpoolLost(ALICE, DIGEST))
    assert [(r.state, r.why) for r in effects.receipts] == [(State.REFUSED, Why.DAMAGED)]
    disks.run()
    assert disks.sent == []


def test_nothing_is_served_that_was_not_offered_to_the_one_who_asks(world):
    """PROTOCOL.md FILE-7."""
    alice, bob = world.parties["alice"], world.parties["bob"]
    (link,) = world.links(alice)
    disks = share(world)
    wrong = [
        Want(BOB, ALICE, b"x" * 32, 0, CHUNK),
        Want(ALICE, ALICE, DIGEST, 0, CHUNK),
        Want(BOB, ALICE, DIGEST, SIZE - 1, 2),
    ]
    for want in wrong:
        assert disks.step(alice, PacketReceived(link, want)).files == ()
    (back,) = world.links(bob)
    chunk = Chunk(ALICE, BOB, b"x" * 32, 0, b"unasked")
    assert disks.step(bob, PacketReceived(back, chunk)).files == ()
    forged = Offer(BOB, BOB, FILE)
    assert disks.step(bob, PacketReceived(back, forged)).files == ()


def test_no_more_pieces_are_read_ahead_than_memory_allows(world):
    alice = world.parties["alice"]
    (link,) = world.links(alice)
    share(world)
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
        disks.carry_out(alice, world.send(alice, ALICE, "bob", n, file=file))
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
        world.step(bob, found(fetch=asked.fetch, number=asked.number))
    (asked,) = world.step(bob, PacketReceived(carols, Offer(CAROL, BOB, FILE))).files
    wants = world.step(bob, found(fetch=asked.fetch, number=asked.number)).packets
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
    disks.carry_out(alice, world.send(alice, ALICE, "nobody", 1, file=FILE, ttl_s=5.0))
    assert alice.node.needs_file(ALICE, DIGEST)

    world.now += 6
    disks.step(alice, Timeout())
    assert [r.state for r in alice.receipts] == [State.EXPIRED]
    assert disks.dropped == [DropSpool(ALICE, DIGEST)]


def test_released_mailbox_forgets_what_was_coming(world):
    disks = share(world)
    disks.run(until=3)
    bob = world.parties["bob"]
    world.step(bob, MailboxReleased(BOB))
    effects = world.step(bob, ChunkKept(KEY, SIZE))
    assert (effects.packets, effects.files) == ((), ())
    assert world.step(bob, found()).files == (LeaveFile(KEY),)


def test_what_the_disk_says_of_an_earlier_fetch_does_not_start_a_later_one(world):
    """A mailbox that was opened anew is offered the file again while its disk still works."""
    bob = world.parties["bob"]
    (link,) = world.links(bob)
    offer = PacketReceived(link, Offer(ALICE, BOB, FILE))
    (earlier,) = world.step(bob, offer).files
    world.step(bob, MailboxReleased(BOB))
    world.hold(bob, snapshot(BOB, "bob"))
    (later,) = world.step(bob, offer).files
    stale = (found(number=earlier.number), ChunkKept(KEY, CHUNK), FileEnded(KEY, Why.DAMAGED))
    for event in stale:
        effects = world.step(bob, event)
        assert (effects.packets, effects.files) == ((), ())
    packets = world.step(bob, found(number=later.number, kept=CHUNK)).packets
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
