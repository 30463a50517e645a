"""The Python interface of the contract, by real sessions in one process."""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import mesh
from mesh import limits


@pytest.fixture
async def alice(config):
    async with mesh.join("alice", config()) as agent:
        yield agent


@pytest.fixture
async def bob(config):
    async with mesh.join("bob", config()) as agent:
        yield agent


async def sees(agent: mesh.Agent, *names: str, state: str = "live") -> None:
    async with asyncio.timeout(5):
        with agent._node.desk.roster_bell.listen() as ear:
            while not set(names) <= {e.id for e in agent.roster() if e.state == state}:
                await ear.wait()


async def contents(agent: mesh.Agent, **filters) -> list[str]:
    return [message.content for message in await agent.check(**filters)]


async def test_message_carries_everything_the_contract_names(alice, bob):
    await sees(alice, "bob")
    begun = datetime.now(UTC) - timedelta(seconds=1)
    receipt = await alice.send("bob", "héllo\n", data={"k": [1, None]}, urgent=True)
    assert await receipt.wait("delivered", 5)
    (got,) = await bob.check(wait_s=5)
    assert (got.id, got.sender, got.fingerprint) == (receipt.id, "alice", alice.fingerprint)
    assert (got.to, got.content, got.data, got.kind) == (
        "bob",
        "héllo\n",
        {"k": [1, None]},
        "direct",
    )
    assert (got.urgent, got.reply_to, got.path, got.verified) == (True, None, None, "open")
    assert begun < got.time <= datetime.now(UTC)
    assert await receipt.wait("shown", 5)
    assert receipt.state == "shown"
    (recipient,) = receipt.recipients
    assert (recipient.to, recipient.fingerprint) == ("bob", bob.fingerprint)
    assert recipient.at is not None
    assert [r.state for r in await alice.receipt(receipt.id)] == ["shown"]


async def test_check_reads_once_and_history_reads_again(alice, bob):
    for text in ("one", "two", "three"):
        await (await alice.send("bob", text)).wait("delivered", 5)
    assert await contents(bob, wait_s=5, limit=2) == ["one", "two"]
    assert bob.unread == 1
    assert await contents(bob, peek=True) == await contents(bob, peek=True) == ["three"]
    assert await contents(bob) == ["three"]
    assert await contents(bob) == []
    assert await contents(bob, history=True) == ["one", "two", "three"]
    assert await contents(bob, history=True, limit=1) == ["one"]


async def test_page_tells_how_much_is_left(alice, bob):
    for number in range(5):
        await (await alice.send("bob", str(number))).wait("delivered", 5)
    page = await bob.read(limit=2)
    assert ([m.content for m in page.messages], page.remaining) == (["0", "1"], 3)
    page = await bob.read(body_bytes_max=1)
    assert ([m.content for m in page.messages], page.remaining) == (["2"], 2)


async def test_filters_choose_by_sender_time_and_words(alice, bob):
    await (await alice.send("bob", "Build is GREEN")).wait("delivered", 5)
    await asyncio.sleep(0.005)
    between = datetime.now(UTC)
    await asyncio.sleep(0.005)
    await (await bob.send("bob", "build is red")).wait("delivered", 5)
    assert await contents(bob, peek=True, sender="ALICE") == ["Build is GREEN"]
    assert await contents(bob, peek=True, since=between) == ["build is red"]
    assert await contents(bob, peek=True, since=between.isoformat()) == ["build is red"]
    assert await contents(bob, peek=True, search="green build") == ["Build is GREEN"]
    assert await contents(bob, peek=True, search="green red") == []
    assert await contents(bob, peek=True, sender="nobody") == []
    assert len(await contents(bob)) == 2


async def test_waiting_check_returns_at_the_first_message_and_at_the_end_of_its_time(alice, bob):
    assert await contents(bob, wait_s=0.02) == []
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(contents(bob, wait_s=5))
        await alice.send("bob", "wake up")
    assert waiting.result() == ["wake up"]


async def test_cancelled_check_leaves_later_mail_unread(alice, bob):
    waiting = asyncio.ensure_future(bob.check(wait_s=60))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await alice.send("bob", "later")
    assert await contents(bob, wait_s=5) == ["later"]


async def test_messages_yields_unread_then_new_and_marks_each_when_the_next_is_asked_for(
    alice, bob
):
    await (await alice.send("bob", "one")).wait("delivered", 5)
    seen = []
    async with asyncio.timeout(5):
        stream = bob.messages()
        seen.append((await anext(stream)).content)
        assert bob.unread == 1
        await alice.send("bob", "two")
        seen.append((await anext(stream)).content)
        await stream.aclose()
    assert seen == ["one", "two"]
    assert await contents(bob) == ["two"]


