"""Commands that act through a live session: what they print, mark and return.

The session is an agent in memory behind a real control endpoint, found as commands find it: by the
mailbox's lock and the registry entry of the node that holds it.
"""

import asyncio
import io
import json
import os
import shlex
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mesh.cli.console import Console
from mesh.cli.main import main, perform
from mesh.driver.control import ControlServer
from mesh.driver.operations import Operations
from mesh.errors import NameInUseError, PolicyError, RateLimitError
from mesh.store.locks import FileLock
from tests.driver.doubles import TOKEN, DoubleAgent, DoubleSession, letter, refuse_release

NODE = "5e" * 16


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("IPC_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("IPC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IPC_INSTANCE_ID", "alice")
    for part in ("run", "mail/alice"):
        (tmp_path / "home" / part).mkdir(parents=True)
    return tmp_path / "home"


@pytest.fixture
def agent() -> DoubleAgent:
    return DoubleAgent()


@pytest.fixture
def locks(home: Path) -> Iterator[None]:
    with (
        FileLock.acquire(home / "mail/alice/lock", content=NODE.encode()),
        FileLock.acquire(home / f"run/{NODE}.lock", content=b""),
    ):
        yield


@asynccontextmanager
async def serving(home: Path, agent: DoubleAgent) -> AsyncIterator[None]:
    operations = Operations(DoubleSession(home, agent), release=refuse_release)
    server = ControlServer(home / f"run/{NODE}.ctl", TOKEN, operations)
    async with asyncio.timeout(10), server, asyncio.TaskGroup() as group:
        work = group.create_task(server.serve())
        node = {"curve": "00" * 32, "endpoints": [], "mesh": "default", "pid": os.getpid()}
        control = {"control": server.endpoint, "token": TOKEN}
        entry = {**node, "names": ["alice"], "started_ms": 0, **control}
        (home / f"run/{NODE}.json").write_text(json.dumps(entry))
        yield
        work.cancel()


@pytest.fixture
async def session(home: Path, agent: DoubleAgent, locks: None) -> AsyncIterator[DoubleAgent]:
    async with serving(home, agent):
        yield agent


async def run(*words: str) -> tuple[int, list[dict[str, object]]]:
    """Run a command with `--json`; every line it prints must be a JSON object."""
    output = io.StringIO()
    code = await perform([*words, "--json"], Console(is_json=True, stream=output))
    return code, [json.loads(line) for line in output.getvalue().splitlines()]


async def run_text(*words: str) -> tuple[int, str]:
    output = io.StringIO()
    code = await perform(words, Console(is_json=False, stream=output))
    return code, output.getvalue()


async def test_send_through_a_session_is_accepted(session):
    code, lines = await run("send", "bob", "hello", "--data", '{"k": 1}', "--urgent")
    assert code == 0
    assert lines == [
        {
            "status": "ok",
            "message": "Message queued for bob (away)",
            "id": "1" * 32,
            "state": "queued",
            "why": "away",
            "to": "bob",
        }
    ]
    options = {"reply_to": None, "ttl_s": None, "urgent": True, "caused_by": []}
    assert session.calls == [("send", "bob", "hello", {"data": {"k": 1}, **options})]


async def test_send_that_is_not_delivered_in_time_returns_3(session):
    code, lines = await run("send", "bob", "hello", "--wait", "0.01")
    assert (code, lines[0]["state"]) == (3, "queued")


async def test_send_that_is_delivered_says_so(session):
    session.arrives = True
    assert await run_text("send", "bob", "hello", "--wait", "5") == (
        0,
        f"Message sent  id {'1' * 32}\n",
    )


async def test_name_may_be_given_in_any_case_and_before_the_command(session):
    code, _ = await run("--as", "ALICE", "send", "bob", "hello")
    assert code == 0


async def test_check_prints_one_message_a_line_and_marks_them(session):
    session.inbox = [letter(1, "one\x1b[31m"), letter(2, "two", data={"a": 1}, path="/x")]
    code, lines = await run("check")
    assert code == 0
    assert lines[0] == {
        "id": f"{1:032x}",
        "from": "bob",
        "fingerprint": "ab" * 16,
        "verified": "pinned",
        "to": "alice",
        "time": "2026-01-31T09:30:00+00:00",
        "content": "one\x1b[31m",
        "data": None,
        "reply_to": None,
        "urgent": False,
        "kind": "direct",
        "truncated": False,
    }
    assert (lines[1]["data"], lines[1]["path"]) == ({"a": 1}, "/x")
    assert session.shown == [f"{1:032x}", f"{2:032x}"]


async def test_check_reads_page_after_page(session):
    session.inbox = [letter(number) for number in range(1, 8)]
    session.page_max = 3
    code, lines = await run("check")
    assert (code, [line["id"] for line in lines]) == (0, [f"{n:032x}" for n in range(1, 8)])
    assert session.inbox == []


async def test_check_shows_and_marks_no_more_than_its_limit(session):
    session.inbox = [letter(number) for number in range(1, 5)]
    session.page_max = 1
    code, lines = await run("check", "--limit", "2")
    assert (code, len(lines), len(session.inbox)) == (0, 2, 2)


@pytest.mark.parametrize("option", ["--peek", "--history"])
async def test_check_that_only_looks_marks_nothing(session, option):
    session.inbox = [letter(1)]
    code, lines = await run("check", option)
    assert (code, len(lines), session.shown) == (0, 1, [])


async def test_check_without_mail_returns_4(session):
    assert await run("check") == (4, [])
    assert await run_text("check") == (4, "No new messages\n")


async def test_message_that_could_not_be_printed_stays_unread(session):
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    session.inbox = [letter(1)]
    with pytest.raises(BrokenPipeError):
        await perform(["check"], Console(is_json=False, stream=Gone()))
    assert session.shown == []


async def test_text_of_a_message_cannot_imitate_a_heading(session):
    session.inbox = [letter(1, "hi\rFrom: boss\n\x1b]0;title\x07\x9b2J\u202eevil\u2028From: boss")]
    _, text = await run_text("check")
    lines = text.splitlines()
    assert lines[0].endswith(f"bob (pinned)  id {1:032x}")
    assert lines[1:] == ["    hi", "    From: boss", "    evil", "    From: boss"]


async def test_check_begins_anew_when_the_session_ends_and_prints_nothing_twice(home, agent, locks):
    agent.inbox = [letter(1)]
    output = io.StringIO()

    class Ending(io.StringIO):
        """Ends the session as soon as the message was printed, before it can be marked."""

        def write(self, text: str) -> int:
            (home / f"run/{NODE}.json").unlink(missing_ok=True)
            stop.set()
            return output.write(text)

    stop, ended = asyncio.Event(), asyncio.Event()

    async def first_session() -> None:
        async with serving(home, agent):
            agent.hold_marks = True
            await stop.wait()
        agent.hold_marks = False
        ended.set()

    async def second_session() -> None:
        await ended.wait()
        async with serving(home, agent):
            await done.wait()

    done = asyncio.Event()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(first_session())
        group.create_task(second_session())
        await asyncio.sleep(0)
        code = await perform(["check", "--json"], Console(is_json=True, stream=Ending()))
        done.set()
    assert code == 0
    assert len(output.getvalue().splitlines()) == 1
    assert agent.shown == [f"{1:032x}"]


async def test_broadcast_names_everybody(session):
    code, lines = await run("broadcast", "all")
    assert code == 0
    assert lines[0]["message"] == "Broadcast to 1 instances"
    assert lines[0]["recipients"] == [
        {"to": "everyone", "state": "queued", "why": "away", "at": None}
    ]
    assert (lines[0]["delivered"], lines[0]["queued"]) == (0, 1)


async def test_ask_prints_the_reply_and_marks_nothing_else(session):
    session.inbox = [letter(1, "something else")]
    session.answers_at_once = True
    code, lines = await run("ask", "bob", "ready?", "--wait", "5")
    assert (code, lines[0]["content"], lines[0]["from"]) == (0, "yes", "bob")
    assert session.shown == [f"{9:032x}"]


async def test_ask_without_a_reply_says_whether_the_question_arrived(session):
    code, lines = await run("ask", "bob", "ready?", "--wait", "0")
    assert code == 4  # The double's receipts say delivered.
    assert (lines[0]["status"], lines[0]["id"]) == ("error", "1" * 32)
    session.state = "queued"
    code, lines = await run("ask", "bob", "ready?", "--wait", "0")
    assert code == 3


async def test_list_asks_a_live_node_and_knows_who_asks(session):
    code, lines = await run("list")
    assert (code, [(line["id"], line["you"]) for line in lines]) == (0, [("alice", True)])
    code, lines = await run("list", "--as", "carol")
    assert lines[0]["you"] is False
    code, text = await run_text("list")
    assert text.splitlines()[1].startswith("alice (you)  live")


async def test_status_of_the_session_and_of_a_message(session):
    code, lines = await run("status")
    assert (code, lines[0]["instance_id"], lines[0]["mode"]) == (0, "alice", "open")
    code, lines = await run("status", "1" * 32)
    assert lines[0]["recipients"] == [
        {"to": "bob", "state": "delivered", "why": "", "at": "2026-01-31T09:30:00+00:00"}
    ]
    code, text = await run_text("status", "1" * 32)
    assert "bob: delivered since 2026-" in text


async def test_rename_keeps_the_words_that_users_know(session):
    code, lines = await run("rename", "alba")
    assert (code, lines[0]["message"], lines[0]["instance_id"]) == (
        0,
        "Renamed alice to alba",
        "alba",
    )


async def test_share_file_makes_the_path_absolute(session, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, lines = await run("share-file", "bob", "notes.md", "--description", "agreed")
    assert (code, lines[0]["name"], lines[0]["bytes"]) == (0, "notes.md", 3)
    assert session.calls == [("share_file", "bob", tmp_path / "notes.md", "agreed")]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--", "git", "log", "--oneline", "-5"), "git log --oneline -5"),
        (("--", "git", "log", "--", "a file"), "git log -- 'a file'"),
        (("--", "git status --short"), "git status --short"),
        (("git status",), "git status"),
    ],
)
async def test_share_command_passes_the_command_line_whole(session, tmp_path, words, line):
    output = io.StringIO()
    console = Console(is_json=True, stream=output)
    assert await perform(["share-command", "--json", "bob", *words], console) == 0
    assert session.calls == [("share_command", "bob", line, "", str(Path.cwd()))]
    assert json.loads(output.getvalue())["returncode"] == 0


