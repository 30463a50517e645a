"""Many sessions on one host: all see all, comers and goers disturb nobody, one keeps the door."""

import asyncio
import time

import pytest

from tests.processes.hosts import Mesh, Session, contents, free_port


async def join_many(mesh: Mesh, count: int, **changes) -> list[Session]:
    return await asyncio.gather(*(mesh.join(f"s{n}", **changes) for n in range(count)))


async def all_see_all(sessions: list[Session], timeout_s: float) -> float:
    """Wait until all see all; return and print how long after the last had its name."""
    begun = time.monotonic()
    # Fifty that look fifty times a second at fifty would be busy with nothing else.
    limits = {"timeout_s": timeout_s, "limit_s": timeout_s + 30, "poll_s": 0.01 * len(sessions)}
    states = {session.name.rpartition("/")[2]: "live" for session in sessions}
    waits = (s.call("wait_roster", states=states, **limits) for s in sessions)
    for found in await asyncio.gather(*waits):
        missing = states.keys() - {name for name, state in found["seen"].items() if state == "live"}
        assert found["reached"], missing
    after_s = time.monotonic() - begun
    print(f"all {len(sessions)} see all after {after_s:.2f} s")
    return after_s


async def test_ten_sessions_at_once_see_each_other_without_any_network(mesh: Mesh):
    sessions = await join_many(mesh, 10)
    await all_see_all(sessions, 10)
    sent = await sessions[0].call("broadcast", content="to all of you")
    assert len(sent["recipients"]) == 9
    for session in sessions[1:]:
        assert contents(await session.call("collect", count=1, timeout_s=10)) == ["to all of you"]


@pytest.mark.long
@pytest.mark.parametrize(("count", "mdns"), [(50, False), (50, True), (100, False)])
async def test_many_sessions_at_once_see_each_other(mesh: Mesh, count, mdns):
    sessions = await join_many(mesh, count, mdns=mdns)
    await all_see_all(sessions, 60)
    await sessions[7].kill()
    begun = time.monotonic()
    rest = [session for session in sessions if session is not sessions[7]]
    await asyncio.gather(*(session.sees(20, s7="away") for session in rest))
    print(f"a killed one is away for all after {time.monotonic() - begun:.2f} s")
    await sessions[0].call("send", to="s49", content="across the room")
    got = contents(await sessions[49].call("collect", count=1, timeout_s=10))
    assert got == ["across the room"]


@pytest.mark.long
async def test_sessions_that_come_and_go_do_not_disturb_one_that_stays(mesh: Mesh):
    keeper = await mesh.join("keeper")
    friend = await mesh.join("friend")
    await keeper.sees(friend="live")

    async def come_and_go(number: int) -> None:
        for turn in range(5):
            session = await mesh.join(f"v{number}-{turn}")
            await (session.kill() if turn % 2 else session.close())

    slowest_s = 0.0
    async with asyncio.TaskGroup() as group:
        visitors = [group.create_task(come_and_go(number)) for number in range(4)]
        while not all(visitor.done() for visitor in visitors):
            begun = time.monotonic()
            await keeper.call("send", to="friend", content="still here")
            got = contents(await friend.call("collect", count=1, timeout_s=10))
            assert got == ["still here"]
            slowest_s = max(slowest_s, time.monotonic() - begun)
    print(f"mail took {slowest_s * 1000:.0f} ms at most")
    async with asyncio.timeout(10):
        while (await keeper.call("status"))["peers"] != {"live": 1, "suspect": 0}:
            await asyncio.sleep(0.05)


@pytest.mark.long
async def test_the_door_passes_from_one_killed_holder_to_the_next(mesh: Mesh):
    door = free_port()
    sessions = [await mesh.join(f"s{number}", port=door) for number in range(3)]
    for number in range(2):
        await sessions[number].kill()
        begun = time.monotonic()
        bob = await mesh.join(f"bob{number}", "h2", peers=[f"127.0.0.1:{door}"])
        await bob.sees(15, s2="live")
        print(f"the door was open again {time.monotonic() - begun:.2f} s after its holder's death")
        await bob.close()