async def test_a_reader_that_leaves_at_once_has_told_the_author(alice, config):
    async with asyncio.timeout(20):
        async with mesh.join("reader", config("h1")) as reader:
            receipt = await alice.send("reader", "one")
            await alice.send("reader", "two")
            stream = reader.messages()
            assert [(await anext(stream)).content for _ in range(2)] == ["one", "two"]
            await stream.aclose()
        assert await receipt.wait("shown", 10)


async def test_what_messages_yielded_is_shown_however_soon_one_looks(alice, bob):
    await alice.send_many([("bob", str(number)) for number in range(4)])
    async with asyncio.timeout(5):
        while bob.unread < 4:
            await bob.check(wait_s=5, peek=True)
        stream = bob.messages()
        assert [(await anext(stream)).content for _ in range(3)] == ["0", "1", "2"]
        assert await contents(bob) == ["2", "3"]
        await stream.aclose()


async def test_messages_are_never_yielded_twice_while_marks_wait_to_be_written(alice, bob):
    seen = []
    async with asyncio.timeout(20):
        stream = bob.messages()
        for number in range(30):
            receipt = await alice.send("bob", str(number))
            seen.append((await anext(stream)).content)
        await stream.aclose()
        assert seen == [str(number) for number in range(30)]
        await bob.check()
        assert await receipt.wait("shown", 5)


async def test_ask_waits_for_the_reply_and_leaves_other_mail_unread(alice, bob):
    async def answer() -> None:
        (question,) = await bob.check(wait_s=5)
        await bob.send("alice", "something else")
        await bob.send("alice", "yes", data=1, reply_to=question.id)

    async with asyncio.TaskGroup() as group:
        group.create_task(answer())
        reply = await alice.ask("bob", "ready?", timeout_s=5)
    assert (reply.content, reply.data) == ("yes", 1)
    assert await contents(alice) == ["something else"]


async def test_ask_without_reply_times_out_and_a_late_reply_is_found(alice, bob):
    with pytest.raises(TimeoutError):
        await alice.ask("bob", "ready?", timeout_s=0.05)
    (question,) = await bob.check(wait_s=5)
    await bob.send("alice", "at last", reply_to=question.id)
    late = await alice.await_reply(question.id, timeout_s=5)
    assert late is not None
    assert late.content == "at last"
    assert await alice.await_reply("0" * 32, timeout_s=0.01) is None
    assert await contents(alice) == ["at last"]


async def test_broadcast_names_its_recipients_and_spares_its_sender(alice, bob, config):
    async with mesh.join("carol", config()) as carol:
        await sees(alice, "bob", "carol")
        receipt = await alice.broadcast("phase 1 done", data=[1])
        assert sorted(r.to for r in receipt.recipients) == ["bob", "carol"]
        assert await receipt.wait("delivered", 5)
        (got,) = await carol.check()
        assert (got.kind, got.data) == ("broadcast", [1])
        assert await contents(bob) == ["phase 1 done"]
        assert await contents(alice) == []


async def test_broadcast_that_nobody_hears_is_accepted(alice):
    receipt = await alice.broadcast("hello?")
    assert receipt.recipients == []
    assert await receipt.wait("delivered", 1)


async def test_mail_to_an_unknown_name_waits_for_it(alice, config):
    receipt = await alice.send("dora", "welcome")
    (recipient,) = receipt.recipients
    assert (recipient.to, recipient.state, recipient.why) == ("dora", "queued", "unknown_name")
    assert [r.why for r in await alice.receipt(receipt.id)] == ["unknown_name"]
    assert not await receipt.wait("delivered", 0.02)
    async with mesh.join("Dora", config()) as dora:
        assert await contents(dora, wait_s=5) == ["welcome"]
        assert await receipt.wait("delivered", 5)
    assert [r.to for r in await alice.receipt(receipt.id)] == ["Dora"]


async def test_expired_message_ends_visibly(alice):
    receipt = await alice.send("nobody", "soon stale", ttl_s=1)
    assert not await receipt.wait("delivered", 5)
    assert receipt.state == "expired"
    assert [r.state for r in await alice.receipt(receipt.id)] == ["expired"]


