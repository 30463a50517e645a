"""T7, T8: what was said once is worth nothing again, whenever, to whomever, by whatever clock."""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from mesh.packet import Ack, Mail, Verdict
from tests.processes.hosts import Mesh, Session, contents
from tests.security.insider import Insider, Line, target
from tests.security.test_insider import dialled, key_of

DECADE_S = 10 * 365 * 86400
SHIFTED = str(Path(__file__).with_name("shifted.py"))


async def join(mesh: Mesh, clock_s: int) -> Session:
    prefix = (sys.executable, SHIFTED, str(clock_s)) if clock_s else ()
    return await mesh.join("bob", prefix=prefix)


async def history(bob: Session) -> list[str]:
    return contents(await bob.call("check", history=True))


async def replay(line: Line, recorded: list[tuple[bytes, ...]], letters: Mail) -> set[Verdict]:
    """Send all that was ever sent, byte for byte, then the letters honestly signed once more."""
    for parts in recorded:
        await line.send_frames(parts)
    await line.send(letters)
    ack = await line.hear_of(Ack)
    return {item.verdict for item in ack.items}


def age(home: Path) -> None:
    """Let all that has been shown be old enough to be removed at the next opening."""
    with closing(sqlite3.connect(home / "mail" / "bob" / "mailbox.db")) as db, db:
        db.execute("UPDATE inbox SET changed_s = changed_s - ?", (DECADE_S,))


@pytest.mark.parametrize(
    ("clock_s", "again_s", "is_aged"),
    [
        pytest.param(0, 0, False, marks=pytest.mark.long),
        (0, 0, True),
        (0, DECADE_S, False),
        pytest.param(0, -DECADE_S, False, marks=pytest.mark.long),
        pytest.param(DECADE_S, 0, True, marks=pytest.mark.long),
    ],
    ids=["restart", "compaction", "ten years later", "ten years earlier", "ten years back"],
)
async def test_every_frame_of_a_session_sent_again_changes_nothing(
    mesh: Mesh, insider: Insider, clock_s, again_s, is_aged
):
    """At once, after a restart, and after the history was removed for its age."""
    bob = await join(mesh, clock_s)
    line = await dialled(insider, target(mesh.home("h1")))
    to = key_of(line, "bob")
    letters = insider.mail(
        (insider.letter(to, n, f"{n}") for n in range(1, 6)),
    )
    await line.send(letters)
    wanted = [str(n) for n in range(1, 6)]
    assert contents(await bob.call("collect", count=5, timeout_s=5)) == wanted
    await line.hear(0.2)
    recorded = [tuple(parts) for parts in line.sent]
    told = {Verdict.DELIVERED, Verdict.SHOWN}
    assert await replay(await dialled(insider, target(mesh.home("h1"))), recorded, letters) <= told
    assert await bob.call("check") == []
    assert await history(bob) == wanted
    await bob.close()
    if is_aged:
        age(mesh.home("h1"))
    bob = await join(mesh, again_s)
    kept = await history(bob)
    assert kept == ([] if is_aged else wanted)
    line = await dialled(insider, target(mesh.home("h1")))
    assert await replay(line, recorded, letters) <= told
    assert await bob.call("check") == []
    assert await history(bob) == kept
    # The stream goes on where it was.
    await line.send(insider.mail([insider.letter(to, 6, "6")], previous=5))
    assert contents(await bob.call("collect", count=1, timeout_s=5)) == ["6"]


async def test_what_comes_back_to_its_author_is_not_heard(mesh: Mesh, insider: Insider):
    """Every frame that bob has sent, back to bob: over its own link, and over a new one."""
    bob = await mesh.join("bob")
    line = await dialled(insider, target(mesh.home("h1")))
    await bob.call("send", to="mallory", content="to you, not to myself")
    mail = await line.hear_of(Mail)
    assert line.received
    again = await dialled(insider, target(mesh.home("h1")))
    for reflecting in (line, again):
        for parts in line.received:
            await reflecting.send_frames(parts)
    # The letter itself, passed on as one's own mail: nobody signs for bob but bob.
    await again.send(mail)
    assert await bob.call("check") == []
    assert [m["content"] for m in await bob.call("check", history=True)] == []
    drops = (await bob.call("status"))["drops"]
    assert drops["SignatureError"] >= 2 * len(line.received)
