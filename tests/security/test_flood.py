"""T6: a member that writes as fast as it can, and one whose mail nobody reads."""

import asyncio
import os
import sys
from statistics import median

import pytest
import zmq

from mesh import limits
from mesh.packet import Ack, Verdict
from mesh.wire.keys import NodeSigner
from tests.processes.hosts import Mesh, contents
from tests.security.insider import Insider, target
from tests.security.measure import report
from tests.security.test_insider import dialled, key_of
from tests.usage import MIB, resident_bytes


@pytest.mark.parametrize("seconds", [2, pytest.param(60, marks=pytest.mark.long)])
async def test_a_flooding_member_holds_nobody_else_up(
    mesh: Mesh, insider: Insider, seconds, record_property, capsys
):
    bob, alice = await mesh.join("bob"), await mesh.join("alice")
    line = await dialled(insider, target(mesh.home("h1"), bob.pid))
    to = key_of(line, "bob")
    await alice.sees(bob="live")
    quiet = [await _round_trip(alice, bob) for _ in range(10)]
    before = resident_bytes(bob.pid)
    flooding = asyncio.create_task(_flood(insider, line, to, seconds))
    busy = []
    while not flooding.done():
        busy.append(await _round_trip(alice, bob))
    sent = await flooding
    grown = resident_bytes(bob.pid) - before
    figures = {"sent": sent, "per_s": sent / seconds, "grown_mib": grown / MIB}
    figures |= {
        "quiet_s": max(quiet),
        "busy_s": max(busy),
        "median_s": median(busy),
    }
    report(record_property, capsys, **figures)
    assert max(busy) < 5
    assert grown < 256 * MIB


async def _round_trip(sender, recipient) -> float:
    """How long until a message is on the recipient's disk; reads nothing."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    sent = await sender.call("send", to="bob", content="honest")
    done = await sender.call("wait", id_=sent["id"], state="delivered", timeout_s=20)
    assert done["reached"]
    return loop.time() - begun


async def _flood(insider: Insider, line, to, seconds: float) -> int:
    loop = asyncio.get_running_loop()
    deadline, sequence = loop.time() + seconds, 0
    while loop.time() < deadline:
        start = sequence + 1
        letters = [insider.letter(to, start + n, "flood " * 20) for n in range(100)]
        await line.send(insider.mail(letters, previous=sequence))
        sequence += len(letters)
        await line.hear(0.001)
    return sequence


@pytest.mark.long
async def test_beyond_its_quota_a_member_is_told_later_and_others_still_get_in(
    mesh: Mesh, insider: Insider
):
    """By bytes, as that is faster: large bodies until the quota of one author is full."""
    bob, alice = await mesh.join("bob"), await mesh.join("alice")
    await alice.sees(bob="live")
    line = await dialled(insider, target(mesh.home("h1"), bob.pid))
    to = key_of(line, "bob")
    content = os.urandom(490_000).hex()
    wanted = limits.inbox_bytes_per_author_max // len(content) + 2
    verdicts = []
    for sequence in range(1, wanted + 1):
        letter = insider.letter(to, sequence, content)
        await line.send(insider.mail([letter], previous=sequence - 1))
        ack = await line.hear_of(Ack, within_s=20)
        verdicts += [item.verdict for item in ack.items]
        if verdicts[-1] is Verdict.LATER:
            break
    assert verdicts[-1] is Verdict.LATER
    assert set(verdicts[:-1]) == {Verdict.DELIVERED}
    assert len(verdicts) * len(content) <= limits.inbox_bytes_per_author_max + 2 * len(content)
    assert await _round_trip(alice, bob) < 2
    assert contents(await bob.call("check", sender="alice")) == ["honest"]


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what came in")
async def test_a_message_that_never_ends_is_cut_off(
    mesh: Mesh, insider: Insider, record_property, capsys
):
    """ZeroMQ bounds frames and messages, but not the frames of a message."""
    bob, alice = await mesh.join("bob"), await mesh.join("alice")
    await alice.sees(bob="live")
    to = target(mesh.home("h1"), bob.pid)
    before = resident_bytes(bob.pid)
    line, part = insider.dealer(to.curve), os.urandom(MIB)
    line.connect(to.endpoint)

    def flood() -> None:
        for _ in range(1500):
            line.send(part, zmq.SNDMORE, copy=False)
        line.send(b"the end")

    flooding = asyncio.create_task(asyncio.to_thread(flood))
    slowest, peak = 0.0, before
    async with asyncio.timeout(30):
        while not (await bob.call("status"))["drops"].get("endless"):
            slowest = max(slowest, await _round_trip(alice, bob))
            peak = max(peak, resident_bytes(bob.pid))
    await flooding
    line.close(linger=0)
    async with asyncio.timeout(5):
        while (grown := resident_bytes(bob.pid) - before) > 32 * MIB:
            await asyncio.sleep(0.05)
    figures = {"peak_mib": (peak - before) / MIB, "grown_mib": grown / MIB}
    report(record_property, capsys, slowest_s=slowest, **figures)
    assert slowest < 2


async def test_one_machine_cannot_take_all_links(mesh: Mesh, insider: Insider):
    bob = await mesh.join("bob")
    to = target(mesh.home("h1"))

    async def link(number: int) -> None:
        signer = NodeSigner(number.to_bytes(32, "big"))
        await insider.dial(to, cards=[], source="127.0.0.5", signer=signer)

    for number in range(limits.links_per_address_max):
        await link(number)
    with pytest.raises(TimeoutError):
        await link(limits.links_per_address_max)
    alice = await mesh.join("alice")
    assert await _round_trip(alice, bob) < 2
