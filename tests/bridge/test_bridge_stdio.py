"""The installed command as a client starts it: a process, its three streams, and its signals."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters

from tests.bridge.inboxes import TOKEN, FakeInbox

pytestmark = pytest.mark.anyio
root = Path(__file__).parents[2]
posix_only = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "probe", "version": "1"},
    },
}
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}


@pytest.fixture
def environment(home: Path) -> dict[str, str]:
    """Return the variables of one host and mesh of its own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("IPC_", "CLAUDE"))}
    mesh = {"IPC_HOME": str(home), "IPC_MESH": f"t{uuid4().hex[:12]}"}
    return {**kept, **mesh, "IPC_MDNS": "off", "IPC_PORT": "0", "PYTHONPATH": str(root)}


class Process:
    """The server, spoken to line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._ids = 100

    async def write(self, line: str | dict[str, Any]) -> None:
        assert self.process.stdin is not None
        text = line if isinstance(line, str) else json.dumps(line)
        self.process.stdin.write(text.encode() + b"\n")
        await self.process.stdin.drain()

    async def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        assert line, "the server has ended"
        value: dict[str, Any] = json.loads(line)
        return value

    async def begin(self) -> None:
        await self.write(INITIALIZE)
        assert (await self.read())["result"]["serverInfo"]["name"] == "claude-ipc"
        await self.write(INITIALIZED)

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        self._ids += 1
        params = {"name": tool, "arguments": arguments}
        await self.write(
            {"jsonrpc": "2.0", "id": self._ids, "method": "tools/call", "params": params}
        )
        answer = await self.read()
        assert answer["id"] == self._ids
        value: dict[str, Any] = json.loads(answer["result"]["content"][0]["text"])
        return value

    async def close(self) -> int:
        """Close standard input; return the exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return await self.process.wait()

    async def errors(self) -> str:
        assert self.process.stderr is not None
        return (await self.process.stderr.read()).decode()


