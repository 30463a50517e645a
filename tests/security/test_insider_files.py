"""A member that lies about files: their size, digest, name, place, or that there are any."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from mesh import limits
from mesh.model import FileRef, Kind, MailboxKey, Why
from mesh.packet import Chunk, Decline, Have, Offer, Want
from mesh.sharing.near import own_machine_key
from mesh.wire.bodies import dump_json, encode_body
from mesh.wire.letters import body_digest
from mesh.wire.places import NONCE_BYTES, Place, seal_place
from tests.processes.hosts import Mesh, Session
from tests.security.insider import Insider, Line, target
from tests.security.test_insider import dialled, key_of

CONTENT = os.urandom(limits.chunk_bytes_max + 1000)
DIGEST = hashlib.blake2b(CONTENT, digest_size=32).digest()


async def met(mesh: Mesh, insider: Insider) -> tuple[Session, Line, MailboxKey, Path]:
    bob = await mesh.join("bob")
    line = await dialled(insider, target(mesh.home("h1")))
    await bob.sees(mallory="live")
    return bob, line, key_of(line, "bob"), mesh.home("h1") / "mail" / "bob" / "files"


def left(files: Path) -> list[str]:
    """What lies in quarantine, without the two kinds of notes."""
    found = files.iterdir() if files.exists() else ()
    return sorted(p.name for p in found if p.suffix != ".json")


async def serve(insider: Insider, line: Line, to: MailboxKey, file: FileRef, content: bytes):
    """Offer a file and give what is asked for; return how it ended."""
    await line.send(Offer(insider.key, to, file))
    while True:
        for packet in await line.hear(0.02):
            if isinstance(packet, Want) and packet.length:
                data = content[packet.offset : packet.offset + packet.length]
                if data:
                    await line.send(Chunk(insider.key, to, file.digest, packet.offset, data))
            elif isinstance(packet, Have | Decline):
                return packet


async def test_content_that_is_not_what_was_offered_is_declined_and_leaves_nothing(mesh, insider):
    """PROTOCOL.md FILE-8."""
    _, line, to, files = await met(mesh, insider)
    wrong = bytes(len(CONTENT))
    ended = await serve(insider, line, to, FileRef(DIGEST, len(CONTENT), "x"), wrong)
    assert ended == Decline(to, insider.key, DIGEST, Why.DAMAGED)
    longer = await serve(insider, line, to, FileRef(DIGEST, len(CONTENT) - 9, "x"), CONTENT)
    assert longer == Decline(to, insider.key, DIGEST, Why.DAMAGED)
    assert left(files) == []


async def test_file_over_the_limit_is_declined_by_its_offer_alone(mesh, insider):
    _, line, to, files = await met(mesh, insider)
    for size in (limits.streamed_file_bytes_max + 1, 2**62):
        ended = await serve(insider, line, to, FileRef(DIGEST, size, "x"), b"")
        assert ended == Decline(to, insider.key, DIGEST, Why.TOO_LARGE)
    assert left(files) == []


async def test_piece_that_is_cut_short_or_was_not_asked_for_is_dropped(mesh, insider):
    """PROTOCOL.md FILE-6."""
    _, line, to, files = await met(mesh, insider)
    file = FileRef(DIGEST, len(CONTENT), "x")
    await line.send(Chunk(insider.key, to, DIGEST, 0, CONTENT[:1000]))
    await line.send(Offer(insider.key, to, file))
    first = await line.hear_of(Want)
    assert (first.offset, first.length) == (0, limits.chunk_bytes_max)
    for offset, data in ((0, CONTENT[:1000]), (5, CONTENT[5 : 5 + first.length]), (2**40, b"x")):
        await line.send(Chunk(insider.key, to, DIGEST, offset, data))
    assert await serve_rest(insider, line, to) == Have(to, insider.key, DIGEST)
    (kept,) = left(files)
    assert (files / kept).read_bytes() == CONTENT


async def serve_rest(insider: Insider, line: Line, to: MailboxKey):
    for offset in (0, limits.chunk_bytes_max):
        data = CONTENT[offset : offset + limits.chunk_bytes_max]
        await line.send(Chunk(insider.key, to, DIGEST, offset, data))
    return await line.hear_of(Have)


@pytest.mark.parametrize(
    "name", ["../../../.bashrc", "/etc/cron.d/x", ".ssh", "a\x00b", "CON", "\u202egpj.exe"]
)
async def test_hostile_name_becomes_a_harmless_one_in_quarantine(mesh, insider, name):
    _, line, to, files = await met(mesh, insider)
    ended = await serve(insider, line, to, FileRef(DIGEST, len(CONTENT), name), CONTENT)
    assert ended == Have(to, insider.key, DIGEST)
    (kept,) = left(files)
    assert kept.startswith(DIGEST.hex()[:12] + "-")
    assert (files / kept).stat().st_mode & 0o777 == 0o600


async def test_letter_of_a_file_that_never_came_says_so(mesh, insider):
    bob, line, to, _ = await met(mesh, insider)
    data = {"type": "file", "name": "y", "bytes": 1, "blake2b": "00" * 32, "path": "/etc/passwd"}
    body = encode_body("a file", dump_json(data), None)
    letter, _ = insider.letter(to, 1, "")
    letter = replace(
        letter,
        kind=Kind.FILE,
        body_digest=body_digest(body),
        body_bytes=len(body),
        file=FileRef(DIGEST, len(CONTENT), "x.bin"),
    )
    await line.send(insider.mail([(letter, body)]))
    (message,) = await bob.call("collect", count=1, timeout_s=5)
    assert message["path"] is None
    assert message["data"]["path"] is None
    assert message["data"]["blake2b"] == DIGEST.hex()
    assert "not" in message["data"]["problem"]


async def test_place_makes_nobody_open_what_is_not_a_spooled_file(mesh, insider, tmp_path):
    """PROTOCOL.md FILE-10."""
    key = own_machine_key()
    if key is None:
        pytest.skip("this machine has no name that its processes know")
    _, line, to, files = await met(mesh, insider)
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    (tmp_path / "outgoing").mkdir()
    (tmp_path / "outgoing" / DIGEST.hex()).symlink_to(secret)
    for path in (b"/etc", bytes(tmp_path), bytes(tmp_path / "outgoing"), b"outgoing", b"\xff\x00"):
        place = seal_place(Place(path), key=key, nonce=os.urandom(NONCE_BYTES))
        await line.send(Offer(insider.key, to, FileRef(DIGEST, len(CONTENT), "x"), place))
        assert (await line.hear_of(Want)).length, "it was taken from the place"
        line.close()
        line = await dialled(insider, target(mesh.home("h1")))
    assert [name for name in left(files) if not name.startswith(".partial-")] == []
