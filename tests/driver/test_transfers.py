"""Files that are streamed, between two real sessions of one process."""

import asyncio
import filecmp
import hashlib
import os
import random
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import mesh
from mesh import limits
from mesh.driver.agent import Agent
from mesh.driver.lanes import FIRST_LANE
from mesh.errors import UsageError
from mesh.model import CurveKey, LinkId
from mesh.net.zmq_transport import ZmqTransport
from mesh.sharing import linked, near

WAIT_S = 30.0
SECRET = "a team secret of good length"


def make_file(place: Path, size: int, name: str = "big.bin", seed: int = 1) -> Path:
    place.mkdir(exist_ok=True)
    path = place / name
    path.write_bytes(random.Random(seed).randbytes(size))
    return path


def config_of(place: Path, host: str, **settings) -> mesh.Config:
    return mesh.Config(
        home=place / host, port=0, mdns=False, share_roots=(place / "shared",), **settings
    )


@asynccontextmanager
async def pair(place: Path, **settings) -> AsyncIterator[tuple[Agent, Agent]]:
    """Two agents of one host, each with a session of its own."""
    async with (
        asyncio.timeout(WAIT_S),
        mesh.join("alice", config_of(place, "host")) as alice,
        mesh.join("bob", config_of(place, "host", **settings)) as bob,
    ):
        yield alice, bob


async def received(agent: Agent) -> mesh.Message:
    page = await agent.read(wait_s=WAIT_S, limit=1)
    return page.messages[0]


async def test_large_file_arrives_whole_private_and_named(tmp_path):
    path = make_file(tmp_path / "shared", 5 * limits.MIB + 17)
    seen: list[tuple[int, int]] = []
    async with pair(tmp_path) as (alice, bob):
        shared = await alice.share_file(
            "bob", path, "measurements", on_progress=lambda *p: seen.append(p)
        )
        message = await received(bob)
        assert await shared.wait("delivered", WAIT_S)
    kept = Path(message.path)
    assert message.data == {
        "type": "file",
        "name": "big.bin",
        "bytes": path.stat().st_size,
        "blake2b": hashlib.blake2b(path.read_bytes(), digest_size=32).hexdigest(),
        "description": "measurements",
        "path": str(kept),
    }
    assert kept.read_bytes() == path.read_bytes()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert seen[-1] == (path.stat().st_size, path.stat().st_size)
    outgoing = tmp_path / "host" / "mail" / "alice" / "outgoing"
    assert list(outgoing.iterdir()) == []
    assert [p.name for p in kept.parent.iterdir() if "partial" in p.name] == []


async def test_mail_is_not_held_up_by_a_file_that_waits_for_its_recipient(tmp_path):
    path = make_file(tmp_path / "shared", 2 * limits.MIB)
    async with asyncio.timeout(WAIT_S), mesh.join("alice", config_of(tmp_path, "host")) as alice:
        shared = await alice.share_file("bob", path)
        assert [r.why for r in await alice.receipt(shared.id)] == ["unknown_name"]
        letter = await alice.send("bob", "read this first")
        async with mesh.join("bob", config_of(tmp_path, "host")) as bob:
            async for message in bob.messages():
                if message.kind == "file":
                    break
                assert message.content == "read this first"
            assert await letter.wait("delivered", WAIT_S)
            assert Path(message.path).read_bytes() == path.read_bytes()


async def test_file_shared_by_a_session_that_ended_is_sent_by_the_next(tmp_path):
    """PROTOCOL.md FILE-1."""
    path = make_file(tmp_path / "shared", 2 * limits.MIB)
    async with asyncio.timeout(WAIT_S):
        async with mesh.join("alice", config_of(tmp_path, "host")) as alice:
            await alice.share_file("bob", path)
        content = path.read_bytes()
        path.unlink()
        async with pair(tmp_path) as (_, bob):
            message = await received(bob)
            assert Path(message.path).read_bytes() == content