@asynccontextmanager
async def launched(environment: dict[str, str], *command: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *(command or ("-m", "mcp_bridge")),
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=16 * 1024 * 1024,
    )
    try:
        async with asyncio.timeout(20):
            yield Process(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_two_processes_exchange_mail(environment: dict[str, str], mode: str) -> None:
    def server(name: str) -> StdioServerParameters:
        return StdioServerParameters(
            command=sys.executable,
            args=["-m", "mcp_bridge"],
            env={**environment, "IPC_INSTANCE_ID": name},
        )

    async with (
        asyncio.timeout(20),
        Client(server("alice"), mode=mode) as alice,
        Client(server("bob"), mode=mode) as bob,
    ):
        assert (mode == "legacy") == (alice.protocol_version < "2026")
        await bob.call_tool("status", {})
        sent = await alice.call_tool("send", {"to_id": "bob", "content": "hello"})
        assert json.loads(sent.content[0].text)["status"] == "ok"
        checked = await bob.call_tool("check", {"wait_s": 5})
        (message,) = json.loads(checked.content[0].text)["messages"]
        assert (message["from"], message["content"]) == ("alice", "hello")


@posix_only
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
async def test_a_signal_ends_it_at_once_even_in_a_waiting_call(
    environment: dict[str, str], name: str
) -> None:
    async with launched({**environment, "IPC_INSTANCE_ID": "alice"}) as server:
        await server.begin()
        assert (await server.call("status"))["instance_id"] == "alice"
        params = {"name": "check", "arguments": {"wait_s": 60}}
        await server.write({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params})
        await server.write({"jsonrpc": "2.0", "id": 3, "method": "ping"})
        assert (await server.read())["id"] == 3
        server.process.send_signal(getattr(signal, name))
        assert await server.process.wait() == 0
        assert "Traceback" not in await server.errors()


@posix_only
async def test_a_signal_ends_it_even_while_its_event_loop_is_held_up(
    environment: dict[str, str],
) -> None:
    code = (
        "import sys, time, mcp_bridge.tools as t\n"
        "from mcp_bridge.__main__ import main\n"
        "async def call(*a):\n"
        "    print('held up', file=sys.stderr, flush=True); time.sleep(60)\n"
        "t.Tools.call = call\n"
        "sys.exit(main())\n"
    )
    async with launched(environment, "-c", code) as server:
        await server.begin()
        params = {"name": "status", "arguments": {}}
        await server.write({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params})
        assert server.process.stderr is not None
        assert await server.process.stderr.readline() == b"held up\n"
        server.process.send_signal(signal.SIGINT)
        assert await server.process.wait() == 0


@posix_only
async def test_a_signal_during_the_start_ends_it_quietly(environment: dict[str, str]) -> None:
    async with launched(environment) as server:
        await asyncio.sleep(0.25)
        server.process.send_signal(signal.SIGINT)
        assert await server.process.wait() in (0, -signal.SIGINT)


async def test_the_end_of_input_ends_it_and_frees_the_name(environment: dict[str, str]) -> None:
    named = {**environment, "IPC_INSTANCE_ID": "alice"}
    for _ in range(2):
        async with launched(named) as server:
            await server.begin()
            assert (await server.call("check"))["message"] == "No new messages"
            assert (await server.close(), await server.errors()) == (0, "")


async def test_the_end_of_input_ends_a_waiting_call(environment: dict[str, str]) -> None:
    async with launched({**environment, "IPC_INSTANCE_ID": "alice"}) as server:
        await server.begin()
        await server.call("status")
        params = {"name": "check", "arguments": {"wait_s": 60}}
        await server.write({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params})
        assert (await server.close(), await server.errors()) == (0, "")


async def test_the_end_of_input_before_any_request_ends_it(environment: dict[str, str]) -> None:
    async with launched(environment) as server:
        assert (await server.close(), await server.errors()) == (0, "")


async def test_lines_that_are_no_messages_are_answered(environment: dict[str, str]) -> None:
    async with launched(environment) as server:
        for line, request_id, code in [
            ("garbage", None, -32700),
            ("[" * 10_000, None, -32700),
            ("[]", None, -32600),
            ('{"id": 3, "method": "ping"}', 3, -32600),
            ('{"jsonrpc":"2.0","id":7,"method":"ping","params":{"a":"\\ud800"}}', 7, -32700),
            ('{"jsonrpc":"2.0","id":true,"method":5}', None, -32600),
        ]:
            await server.write("")
            await server.write(line)
            answer = await server.read()
            assert (answer["id"], answer["error"]["code"]) == (request_id, code)
        await server.begin()
        await server.write("\x00\xff not json")
        assert (await server.read())["error"]["code"] == -32700
        assert (await server.call("status"))["status"] == "ok"


async def test_lines_of_16_mib_are_answered(environment: dict[str, str]) -> None:
    async with launched(environment) as server:
        await server.begin()
        await server.write("x" * 2**24)
        assert (await server.read())["error"]["code"] == -32700
        refused = await server.call("register", instance_id="y" * 2**24)
        assert (refused["code"], "instance_id" in refused["message"]) == ("usage", True)
        assert (await server.call("register", instance_id="alice"))["status"] == "ok"


async def test_stray_prints_never_reach_the_client(environment: dict[str, str]) -> None:
    code = (
        "import os, sys, mcp_bridge.tools as t\n"
        "from mcp_bridge.__main__ import main\n"
        "real = t.Tools.call\n"
        "async def call(*a):\n"
        "    print('stray', flush=True); os.system('echo stray'); os.write(1, b'stray')\n"
        "    return await real(*a)\n"
        "t.Tools.call = call\n"
        "sys.exit(main())\n"
    )
    async with launched(environment, "-c", code) as server:
        await server.begin()
        assert (await server.call("status"))["status"] == "ok"
        assert await server.close() == 0
        assert (await server.errors()).count("stray") == 3


async def test_a_wrong_setting_is_one_sentence_and_exit_1(environment: dict[str, str]) -> None:
    async def attempt(settings: dict[str, str]) -> None:
        async with launched({**environment, **settings}) as server:
            assert await server.process.wait() == 1
            said = await server.errors()
            assert said.startswith("claude-ipc-mcp: ")
            assert (said.count("\n"), "Traceback" in said) == (1, False)

    async with asyncio.TaskGroup() as group:
        for settings in (
            {"IPC_SHARED_SECRET": "changeme"},
            {"IPC_SHARED_SECRET": ""},
            {"IPC_PORT": "many"},
            {"IPC_INSTANCE_ID": "no good"},
            {"IPC_PUSH": "sometimes"},
        ):
            group.create_task(attempt(settings))


async def test_a_state_directory_that_is_a_link_ends_it_with_one_sentence(
    environment: dict[str, str], tmp_path: Path
) -> None:
    Path(environment["IPC_HOME"]).symlink_to(tmp_path)
    async with launched(environment) as server:
        assert await server.process.wait() == 1
        said = await server.errors()
        assert "symbolic link" in said
        assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


async def test_a_home_once_used_with_a_secret_refuses_open_mode(
    environment: dict[str, str], home: Path
) -> None:
    home.mkdir(mode=0o700)
    (home / "secret.used").touch()
    async with launched(environment) as server:
        assert await server.process.wait() == 1
        said = await server.errors()
        assert "was used with a secret" in said
        assert said.count("\n") == 1
    assert [path.name for path in home.iterdir()] == ["secret.used"]


async def test_a_health_check_leaves_no_trace(environment: dict[str, str], home: Path) -> None:
    async with launched({**environment, "IPC_INSTANCE_ID": "alice"}) as server:
        await server.write(INITIALIZE)
        await server.read()
        assert await server.close() == 0
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "mcp_bridge"],
        env={**environment, "IPC_INSTANCE_ID": "alice"},
    )
    async with asyncio.timeout(20), Client(parameters) as client:
        assert len((await client.list_tools()).tools) == 11
    assert not home.exists()


