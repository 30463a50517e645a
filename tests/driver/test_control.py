"""The control endpoint and the agent used through it, over real sockets."""

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mesh import limits
from mesh.driver import remote
from mesh.driver.control import ControlServer, decode_line, encode_line
from mesh.driver.operations import Operations
from mesh.driver.remote import ControlPoint, RemoteAgent, SessionGoneError
from mesh.driver.results import Recipient, Renamed
from mesh.errors import (
    ConfigError,
    MalformedError,
    NameInUseError,
    RateLimitError,
    TransportError,
    UnconfirmedError,
    UsageError,
)
from tests.driver.doubles import (
    TIME,
    TOKEN,
    DoubleAgent,
    DoubleSession,
    letter,
    refuse_release,
)


@asynccontextmanager
async def serving(server: ControlServer) -> AsyncIterator[ControlServer]:
    async with asyncio.timeout(10), server, asyncio.TaskGroup() as group:
        work = group.create_task(server.serve())
        yield server
        work.cancel()


@asynccontextmanager
async def session_of(
    home: Path, agent: DoubleAgent | None, *, file: str = "node.ctl"
) -> AsyncIterator[ControlServer]:
    operations = Operations(DoubleSession(home, agent), release=refuse_release)
    server = ControlServer(home / file, TOKEN, operations)
    async with serving(server):
        yield server


@pytest.fixture
def agent() -> DoubleAgent:
    return DoubleAgent()


async def connected(server: ControlServer) -> RemoteAgent:
    found = await remote.connect(server.endpoint, TOKEN)
    assert found is not None
    return found


async def test_remote_agent_tells_who_it_is(tmp_path, agent):
    agent.inbox = [letter(1)]
    async with session_of(tmp_path, agent) as server:
        found = await connected(server)
    assert (found.name, found.fingerprint, found.mode) == ("alice", "ef" * 16, "open")
    assert (found.mesh, found.unread, found.is_passing) == ("default", 1, False)


@pytest.mark.skipif(os.name == "nt", reason="no Unix sockets")
async def test_endpoint_is_private_and_removed_at_the_end(tmp_path, agent):
    async with session_of(tmp_path, agent) as server:
        path = Path(server.endpoint)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


async def test_too_long_a_path_becomes_a_loopback_port(tmp_path, agent):
    async with session_of(tmp_path, agent, file="n" * 120) as server:
        assert server.endpoint.startswith("tcp://127.0.0.1:")
        assert (await connected(server)).name == "alice"


async def test_endpoint_that_cannot_be_bound_is_a_transport_error(tmp_path, agent):
    with pytest.raises(TransportError):
        async with session_of(tmp_path / "missing", agent):
            pass


async def test_wrong_token_is_taken_for_another_session(tmp_path, agent):
    async with session_of(tmp_path, agent) as server:
        for token in ("", "x", TOKEN + "x", "é"):
            with pytest.raises(SessionGoneError):
                await remote.connect(server.endpoint, token)
    assert agent.calls == []


async def test_send_passes_everything_and_gives_the_receipt(tmp_path, agent):
    async with session_of(tmp_path, agent) as server:
        receipt = await (await connected(server)).send(
            "bob", "hi\n\x00é\u2028", data={"k": [1, None, "\ud800"]}, ttl_s=5, urgent=True
        )
    options = {"reply_to": None, "ttl_s": 5, "urgent": True, "caused_by": []}
    data = {"k": [1, None, "\ud800"]}
    assert agent.calls == [("send", "bob", "hi\n\x00é\u2028", {"data": data, **options})]
    assert (receipt.id, receipt.state) == ("1" * 32, "queued")
    assert receipt.recipients == [Recipient(to="bob", state="queued", why="away")]


async def test_receipt_waits_in_the_session_and_learns_the_new_state(tmp_path, agent):
    async with session_of(tmp_path, agent) as server:
        receipt = await (await connected(server)).send("bob", "hi")
        assert not await receipt.wait("delivered", timeout_s=0.01)
        agent.last.arrived.set()
        assert await receipt.wait("delivered", timeout_s=5)
    assert receipt.recipients == [Recipient(to="bob", state="delivered", at=TIME)]


async def test_waiting_for_a_forgotten_receipt_is_refused(tmp_path, agent):
    async with session_of(tmp_path, agent) as server:
        receipt = await (await connected(server)).send("bob", "hi")
    async with session_of(tmp_path, agent) as server:
        with pytest.raises(UsageError):
            await receipt.wait("delivered", timeout_s=1)