async def test_same_file_twice_travels_once_and_both_messages_name_it(tmp_path):
    path = make_file(tmp_path / "shared", 2 * limits.MIB)
    async with pair(tmp_path) as (alice, bob):
        for description in ("once", "twice"):
            shared = await alice.share_file("bob", path, description)
            assert await shared.wait("delivered", WAIT_S)
        messages = await bob.check()
    assert [m.content for m in messages] == ["once", "twice"]
    assert len({m.path for m in messages}) == 1


async def test_file_on_the_same_disk_is_handed_over_and_never_written_again(tmp_path):
    """PROTOCOL.md FILE-10: its author's copy becomes the recipient's own."""
    path = make_file(tmp_path / "shared", 2 * limits.MIB)
    outgoing = tmp_path / "host" / "mail" / "alice" / "outgoing"
    async with asyncio.timeout(WAIT_S), mesh.join("alice", config_of(tmp_path, "host")) as alice:
        shared = await alice.share_file("bob", path)
        (number,) = [copy.stat().st_ino for copy in outgoing.iterdir()]
        async with mesh.join("bob", config_of(tmp_path, "host")) as bob:
            assert await shared.wait("delivered", WAIT_S)
            kept = Path((await received(bob)).path)
    assert kept.read_bytes() == path.read_bytes()
    assert (kept.stat().st_ino == number) == (near.own_machine_key() is not None)
    assert kept.stat().st_nlink == 1
    assert list(outgoing.iterdir()) == []


async def test_recipients_of_one_file_never_share_it(tmp_path):
    """PROTOCOL.md FILE-10: what one of them does to it must not reach the others."""
    path = make_file(tmp_path / "shared", 2 * limits.MIB)
    content = path.read_bytes()
    async with asyncio.timeout(WAIT_S), mesh.join("alice", config_of(tmp_path, "host")) as alice:
        waiting = [await alice.share_file(name, path) for name in ("bob", "carol")]
        async with mesh.join("bob", config_of(tmp_path, "host")) as bob:
            assert await waiting[0].wait("delivered", WAIT_S)
            kept = Path((await received(bob)).path)
            with kept.open("r+b") as file:
                file.write(b"bob has changed this")
        async with mesh.join("carol", config_of(tmp_path, "host")) as carol:
            assert await waiting[1].wait("delivered", WAIT_S)
            other = Path((await received(carol)).path)
    assert kept.read_bytes() != content
    assert other.read_bytes() == content


async def test_file_for_an_agent_of_the_same_node_arrives(tmp_path):
    path = make_file(tmp_path / "shared", 2 * limits.MIB)
    config = config_of(tmp_path, "host")
    async with asyncio.timeout(WAIT_S), mesh.join("alice", config) as alice:
        shared = await alice.share_file("alice", path)
        assert await shared.wait("delivered", WAIT_S)
        assert Path((await received(alice)).path).read_bytes() == path.read_bytes()


async def test_file_over_the_recipients_limit_is_refused_by_name(tmp_path):
    path = make_file(tmp_path / "shared", 3 * limits.MIB)
    async with pair(tmp_path, file_bytes_max=2 * limits.MIB) as (alice, bob):
        shared = await alice.share_file("bob", path)
        assert not await shared.wait("delivered", WAIT_S)
        assert [(r.state, r.why) for r in shared.recipients] == [("refused", "too_large")]
        assert await bob.check() == []


async def test_file_over_the_senders_limit_is_not_accepted(tmp_path):
    path = make_file(tmp_path / "shared", 3 * limits.MIB)
    config = config_of(tmp_path, "host", file_bytes_max=2 * limits.MIB)
    async with mesh.join("alice", config) as alice:
        with pytest.raises(UsageError, match="filepath"):
            await alice.share_file("bob", path)
    assert list((tmp_path / "host" / "mail" / "alice").glob("outgoing/*")) == []


