"""T11, T12: old secrets, other secrets, no secret: only equals exchange anything."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from mesh.wire.keys import derive
from tests.processes.hosts import SECRET, Mesh, WorkerError, contents, free_port
from tests.security.insider import target

OLD = "the secret of last year, long enough"
WEEK_MS = 7 * 86400 * 1000


def deadline_file(mesh: Mesh, host: str) -> Path:
    return mesh.home(host) / "rotation.json"


def put_deadline(mesh: Mesh, host: str, in_s: float) -> None:
    key_id = derive(OLD, mesh=mesh.settings["mesh"]).key_id.hex()
    until = int((time.time() + in_s) * 1000)
    deadline_file(mesh, host).write_text(json.dumps({key_id: until}))


async def test_a_previous_secret_works_until_its_persisted_deadline(mesh: Mesh):
    mesh.settings["mdns"] = True
    bob = await mesh.join("bob", "h1", previous_secret=OLD)
    alice = await mesh.join("alice", "h2", secret=OLD)
    await alice.sees(bob="live")
    await alice.call("send", to="bob", content="from last year")
    assert contents(await bob.call("collect", count=1, timeout_s=5)) == ["from last year"]
    await bob.call("send", to="alice", content="rotate, please")
    assert contents(await alice.call("collect", count=1, timeout_s=5)) == ["rotate, please"]
    (first,) = json.loads(deadline_file(mesh, "h1").read_text()).values()
    assert abs(first - time.time() * 1000 - WEEK_MS) < 60_000
    await bob.close()
    await mesh.join("bob", "h1", previous_secret=OLD)
    assert list(json.loads(deadline_file(mesh, "h1").read_text()).values()) == [first]


async def test_a_running_node_drops_the_previous_secret_at_its_deadline(mesh: Mesh):
    mesh.settings["mdns"] = True
    alice = await mesh.join("alice", "h2", secret=OLD)
    await (await mesh.open("h1", secret=SECRET)).close()
    put_deadline(mesh, "h1", 5)
    bob = await mesh.join("bob", "h1", previous_secret=OLD)
    await alice.sees(bob="live")
    await bob.sees(alice="live")
    await bob.sees(15, alice="suspect")
    await alice.call("send", to="bob", content="too late")
    await asyncio.sleep(1)
    assert await bob.call("check") == []
    assert any("PREVIOUS has ended" in p for p in (await bob.call("status"))["problems"])
    problems = await alice.call("wait_problem", timeout_s=15)
    assert any("secret" in problem for problem in problems)


async def test_after_the_deadline_an_old_node_is_not_let_in_and_its_mail_waits_unharmed(mesh: Mesh):
    mesh.settings["mdns"] = True
    await (await mesh.open("h1", secret=SECRET)).close()
    put_deadline(mesh, "h1", -1)
    bob = await mesh.join("bob", "h1", previous_secret=OLD)
    alice = await mesh.join("alice", "h2", secret=OLD)
    sent = await alice.call("send", to="bob", content="written under the old secret")
    await alice.call("wait_problem", timeout_s=10)
    assert [e["id"] for e in await bob.call("roster")] == ["bob"]
    assert await bob.call("check") == []
    assert any("PREVIOUS has ended" in p for p in (await bob.call("status"))["problems"])
    await alice.close()
    alice = await mesh.join("alice", "h2")
    await alice.call("wait_receipt", id_=sent["id"], state="delivered", timeout_s=10)
    assert contents(await bob.call("check")) == ["written under the old secret"]


async def test_a_damaged_deadline_begins_again_and_is_never_longer_than_a_week(mesh: Mesh):
    mesh.home("h1").mkdir(mode=0o700)
    deadline_file(mesh, "h1").write_text("[" * 10_000)
    await (await mesh.open("h1", previous_secret=OLD)).close()
    put_deadline(mesh, "h1", 10 * 365 * 86400)
    await (await mesh.open("h1", previous_secret=OLD)).close()
    (until,) = json.loads(deadline_file(mesh, "h1").read_text()).values()
    assert until - time.time() * 1000 <= WEEK_MS


async def _do_meet(mesh: Mesh, route: str, pair: str, one: str | None, two: str | None) -> bool:
    """Whether two nodes exchange mail that meet at a door, or find each other by multicast."""
    door = free_port()
    is_by_mdns = route == "mdns"
    near = await mesh.join(f"near{pair}", f"n{pair}", secret=one, port=door, mdns=is_by_mdns)
    peers = [] if is_by_mdns else [f"127.0.0.1:{door}"]
    far = await mesh.join(
        f"far{pair}", f"f{pair}", secret=two, peers=peers, port=0, mdns=is_by_mdns
    )
    await near.call("send", to=f"far{pair}", content="to far")
    await far.call("send", to=f"near{pair}", content="to near")
    got = await near.call("collect", count=1, timeout_s=3 if is_by_mdns else 1.5)
    got += await far.call("collect", count=1, timeout_s=0.5)
    for session in (near, far):
        await session.kill()
    return bool(got)


SECRETS = {"o": None, "s": SECRET, "w": SECRET + "!", "p": OLD}
MATRIX = [(one + two, SECRETS[one], SECRETS[two]) for one in SECRETS for two in SECRETS]

SOME = [pair for pair in MATRIX if pair[0] in {"ss", "so", "os", "sw"}]


@pytest.mark.parametrize(
    ("route", "pairs"),
    [
        ("door", SOME),
        ("mdns", SOME),
        *[
            pytest.param(route, half, marks=pytest.mark.long)
            for route in ("door", "mdns")
            for half in (MATRIX[:8], MATRIX[8:])
        ],
    ],
)
async def test_only_equal_secrets_exchange_a_byte_of_mail(mesh: Mesh, route, pairs):
    met = await asyncio.gather(*[_do_meet(mesh, route, *pair) for pair in pairs])
    assert met == [one == two for _, one, two in pairs], pairs


async def test_a_directory_once_used_with_a_secret_refuses_open_mode(mesh: Mesh):
    await (await mesh.open("h1")).close()
    with pytest.raises(WorkerError, match="was used with a secret"):
        await mesh.open("h1", secret=None)
    await (await mesh.open("h1", secret=None, is_open_allowed=True)).close()


async def test_open_mode_listens_on_the_loopback_only(mesh: Mesh):
    node = await mesh.open("h1", secret=None, bind=None, port=free_port())
    to = target(mesh.home("h1"))
    assert to.address[0] == "127.0.0.1"
    assert _listening(node.pid) <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    with pytest.raises(WorkerError, match="let anyone in the network join"):
        await mesh.open("h2", secret=None, bind="0.0.0.0")


def _listening(pid: int) -> set[str]:
    inodes = {str(f.readlink()) for f in Path(f"/proc/{pid}/fd").iterdir() if f.is_symlink()}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                raw = bytes.fromhex(fields[1].split(":")[0])
                found.add(_address(raw))
    return found


def _address(raw: bytes) -> str:
    tail = ".".join(map(str, reversed(raw[-4:])))
    if len(raw) == 4:
        return tail
    return f"::ffff:{tail}" if raw[8:12] == b"\xff\xff\0\0" else raw.hex()


@pytest.mark.parametrize("text", ["", "short", "changeme", "your-team-secret-here", "${X_SECRET}"])
async def test_a_placeholder_is_no_secret(mesh: Mesh, text: str):
    with pytest.raises(WorkerError, match="weak_secret") as caught:
        await mesh.open("h1", secret=text)
    assert not text or text not in str(caught.value)