async def test_read_marks_what_has_arrived_and_peek_does_not(tmp_path, agent):
    agent.inbox = [letter(1), letter(2, data={"a": 1}), letter(3)]
    async with session_of(tmp_path, agent) as server:
        found = await connected(server)
        assert await found.check(peek=True) == [letter(1), letter(2, data={"a": 1}), letter(3)]
        assert agent.shown == []
        page = await found.read(limit=2)
        assert (page.messages, page.remaining) == ((letter(1), letter(2, data={"a": 1})), 1)
    assert agent.shown == [f"{1:032x}", f"{2:032x}"]


async def test_messages_are_shown_when_the_next_is_asked_for(tmp_path, agent):
    agent.inbox = [letter(1), letter(2)]
    async with session_of(tmp_path, agent) as server:
        stream = (await connected(server)).messages()
        assert await anext(stream) == letter(1)
        assert agent.shown == []
        assert await anext(stream) == letter(2)
        assert agent.shown == [f"{1:032x}"]
        await stream.aclose()


async def test_largest_message_of_the_worst_characters_passes(tmp_path, agent):
    worst = letter(1, "\x01" * limits.content_bytes_max, data="\x01" * (limits.data_bytes_max - 2))
    agent.inbox = [worst]
    async with session_of(tmp_path, agent) as server:
        found = await connected(server)
        assert await found.check(peek=True) == [worst]
        await found.send("bob", worst.content, data=worst.data)
    assert agent.calls[0][2] == worst.content


async def test_cancelling_a_waiting_check_cancels_it_in_the_session(tmp_path, agent):
    async with session_of(tmp_path, agent) as server:
        found = await connected(server)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(found.read(wait_s=60))
            await agent.is_waiting.wait()
            waiting.cancel()
        await agent.was_cancelled.wait()
    assert agent.shown == []


async def test_remote_sharing_names_absolute_places(tmp_path, agent, monkeypatch):
    monkeypatch.chdir(tmp_path)
    async with session_of(tmp_path, agent) as server:
        found = await connected(server)
        shared = await found.share_file("bob", "notes.md", "agreed")
        ran = await found.share_command("bob", "git status")
    assert (shared.name, shared.bytes, shared.blake2b) == ("notes.md", 3, "cd" * 32)
    assert (ran.returncode, ran.truncated) == (0, False)
    assert agent.calls == [
        ("share_file", "bob", tmp_path / "notes.md", "agreed"),
        ("share_command", "bob", "git status", "", str(tmp_path)),
    ]


async def test_everything_else_is_done_by_the_session(tmp_path, agent):
    async with session_of(tmp_path, agent) as server:
        found = await connected(server)
        assert (await found.broadcast("all")).id == "1" * 32
        assert len(await found.send_many([("bob", "1"), ("carol", "2", {"k": 1})])) == 2
        assert await found.ask("bob", "ready?", timeout_s=5) == letter(9, "yes", reply_to="1" * 32)
        assert await found.rename("alba") == Renamed("alba", TIME)
        assert found.name == "alba"
        assert [entry.id for entry in await found.roster()] == ["alice"]
        assert await found.status() == await agent.status()
        assert await found.receipt("1" * 32) == await agent.receipt("1" * 32)
        assert await found.save_text(letter(4)) == Path(f"/files/{4:032x}")
        await found.trust("bob", "abcdef")
        assert await remote.release(server.endpoint, TOKEN, "tended")
        assert not await remote.release(server.endpoint, TOKEN, "alice")
        entries = await remote.local_roster(server.endpoint, TOKEN)
        assert entries == await found.roster()
    kinds = [call[0] for call in agent.calls]
    assert kinds == ["broadcast", "send", "send", "ask", "rename", "trust"]


