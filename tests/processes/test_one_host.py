"""Several processes on one host: presence, names, and mail that belongs to the host's disk."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import sys

import pytest

from tests.processes.hosts import Mesh, WorkerError, contents

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


async def test_agents_see_each_other_within_a_second_and_a_killed_one_is_away(mesh: Mesh):
    alice, bob = await mesh.join("alice"), await mesh.join("bob")
    assert await alice.sees(bob="live") < 1
    assert await bob.sees(alice="live") < 1
    await bob.kill()
    assert await alice.sees(bob="away") < 2


async def test_mail_of_a_killed_sender_is_carried_by_another_node_of_the_host(mesh: Mesh):
    carrier = await mesh.join("carrier")
    alice = await mesh.join("alice")
    sent = await alice.call("send", to="bob", content="last words")
    await alice.kill()
    bob = await mesh.join("bob")
    assert contents(await bob.call("collect", count=1, timeout_s=8)) == ["last words"]
    assert contents(await bob.call("check", wait_s=1)) == []
    await carrier.sees(alice="away", bob="live")
    assert contents(await bob.call("check", history=True)) == ["last words"]
    alice = await mesh.join("alice")
    assert await alice.call("wait_receipt", id_=sent["id"], state="shown", timeout_s=5)


async def test_mail_of_a_killed_sender_is_carried_by_the_next_process_of_the_host(mesh: Mesh):
    alice = await mesh.join("alice")
    await alice.call("send", to="bob", content="last words")
    await alice.kill()
    bob = await mesh.join("bob")
    assert contents(await bob.call("collect", count=1, timeout_s=8)) == ["last words"]
    assert contents(await bob.call("check", wait_s=1)) == []


async def test_mail_for_an_absent_name_is_carried_when_somebody_else_starts(mesh: Mesh):
    alice = await mesh.join("alice")
    bob = await mesh.join("bob")
    await alice.sees(bob="live")
    await bob.kill()
    await alice.sees(bob="away")
    sent = await alice.call("send", to="bob", content="while you were out")
    await alice.kill()
    carol = await mesh.join("carol")
    await carol.sees(alice="away", bob="away")
    alice = await mesh.join("alice")
    assert await alice.call("wait_receipt", id_=sent["id"], state="delivered", timeout_s=8)
    bob = await mesh.join("bob")
    assert bob.facts["unread"] == 1
    assert contents(await bob.call("check")) == ["while you were out"]


async def test_receiver_killed_in_the_stream_loses_and_doubles_nothing(mesh: Mesh):
    alice, bob = await mesh.join("alice"), await mesh.join("bob")
    await alice.sees(bob="live")
    following = bob.begin("follow")
    numbers = [str(number) for number in range(600)]
    sending = alice.begin("send_many", to="bob", contents=numbers)
    for _ in range(20):
        await bob.event()
    await bob.kill()
    with pytest.raises(ConnectionError):
        await following
    bob = await mesh.join("bob")
    await sending
    await bob.call("wait_roster", states={"alice": "live"}, timeout_s=5)
    last = alice.begin("send", to="bob", content="last")
    seen: list[str] = []
    while "last" not in seen:
        batch = contents(await bob.call("check", wait_s=8))
        assert batch, seen[-1:]
        seen += batch
    await last
    history = contents(await bob.call("check", history=True))
    assert history == [*numbers, "last"]


async def test_returning_agent_gets_its_mailbox_from_the_node_that_tends_it(mesh: Mesh):
    tender = await mesh.join("tender")
    alice = await mesh.join("alice")
    first = alice.facts["fingerprint"]
    await alice.kill()
    await tender.sees(alice="away")
    await tender.call("send", to="alice", content="for later")
    alice = await mesh.join("alice")
    assert alice.facts["fingerprint"] == first
    assert contents(await alice.call("collect", count=1, timeout_s=5)) == ["for later"]
    assert await tender.sees(alice="live") < 1


async def test_name_of_a_live_session_is_refused_and_says_which_process_has_it(mesh: Mesh):
    alice = await mesh.join("alice")
    newcomer = await mesh.open()
    with pytest.raises(WorkerError) as caught:
        await newcomer.call("register", name="Alice")
    assert caught.value.code == "name_in_use"
    assert str(alice.pid) in str(caught.value)
    await newcomer.call("register", name="other")
    await alice.sees(other="live")


async def test_one_of_many_that_want_a_name_at_once_gets_it(mesh: Mesh):
    mesh.settings["secret"] = None
    rivals = await asyncio.gather(*(mesh.open() for _ in range(5)))
    answers = await asyncio.gather(
        *(rival.call("register", name="alice") for rival in rivals), return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, WorkerError)]
    assert [answer.code for answer in refused] == ["name_in_use"] * 4


async def test_agent_gets_its_name_back_at_once_however_many_nodes_would_tend_it(mesh: Mesh):
    mesh.settings["secret"] = None
    first, *_ = await asyncio.gather(*(mesh.join(f"n{number}") for number in range(6)))
    for number in range(4):
        alice = await mesh.join("alice")
        await first.sees(alice="live")
        await (alice.kill() if number % 2 else alice.close())
        await first.sees(alice="away")


@POSIX
@pytest.mark.long
async def test_name_tended_by_a_stopped_process_is_refused_in_time_and_free_once_it_goes_on(
    mesh: Mesh,
):
    tender, alice = await mesh.join("tender"), await mesh.join("alice")
    await tender.sees(alice="live")
    await alice.kill()
    await tender.sees(alice="away")
    tender.signal(signal.SIGSTOP)
    alice = await mesh.open()
    with contextlib.suppress(WorkerError):
        # Whether the tender had taken it yet or not, the answer comes soon.
        async with asyncio.timeout(12):
            await alice.call("register", name="alice")
    tender.signal(signal.SIGCONT)
    await alice.call("register", name="alice")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs a small disk")
async def test_full_disk_is_said_and_what_was_accepted_stays(mesh: Mesh):
    home = mesh.home("h1")
    home.mkdir(mode=0o700)
    mount = f'mount -t tmpfs -o size=6m,mode=700 tmpfs {home} && exec "$@"'
    try:
        alice = await mesh.join("alice", prefix=("unshare", "-m", "sh", "-c", mount, "sh"))
    except (ConnectionError, FileNotFoundError) as exc:
        pytest.skip(f"a small disk may not be mounted here: {exc}")
    accepted = []

    async def fill() -> None:
        for _ in range(30):
            sent = await alice.call("send", to="bob", content="x" * 500_000)
            accepted.append(sent["id"])

    with pytest.raises(WorkerError) as caught:
        await fill()
    assert caught.value.code == "disk_full"
    assert accepted
    for id_ in accepted:
        assert (await alice.call("receipt", id_=id_))[0]["state"] == "queued"
    assert (await alice.call("status"))["outbox"] == {"queued": len(accepted)}


async def test_restart_keeps_unread_mail_history_and_key(mesh: Mesh):
    alice, bob = await mesh.join("alice"), await mesh.join("bob")
    first = bob.facts["fingerprint"]
    await alice.call("send", to="bob", content="one")
    await bob.call("collect", count=1, timeout_s=5)
    second = await alice.call("send", to="bob", content="two")
    assert (await alice.call("wait", id_=second["id"], state="delivered", timeout_s=5))["reached"]
    await bob.close()
    await alice.close()
    bob = await mesh.join("bob")
    assert bob.facts["fingerprint"] == first
    assert bob.facts["unread"] == 1
    assert contents(await bob.call("check")) == ["two"]
    assert contents(await bob.call("check", history=True)) == ["one", "two"]


async def test_rename_holds_across_a_restart(mesh: Mesh):
    bob, alice = await mesh.join("bob"), await mesh.join("alice")
    key = alice.facts["fingerprint"]
    await bob.sees(alice="live")
    await alice.call("rename", new="alicia")
    await bob.sees(alicia="live")
    await alice.close()
    sent = await bob.call("send", to="alice", content="to the old name")
    assert sent["recipients"][0]["to"] == "alicia"
    alicia = await mesh.join("alicia")
    assert alicia.facts["fingerprint"] == key
    assert "to the old name" in contents(await alicia.call("collect", count=1, timeout_s=5))
    with pytest.raises(WorkerError) as caught:
        await mesh.join("alice")
    assert caught.value.code == "name_in_use"
    with pytest.raises(WorkerError) as caught:
        await alicia.call("rename", new="third")
    assert caught.value.code == "rate_limited"


async def test_damaged_mailbox_comes_back_with_what_verifies(mesh: Mesh):
    alice, bob = await mesh.join("alice"), await mesh.join("bob")
    key = bob.facts["fingerprint"]
    numbers = [str(number) for number in range(200)]
    await alice.call("send_many", to="bob", contents=numbers)
    assert len(await bob.call("collect", count=200, timeout_s=8)) == 200
    await bob.close()
    await alice.close()
    database = mesh.home("h1") / "mail" / "bob" / "mailbox.db"
    page_bytes = sqlite3.connect(database).execute("PRAGMA page_size").fetchone()[0]
    pages = database.stat().st_size // page_bytes
    with database.open("r+b") as file:
        file.seek(page_bytes * (pages // 2))
        file.write(os.urandom(page_bytes))
    bob = await mesh.join("bob")
    assert bob.facts["fingerprint"] == key
    saved = contents(await bob.call("check", history=True))
    assert set(saved) <= set(numbers)
    assert saved == sorted(saved, key=int)
    assert list(database.parent.glob("mailbox.db.damaged-*"))
    alice = await mesh.join("alice")
    await alice.call("send", to="bob", content="after the damage")
    assert "after the damage" in contents(await bob.call("collect", count=1, timeout_s=8))


@POSIX
async def test_child_of_a_killed_session_does_not_keep_its_locks(mesh: Mesh):
    watcher = await mesh.join("watcher")
    alice = await mesh.join("alice")
    await watcher.sees(alice="live")
    children = [await alice.call("fork"), await alice.call("spawn")]
    try:
        alice.signal(signal.SIGKILL)
        await alice.process.wait()
        assert await watcher.sees(alice="away") < 2
        alice = await mesh.join("alice")
        await watcher.sees(alice="live")
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)


@POSIX
async def test_stopped_receiver_costs_its_sender_nothing_and_catches_up(mesh: Mesh):
    alice, bob = await mesh.join("alice"), await mesh.join("bob")
    await alice.sees(bob="live")
    bob.signal(signal.SIGSTOP)
    numbers = [str(number) for number in range(300)]
    async with asyncio.timeout(5):
        await alice.call("send_many", to="bob", contents=numbers)
    bob.signal(signal.SIGCONT)
    assert contents(await bob.call("collect", count=300, timeout_s=15)) == numbers


async def test_twenty_sessions_at_once_all_see_all(mesh: Mesh):
    mesh.settings["secret"] = None
    names = [f"a{number}" for number in range(20)]
    sessions = await asyncio.gather(*(mesh.join(name) for name in names))
    everybody = dict.fromkeys(names, "live")
    await asyncio.gather(*(session.sees(10, **everybody) for session in sessions))
