"""Machines whose network changes while sessions run: cables, interfaces, addresses."""

import asyncio

import pytest

from tests.network.lan import exchange, join_all, join_on, plug_in, see_all

BOTH = ("a", "b")


async def test_host_with_a_new_address_is_reached_there_soon(lan, mesh):
    plug_in(lan, BOTH)
    a, b = await join_all(lan, mesh, BOTH)
    await see_all([a, b], 10, BOTH)
    lan.change_address("b", "10.77.0.2", "10.77.0.9")
    await exchange(a, b, "at the new address")


@pytest.mark.long
async def test_host_that_is_dialled_may_move_as_well(lan, mesh):
    plug_in(lan, BOTH)
    a, b = await join_all(lan, mesh, BOTH)
    await see_all([a, b], 10, BOTH)
    lan.change_address("a", "10.77.0.1", "10.77.0.8")
    await exchange(a, b, "at the new address")


@pytest.mark.long
async def test_network_that_comes_after_the_start_is_used(lan, mesh):
    lan.add_machine("a")
    lan.add("b", ipv4="10.77.0.2")
    a, b = await join_all(lan, mesh, BOTH)
    found = await a.call("wait_roster", states={"b": "live"}, timeout_s=0.5)
    assert not found["reached"]
    lan.add("a", ipv4="10.77.0.1")
    await see_all([a, b], 15, BOTH)
    await exchange(a, b, "plugged in")


@pytest.mark.long
async def test_both_hosts_change_their_addresses_at_once(lan, mesh):
    plug_in(lan, BOTH)
    a, b = await join_all(lan, mesh, BOTH)
    await see_all([a, b], 10, BOTH)
    lan.change_address("a", "10.77.0.1", "10.77.0.8")
    lan.change_address("b", "10.77.0.2", "10.77.0.9")
    await exchange(a, b, "a new network")


@pytest.mark.long
async def test_link_that_flaps_costs_seconds_and_nothing_else(lan, mesh):
    plug_in(lan, BOTH)
    a, b = await join_all(lan, mesh, BOTH)
    await see_all([a, b], 10, BOTH)
    for _ in range(3):
        lan.set_link("b", "down")
        await asyncio.sleep(1)
        lan.set_link("b", "up")
    await exchange(a, b, "up again")


@pytest.mark.long
async def test_second_interface_replaces_the_first(lan, mesh):
    lan.add_network("br1")
    for number, name in enumerate(BOTH, start=1):
        lan.add(name, ipv4=f"10.77.0.{number}")
        lan.add(name, ipv4=f"10.78.0.{number}", interface="eth1", bridge="br1")
    a, b = await join_all(lan, mesh, BOTH)
    await see_all([a, b], 10, BOTH)
    lan.drop_address("b", "10.77.0.2")
    lan.set_link("b", "down")
    await exchange(a, b, "by the other way")


@pytest.mark.long
async def test_session_without_mdns_follows_its_peer_through_others(lan, mesh):
    """A host that moved dials whom it knows, and those tell the rest where it is."""
    plug_in(lan)
    a, b = await asyncio.gather(
        join_on(lan, mesh, "a", mdns=False),
        join_on(lan, mesh, "b", mdns=False, peers=["10.77.0.1"]),
    )
    c = await join_on(lan, mesh, "c", mdns=False, peers=["10.77.0.1"])
    await see_all([a, b, c], 10)
    lan.change_address("b", "10.77.0.2", "10.77.0.9")
    await exchange(c, b, "moved")