@pytest.mark.parametrize(
    "error",
    [
        UsageError("bad name"),
        NameInUseError("held"),
        ConfigError("wrong"),
        UnconfirmedError("perhaps", message_id="7" * 32),
        RateLimitError("later", retry_after_s=42.0),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_errors_arrive_as_what_they_were(tmp_path, agent, error):
    agent.error = error
    async with session_of(tmp_path, agent) as server:
        found = await connected(server)
        with pytest.raises(type(error)) as caught:
            await found.send("bob", "hi")
    assert str(caught.value) == str(error)
    assert vars(caught.value) == vars(error)


async def test_question_without_a_reply_times_out(tmp_path, agent):
    agent.reply = None
    async with session_of(tmp_path, agent) as server:
        found = await connected(server)
        with pytest.raises(TimeoutError):
            await found.ask("bob", "ready?", timeout_s=0)


async def test_session_without_a_name_has_no_agent(tmp_path):
    async with session_of(tmp_path, None) as server:
        assert await remote.connect(server.endpoint, TOKEN) is None
        with pytest.raises(UsageError):
            await ControlPoint(server.endpoint, TOKEN).ask("send", {"to": "bob", "content": "x"})


@pytest.mark.parametrize(
    ("op", "args"),
    [
        ("fly", {}),
        ("send", {"to": 1, "content": "x"}),
        ("send", {"to": "bob"}),
        ("send", {"to": "bob", "content": "x", "ttl_s": True}),
        ("mark_shown", {"messages": [{"id": "x"}]}),
        ("mark_shown", {"messages": 5}),
    ],
)
async def test_bad_arguments_are_refused(tmp_path, agent, op, args):
    async with session_of(tmp_path, agent) as server:
        with pytest.raises(UsageError):
            await ControlPoint(server.endpoint, TOKEN).ask(op, args)
    assert agent.calls == []


@pytest.mark.parametrize("line", [b"\n", b"[]\n", b"{\n", b"\xff\n", b"[" * 100_000 + b"\n", b"{}"])
async def test_garbage_ends_the_stream_and_nothing_else(tmp_path, agent, line):
    async with session_of(tmp_path, agent) as server:
        reader, writer = await asyncio.open_unix_connection(server.endpoint)
        writer.write(line)
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        assert (await connected(server)).name == "alice"


async def test_request_that_is_no_request_is_refused(tmp_path, agent):
    async with session_of(tmp_path, agent) as server:
        with pytest.raises(MalformedError):
            decode_line(b"5\n")
        reader, writer = await asyncio.open_unix_connection(server.endpoint)
        writer.write(encode_line({"token": TOKEN, "op": 5}))
        assert json.loads(await reader.readline())["error"]["type"] == "MalformedError"
        writer.close()
        await writer.wait_closed()


async def test_ended_session_is_reported_as_gone(tmp_path, agent):
    async with session_of(tmp_path, agent) as server:
        found = await connected(server)
    for call in (found.send("bob", "x"), found.check(), found.mark_shown([letter(1)])):
        with pytest.raises(SessionGoneError):
            await call


@pytest.mark.parametrize(
    ("is_repeatable", "expected"), [(False, UnconfirmedError), (True, SessionGoneError)]
)
async def test_session_that_ends_in_the_middle_leaves_a_doubt_only_about_changes(
    tmp_path, is_repeatable, expected
):
    async def vanish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.close()

    path = str(tmp_path / "v.ctl")
    async with asyncio.timeout(5), await asyncio.start_unix_server(vanish, path):
        with pytest.raises(expected):
            await ControlPoint(path, TOKEN).ask("x", {}, is_repeatable=is_repeatable)


async def test_finishing_answers_what_was_begun_and_begins_nothing(tmp_path, agent):
    agent.may_send.clear()
    async with session_of(tmp_path, agent) as server:
        found = await connected(server)
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(found.send("bob", "hi"))
            await agent.is_waiting.wait()
            finishing = group.create_task(server.finish(timeout_s=5))
            await asyncio.sleep(0)
            with pytest.raises(SessionGoneError):
                await found.send("bob", "too late")
            assert not finishing.done()
            agent.may_send.set()
        assert sending.result().id == "1" * 32
    assert [call[2] for call in agent.calls] == ["hi"]


async def test_finishing_does_not_wait_for_readers(tmp_path, agent):
    async with session_of(tmp_path, agent) as server:
        found = await connected(server)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(found.read(wait_s=60))
            await agent.is_waiting.wait()
            await server.finish(timeout_s=5)
            waiting.cancel()


async def test_many_streams_at_once_are_all_answered(tmp_path, agent):
    async with session_of(tmp_path, agent) as server, asyncio.TaskGroup() as group:
        for _ in range(2 * limits.control_links_max):
            group.create_task(connected(server))