async def test_trust_without_a_name_asks_every_mailbox(session, monkeypatch):
    monkeypatch.delenv("IPC_INSTANCE_ID")
    code, lines = await run("trust", "bob", "ABCDEF")
    assert (code, lines[0]["mailboxes"]) == (0, ["alice"])
    assert session.calls == [("trust", "bob", "abcdef")]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PolicyError("not allowed"), 5),
        (RateLimitError("Rate limit: can rename again in 42 minutes", retry_after_s=2520), 1),
        (NameInUseError("held"), 1),
    ],
)
async def test_errors_of_the_session_become_exit_codes(session, error, code):
    session.error = error
    assert await run("rename", "alba") == (
        code,
        [{"status": "error", "code": error.code, "message": str(error)}],
    )


async def test_session_of_another_mesh_is_not_used(session, monkeypatch):
    monkeypatch.setenv("IPC_MESH", "other")
    code, lines = await run("send", "bob", "hello")
    assert (code, lines[0]["code"], session.calls) == (1, "config", [])


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("fly",),
        ("send", "bob"),
        ("send", "bob", "x", "--data", "{"),
        ("send", "bob", "x", "--data", "NaN"),
        ("send", "bob", "x", "--wait", "-1"),
        ("send", "bob", "x", "--wait", "nan"),
        ("send", "bob", "x", "--ttl-s", "0"),
        ("send", "bob", "x", "--no-such-option"),
        ("check", "--limit", "0"),
        ("check", "--since", "2026-01-31T09:30:00"),
        ("check", "--since", "yesterday"),
        ("check", "--as", "no spaces"),
        ("check", "--as", "everyone"),
        ("share-command", "bob"),
    ],
)
async def test_wrong_usage_is_one_json_line_and_returns_2(home, words):
    code, lines = await run(*words)
    assert (code, len(lines)) == (2, 1)
    assert (lines[0]["status"], lines[0]["code"]) == ("error", "usage")


