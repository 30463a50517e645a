"""Files between machines whose cable is pulled half-way."""

import asyncio
import json
import os
from pathlib import Path

from mesh import limits
from tests.network.machines import Switch
from tests.processes.hosts import Mesh

SIZE = 192 * limits.MIB


async def test_transfer_goes_on_where_a_partition_has_stopped_it(lan: Switch, mesh: Mesh):
    """Nothing that was durable before the partition is fetched again after it."""
    names = ("a", "b")
    for number, name in enumerate(names, start=1):
        lan.add(name, ipv4=f"10.77.0.{number}")
    shared = mesh.directory / "shared"
    shared.mkdir()
    path = shared / "big.bin"
    path.write_bytes(os.urandom(SIZE))
    facts = {"is_elsewhere": True, "share_roots": [str(shared)]}
    a, b = await asyncio.gather(
        *(mesh.join(name, f"host-{name}", prefix=lan.prefix(name), **facts) for name in names)
    )
    await a.sees(5, b="live")
    sent = await a.call("share_file", to="b", path=str(path))
    files = mesh.home("host-b") / "mail" / "b" / "files"
    await kept_beyond(files, 0)
    lan.unplug("b")
    before = kept(files)
    assert 0 < before < SIZE, "it was over before the cable was pulled"
    letter = await a.call("send", to="b", content="waits, too")
    done = await a.call("wait", id_=letter["id"], state="delivered", timeout_s=2)
    assert not done["reached"], "the partition is none"
    stopped_at = kept(files)
    lan.plug("b")
    lowest = await kept_until_whole(files)
    assert lowest >= stopped_at >= before
    found = await b.call("collect", count=2, timeout_s=30, limit_s=40)
    (whole,) = [message["path"] for message in found if message["kind"] == "file"]
    assert Path(whole).read_bytes() == path.read_bytes()
    assert (await a.call("wait", id_=sent["id"], state="delivered", timeout_s=10))["reached"]


def kept(files: Path) -> int:
    """How much of the file is certainly on the recipient's disk."""
    for journal in files.glob(".partial-*.json"):
        try:
            return int(json.loads(journal.read_text())["kept"])
        except (ValueError, FileNotFoundError):
            continue
    return 0


async def kept_beyond(files: Path, size: int) -> None:
    async with asyncio.timeout(30):
        while kept(files) <= size:
            await asyncio.sleep(0.002)


async def kept_until_whole(files: Path) -> int:
    """Watch the file until it is in place; return how little of it there ever was."""
    lowest = SIZE
    async with asyncio.timeout(60):
        while not (files / ".received.json").exists():
            lowest = min(lowest, kept(files) or lowest)
            await asyncio.sleep(0.01)
    return lowest
