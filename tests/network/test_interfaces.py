"""Machines with networks as people have them: several, virtual ones, IPv6 alone, none."""

import asyncio

import pytest

from tests.network.lan import exchange, join_all, join_on, plug_in, see_all
from tests.processes.hosts import WorkerError

BOTH = ("a", "b")


async def test_hosts_with_ipv6_alone_find_each_other(lan, mesh):
    for number, name in enumerate(BOTH, start=1):
        lan.add(name, ipv4=None, ipv6=f"fd77::{number}")
    a, b = await join_all(lan, mesh, BOTH)
    await see_all([a, b], 10, BOTH)
    await exchange(a, b, "over six")


async def test_hosts_with_link_local_addresses_alone_find_each_other(lan, mesh):
    for name in BOTH:
        lan.add(name, ipv4=None, ipv6="link")
    a, b = await join_all(lan, mesh, BOTH)
    await see_all([a, b], 10, BOTH)
    await exchange(a, b, "over one cable")


async def test_hosts_without_ipv6_find_each_other(lan, mesh):
    plug_in(lan, BOTH)
    for name in BOTH:
        lan.set_sysctl(name, "net.ipv6.conf.all.disable_ipv6=1")
    a, b = await join_all(lan, mesh, BOTH)
    await see_all([a, b], 10, BOTH)
    await exchange(a, b, "over four")


async def test_of_two_networks_the_shared_one_is_found_among_twin_addresses(lan, mesh):
    """Each host has a network of its own and a bridge with Docker's address, which is its own."""
    lan.add_network("br1")
    plug_in(lan, BOTH)
    lan.add("a", ipv4="10.80.0.1", interface="eth1", bridge="br1")
    for name in BOTH:
        lan.add_docker(name)
    a, b = await join_all(lan, mesh, BOTH)
    await see_all([a, b], 10, BOTH)
    await exchange(a, b, "to you, not to me")
    for session in (a, b):
        ids = [entry["id"] for entry in await session.call("roster")]
        assert sorted(ids) == ["a", "b"]


@pytest.mark.long
async def test_host_with_twenty_interfaces_is_found(lan, mesh):
    plug_in(lan, BOTH)
    for number in range(20):
        lan.add_docker("a", f"172.{18 + number}.0.1", f"br-{number}")
    a, b = await join_all(lan, mesh, BOTH)
    await see_all([a, b], 10, BOTH)
    await exchange(a, b, "found you")


@pytest.mark.long
async def test_dual_stack_with_a_broken_half_costs_no_more_than_a_moment(lan, mesh):
    """Both announce an IPv6 address that leads nowhere."""
    for number, name in enumerate(BOTH, start=1):
        lan.add(name, ipv4=f"10.77.0.{number}", ipv6="link")
        lan.add_address(name, f"fd{number}::1", interface="lo", bits=128)
    a, b = await join_all(lan, mesh, BOTH)
    await see_all([a, b], 10, BOTH)
    await exchange(a, b, "over the other half")


async def test_sessions_of_a_machine_without_any_network_see_each_other(lan, mesh):
    lan.add_machine("a")
    sessions = await asyncio.gather(
        *(mesh.join(f"s{n}", "host-a", prefix=lan.prefix("a"), mdns=n % 2 == 0) for n in range(4))
    )
    names = [f"s{n}" for n in range(4)]
    await see_all(sessions, 10, names)
    await exchange(sessions[0], sessions[1], "next door")


@pytest.mark.long
async def test_machine_whose_loopback_is_down_reaches_others(lan, mesh):
    plug_in(lan, BOTH)
    a, b = await join_all(lan, mesh, BOTH)
    await see_all([a, b], 10, BOTH)
    lan.set_link("a", "down", interface="lo")
    await exchange(a, b, "who needs it")


async def test_machine_that_cannot_reach_itself_is_told_why(lan, mesh):
    lan.add_machine("a")
    lan.set_link("a", "down", interface="lo")
    with pytest.raises(WorkerError, match="loopback interface"):
        await join_on(lan, mesh, "a")
