"""The inbox socket as it may be: gone, deaf, slow, reset; what each lets us claim."""

import asyncio
import json
import socket
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mcp_bridge import line as line_module
from mcp_bridge import push as push_module
from mcp_bridge.line import InboxSocket
from tests.bridge.bridges import Start
from tests.bridge.inboxes import TOKEN, FakeInbox

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="what was read is known on Linux only"),
]
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(path: Path, talk: Talk) -> AsyncIterator[InboxSocket]:
    async with asyncio.timeout(20):
        server = await asyncio.start_unix_server(talk, path)
        try:
            yield InboxSocket(str(path), TOKEN)
        finally:
            server.close()


@pytest.fixture
def path(home: Path) -> Path:
    return home.parent / "inbox"


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "_read_timeout_s", 0.4)
    monkeypatch.setattr(line_module, "_write_timeout_s", 0.4)


async def test_who_reads_and_closes_has_read_it(path: Path) -> None:
    lines: list[dict] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.extend(json.loads(line) for line in (await reader.read()).splitlines())
        writer.close()

    async with listening(path, talk) as line:
        assert line.is_there()
        assert await line.send("héllo\n")
    assert lines == [
        {"type": "auth", "token": TOKEN},
        {"type": "user", "message": {"role": "user", "content": "héllo\n"}},
    ]


async def test_who_reads_two_lines_and_stays_has_read_it(path: Path) -> None:
    done, closed = asyncio.Event(), asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.5)
        for _ in range(2):
            await reader.readline()
        await done.wait()
        writer.close()
        await writer.wait_closed()
        closed.set()

    async with listening(path, talk) as line:
        assert await line.send("hello")
        done.set()
        await closed.wait()


async def test_who_never_reads_has_perhaps_read_it(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(path))
        deaf.listen(1)
        assert await InboxSocket(str(path), TOKEN).send("hello") is False


async def test_who_hangs_up_unread_has_not_read_it(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as rude:
        rude.bind(str(path))
        rude.listen(1)
        line = InboxSocket(str(path), TOKEN)
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(_fails(line))
            accepted = (await asyncio.to_thread(rude.accept))[0]
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await asyncio.sleep(0.1)
            accepted.close()
            assert await sending


async def test_a_full_backlog_and_a_missing_socket_are_errors(path: Path) -> None:
    line = InboxSocket(str(path), TOKEN)
    assert not line.is_there()
    assert await _fails(line)
    with socket.socket(socket.AF_UNIX) as full, socket.socket(socket.AF_UNIX) as first:
        full.bind(str(path))
        full.listen(0)
        first.connect(str(path))
        assert await _fails(line)


async def _fails(line: InboxSocket) -> bool:
    try:
        await line.send("hello")
    except OSError:
        return True
    return False


async def test_what_a_deaf_session_was_pushed_is_neither_lost_nor_pushed_again(
    start: Start, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_module, "retry_s", 0.1)
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(path))
        deaf.listen(8)
        line = InboxSocket(str(path), TOKEN)
        async with start("alice") as alice, start("bob", line=line) as bob:
            sent = await alice.call("send", to_id="bob", content="are you there?")
            link = (await asyncio.to_thread(deaf.accept))[0]
            # What was pushed second waits behind the first: by then that one was given up.
            await alice.call("send", to_id="bob", content="second")
            second = (await asyncio.to_thread(deaf.accept))[0]
            assert (await alice.call("status", id=sent["id"]))["message"] == "bob: delivered"
            for accepted, text in ((link, b"are you there?"), (second, b"second")):
                shown = b""
                while part := accepted.recv(4096):
                    shown += part
                assert shown.count(text) == 1
                accepted.close()
            found = (await bob.call("check"))["messages"]
            assert "are you there?" in [message["content"] for message in found]


async def test_a_session_that_starts_anew_is_not_pushed_the_same_again(
    start: Start, inbox: FakeInbox
) -> None:
    async with start("alice") as alice:
        async with start("bob", line=inbox.line):
            await alice.call("send", to_id="bob", content="short")
            long = await alice.call("send", to_id="bob", content="long " + "x" * 3000)
            while not any("begins" in text for text in inbox.shown):
                await asyncio.sleep(0.02)
            while (await alice.call("status", id=long["id"]))["message"] == "bob: queued":
                await asyncio.sleep(0.02)
        told = len(inbox.shown)
        async with start(instance_id="bob", line=inbox.line) as bob:
            await bob.call("status")
            assert await inbox.text(told + 1) == (
                "claude-ipc mesh: 1 message waits; read them with the claude-ipc tool check."
            )
            (message,) = (await bob.call("check"))["messages"]
            assert message["content"].startswith("long ")
        assert sum('"short"' in text for text in inbox.shown) == 1
        assert sum('"long ' in text for text in inbox.shown) == 1