async def test_pieces_of_all_files_between_two_take_one_lane(tmp_path, monkeypatch):
    """PROTOCOL.md LANE-1: whoever sends them. (What a lane lost would not be asked for again.)"""
    monkeypatch.setattr(near, "own_machine_key", lambda: None)
    monkeypatch.setattr(limits, "fetch_stall_s", 10 * WAIT_S)
    dialled: list[LinkId] = []
    dial = ZmqTransport.dial

    def spy(self: ZmqTransport, link: LinkId, *, endpoint: str, curve: CurveKey | None) -> None:
        dialled.append(link)
        dial(self, link, endpoint=endpoint, curve=curve)

    monkeypatch.setattr(ZmqTransport, "dial", spy)
    async with pair(tmp_path) as (alice, bob):
        for number, (author, reader) in enumerate([(alice, bob), (bob, alice), (alice, bob)]):
            path = make_file(tmp_path / "shared", 3 * limits.MIB + 5, f"{number}.bin", seed=number)
            await author.share_file(reader.name, path)
            message = await received(reader)
            assert Path(message.path).read_bytes() == path.read_bytes()
    assert len([link for link in dialled if link >= FIRST_LANE]) == 1


async def test_author_over_its_quota_waits_and_says_why(tmp_path):
    place = tmp_path / "shared"
    async with pair(tmp_path, files_bytes_per_author_max=5 * limits.MIB) as (alice, bob):
        first = await alice.share_file("bob", make_file(place, 3 * limits.MIB, "a", seed=1))
        assert await first.wait("delivered", WAIT_S)
        second = await alice.share_file("bob", make_file(place, 3 * limits.MIB, "b", seed=2))
        while (await alice.receipt(second.id))[0].why != "quota":
            await asyncio.sleep(0.01)
        letter = await alice.send("bob", "mail goes on")
        assert await letter.wait("delivered", WAIT_S)
        assert len(await bob.check()) == 2
    assert list((tmp_path / "host" / "mail" / "bob" / "files").glob(".partial-*")) == []


