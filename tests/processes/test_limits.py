"""What a node does when there is too much: dead peers, few descriptors, idle strangers, forks."""

import asyncio
import contextlib
import socket
import sys

import pytest

from mesh.net.sockets import raise_file_limit
from tests.dead_peers import KINDS, cost_of
from tests.network.machines import NotPermittedError
from tests.processes.hosts import Mesh, Session, contents, free_port

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits and signals of POSIX")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")


def few_files(count: int) -> tuple[str, ...]:
    """What to put before a command so that it may open so many files and not one more."""
    return ("sh", "-c", f'ulimit -n {count} && exec "$@"', "sh")


def dead_peers(count: int) -> list[str]:
    """Addresses where nobody listens."""
    return [f"127.7.{number // 200}.{number % 200 + 1}:{free_port()}" for number in range(count)]


@contextlib.contextmanager
def strangers(port: int, count: int):
    """Connect to a port of the loopback and say nothing."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stranger = stack.enter_context(socket.socket())
            stranger.setblocking(False)
            stranger.connect_ex(("127.0.0.1", port))
        yield


async def exchange(one: Session, other: Session, text: str) -> None:
    await one.call("send", to=other.name.rpartition("/")[2], content=text)
    assert contents(await other.call("collect", count=1, timeout_s=10)) == [text]


async def test_idle_strangers_do_not_lock_members_out(mesh: Mesh):
    door = free_port()
    alice = await mesh.join("alice", "h1", port=door)
    with strangers(door, 300):
        bob = await mesh.join("bob", "h2", peers=[f"127.0.0.1:{door}"])
        assert await bob.sees(10, alice="live") < 10
        await exchange(bob, alice, "let me through")


@pytest.mark.parametrize(("files", "knocking"), [(256, 300), (1100, 1200)])
async def test_a_node_that_runs_out_of_files_does_what_it_can(mesh: Mesh, files, knocking):
    door = free_port()
    raise_file_limit()
    tight = {"prefix": few_files(files), "peers": dead_peers(200)}
    alice = await mesh.join("alice", "h1", port=door, **tight)
    with strangers(door, knocking):
        bob = await mesh.join("bob", "h2", peers=[f"127.0.0.1:{door}"])
        near = await mesh.join("near", "h1", port=door)
        await asyncio.gather(bob.sees(15, alice="live"), near.sees(15, alice="live"))
        await exchange(bob, alice, "crowded here")
        await exchange(near, alice, "indeed")
    assert alice.process.returncode is None


@LINUX
@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
async def test_a_thousand_dead_peers_cost_next_to_nothing(kind):
    try:
        cost = await cost_of(kind, 1000, minutes=1)
    except (NotPermittedError, FileNotFoundError) as exc:
        pytest.skip(f"network namespaces are not permitted here: {exc}")
    print(cost)
    assert cost.files < 300
    assert cost.resident_mib < 150
    # Two percent are meant (`python -m tests.dead_peers`); a busy machine makes everything dearer.
    assert cost.percents[0] < 4
    assert cost.found_s < 5