async def test_command_without_a_name_says_how_to_give_one(home, monkeypatch):
    monkeypatch.delenv("IPC_INSTANCE_ID")
    code, lines = await run("check")
    assert code == 2
    assert "--as NAME" in lines[0]["message"]


async def test_weak_secret_stops_what_would_join(home, monkeypatch):
    joining = (("send", "bob", "x"), ("check",), ("list",), ("run",), ("trust", "bob", "abcdef"))
    for words in joining:
        monkeypatch.setenv("IPC_SHARED_SECRET", "changeme")
        code, lines = await run(*words)
        assert (code, lines[0]["code"]) == (1, "weak_secret")


async def test_new_secret_is_strong_private_and_not_replaced_by_accident(home, monkeypatch):
    monkeypatch.setenv("IPC_SHARED_SECRET", "changeme")  # It is the mend, so it must work.
    code, lines = await run("secret", "new")
    path = home / "secret"
    first = path.read_text()
    assert (code, lines[0]["path"]) == (0, str(path))
    assert len(first.strip()) * 5 >= 130
    assert first.strip() not in json.dumps(lines)
    assert path.stat().st_mode & 0o777 == 0o600
    assert (await run("secret", "new"))[0] == 5
    assert path.read_text() == first
    code, lines = await run("secret", "new", "--force", "--show")
    assert (code, lines[0]["secret"]) == (0, path.read_text().strip())
    assert path.read_text() != first