async def test_full_disk_refuses_visibly_and_takes_the_file_when_there_is_room(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(limits, "offer_pause_s", 0.2)
    monkeypatch.setattr(limits, "transfers_interval_s", 0.1)
    monkeypatch.setattr(near, "own_machine_key", lambda: None)
    path = make_file(tmp_path / "shared", 2 * limits.MIB)
    async with pair(tmp_path) as (alice, bob):
        disk = {"free": limits.files_free_bytes_min + limits.MIB}
        bob._node.transfers._desk._incoming._free = lambda _: disk["free"]
        shared = await alice.share_file("bob", path)
        while (await alice.receipt(shared.id))[0].why != "recipient_full":
            await asyncio.sleep(0.01)
        assert list((tmp_path / "host" / "mail" / "bob" / "files").glob("*")) == []
        disk["free"] += 4 * limits.MIB
        assert await shared.wait("delivered", WAIT_S)
        assert Path((await received(bob)).path).read_bytes() == path.read_bytes()


async def test_sender_whose_content_is_not_what_it_signed_is_refused(tmp_path):
    path = make_file(tmp_path / "shared", 2 * limits.MIB)
    async with asyncio.timeout(WAIT_S), mesh.join("alice", config_of(tmp_path, "host")) as alice:
        shared = await alice.share_file("bob", path)
        (spooled,) = (tmp_path / "host" / "mail" / "alice" / "outgoing").iterdir()
        spooled.write_bytes(bytes(2 * limits.MIB))
        async with mesh.join("bob", config_of(tmp_path, "host")) as bob:
            assert not await shared.wait("delivered", WAIT_S)
            assert [(r.state, r.why) for r in shared.recipients] == [("refused", "damaged")]
            assert await bob.check() == []
    files = tmp_path / "host" / "mail" / "bob" / "files"
    assert [p for p in files.iterdir() if p.name != ".received.json"] == []


async def test_outgoing_file_cut_short_ends_its_letter_and_no_other(tmp_path):
    path = make_file(tmp_path / "shared", 2 * limits.MIB)
    async with asyncio.timeout(WAIT_S), mesh.join("alice", config_of(tmp_path, "host")) as alice:
        shared = await alice.share_file("bob", path)
        (spooled,) = (tmp_path / "host" / "mail" / "alice" / "outgoing").iterdir()
        os.truncate(spooled, limits.MIB)
        async with mesh.join("bob", config_of(tmp_path, "host")):
            letter = await alice.send("bob", "still here")
            assert await letter.wait("delivered", WAIT_S)
            assert not await shared.wait("delivered", WAIT_S)
            assert [r.state for r in shared.recipients] == ["refused"]


async def test_expired_letter_takes_its_outgoing_file_along(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "ttl_s_default", 0.3)
    path = make_file(tmp_path / "shared", 2 * limits.MIB)
    async with asyncio.timeout(WAIT_S), mesh.join("alice", config_of(tmp_path, "host")) as alice:
        shared = await alice.share_file("nobody", path)
        outgoing = tmp_path / "host" / "mail" / "alice" / "outgoing"
        assert len(list(outgoing.iterdir())) == 1
        assert not await shared.wait("delivered", WAIT_S)
        assert shared.state == "expired"
        while list(outgoing.iterdir()):
            await asyncio.sleep(0.01)


async def test_two_hundred_small_files_at_once_all_arrive(tmp_path):
    place = tmp_path / "shared"
    sizes = [300 if n % 10 else limits.MIB + 1 + n for n in range(200)]
    paths = [make_file(place, size, f"{n}.bin", seed=n) for n, size in enumerate(sizes)]
    async with pair(tmp_path) as (alice, bob):
        async with asyncio.TaskGroup() as group:
            sharing = [group.create_task(alice.share_file("bob", path)) for path in paths]
        for shared in sharing:
            assert await shared.result().wait("delivered", WAIT_S)
        messages = await bob.check()
    kept = {m.data["name"]: Path(m.path).read_bytes() for m in messages}
    assert kept == {path.name: path.read_bytes() for path in paths}


async def test_what_nobody_needs_is_swept_when_the_mailbox_is_taken(tmp_path):
    async with mesh.join("alice", config_of(tmp_path, "host")):
        pass
    mailbox = tmp_path / "host" / "mail" / "alice"
    (mailbox / "outgoing").mkdir()
    (mailbox / "files").mkdir(exist_ok=True)
    old = [mailbox / "outgoing" / ("ab" * 32), mailbox / "files" / f".partial-{'0' * 12}-00000000"]
    fresh = mailbox / "outgoing" / ("cd" * 32)
    for path in [*old, fresh]:
        path.write_bytes(b"x")
    for path in old:
        os.utime(path, (1, 1))
    async with asyncio.timeout(WAIT_S), mesh.join("alice", config_of(tmp_path, "host")):
        while any(path.exists() for path in old):
            await asyncio.sleep(0.01)
    assert fresh.exists()


@pytest.mark.long
@pytest.mark.skipif(near.own_machine_key() is None, reason="no machine is known by a key here")
async def test_file_is_verified_while_it_is_still_being_spooled(tmp_path, monkeypatch):
    """PROTOCOL.md FILE-11."""
    ahead_of = []
    link = linked.link

    def watched(directory, coming, source, ahead=None):
        ahead_of.append(ahead.reached if ahead is not None else 0)
        return link(directory, coming, source, ahead)

    monkeypatch.setattr(linked, "link", watched)
    path = make_file(tmp_path / "shared", 3 * limits.near_bytes_max + 5)
    async with pair(tmp_path) as (alice, bob):
        await alice.share_file("bob", path, "")
        message = await received(bob)
        assert Path(message.path).read_bytes() == path.read_bytes()
    assert ahead_of == [3 * limits.near_bytes_max]


@pytest.mark.parametrize("way", ["link", "near"])
async def test_one_gibibyte_arrives_in_bounded_memory(tmp_path, monkeypatch, way):
    if way == "link":
        monkeypatch.setattr(near, "own_machine_key", lambda: None)
    place = tmp_path / "shared"
    place.mkdir()
    path = place / "big.bin"
    with path.open("wb") as file:
        for _ in range(1024):
            file.write(os.urandom(limits.MIB))
    before = peak_mib()
    async with (
        asyncio.timeout(300),
        mesh.join("alice", config_of(tmp_path, "host")) as alice,
        mesh.join("bob", config_of(tmp_path, "host")) as bob,
    ):
        shared = await alice.share_file("bob", path)
        assert await shared.wait("delivered", 300)
        assert filecmp.cmp(path, (await received(bob)).path, shallow=False)
    assert peak_mib() - before < 64


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
