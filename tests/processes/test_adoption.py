"""Whatever leaves a mailbox without a holder, another session of the host takes it."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.processes.hosts import new_mesh
from tests.processes.nursery import Nursery

WAIT_S = 20.0
POLL_S = 0.02

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks")


def holder(home: Path, name: str) -> str:
    """Return which node has written its name into the lock of a mailbox last."""
    return (home / "mail" / name / "lock").read_text()


async def adopted(home: Path, name: str, old: str) -> None:
    """Wait until another node holds a mailbox. (The lock says so; nothing tells a test.)"""
    async with asyncio.timeout(WAIT_S):
        while holder(home, name) in {old, ""}:
            await asyncio.sleep(POLL_S)


async def test_mailboxes_are_adopted_however_their_holder_ends():
    async with Nursery() as nursery, new_mesh() as mesh:
        mesh.nursery = nursery
        home = mesh.home("h1")
        sessions = {name: await mesh.join(name) for name in ("ada", "bob", "carol")}
        nodes = {holder(home, name): name for name in sessions}
        first = holder(home, "ada")
        await sessions.pop("ada").kill()
        await adopted(home, "ada", first)  # its agent was killed

        second = holder(home, "ada")
        await sessions.pop(nodes[second]).kill()
        await adopted(home, "ada", second)  # whoever tended it was killed
        await adopted(home, nodes[second], second)

        dora = await mesh.join("dora")
        third = holder(home, "dora")
        await dora.close()
        await adopted(home, "dora", third)  # its agent left in peace

        (last,) = sessions.values()
        fourth = holder(home, "ada")
        await last.kill()
        await mesh.join("eve")
        for name in ("ada", "dora"):
            await adopted(home, name, fourth)  # nobody was left, then somebody came