async def test_send_many_keeps_the_order_and_takes_data(alice, bob):
    await sees(alice, "bob")
    many = [("bob", str(number), {"n": number}) for number in range(700)]
    receipts = await alice.send_many([*many, ("bob", "end")])
    assert len({receipt.id for receipt in receipts}) == 701
    assert await receipts[-1].wait("delivered", 10)
    got = await bob.check()
    assert [m.content for m in got] == [*(text for _, text, _ in many), "end"]
    assert got[3].data == {"n": 3}


async def test_largest_message_arrives_whole_and_one_byte_more_is_refused(alice, bob):
    largest = "é" * (limits.content_bytes_max // 2)
    await alice.send("bob", largest)
    (got,) = await bob.check(wait_s=10)
    assert got.content == largest
    path = await bob.save_text(got)
    assert path.read_text() == largest
    assert path.stat().st_mode & 0o777 == 0o600
    assert await bob.save_text(got) == path
    with pytest.raises(mesh.UsageError, match="content"):
        await alice.send("bob", largest + "x")


@pytest.mark.parametrize(
    ("arguments", "options", "named"),
    [
        (("bad name", "x"), {}, "Invalid instance ID"),
        (("", "x"), {}, "Invalid instance ID"),
        (("all", "x"), {}, "reserved"),
        (("bob#xyz", "x"), {}, "fingerprint"),
        (("bob", "x"), {"ttl_s": 0.5}, "ttl_s"),
        (("bob", "x"), {"ttl_s": float("nan")}, "ttl_s"),
        (("bob", "x"), {"ttl_s": 31 * 86400}, "ttl_s"),
        (("bob", "x"), {"reply_to": "nonsense"}, "reply_to"),
        (("bob", "x"), {"data": object()}, "data"),
        (("bob", "x"), {"data": float("nan")}, "data"),
        (("bob", "x"), {"data": "x" * (limits.data_bytes_max + 1)}, "data"),
    ],
)
async def test_bad_argument_of_send_is_named_and_nothing_is_accepted(
    alice, arguments, options, named
):
    with pytest.raises(mesh.UsageError, match=named):
        await alice.send(*arguments, **options)
    assert (await alice.status()).outbox == {"queued": 0}


@pytest.mark.parametrize(
    ("filters", "named"),
    [
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-01-31T12:00:00"}, "since"),
        ({"since": datetime(2026, 1, 31)}, "since"),  # noqa: DTZ001
        ({"limit": 0}, "limit"),
        ({"limit": 100_000}, "limit"),
        ({"wait_s": -1}, "wait_s"),
        ({"wait_s": float("nan")}, "wait_s"),
        ({"sender": "bad name"}, "Invalid instance ID"),
    ],
)
async def test_bad_argument_of_check_is_named(alice, filters, named):
    with pytest.raises(mesh.UsageError, match=named):
        await alice.check(**filters)


async def test_receipt_of_an_unknown_id_is_an_error(alice):
    for bad in ("0" * 32, "nonsense", ""):
        with pytest.raises(mesh.UsageError, match="id"):
            await alice.receipt(bad)


async def test_rename_moves_the_name_forwards_the_old_and_tells_everybody(alice, bob):
    await sees(bob, "alice")
    await sees(alice, "bob")
    renamed = await alice.rename("alicia")
    assert (renamed.name, alice.name) == ("alicia", "alicia")
    left_s = (renamed.forwarding_until - datetime.now(UTC)).total_seconds()
    assert 7190 < left_s <= 7200
    await sees(bob, "alicia")
    (told,) = await bob.check(wait_s=5)
    assert told.kind == "renamed"
    assert told.data == {"type": "renamed", "old": "alice", "new": "alicia"}
    receipt = await bob.send("alice", "still you?")
    assert [(r.to, r.forwarded_from) for r in receipt.recipients] == [("alicia", "alice")]
    assert await contents(alice, wait_s=5) == ["still you?"]
    with pytest.raises(
        mesh.RateLimitError, match="Rate limit: can rename again in 60 min"
    ) as caught:
        await alice.rename("third")
    assert 3590 < caught.value.retry_after_s <= 3600


async def test_rename_to_a_bad_or_taken_name_changes_nothing(alice, bob):
    await sees(alice, "bob")
    for bad in ("", "no way", "system", "x" * 33):
        with pytest.raises(mesh.UsageError):
            await alice.rename(bad)
    with pytest.raises(mesh.NameInUseError):
        await alice.rename("BOB")
    assert alice.name == "alice"
    await alice.rename("alicia")


async def test_rename_in_case_only_keeps_the_mailbox(alice, bob):
    await alice.rename("Alice")
    assert alice.name == "Alice"
    await bob.send("alice", "hello")
    assert "hello" in await contents(alice, wait_s=5)


async def test_shared_file_arrives_with_its_digest_and_a_private_copy(alice, bob, tmp_path, config):
    path = tmp_path / "notes.md"
    path.write_text("# Notes\n")
    with pytest.raises(mesh.PolicyError):
        await alice.share_file("bob", path)
    async with mesh.join("carol", config(share_roots=(tmp_path,))) as carol:
        shared = await carol.share_file("bob", path, "my notes")
        digest = hashlib.blake2b(b"# Notes\n", digest_size=32).hexdigest()
        assert (shared.name, shared.bytes, shared.blake2b) == ("notes.md", 8, digest)
        assert await shared.wait("delivered", 5)
        (got,) = await bob.check()
        assert (got.kind, got.data["type"], got.data["name"]) == ("file", "file", "notes.md")
        assert got.data | {"path": ""} == {
            "type": "file",
            "name": "notes.md",
            "bytes": 8,
            "blake2b": digest,
            "description": "my notes",
            "content": "# Notes\n",
            "path": "",
        }
        assert got.path == got.data["path"]
        assert Path(got.path).read_bytes() == b"# Notes\n"
        assert await shared.wait("shown", 5)
        assert shared.state == "shown"
        with pytest.raises(mesh.UsageError):
            await carol.share_file("bob", tmp_path / "missing")
        with pytest.raises(mesh.UsageError, match="description"):
            await carol.share_file("bob", path, "x" * (limits.description_chars_max + 1))


async def test_shared_command_is_run_and_its_output_sent(bob, tmp_path, config):
    async with mesh.join("alice", config(share_roots=(tmp_path,))) as alice:
        shared = await alice.share_command("bob", "echo 'a b'", "try", cwd=tmp_path)
        assert (shared.returncode, shared.truncated) == (0, False)
        assert await shared.wait("delivered", 5)
        (got,) = await bob.check()
        assert got.kind == "command"
        assert {k: got.data[k] for k in ("type", "command", "stdout", "returncode")} == {
            "type": "command",
            "command": "echo 'a b'",
            "stdout": "a b\n",
            "returncode": 0,
        }
        with pytest.raises(mesh.PolicyError):
            await alice.share_command("bob", "rm -rf x", cwd=tmp_path)
        with pytest.raises(mesh.UsageError):
            await alice.share_command("bad name", "echo x", cwd=tmp_path)


async def test_roster_has_what_list_instances_shows(alice, config):
    profile = mesh.Profile(client="tester", summary="testing", wake="inbox")
    async with mesh.join("bob", config(), profile=profile) as bob:
        await sees(alice, "bob")
        own, other = alice.roster()
        assert (own.id, own.you, own.state) == ("alice", True, "live")
        assert (other.id, other.you, other.verified) == ("bob", False, "open")
        assert other.address == f"bob#{bob.fingerprint[:8]}"
        assert (other.client, other.summary, other.wake) == ("tester", "testing", "inbox")
        assert other.host
        assert datetime.fromisoformat(other.registered_at).tzinfo is not None
        assert datetime.fromisoformat(other.last_seen).tzinfo is not None
        bob.describe(mesh.Profile(summary="something else"))
        async with asyncio.timeout(5):
            while alice.roster()[1].summary != "something else":
                with alice._node.desk.roster_bell.listen() as ear:
                    await ear.wait()
    await sees(alice, "bob", state="away")


async def test_name_and_fingerprint_address_one_agent(alice, bob):
    await sees(alice, "bob")
    receipt = await alice.send(f"Bob#{bob.fingerprint[:8].upper()}", "exact")
    assert await receipt.wait("delivered", 5)
    receipt = await alice.send("bob#000000", "nobody has that")
    assert [r.why for r in receipt.recipients] == ["unknown_name"]


async def test_secret_mode_pins_at_first_contact(config):
    secret = "a secret of good length"
    async with (
        mesh.join("alice", config(secret=secret)) as alice,
        mesh.join("bob", config(secret=secret)) as bob,
    ):
        assert alice.mode == "secret"
        await sees(alice, "bob")
        assert [e.verified for e in alice.roster()] == ["pinned", "first_contact"]
        await alice.send("bob", "one")
        await alice.send("bob", "two")
        assert [m.verified for m in await bob.check(wait_s=5, limit=1)] == ["first_contact"]
        assert [m.verified for m in await bob.check(wait_s=5)] == ["pinned"]
        assert [e.verified for e in alice.roster()] == ["pinned", "pinned"]
