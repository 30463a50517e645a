"""The command line as users run it: real processes, real sockets, one private host each."""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mesh.cli.peers import Peer, start_peer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and pipes")
ROOT = Path(__file__).parents[2]


async def ended(process: asyncio.subprocess.Process) -> tuple[bytes, bytes]:
    """Wait for a process, but not for ever, and return what it printed."""
    try:
        async with asyncio.timeout(20):
            return await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


class Host:
    """One state directory, and the commands run on it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        kept = {name: text for name, text in os.environ.items() if not name.startswith("IPC_")}
        settings = {"IPC_HOME": str(directory / "home"), "IPC_MDNS": "off", "IPC_PORT": "0"}
        self.environ = {**kept, **settings, "PYTHONPATH": str(ROOT)}

    async def start(self, *words: str, stdout: int = asyncio.subprocess.PIPE):
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mesh.cli.main", *words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stdout,
            stderr=asyncio.subprocess.PIPE,
            env=self.environ,
            cwd=self.directory,
        )

    async def run(self, *words: str) -> tuple[int, list[dict[str, object]]]:
        process = await self.start(*words, "--json")
        output, errors = await ended(process)
        assert errors == b""
        return process.returncode, [json.loads(line) for line in output.splitlines()]

    @asynccontextmanager
    async def peer(self, name: str) -> AsyncIterator[Peer]:
        peer = await start_peer(name, self.environ, directory=self.directory)
        async with asyncio.timeout(25), asyncio.TaskGroup() as group:
            group.create_task(peer.read())
            try:
                await peer.wait_until(lambda: bool(peer.ready))
                yield peer
            finally:
                peer.kill()


@pytest.fixture
def host() -> Iterator[Host]:
    # Not pytest's directories: their long names leave no room for the paths of local sockets.
    with tempfile.TemporaryDirectory(prefix="mesh-", ignore_cleanup_errors=True) as directory:
        yield Host(Path(directory))


async def test_demo_holds_every_claim_within_its_time():
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mesh.cli.main", "demo", "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    output, errors = await ended(process)
    lines = [json.loads(line) for line in output.splitlines()]
    assert [line for line in lines if line.get("held") is False] == []
    assert (process.returncode, errors) == (0, b"")
    assert lines[-1]["seconds"] < 20


async def test_run_prints_mail_marks_it_and_ends_cleanly(host):
    assert (await host.run("send", "--as", "alice", "bob", "first", "--wait", "0"))[0] == 3
    async with host.peer("bob") as bob:
        assert bob.ready["instance_id"] == "bob"
        assert (await host.run("send", "--as", "alice", "bob", "second", "--wait", "5"))[0] == 0
        await bob.wait_until(lambda: bob.texts_from("alice") == ["first", "second"])
        assert await bob.interrupt() == 0
    assert await host.run("check", "--as", "bob") == (4, [])
    code, history = await host.run("check", "--as", "bob", "--history")
    assert (code, [line["content"] for line in history]) == (0, ["first", "second"])


async def test_command_acts_through_the_live_session_of_its_name(host):
    async with host.peer("bob") as bob, host.peer("alice") as alice:
        code, sent = await host.run("send", "--as", "BOB", "alice", "as bob", "--wait", "5")
        assert code == 0
        await alice.wait_until(lambda: alice.texts_from("bob") == ["as bob"])
        assert alice.messages[0]["fingerprint"] == bob.ready["fingerprint"]
        code, lines = await host.run("status", "--as", "bob", sent[0]["id"])
        assert lines[0]["recipients"][0]["state"] in ("delivered", "shown")
        code, lines = await host.run("run", "--as", "bob")
        assert (code, lines[0]["code"]) == (1, "name_in_use")
        code, lines = await host.run("list")
        assert {(line["id"], line["state"]) for line in lines} == {
            ("alice", "live"),
            ("bob", "live"),
        }


async def test_commands_of_one_name_at_once_all_get_their_turn(host):
    texts = [f"message {number}" for number in range(6)]
    async with host.peer("bob") as bob:
        async with asyncio.TaskGroup() as group:
            sends = [group.create_task(host.run("send", "--as", "fred", "bob", t)) for t in texts]
        assert [send.result()[0] for send in sends] == [0] * len(texts)
        await bob.wait_until(lambda: len(bob.messages) == len(texts))
        assert sorted(bob.texts_from("fred")) == texts


async def test_waiting_check_gets_mail_as_it_comes(host):
    async with host.peer("alice"):
        process = await host.start("check", "--as", "bob", "--wait", "20", "--json")
        assert (await host.run("send", "--as", "alice", "bob", "now", "--wait", "8"))[0] == 0
        output, _ = await ended(process)
    assert (process.returncode, json.loads(output)["content"]) == (0, "now")


async def test_ctrl_c_ends_a_waiting_check_without_a_traceback(host):
    process = await host.start("check", "--as", "bob", "--wait", "20")
    lock = host.directory / "home/mail/bob/mailbox.db"
    while not lock.exists():
        await asyncio.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = await ended(process)
    assert (process.returncode, errors) == (130, b"")


async def test_mail_that_nobody_read_from_the_pipe_stays_unread(host):
    await host.run("send", "--as", "alice", "bob", "x" * 100_000, "--wait", "0")
    async with host.peer("alice"):
        reading, writing = os.pipe()
        os.close(reading)
        process = await host.start("check", "--as", "bob", "--wait", "8", stdout=writing)
        os.close(writing)
        _, errors = await ended(process)
        assert (process.returncode, errors) == (1, b"")
        code, lines = await host.run("check", "--as", "bob")
        assert (code, len(lines)) == (0, 1)


async def test_mail_passes_between_commands_that_never_run_at_the_same_time(host):
    code, (sent,) = await host.run("send", "--as", "alice", "bob", "before bob exists")
    assert (code, sent["state"], sent["why"]) == (0, "queued", "unknown_name")
    code, (first,) = await host.run("check", "--as", "bob")
    assert (code, first["content"], first["from"]) == (0, "before bob exists", "alice")
    code, (sent,) = await host.run("send", "--as", "alice", "bob", "bob is away", "--wait", "10")
    assert (code, sent["state"]) == (0, "delivered")
    code, (second,) = await host.run("check", "--as", "bob")
    assert (code, second["content"]) == (0, "bob is away")
    code, agents = await host.run("list")
    assert (code, sorted((a["id"], a["state"]) for a in agents)) == (
        0,
        [("alice", "away"), ("bob", "away")],
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
async def test_output_that_cannot_be_written_is_one_sentence_and_keeps_mail_unread(host):
    await host.run("send", "--as", "alice", "bob", "kept", "--wait", "0")
    for words in (("check", "--as", "bob"), ("check", "--as", "bob", "--json")):
        with Path("/dev/full").open("wb") as full:
            process = await host.start(*words, stdout=full.fileno())
            _, errors = await ended(process)
        assert (process.returncode, errors) == (
            1,
            b"mesh: standard output cannot be written: No space left on device\n",
        )
    code, lines = await host.run("check", "--as", "bob")
    assert (code, [line["content"] for line in lines]) == (0, ["kept"])


async def test_what_a_terminal_cannot_show_is_escaped(host):
    await host.run("send", "--as", "alice", "bob", "grün ☃", "--wait", "0")
    host.environ["PYTHONIOENCODING"] = "latin-1"
    output, errors = await ended(await host.start("check", "--as", "bob"))
    assert (b"gr\xfcn \\u2603" in output, errors) == (True, b"")
