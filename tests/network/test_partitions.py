"""Networks that fall apart and come together: mail, presence and names."""

import asyncio
import time

import pytest

from tests.network.lan import exchange, join_all, join_on, plug_in, see_all
from tests.network.machines import Switch
from tests.processes.hosts import Mesh, Session, contents

BOTH = ("a", "b")
NUMBERS = [str(number) for number in range(50)]


async def partition(lan: Switch, mesh: Mesh, silence_s: float) -> None:
    """Cut two hosts apart with mail waiting on both sides, and heal."""
    plug_in(lan, BOTH)
    a, b = await join_all(lan, mesh, BOTH)
    await see_all([a, b], 10, BOTH)
    lan.unplug("b")
    sent = await a.call("send_many", to="b", contents=NUMBERS)
    back = await b.call("send", to="a", content="from the other side")
    limits = {"timeout_s": silence_s, "limit_s": silence_s + 20}
    done = await b.call("wait", id_=back["id"], state="delivered", **limits)
    assert not done["reached"], "the partition is none"
    lan.plug("b")
    begun = time.monotonic()
    assert contents(await b.call("collect", count=50, timeout_s=15)) == NUMBERS
    assert contents(await a.call("collect", count=1, timeout_s=15)) == ["from the other side"]
    print(f"mail flows {time.monotonic() - begun:.2f} s after {silence_s} s apart")
    assert (await b.call("wait", id_=back["id"], state="delivered", timeout_s=3))["reached"]
    await a.call("wait_receipt", id_=sent[-1], state="shown", timeout_s=5)


async def test_mail_flows_again_after_a_short_partition(lan, mesh):
    await partition(lan, mesh, 3)


@pytest.mark.long
async def test_mail_flows_again_after_a_partition_of_a_minute(lan, mesh):
    await partition(lan, mesh, 60)


@pytest.mark.long
async def test_rosters_of_ten_hosts_are_equal_soon_after_a_partition_with_little_noise(lan, mesh):
    names = [f"n{number}" for number in range(10)]
    plug_in(lan, names)
    sessions = await join_all(lan, mesh, names)
    await see_all(sessions, 15, names)
    watching = [session.begin("transitions", timeout_s=90) for session in sessions]
    for name in names[5:]:
        lan.unplug(name)
        lan.set_link(name, "down")
    far = dict.fromkeys(names[5:], "away")
    await asyncio.gather(
        *(s.call("wait_roster", states=far, timeout_s=60, limit_s=70) for s in sessions[:5])
    )
    for name in names[5:]:
        lan.set_link(name, "up")
        lan.plug(name)
    await see_all(sessions, 20, names)
    for session, found in zip(sessions, await asyncio.gather(*watching), strict=True):
        # Each far agent: live at first, suspect, away, live; nothing flaps.
        assert len(found) <= 10 + 3 * len(names), (session.name, found)


@pytest.mark.long
async def test_name_taken_on_both_sides_of_a_partition_stays_two_agents_when_it_heals(lan, mesh):
    plug_in(lan, ("a", "b", "c"))
    a, b, c = await join_all(lan, mesh, ("a", "b", "c"))
    await see_all([a, b, c], 10, ("a", "b", "c"))
    lan.unplug("b")
    first = await join_on(lan, mesh, "twin", "a")
    second = await join_on(lan, mesh, "twin", "b")
    await c.sees(twin="live")
    await c.call("send", to="twin", content="to the one I know")
    assert contents(await first.call("collect", count=1, timeout_s=5)) == ["to the one I know"]
    lan.plug("b")
    await asyncio.gather(*(two_twins(session) for session in (a, b, c)))
    await c.call("send", to="twin", content="bare")
    await c.call("send", to=f"twin#{second.facts['fingerprint'][:8]}", content="exact")
    assert contents(await first.call("collect", count=1, timeout_s=5)) == ["bare"]
    assert contents(await second.call("collect", count=1, timeout_s=5)) == ["exact"]
    assert contents(await first.call("check", wait_s=0.5)) == []


async def two_twins(session: Session) -> None:
    """Wait until a session sees both holders of the name, live."""
    async with asyncio.timeout(20):
        while True:
            entries = [e for e in await session.call("roster") if e["id"] == "twin"]
            if [e["state"] for e in entries] == ["live", "live"]:
                return
            await asyncio.sleep(0.05)


@pytest.mark.long
async def test_mail_sent_to_a_former_name_across_a_partition_is_forwarded_when_it_heals(lan, mesh):
    plug_in(lan, BOTH)
    a, b = await join_all(lan, mesh, BOTH)
    await see_all([a, b], 10, BOTH)
    await exchange(a, b, "we know each other")
    lan.unplug("b")
    await b.call("rename", new="bea")
    sent = await a.call("send", to="b", content="to your old name")
    lan.plug("b")
    assert contents(await b.call("collect", count=1, timeout_s=20)) == ["to your old name"]
    assert await a.call("wait_receipt", id_=sent["id"], state="shown", timeout_s=10)
    got = contents(await a.call("collect", count=1, timeout_s=20))
    assert ["bea" in text for text in got] == [True], "everybody is told of the rename once"