async def test_a_secret_is_not_inherited_by_shared_commands(
    environment: dict[str, str],
) -> None:
    settings = {"IPC_SHARED_SECRET": "correct horse battery", "IPC_SHARE_COMMAND": "any"}
    async with launched({**environment, **settings, "IPC_BIND": "127.0.0.1"}) as server:
        await server.begin()
        registered = await server.call("register", instance_id="alice")
        assert registered["mode"] == "secret"
        await server.call("share_command", to_id="alice", command="env")
        (message,) = (await server.call("check"))["messages"]
        assert "PATH=" in message["data"]["stdout"]
        assert "horse" not in message["data"]["stdout"]


@posix_only
async def test_mail_is_pushed_into_the_session_that_started_the_server(
    environment: dict[str, str], inbox: FakeInbox
) -> None:
    named = {**environment, "IPC_INSTANCE_ID": "alice"}
    named["CLAUDE_CODE_MESSAGING_SOCKET"] = str(inbox.path)
    named["CLAUDE_CODE_MESSAGING_TOKEN"] = TOKEN
    named |= {"IPC_SHARE_COMMAND": "any", "CLAUDE_PROJECT_DIR": "/nowhere/project"}
    async with launched(named) as server:
        await server.begin()
        assert (await server.call("status"))["push"] == "inbox"
        await server.call("send", to_id="alice", content="note to self")
        assert '"note to self"' in await inbox.text(1)
        await server.call("share_command", to_id="alice", command="env")
        await inbox.text(2)
        (shared,) = (await server.call("check", history=True, search="env"))["messages"]
        assert "PATH=" in shared["data"]["stdout"]
        assert TOKEN not in shared["data"]["stdout"]
        (entry,) = (await server.call("list_instances"))["instances"]
        assert (entry["wake"], entry["summary"], entry["place"]) == ("push",) + ("project",) * 2


async def test_a_channel_gets_headlines_over_the_handshake_era(
    environment: dict[str, str],
) -> None:
    async with launched(
        {**environment, "IPC_INSTANCE_ID": "alice", "IPC_PUSH": "channel"}
    ) as server:
        probe = {"jsonrpc": "2.0", "id": 0, "method": "server/discover", "params": {}}
        await server.write(probe)
        answer = await server.read()
        assert (answer["id"], answer["error"]["code"]) == (0, -32601)
        await server.write(INITIALIZE)
        result = (await server.read())["result"]
        assert result["capabilities"]["experimental"] == {"claude/channel": {}}
        await server.write(INITIALIZED)
        assert (await server.call("status"))["push"] == "channel"
        await server.call("send", to_id="alice", content="y" * 200)
        pushed = await server.read()
        assert pushed["method"] == "notifications/claude/channel"
        assert "id" not in pushed
        text = pushed["params"]["content"]
        assert "From alice" in text
        assert text.count("y" * 160) == 1
        assert "y" * 161 not in text
        assert all(isinstance(value, str) for value in pushed["params"]["meta"].values())
        (message,) = (await server.call("check"))["messages"]
        assert message["content"] == "y" * 200


async def test_no_channel_is_declared_unasked(environment: dict[str, str]) -> None:
    async with launched(environment) as server:
        await server.write(INITIALIZE)
        capabilities = (await server.read())["result"]["capabilities"]
        assert "claude/channel" not in json.dumps(capabilities)
