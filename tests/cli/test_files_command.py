"""`mesh files`: what it lists, and that it pages through a long history."""

from datetime import datetime, timedelta

from mesh.cli.commands import files
from mesh.cli.session import Visit
from mesh.driver.results import Page
from tests.cli.test_commands import agent, home, locks, run, run_text, session
from tests.driver.doubles import TIME, letter

__all__ = ["agent", "home", "locks", "session"]


def shared(number: int, path: object, **changes: object):
    data = {"type": "file", "name": "a\x1b[2Jb.txt", "bytes": 3, "blake2b": "cd", "path": str(path)}
    return letter(number, "a file", kind="file", data=data, **changes)


async def test_received_files_are_listed_and_nothing_is_marked(session, tmp_path):
    kept = tmp_path / "kept.txt"
    kept.write_text("abc")
    session.inbox = [shared(1, kept), letter(2, "no file"), shared(3, tmp_path / "gone")]
    code, lines = await run("files")
    assert code == 0
    assert [(line["from"], line["path"], line["is_there"]) for line in lines] == [
        ("bob", str(kept), True),
        ("bob", str(tmp_path / "gone"), False),
    ]
    assert session.shown == []
    code, text = await run_text("files")
    assert (code, "\x1b" in text, "(no longer there)" in text) == (0, False, True)


async def test_no_files_returns_4(session):
    session.inbox = [letter(1)]
    assert await run("files") == (4, [])
    assert await run_text("files") == (4, "No files\n")


async def test_long_history_is_read_page_by_page():
    history = [letter(n, time=TIME + timedelta(milliseconds=n // 2)) for n in range(25)]

    class Reader:
        async def read(self, *, since: str | None, **_: object) -> Page:
            after = datetime.fromisoformat(since) if since else TIME - timedelta(days=1)
            found = [message for message in history if message.time > after]
            return Page(messages=found[:5], remaining=len(found[5:]))

    visit = Visit(Reader(), is_own_node=False)
    assert [m.id async for m in files._history(visit, None, None)] == [m.id for m in history]
