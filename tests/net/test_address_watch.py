"""Changed addresses are noticed, by word of the kernel or by looking."""

import asyncio

import pytest
from net_support import TIMEOUT_S

from mesh.core.events import Moved
from mesh.net import address_watch
from mesh.net.address_watch import AddressWatch
from mesh.net.addresses import LocalAddress

LAN, OTHER = LocalAddress("192.168.1.5", "eth0"), LocalAddress("192.168.1.6", "eth0")
LINKED = LocalAddress("fe80::5", "eth0", "2")


@pytest.fixture
def addresses(monkeypatch):
    """The addresses this machine seems to have; there is no netlink."""
    found = [LAN]
    monkeypatch.setattr(address_watch, "local_addresses", lambda: tuple(found))
    monkeypatch.setattr(address_watch, "_open_netlink", lambda: None)
    monkeypatch.setattr(address_watch, "SETTLE_S", 0.0)
    return found


async def next_news(watch):
    async with asyncio.timeout(TIMEOUT_S):
        return await watch.watch()


async def test_a_new_address_is_found_by_looking_where_nobody_tells(addresses):
    async with AddressWatch(interval_s=0.01) as watch:
        addresses.append(OTHER)
        assert await next_news(watch) == [Moved()]


async def test_a_rescan_compares_at_once(addresses):
    async with AddressWatch(interval_s=60) as watch:
        addresses[:] = [OTHER]
        watch.rescan()
        assert await next_news(watch) == [Moved()]


async def test_what_others_do_not_use_is_no_news(addresses):
    async with AddressWatch(interval_s=60) as watch:
        addresses.append(LINKED)
        watch.rescan()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await watch.watch()
        addresses.remove(LAN)
        watch.rescan()
        assert await next_news(watch) == [Moved()]


async def test_a_system_that_does_not_tell_its_addresses_is_asked_again(addresses, monkeypatch):
    async with AddressWatch(interval_s=0.01) as watch:

        def fail():
            addresses[:] = [OTHER]
            monkeypatch.setattr(address_watch, "local_addresses", lambda: tuple(addresses))
            raise OSError(24, "Too many open files")

        monkeypatch.setattr(address_watch, "local_addresses", fail)
        assert await next_news(watch) == [Moved()]
