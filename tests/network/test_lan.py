"""Hosts on a LAN find each other: by mDNS, and without it."""

import asyncio

import pytest

from tests.network.lan import exchange, join_all, join_on, plug_in, see_all
from tests.processes.hosts import contents


async def test_hosts_on_a_lan_find_each_other_by_mdns(lan, mesh):
    plug_in(lan)
    sessions = await join_all(lan, mesh)
    await see_all(sessions, 10)
    await exchange(sessions[0], sessions[2], "hello")


async def test_one_static_peer_heals_the_roster_where_multicast_is_blocked(lan, mesh):
    plug_in(lan)
    for name in ("a", "b", "c"):
        lan.block_multicast(name)
    a, c = await asyncio.gather(
        join_on(lan, mesh, "a"), join_on(lan, mesh, "c", peers=["10.77.0.1"])
    )
    b = await join_on(lan, mesh, "b", peers=["10.77.0.1"])
    await see_all([a, b, c], 10)
    await exchange(b, c, "by exchange")


async def test_blocked_multicast_alone_keeps_hosts_apart(lan, mesh):
    plug_in(lan, ("a", "b"))
    lan.block_multicast("a")
    lan.block_multicast("b")
    a, b = await join_all(lan, mesh, ("a", "b"))
    found = await a.call("wait_roster", states={"b": "live"}, timeout_s=1)
    assert not found["reached"], "the other tests of blocked multicast would prove nothing"
    assert [entry["id"] for entry in await b.call("roster")] == ["b"]


@pytest.mark.long
async def test_hosts_that_have_met_find_each_other_where_multicast_is_blocked_since(lan, mesh):
    plug_in(lan)
    sessions = await join_all(lan, mesh)
    await see_all(sessions, 10)
    await asyncio.gather(*(session.close() for session in sessions))
    for name in ("a", "b", "c"):
        lan.block_multicast(name)
    sessions = await join_all(lan, mesh)
    await see_all(sessions, 10)
    await sessions[2].kill()
    sessions[2] = await join_on(lan, mesh, "c")
    await see_all(sessions, 10)


@pytest.mark.long
async def test_sessions_that_hear_only_unicast_know_the_other_host(lan, mesh):
    """Replies to one of several processes on a port reach only one of them."""
    plug_in(lan, ("a", "b"))
    lan.block_multicast("a")
    names = ("a", "a2", "a3", "a4")
    b = await join_on(lan, mesh, "b")
    near = await asyncio.gather(*(join_on(lan, mesh, name, "a") for name in names))
    await see_all([b, *near], 10, (*names, "b"))


async def test_meshes_with_other_secrets_or_names_share_a_lan_without_meeting(lan, mesh):
    plug_in(lan)
    a = await join_on(lan, mesh, "a")
    b = await join_on(lan, mesh, "b", secret="another secret of good length")
    c = await join_on(lan, mesh, "c", mesh="elsewhere")
    near = await join_on(lan, mesh, "near", "a")
    await near.sees(a="live")
    for session in (a, b, c):
        assert await session.call("wait_problem", timeout_s=10)
    for session, names in ((a, {"a", "near"}), (b, {"b"}), (c, {"c"})):
        assert {entry["id"] for entry in await session.call("roster")} == names
    await b.call("send", to="a", content="let me in")
    assert contents(await a.call("check", wait_s=1)) == []
