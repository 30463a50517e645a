"""One reachable direction is enough, also when it is slow, stands still, or is cut again and again.

Two machines in two networks; only a proxy is in both (as NAT, WSL2 and firewalls let one side dial
and not the other), so there is one way: from `b` through the proxy to the door of `a`.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.network.lan import exchange, join_on, see_all
from tests.network.machines import Switch
from tests.processes.hosts import REPOSITORY, Mesh, Session, contents

BOTH = ("a", "b")
DOOR = "47600"
NUMBERS = [str(number) for number in range(300)]


class Way:
    """The proxy between the networks."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def tell(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())
        assert await self._line() == "done"

    async def _line(self) -> str:
        assert self._process.stdout is not None
        async with asyncio.timeout(10):
            return (await self._process.stdout.readline()).decode().strip()


@asynccontextmanager
async def proxy(lan: Switch, machine: str, listen: str, to: str) -> AsyncIterator[Way]:
    process = await asyncio.create_subprocess_exec(
        *lan.prefix(machine),
        *(sys.executable, "-m", "tests.network.proxy", listen, DOOR, to, DOOR),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=REPOSITORY,
    )
    way = Way(process)
    try:
        assert await way._line() == "ready"
        yield way
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


@asynccontextmanager
async def one_way(lan: Switch, mesh: Mesh) -> AsyncIterator[tuple[Session, Session, Way]]:
    """Join two sessions that know each other through the proxy."""
    lan.add_network("br1")
    lan.add("a", ipv4="10.77.0.1")
    lan.add("b", ipv4="10.78.0.2", bridge="br1")
    lan.add("nat", ipv4="10.77.0.9")
    lan.add("nat", ipv4="10.78.0.9", interface="eth1", bridge="br1")
    async with proxy(lan, "nat", "10.78.0.9", "10.77.0.1") as way:
        a, b = await asyncio.gather(
            join_on(lan, mesh, "a"), join_on(lan, mesh, "b", peers=["10.78.0.9"])
        )
        await see_all([a, b], 10, BOTH)
        yield a, b, way


async def test_host_that_nobody_can_dial_gets_and_sends_mail(lan, mesh):
    """It listens on an address to which others have no route."""
    for number, name in enumerate(BOTH, start=1):
        lan.add(name, ipv4=f"10.77.0.{number}")
    lan.add_address("b", "10.99.0.2", interface="lo", bits=32)
    a, b = await asyncio.gather(join_on(lan, mesh, "a"), join_on(lan, mesh, "b", bind="10.99.0.2"))
    await see_all([a, b], 10, BOTH)
    await exchange(a, b, "one way is enough")


@pytest.mark.long
async def test_slow_way_carries_mail_and_makes_nobody_suspect(lan, mesh):
    async with one_way(lan, mesh) as (a, b, way):
        await way.tell("delay 0.3")
        seen = a.begin("transitions", timeout_s=3)
        await exchange(a, b, "slowly")
        assert ["b", "suspect"] not in await seen


async def test_way_that_is_cut_again_and_again_loses_and_doubles_nothing(lan, mesh):
    async with one_way(lan, mesh) as (a, b, way):
        for _ in range(4):
            await a.call("send_many", to="b", contents=NUMBERS)
            await way.tell("reset")
        got = contents(await b.call("collect", count=4 * len(NUMBERS), timeout_s=15))
        assert got == 4 * NUMBERS
        assert contents(await b.call("check", wait_s=0.5)) == []


@pytest.mark.long
async def test_way_that_stands_still_for_a_while_loses_nothing(lan, mesh):
    async with one_way(lan, mesh) as (a, b, way):
        await way.tell("stall")
        await a.call("send_many", to="b", contents=NUMBERS)
        found = await b.call("wait_roster", states={"a": "suspect"}, timeout_s=40, limit_s=50)
        assert found["reached"]
        await way.tell("resume")
        got = contents(await b.call("collect", count=len(NUMBERS), timeout_s=15))
        assert got == NUMBERS
        await see_all([a, b], 15, BOTH)


@pytest.mark.long
@pytest.mark.parametrize("direction", ["there", "back"])
async def test_way_that_carries_nothing_in_one_direction_for_a_minute_loses_nothing(
    lan, mesh, direction
):
    """Whoever hears nothing suspects; the other one learns of it when nobody answers it."""
    async with one_way(lan, mesh) as (a, b, way):
        await way.tell(f"stall {direction}")
        await asyncio.gather(
            a.call("send_many", to="b", contents=NUMBERS),
            b.call("send_many", to="a", contents=NUMBERS),
        )
        await asyncio.sleep(60)
        await way.tell("resume")
        begun = time.monotonic()
        found = await asyncio.gather(
            *(s.call("collect", count=len(NUMBERS), timeout_s=30, limit_s=40) for s in (a, b))
        )
        assert [contents(messages) for messages in found] == [NUMBERS, NUMBERS]
        print(f"all mail was there {time.monotonic() - begun:.2f} s after the way was whole again")
        await see_all([a, b], 15, BOTH)
        for session in (a, b):
            assert contents(await session.call("check", wait_s=0.5)) == []


@pytest.mark.long
async def test_every_session_behind_nat_has_a_link_of_its_own(lan, mesh):
    async with one_way(lan, mesh) as (a, b, _):
        near = await join_on(lan, mesh, "near", "b", peers=["10.78.0.9"])
        await see_all([a, b, near], 10, (*BOTH, "near"))
        await exchange(near, a, "through the same hole")