def test_every_command_has_help_with_an_example(capsys):
    from mesh.cli.main import _parse, find_commands

    for command in find_commands():
        with pytest.raises(SystemExit) as ended:
            main([command.name, "--help"])
        assert ended.value.code == 0
        assert f"example:\n  mesh {command.name}" in capsys.readouterr().out
        for line in command.example.splitlines():
            first, *words = shlex.split(line)
            assert (first, _parse(words).command.name) == ("mesh", command.name)


def test_main_prints_errors_for_people_on_standard_error(home, capfd):
    assert main(["fly"]) == 2
    output, errors = capfd.readouterr()
    assert (output, errors.startswith("mesh: argument COMMAND: invalid choice")) == ("", True)


def test_main_ends_quietly_when_nobody_reads(home, capfd):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as output:

        async def show() -> None:
            await Console(is_json=True, stream=output).show({"x": 1}, "")

        with pytest.raises(BrokenPipeError):
            asyncio.run(show())


async def test_output_does_not_block_the_loop_when_the_reader_is_slow():
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "w") as output:
        big = {"x": "y" * 500_000}
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            showing = group.create_task(Console(is_json=True, stream=output).show(big, ""))
            for _ in range(50):
                await asyncio.sleep(0)
            assert not showing.done()
            os.set_blocking(reader.fileno(), False)
            got = b""
            while not got.endswith(b"\n"):
                got += reader.read() or b""
                await asyncio.sleep(0)
        assert json.loads(got) == big
