"""Files and what stands in their way: a disk that fills up, a sender that stops, many at once."""

import asyncio
import filecmp
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import mesh
from mesh import limits
from mesh.sharing import near
from mesh.sharing.spool import free_bytes
from tests.driver.test_transfer_kills import grows, hear, is_whole, journalled, worker
from tests.driver.test_transfers import WAIT_S, make_file, pair
from tests.processes.hosts import free_port

SIZE = 48 * limits.MIB


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A disk of its own that is too small for the file."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m,mode=0700", "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip(f"a disk of its own is not permitted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def two_hosts(place: Path, other: Path) -> tuple[mesh.Config, mesh.Config]:
    """Two state directories that meet at a static peer."""
    port = free_port()
    common = {"mdns": False, "share_roots": (place / "shared",), "is_open_allowed": True}
    one = mesh.Config(home=place / "host", port=port, **common)
    return one, mesh.Config(home=other / "host", port=0, peers=(f"127.0.0.1:{port}",), **common)


@pytest.mark.parametrize("way", ["link", "near"])
async def test_disk_that_fills_up_half_way_is_told_and_the_file_arrives_once_there_is_room(
    tmp_path, small_disk, monkeypatch, way
):
    """PROTOCOL.md FILE-9: what waits for room is the file, never the mail; what came is kept."""
    monkeypatch.setattr(limits, "offer_pause_s", 0.2)
    monkeypatch.setattr(limits, "transfers_interval_s", 0.1)
    if way == "link":
        monkeypatch.setattr(near, "own_machine_key", lambda: None)
    path = make_file(tmp_path / "shared", SIZE)
    here, there = two_hosts(tmp_path, small_disk)
    async with (
        asyncio.timeout(WAIT_S),
        mesh.join("alice", here) as alice,
        mesh.join("bob", there) as bob,
    ):
        # The disk looked large enough when it was asked; then somebody else filled it.
        bob._node.transfers._desk._incoming._free = lambda _: limits.files_free_bytes_min + 2 * SIZE
        shared = await alice.share_file("bob", path)
        while (await alice.receipt(shared.id))[0].why != "recipient_full":
            await asyncio.sleep(0.01)
        letter = await alice.send("bob", "there is room for this")
        assert await letter.wait("delivered", WAIT_S)
        reached = journalled(small_disk)
        assert reached >= limits.partial_sync_bytes
        subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
        while not is_whole(small_disk):
            assert journalled(small_disk) >= reached or is_whole(small_disk), "it began anew"
            await asyncio.sleep(0.002)
        assert await shared.wait("delivered", WAIT_S)
        messages = await bob.check()
    assert [message.kind for message in messages] == ["direct", "file"]
    assert filecmp.cmp(path, messages[1].path, shallow=False)


async def test_partial_file_makes_room_where_mail_has_none_left(tmp_path, small_disk, monkeypatch):
    """PROTOCOL.md FILE-9."""
    monkeypatch.setattr(near, "own_machine_key", lambda: None)
    path = make_file(tmp_path / "shared", SIZE)
    here, there = two_hosts(tmp_path, small_disk)
    async with (
        asyncio.timeout(WAIT_S),
        mesh.join("alice", here) as alice,
        mesh.join("bob", there) as bob,
    ):
        incoming = bob._node.transfers._desk._incoming
        spool_free, asked = limits.files_free_bytes_min + 2 * SIZE, iter((True,))
        incoming._free = lambda place: spool_free if next(asked, False) else free_bytes(place)
        monkeypatch.setattr(limits, "files_free_bytes_stop", limits.MIB)
        monkeypatch.setattr(limits, "files_free_bytes_scarce", 2 * SIZE)
        shared = await alice.share_file("bob", path)
        while (await alice.receipt(shared.id))[0].why != "recipient_full":
            await asyncio.sleep(0.01)
        assert list((small_disk / "host" / "mail" / "bob" / "files").glob(".partial-*")) == []


async def test_sender_that_stops_half_way_and_goes_on_is_not_begun_anew(tmp_path):
    """PROTOCOL.md FILE-6: silence is waited out, what has come stays."""
    path = make_file(tmp_path / "shared", 4 * SIZE)
    async with (
        asyncio.timeout(2 * WAIT_S),
        worker("receive", tmp_path, "link") as receiver,
        worker("send", tmp_path, "link", str(path)) as sender,
    ):
        await hear(sender, "accepted")
        await grows(tmp_path, 0)
        sender.send_signal(signal.SIGSTOP)
        try:
            assert 0 < journalled(tmp_path) < 4 * SIZE, "it was over before the sender stopped"
            await settles(tmp_path)
            stopped_at = journalled(tmp_path)
        finally:
            sender.send_signal(signal.SIGCONT)
        while not is_whole(tmp_path):
            reached = journalled(tmp_path)
            assert reached >= stopped_at or is_whole(tmp_path), "it began anew"
            await asyncio.sleep(0.01)
        said = await hear(receiver, "message")
        assert filecmp.cmp(path, said["path"], shallow=False)


async def settles(place: Path) -> None:
    """Wait until nothing more is written."""
    last = -1
    while last != (last := _partial_bytes(place)):
        await asyncio.sleep(0.3)


def _partial_bytes(place: Path) -> int:
    directory = place / "host" / "mail" / "bob" / "files"
    return sum(p.stat().st_size for p in directory.glob(".partial-*") if p.suffix != ".json")


@pytest.mark.parametrize("way", ["link", "near"])
async def test_several_large_files_both_ways_at_once_arrive_whole(tmp_path, monkeypatch, way):
    if way == "link":
        monkeypatch.setattr(near, "own_machine_key", lambda: None)
    place = tmp_path / "shared"
    paths = [make_file(place, 6 * limits.MIB + n, f"{n}.bin", seed=n) for n in range(10)]
    async with pair(tmp_path) as (alice, bob):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(alice.share_file("bob", p)) for p in paths[:5]]
            tasks += [group.create_task(bob.share_file("alice", p)) for p in paths[5:]]
        letter = await alice.send("bob", "not behind the files")
        assert await letter.wait("delivered", WAIT_S)
        for task in tasks:
            assert await task.result().wait("delivered", WAIT_S)
        messages = await bob.check() + await alice.check()
    kept = {m.data["name"]: m.path for m in messages if m.kind == "file"}
    assert sorted(kept) == sorted(path.name for path in paths)
    assert all(filecmp.cmp(path, kept[path.name], shallow=False) for path in paths)
