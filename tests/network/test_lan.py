"""Hosts on a LAN: discovery, blocked multicast, IPv6 alone, partitions, changing addresses."""

import asyncio
import time

import pytest

from tests.network.machines import Switch
from tests.processes.hosts import Mesh, Session, contents

NAMES = ("a", "b", "c")


async def join_on(lan: Switch, mesh: Mesh, name: str, **changes) -> Session:
    return await mesh.join(name, f"host-{name}", prefix=lan.prefix(name), **changes)


async def join_all(lan: Switch, mesh: Mesh, names=NAMES, **changes) -> list[Session]:
    return await asyncio.gather(*(join_on(lan, mesh, name, **changes) for name in names))


async def see_all(sessions: list[Session], timeout_s: float, names=NAMES) -> float:
    everybody = dict.fromkeys(names, "live")
    return max(await asyncio.gather(*(s.sees(timeout_s, **everybody) for s in sessions)))


def plug_in(lan: Switch, names=NAMES) -> None:
    for number, name in enumerate(names, start=1):
        lan.add(name, ipv4=f"10.77.0.{number}")


async def test_hosts_on_a_lan_find_each_other_by_mdns_within_three_seconds(lan, mesh):
    plug_in(lan)
    sessions = await join_all(lan, mesh)
    assert await see_all(sessions, 5) < 3
    await sessions[0].call("send", to="c", content="hello")
    assert contents(await sessions[2].call("collect", count=1, timeout_s=3)) == ["hello"]


async def test_one_static_peer_heals_the_roster_where_multicast_is_blocked(lan, mesh):
    plug_in(lan)
    for name in NAMES:
        lan.block_multicast(name)
    a, c = await asyncio.gather(
        join_on(lan, mesh, "a"), join_on(lan, mesh, "c", peers=["10.77.0.1"])
    )
    b = await join_on(lan, mesh, "b", peers=["10.77.0.1"])
    assert await see_all([a, b, c], 8) < 6
    await b.call("send", to="c", content="by exchange")
    assert contents(await c.call("collect", count=1, timeout_s=3)) == ["by exchange"]


async def test_blocked_multicast_alone_keeps_hosts_apart(lan, mesh):
    plug_in(lan, ("a", "b"))
    lan.block_multicast("a")
    lan.block_multicast("b")
    a, b = await join_all(lan, mesh, ("a", "b"))
    found = await a.call("wait_roster", states={"b": "live"}, timeout_s=1)
    assert not found["reached"], "the other tests of blocked multicast would prove nothing"
    assert [entry["id"] for entry in await b.call("roster")] == ["b"]


async def test_hosts_with_ipv6_alone_find_each_other(lan, mesh):
    for number, name in enumerate(("a", "b"), start=1):
        lan.add(name, ipv4=None, ipv6=f"fd77::{number}")
    sessions = await join_all(lan, mesh, ("a", "b"))
    assert await see_all(sessions, 6, ("a", "b")) < 4
    await sessions[0].call("send", to="b", content="over six")
    assert contents(await sessions[1].call("collect", count=1, timeout_s=3)) == ["over six"]


async def partition(lan: Switch, mesh: Mesh, silence_s: float) -> float:
    """Cut two hosts apart with mail waiting on both sides; return how soon it flows once healed."""
    plug_in(lan, ("a", "b"))
    a, b = await join_all(lan, mesh, ("a", "b"))
    await see_all([a, b], 5, ("a", "b"))
    lan.unplug("b")
    numbers = [str(number) for number in range(50)]
    sent = await a.call("send_many", to="b", contents=numbers)
    back = await b.call("send", to="a", content="from the other side")
    done = await b.call("wait", id_=back["id"], state="delivered", timeout_s=silence_s, limit_s=99)
    assert not done["reached"], "the partition is none"
    lan.plug("b")
    begun = time.monotonic()
    assert contents(await b.call("collect", count=50, timeout_s=15)) == numbers
    assert contents(await a.call("collect", count=1, timeout_s=15)) == ["from the other side"]
    after_s = time.monotonic() - begun
    assert (await b.call("wait", id_=back["id"], state="delivered", timeout_s=3))["reached"]
    await a.call("wait_receipt", id_=sent[-1], state="shown", timeout_s=5)
    return after_s


async def test_mail_flows_again_after_a_short_partition(lan, mesh):
    assert await partition(lan, mesh, 3) < 10


@pytest.mark.long
async def test_mail_flows_within_ten_seconds_after_a_partition_of_a_minute(lan, mesh):
    assert await partition(lan, mesh, 60) < 10


@pytest.mark.long
async def test_host_with_a_new_address_is_reached_there(lan, mesh):
    """The old link has to be given up first, which takes as long as a silent peer is trusted."""
    plug_in(lan, ("a", "b"))
    a, b = await join_all(lan, mesh, ("a", "b"))
    await see_all([a, b], 5, ("a", "b"))
    lan.change_address("b", "10.77.0.2", "10.77.0.9")
    begun = time.monotonic()
    await a.call("send", to="b", content="at the new address")
    got = await b.call("collect", count=1, timeout_s=60, limit_s=70)
    assert contents(got) == ["at the new address"]
    assert time.monotonic() - begun < 45
