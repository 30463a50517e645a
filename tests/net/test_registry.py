"""The registry of one host, with real locks and a real death."""

import asyncio
import json
import os
import stat
import sys
from contextlib import contextmanager
from dataclasses import replace

from net_support import TIMEOUT_S, private_directory

from mesh.core.events import LocalNodes, Sighted, Source
from mesh.model import CurveKey, NodeId
from mesh.net.registry import LocalNode, Registry, live_nodes, lock_path
from mesh.store.locks import FileLock, is_held


def node(number, mesh="default", names=()):
    return LocalNode(
        NodeId(bytes([number]) * 16),
        CurveKey(bytes([number]) * 32),
        (f"tcp://127.0.0.1:{1000 + number}",),
        mesh,
        os.getpid(),
        names,
        number,
    )


@contextmanager
def alive(run, own):
    lock = FileLock.acquire(lock_path(run, own.node), content=b"")
    assert lock is not None
    with lock:
        yield Registry(run, own=own, is_held=is_held, interval_s=30)


async def watch(registry):
    async with asyncio.timeout(TIMEOUT_S):
        return await registry.watch()


def sighted(other, *, is_older):
    return Sighted(Source.REGISTRY, other.curve, other.endpoints, other.node, is_older)


async def test_a_newcomer_sees_all_live_nodes_of_its_mesh_at_once():
    with private_directory() as run:
        one, two, stranger = node(1), node(2), node(3, mesh="other")
        with alive(run, one) as a, alive(run, two) as b, alive(run, stranger) as c:
            async with a, c, b:
                assert await watch(b) == [
                    sighted(one, is_older=True),
                    LocalNodes((two.node, one.node)),
                ]
                assert [n.node for n in live_nodes(run, is_held)] == [
                    n.node for n in (one, two, stranger)
                ]


async def test_an_older_node_sees_the_newcomer_and_its_end():
    with private_directory() as run, alive(run, node(1)) as a:
        async with a:
            assert await watch(a) == [LocalNodes((node(1).node,))]
            with alive(run, node(2)) as b:
                async with b:
                    a.rescan()
                    nodes = LocalNodes((node(1).node, node(2).node))
                    assert await watch(a) == [sighted(node(2), is_older=False), nodes]
                a.rescan()
                assert await watch(a) == [LocalNodes((node(1).node,))]


async def test_the_newcomer_is_who_was_published_last_whoever_began_to_start_first():
    """PROTOCOL.md DISC-2: only it is sure to have found the other, and so only it dials at once."""
    first, last = node(2), node(1)  # By when they began to start, it is the other way round.
    with private_directory() as run, alive(run, first) as a, alive(run, last) as b:
        async with a:
            assert await watch(a) == [LocalNodes((first.node,))]
            async with b:
                assert sighted(first, is_older=True) in await watch(b)
                a.rescan()
                assert sighted(last, is_older=False) in await watch(a)


async def test_of_two_that_published_before_either_looked_both_are_newcomers():
    with private_directory() as run, alive(run, node(1)) as a, alive(run, node(2)) as b:
        a._publish()
        async with b, a:
            assert sighted(node(2), is_older=True) in await watch(a)
            assert sighted(node(1), is_older=True) in await watch(b)


async def test_what_a_node_publishes_is_private_and_can_be_rewritten():
    with private_directory() as run, alive(run, node(1)) as a:
        async with a:
            path = run / f"{node(1).node.hex()}.json"
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            a.update(names=["alice"])
            assert json.loads(path.read_text())["names"] == ["alice"]
            assert live_nodes(run, is_held) == [node(1, names=("alice",))]
        assert not path.exists()


async def test_a_node_that_moves_is_sighted_again():
    with private_directory() as run, alive(run, node(1)) as a, alive(run, node(2)) as b:
        async with a, b:
            await watch(a)
            b.update(endpoints=["tcp://127.0.0.1:9"])
            a.rescan()
            there = replace(node(2), endpoints=("tcp://127.0.0.1:9",))
            moved = sighted(there, is_older=False)
            assert await watch(a) == [moved, LocalNodes((node(1).node, node(2).node))]


async def test_damaged_and_hostile_files_are_ignored_and_removed_once_dead():
    with private_directory() as run:
        for number, text in enumerate(["", "[]", '{"curve": 5}', "[" * 60_000, "\x00"], 16):
            (run / f"{bytes([number]).hex() * 16}.json").write_text(text)
        (run / "notes.txt").write_text("kept")
        with alive(run, node(1)) as a:
            async with a:
                assert await watch(a) == [LocalNodes((node(1).node,))]
                left = {path.name for path in run.iterdir()}
        assert left == {"notes.txt"} | {f"{node(1).node.hex()}.{end}" for end in ("json", "lock")}


async def test_remains_of_the_dead_are_removed_when_they_are_old():
    with private_directory() as run:
        old, new = run / f"{'aa' * 16}.sock", run / f"{'bb' * 16}.lock"
        for path in (old, new):
            path.touch()
        os.utime(old, (0, 0))
        with alive(run, node(1)) as a:
            async with a:
                await watch(a)
        assert not old.exists()
        assert new.exists()


PEER = """
import sys
from pathlib import Path
from mesh.store.locks import FileLock
lock = FileLock.acquire(Path(sys.argv[1]), content=b"")
print("held", flush=True)
sys.stdin.read()
"""


async def test_a_killed_node_is_seen_gone_within_a_second_of_a_rescan():
    with private_directory() as run:
        dead = node(2)
        peer = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PEER, str(lock_path(run, dead.node))),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(TIMEOUT_S):
            assert await peer.stdout.readline() == b"held\n"
        with alive(run, node(1)) as a:
            async with a, Registry(run, own=dead, is_held=is_held):
                nodes = LocalNodes((node(1).node, dead.node))
                assert await watch(a) == [sighted(dead, is_older=False), nodes]
                peer.kill()
                await peer.wait()
                a.rescan()
                async with asyncio.timeout(1):
                    assert await a.watch() == [LocalNodes((node(1).node,))]
                assert not lock_path(run, dead.node).exists()


async def test_the_periodic_scan_finds_newcomers_without_being_asked():
    with private_directory() as run, alive(run, node(1)), alive(run, node(2)) as b:
        a = Registry(run, own=node(1), is_held=is_held, interval_s=0.02)
        async with a:
            await watch(a)
            async with b:
                assert sighted(node(2), is_older=False) in await watch(a)


async def test_a_node_that_cannot_open_another_file_blames_nobody_and_looks_again():
    with private_directory() as run, alive(run, node(1)), alive(run, node(2)) as b:
        trouble = OSError(24, "Too many open files")

        def refusing(path):
            if trouble is not None:
                raise trouble
            return is_held(path)

        a = Registry(run, own=node(1), is_held=refusing, interval_s=0.02)
        async with a, b:
            nodes = LocalNodes((node(1).node, node(2).node))
            assert await watch(a) == [sighted(node(2), is_older=False), nodes]
            trouble = None
        assert await watch(a) == [LocalNodes((node(1).node,))]
