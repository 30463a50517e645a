"""Odd neighbours on a real multicast group: long names, heavy records, and a library that fails."""

import asyncio
import logging
import os
from contextlib import asynccontextmanager

import pytest
import zeroconf
from net_support import TIMEOUT_S
from test_mdns import TWO, new_mdns, sighting_of
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from mesh.core.events import Sighted, Source
from mesh.model import CurveKey
from mesh.net import mdns
from mesh.net.mdns import SERVICE

LABEL_BYTES_MAX = 63
TEXT_BYTES_MAX = 400


@asynccontextmanager
async def announced(label, properties, *, port=4720):
    """Let a stranger announce a service of our type on loopback."""
    stranger = AsyncZeroconf(interfaces=["127.0.0.1"])
    service = AsyncServiceInfo(
        SERVICE,
        f"{label}.{SERVICE}",
        port=port,
        properties=properties,
        server=f"{label[:16]}.local.",
        parsed_addresses=["127.0.0.1"],
    )
    try:
        await stranger.async_register_service(service, cooperating_responders=True)
        yield
    finally:
        await stranger.async_close()


def fields(curve, **more):
    return {"v": b"1", "m": b"secret", "k": curve.hex()} | more


def heavy(count):
    """So many fields of 205 bytes each."""
    return {f"x{number:03}": b"y" * 200 for number in range(count)}


async def test_a_name_as_long_as_may_be_is_found():
    other = CurveKey(os.urandom(32))
    label = os.urandom(32).hex()[:LABEL_BYTES_MAX]
    async with new_mdns(TWO, port=4721) as ours, announced(label, fields(other)):
        sighted = await sighting_of(ours, other)
    assert sighted == Sighted(Source.MDNS, other, ("tcp://127.0.0.1:4720",))


async def test_a_record_with_more_than_we_know_is_read_for_what_we_know():
    other = CurveKey(os.urandom(32))
    label = os.urandom(8).hex()
    async with new_mdns(TWO, port=4721) as ours, announced(label, fields(other) | heavy(20)):
        assert (await sighting_of(ours, other)).curve == other


@pytest.mark.parametrize("count", [20, 50])
async def test_a_heavy_record_of_a_stranger_keeps_nobody_from_being_found(count):
    other = CurveKey(os.urandom(32))
    async with (
        announced(os.urandom(8).hex(), heavy(count)),
        new_mdns(TWO, port=4721) as ours,
        new_mdns(other, port=4722),
    ):
        assert (await sighting_of(ours, other)).endpoints == ("tcp://127.0.0.1:4722",)


async def test_our_own_record_is_far_from_every_limit():
    ours = new_mdns(CurveKey(b"\xff" * 32), port=65535)
    service = ours._service([f"fd00::{number}" for number in range(16)])
    assert len(service.text) < TEXT_BYTES_MAX
    labels = [*service.name.split("."), *service.server.split(".")]
    assert max(map(len, labels)) <= LABEL_BYTES_MAX


@pytest.mark.parametrize("failing", [1, 2])
async def test_interfaces_that_cannot_be_used_cost_only_themselves(monkeypatch, caplog, failing):
    """First IPv6 is given up, then everything but loopback; what is left still finds others."""
    tried = []

    def open_some(**options):
        tried.append(options["ip_version"])
        if len(tried) <= failing:
            raise OSError(19, "No such device")
        return AsyncZeroconf(interfaces=["127.0.0.1"], ip_version=zeroconf.IPVersion.V4Only)

    monkeypatch.setattr(mdns, "published_hosts", lambda _: ("192.0.2.1",))
    monkeypatch.setattr(mdns, "AsyncZeroconf", open_some)
    caplog.set_level(logging.WARNING, logger="mesh.net.mdns")
    other = CurveKey(os.urandom(32))
    # What loopback says of a machine in the network is not believed, so its record is only heard.
    async with new_mdns(TWO, hosts=("0.0.0.0",)) as ours, announced("ab" * 8, fields(other)):
        async with asyncio.timeout(TIMEOUT_S):
            while f"{'ab' * 8}.{SERVICE}" not in ours._looked_at:
                await asyncio.sleep(0.01)
    versions = [zeroconf.IPVersion.All, zeroconf.IPVersion.V4Only, zeroconf.IPVersion.V4Only]
    assert tried == versions[: failing + 1]
    assert caplog.records == []


async def test_a_library_that_fails_whenever_it_is_asked_is_named_once(monkeypatch, caplog):
    attempts = []

    class Failing(AsyncZeroconf):
        async def async_register_service(self, *_, **__):
            attempts.append(self)
            raise zeroconf.NonUniqueNameException

    monkeypatch.setattr(mdns, "AsyncZeroconf", Failing)
    monkeypatch.setattr(mdns, "RETRY_S_MIN", 0.01)
    monkeypatch.setattr(mdns, "RETRY_S_MAX", 0.01)
    caplog.set_level(logging.WARNING, logger="mesh.net.mdns")
    async with new_mdns(TWO), asyncio.timeout(TIMEOUT_S):
        while len(attempts) < 3:
            await asyncio.sleep(0.01)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
