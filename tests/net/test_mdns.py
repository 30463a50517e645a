"""Multicast discovery on loopback, and what it makes of records that strangers sent."""

import asyncio
import logging
import os

import pytest
import zeroconf
from net_support import TIMEOUT_S
from zeroconf.asyncio import AsyncServiceInfo

from mesh import limits
from mesh.core.events import Sighted, Source
from mesh.model import CurveKey
from mesh.net import mdns
from mesh.net.addresses import LocalAddress
from mesh.net.mdns import SERVICE, Mdns

ONE, TWO = CurveKey(b"\x01" * 32), CurveKey(os.urandom(32))


def new_mdns(curve, *, port=4711, hosts=("127.0.0.1",), **changes):
    arguments = {"version": 1, "mode": "secret", "random": os.urandom} | changes
    return Mdns(curve=curve, port=port, hosts=hosts, **arguments)


async def sighting_of(source, curve):
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            for event in await source.watch():
                if event.curve == curve:
                    return event


async def test_two_nodes_on_loopback_find_each_other():
    other = CurveKey(os.urandom(32))
    async with new_mdns(TWO, port=4712) as a, new_mdns(other, port=4713) as b:
        expected = Sighted(Source.MDNS, TWO, ("tcp://127.0.0.1:4712",))
        assert await sighting_of(b, TWO) == expected
        assert (await sighting_of(a, other)).endpoints == ("tcp://127.0.0.1:4713",)


async def test_a_node_that_only_browses_finds_others_and_is_not_found():
    other = CurveKey(os.urandom(32))
    async with new_mdns(TWO) as a, new_mdns(other, advertise=False) as b:
        await sighting_of(b, TWO)
        assert all(event.curve != other for event in a._news)


async def test_a_rescan_sights_known_nodes_again(monkeypatch):
    monkeypatch.setattr(mdns, "LOOKUP_INTERVAL_S", 0.01)
    async with new_mdns(TWO), new_mdns(CurveKey(os.urandom(32))) as b:
        await sighting_of(b, TWO)
        b.rescan()
        await sighting_of(b, TWO)


async def test_missing_multicast_costs_one_warning_and_never_the_start(monkeypatch, caplog):
    def fail(**_):
        raise OSError("no multicast here")

    monkeypatch.setattr(mdns, "AsyncZeroconf", fail)
    monkeypatch.setattr(mdns, "RETRY_S_MIN", 0.0)
    caplog.set_level(logging.WARNING, logger="mesh.net.mdns")
    async with new_mdns(TWO):
        for _ in range(20):
            await asyncio.sleep(0)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def record(*, port=4711, addresses=("192.168.1.5",), **fields):
    texts = {"v": b"1", "m": b"secret", "k": TWO.hex()} | fields
    name = f"{os.urandom(8).hex()}.{SERVICE}"
    return AsyncServiceInfo(
        SERVICE, name, port=port, properties=texts, parsed_addresses=list(addresses)
    )


async def test_a_proper_record_becomes_a_sighting(monkeypatch):
    monkeypatch.setattr(mdns, "local_addresses", lambda: ())
    sighting = new_mdns(ONE)._sighting(record(addresses=["192.168.1.5", "fd00::5"]))
    assert sighting == Sighted(Source.MDNS, TWO, ("tcp://192.168.1.5:4711", "tcp://[fd00::5]:4711"))


@pytest.mark.parametrize(
    "changes",
    [
        {"k": ONE.hex()},
        {"k": "00"},
        {"k": b"\xff" * 64},
        {"k": None},
        {"v": b"2"},
        {"m": b"open"},
        {"port": 0},
        {"addresses": ["8.8.8.8"]},
        {"addresses": ["224.0.0.251", "0.0.0.0", "127.0.0.1", "fe80::1", "::"]},
    ],
)
async def test_a_record_that_is_not_for_us_is_ignored(changes):
    assert new_mdns(ONE)._sighting(record(**changes)) is None


async def test_a_flood_of_names_stays_within_the_bound():
    source = new_mdns(ONE)
    added = zeroconf.ServiceStateChange.Added
    for number in range(limits.sighting_candidates_max * 2):
        source._on_change(None, SERVICE, f"{number}.{SERVICE}", added)
    assert len(source._due) == len(source._looked_at) == limits.sighting_candidates_max


async def test_the_addresses_nearest_to_us_come_first(monkeypatch):
    own = LocalAddress("fd00::7", "eth0", prefix=64)
    monkeypatch.setattr(mdns, "local_addresses", lambda: (own,))
    sighting = new_mdns(ONE)._sighting(record(addresses=["192.168.1.5", "fd00::5"]))
    assert sighting.endpoints == ("tcp://[fd00::5]:4711", "tcp://192.168.1.5:4711")


async def test_trouble_is_tried_again_at_once_when_the_network_is_another(monkeypatch):
    attempts = asyncio.Queue()

    def fail(**_):
        attempts.put_nowait(None)
        raise OSError("no network yet")

    monkeypatch.setattr(mdns, "AsyncZeroconf", fail)
    monkeypatch.setattr(mdns, "RETRY_S_MIN", 600.0)
    async with new_mdns(TWO) as source, asyncio.timeout(TIMEOUT_S):
        await attempts.get()
        while attempts.empty():
            source.rescan()
            await asyncio.sleep(0)


async def test_a_goodbye_is_ignored():
    source = new_mdns(ONE)
    source._on_change(None, SERVICE, f"x.{SERVICE}", zeroconf.ServiceStateChange.Removed)
    assert not source._due
