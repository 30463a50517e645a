"""Peers that a person wrote down."""

import asyncio

from net_support import TIMEOUT_S

from mesh.core.events import Sighted, Source
from mesh.net.static import StaticPeers


async def watch(peers):
    async with asyncio.timeout(TIMEOUT_S):
        return await peers.watch()


async def test_peers_are_sighted_at_once_and_again_when_asked():
    async with StaticPeers([("192.0.2.7", 47600), ("fe80::1%eth0", 5)]) as peers:
        expected = [
            Sighted(Source.STATIC, None, ("tcp://192.0.2.7:47600",)),
            Sighted(Source.STATIC, None, ("tcp://[fe80::1%eth0]:5",)),
        ]
        assert await watch(peers) == expected
        peers.rescan()
        assert await watch(peers) == expected


async def test_peers_are_sighted_again_after_the_interval():
    async with StaticPeers([("192.0.2.7", 1)], interval_s=0.01) as peers:
        assert await watch(peers) == await watch(peers)


async def test_names_are_resolved_and_unknown_ones_are_named_once(caplog):
    async with StaticPeers([("localhost", 5), ("nobody.invalid", 5)], interval_s=0.01) as peers:
        for _ in range(2):
            (sighting,) = await watch(peers)
            assert "tcp://127.0.0.1:5" in sighting.endpoints
    assert [record.args[0] for record in caplog.records] == ["nobody.invalid"]
