"""`mesh doctor`: what it finds in order, what it finds broken, and that it always ends in time."""

import asyncio
import io
import json
import os
import socket
import stat
import threading
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest

import mesh
from mesh.cli.console import Console
from mesh.cli.doctor.agreement import disagreeing, examine_agreement
from mesh.cli.doctor.finding import describe, examine, in_time, ok
from mesh.cli.doctor.multicast import choose, examine_multicast
from mesh.cli.doctor.nodes import Asked, View, examine_nodes, examine_peers
from mesh.cli.doctor.ports import examine_ports
from mesh.cli.doctor.reach import examine_static, resolve_peers
from mesh.cli.doctor.settings import examine_settings, home_of
from mesh.cli.doctor.state import check_mode, examine_clock, examine_home
from mesh.cli.doctor.versions import examine_limits, examine_versions
from mesh.cli.main import perform
from mesh.config import Config
from mesh.driver.results import RosterEntry, Status
from mesh.errors import StoreError
from mesh.model import CurveKey, NodeId
from mesh.net.addresses import LocalAddress
from mesh.net.registry import LocalNode
from mesh.store.locks import FileLock
from mesh.store.versions import has_wal_reset_bug

SECRET = "kX3vTq9ZbN5mW8sYc2Rf"
OPTIONS = Namespace(is_open_allowed=False, as_name=None)
IS_POSIX = os.name == "posix"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("IPC_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("IPC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IPC_MDNS", "off")
    monkeypatch.setenv("IPC_PORT", "0")
    return tmp_path / "home"


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


Lines = list[dict[str, str]]


async def doctor(*words: str) -> tuple[int, Lines]:
    output = io.StringIO()
    code = await perform(["doctor", *words, "--json"], Console(is_json=True, stream=output))
    lines = [json.loads(line) for line in output.getvalue().splitlines()]
    assert all(list(line) == ["check", "status", "finding", "mend"] for line in lines)
    assert all(line["mend"] for line in lines if line["status"] != "ok")
    return code, lines


def of(lines: Lines, check: str) -> list[str]:
    return [line["status"] for line in lines if line["check"] == check]


def node(**changes: object) -> LocalNode:
    values = {
        "node": NodeId(bytes(16)),
        "curve": CurveKey(bytes(32)),
        "endpoints": ("tcp://127.0.0.1:5",),
        "mesh": "default",
        "pid": 77,
        "names": ("alice",),
        "started_ms": 0,
    }
    return LocalNode(**{**values, **changes})


def status(*problems: str, mode: str = "secret", name: str = "default") -> Status:
    return Status(
        instance_id=None,
        fingerprint=None,
        mode=mode,
        mesh=name,
        outbox={},
        inbox={},
        peers={},
        push="auto",
        problems=problems,
    )


def agent(state: str, fingerprint: str) -> RosterEntry:
    return RosterEntry("a", "a#1", state, "h", "", "", fingerprint, "pinned", *4 * ("",), you=False)


async def test_a_fresh_machine_is_in_order(home):
    code, lines = await doctor()
    assert code == 0
    assert {line["status"] for line in lines} == {"ok"}
    checks = {line["check"] for line in lines}
    assert checks >= {"secret", "mode", "state", "mailboxes", "nodes", "multicast", "ports"}
    assert checks >= {"start", "peers", "clock", "versions"}


async def test_a_live_session_is_named_and_seen(home):
    async with mesh.join("alice", Config(home=home, mdns=False, port=0)):
        code, lines = await doctor()
    assert code == 0
    (found,) = [line["finding"] for line in lines if line["check"] == "nodes"]
    assert f"Process {os.getpid()} holds alice" in found
    (peers,) = [line["finding"] for line in lines if line["check"] == "peers"]
    assert peers == "Agents known: 1 live."


async def test_a_weak_secret_is_a_finding_and_the_rest_is_looked_at(home, monkeypatch):
    monkeypatch.setenv("IPC_SHARED_SECRET", "changeme")
    code, lines = await doctor()
    assert (code, of(lines, "secret")) == (1, ["fail"])
    assert of(lines, "state") == ["ok"]
    assert of(lines, "versions")
    assert "changeme" not in json.dumps(lines)


async def test_everything_broken_at_once_is_still_only_findings(tmp_path, home, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("IPC_HOME", str(tmp_path / "file" / "home"))
    code, lines = await doctor()
    assert (code, of(lines, "secret"), of(lines, "state")) == (1, ["fail"], ["fail"])
    monkeypatch.setenv("IPC_SHARED_SECRET", SECRET)
    monkeypatch.setenv("IPC_PEERS", "127.0.0.1:1,no such host.invalid")
    code, lines = await doctor()
    assert (code, of(lines, "settings"), of(lines, "state")) == (1, ["fail"], ["fail"])
    monkeypatch.setenv("IPC_PEERS", "127.0.0.1:1")
    code, lines = await doctor()
    assert (code, of(lines, "state"), of(lines, "reach")) == (1, ["fail"], ["warn"])
    assert of(lines, "start") == []


async def test_a_held_lock_does_not_hang_the_doctor(home):
    home.mkdir(mode=0o700)
    begun = time.monotonic()
    with FileLock.acquire(home / "lock", content=b""):
        code, lines = await doctor()
    assert (code, of(lines, "state")) == (1, ["fail"])
    assert time.monotonic() - begun < 6


async def test_people_get_one_line_a_finding_and_a_sum(home, monkeypatch):
    monkeypatch.setenv("IPC_SHARED_SECRET", "")
    output = io.StringIO()
    code = await perform(["doctor"], Console(is_json=False, stream=output))
    lines = output.getvalue().splitlines()
    assert code == 1
    assert lines[0].startswith("fail  secret")
    assert lines[1].strip().startswith("->")
    assert lines[-1].endswith("findings: 1 failed, 0 to look at.")


async def test_work_that_blocks_is_left_behind():
    stuck = threading.Event()
    with pytest.raises(TimeoutError):
        await in_time(stuck.wait, timeout_s=0.01)
    stuck.set()
    (found,) = await examine("x", asyncio.sleep(60), timeout_s=0.01)
    assert (found.check, found.status) == ("x", "warn")


async def test_what_an_examination_raises_is_a_finding():
    async def trip() -> list:
        async with asyncio.TaskGroup():
            raise ZeroDivisionError

    (found,) = await examine("x", trip(), timeout_s=1)
    assert "ZeroDivisionError" in found.finding
    assert describe(StoreError("It is so.")) == "It is so"


def test_a_short_secret_is_named_without_being_shown(home, monkeypatch):
    monkeypatch.setenv("IPC_SHARED_SECRET", "abcdefghij")
    found, config = examine_settings(OPTIONS)
    assert config is not None
    assert [f.status for f in found if f.check == "secret"] == ["warn"]
    assert not any("abcdefghij" in f.finding for f in found)
    assert "IPC_SHARED_SECRET" not in os.environ


def test_two_different_secrets_are_noticed(home, monkeypatch):
    home.mkdir(mode=0o700)
    (home / "secret").write_text("another-secret-than-that-one\n")
    (home / "secret").chmod(0o600)
    monkeypatch.setenv("IPC_SHARED_SECRET", SECRET)
    found, _ = examine_settings(OPTIONS)
    assert [f.status for f in found if f.check == "secret"] == ["ok", "warn"]


@pytest.mark.skipif(not IS_POSIX, reason="permissions are those of POSIX")
def test_a_secret_that_others_can_read_fails(home):
    home.mkdir(mode=0o700)
    (home / "secret").write_text(SECRET)
    (home / "secret").chmod(0o644)
    found, config = examine_settings(OPTIONS)
    assert (config, [(f.check, f.status) for f in found]) == (None, [("secret", "fail")])


def test_open_mode_on_the_network_is_a_warning(home, monkeypatch):
    monkeypatch.setenv("IPC_BIND", "*")
    monkeypatch.setenv("IPC_OPEN", "1")
    found, _ = examine_settings(OPTIONS)
    assert [(f.check, f.status) for f in found] == [("secret", "ok"), ("mode", "warn")]


def test_strict_mode_is_said(home, monkeypatch):
    monkeypatch.setenv("IPC_STRICT", "on")
    found, _ = examine_settings(OPTIONS)
    assert "strict (mail only with trusted keys)" in found[-1].finding


def test_the_state_directory_is_known_even_without_settings(tmp_path):
    assert home_of({"IPC_HOME": str(tmp_path)}) == tmp_path


@pytest.mark.skipif(not IS_POSIX, reason="permissions are those of POSIX")
def test_loose_permissions_are_mended_and_told(home):
    home.mkdir()
    home.chmod(0o755)
    found, opened = examine_home(home, "default")
    assert opened is not None
    assert [f.status for f in found] == ["warn", "ok", "ok"]
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert list((home / "run").iterdir()) == []


def test_a_link_in_the_place_of_the_directory_fails(home, tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    home.symlink_to(tmp_path / "real")
    (found,), opened = examine_home(home, "default")
    assert (found.status, opened) == ("fail", None)


def test_databases_kept_aside_and_loose_keys_are_named(home):
    place = home / "mail" / "alice"
    place.mkdir(parents=True, mode=0o700)
    name = "mailbox.db.damaged-20260102T030405000006Z"
    for suffix in ("", "-wal", ".txt"):
        (place / f"{name}{suffix}").write_text("")
    (place / "key").write_bytes(bytes(32))
    (place / "key").chmod(0o644)
    found, _ = examine_home(home, "default")
    warned = [f for f in found if f.check == "mailboxes"]
    assert [f.status for f in warned] == (["warn", "warn"] if IS_POSIX else ["warn"])
    assert name in warned[0].finding


def test_a_lost_secret_is_found_before_a_start_is_refused(home):
    _, opened = examine_home(home, "default")
    assert opened is not None
    assert check_mode(opened, "open", is_open_allowed=False) == []
    opened.mark_secret_mode()
    assert [f.status for f in check_mode(opened, "open", is_open_allowed=False)] == ["fail"]
    assert [f.status for f in check_mode(opened, "open", is_open_allowed=True)] == ["warn"]
    assert check_mode(opened, "secret", is_open_allowed=False) == []


def test_a_clock_behind_its_own_files_is_noticed(home):
    home.mkdir()
    (found,) = examine_clock(home)
    assert found.status == "ok"
    (home / "host.id").write_text("")
    os.utime(home / "host.id", (time.time() + 3600, time.time() + 3600))
    (found,) = examine_clock(home)
    assert found.status == "warn"
    assert "minutes in the future" in found.finding


def test_the_holder_of_the_well_known_port_is_named(home, taken_port):
    config = Config(home=home, port=taken_port)
    (found,) = examine_ports(config, set())
    assert found.status == "warn"
    (found,) = examine_ports(config, {os.getpid()})
    assert found.status == "ok"
    if Path("/proc/net/tcp").exists():
        assert str(os.getpid()) in found.finding


def test_an_address_of_another_machine_cannot_be_listened_on(home):
    config = Config(home=home, secret=SECRET, bind="192.0.2.77", port=0)
    (found,) = examine_ports(config, set())
    assert found.status == "fail"
    (found,) = examine_ports(Config(home=home, secret=SECRET, port=0), set())
    assert found.status == "ok"


async def test_multicast_comes_back_on_loopback(home):
    (found,) = await examine_multicast(Config(home=home))
    assert found.check == "multicast"


def test_each_interface_is_probed_once_by_ipv4_or_else_link_local_ipv6():
    addresses = [
        LocalAddress("127.0.0.1", "lo"),
        LocalAddress("192.168.1.5", "eth0"),
        LocalAddress("192.168.1.6", "eth0"),
        LocalAddress("fe80::1", "eth0", "2"),
        LocalAddress("fe80::2", "eth1", "3"),
        LocalAddress("fd00::2", "eth2"),
    ]
    chosen = [a.host for a in choose(addresses, is_loopback=False)]
    assert chosen == ["192.168.1.5", "fe80::2"]
    assert [a.host for a in choose(addresses, is_loopback=True)] == ["127.0.0.1"]


async def test_static_peers_are_dialled(home, taken_port):
    peers = (f"127.0.0.1:{taken_port}", "127.0.0.1:1")
    config = Config(home=home, peers=peers)
    found = await examine_static({**await resolve_peers(config), "nobody": []})
    assert [f.status for f in found] == ["ok", "warn", "warn"]


def test_nodes_that_do_not_answer_or_do_not_fit_are_named(home):
    config = Config(home=home, secret=SECRET)
    asked = [
        Asked(node(), status()),
        Asked(node(), status(mode="open")),
        Asked(node(), status(name="other")),
        Asked(node(names=()), None),
    ]
    found = examine_nodes(config, asked)
    assert [f.status for f in found] == ["ok", "warn", "ok", "warn"]
    assert examine_nodes(None, []) == [ok("nodes", "No node of this host is running.")]


def test_agents_are_counted_once_in_their_best_state():
    one = View(status(), [agent("away", "1"), agent("live", "2")])
    two = View(status(), [agent("live", "1"), agent("suspect", "3")])
    (found,) = examine_peers([one, two])
    assert (found.status, found.finding) == ("warn", "Agents known: 2 live, 1 suspect.")


def test_who_disagrees_on_the_secret_is_named_by_address_once(home):
    config = Config(home=home, secret=SECRET)
    own = View(
        status(
            "tcp://192.168.1.9:5 refuses our secret (or is of another mesh)",
            "tcp://127.0.0.1:5 refuses our secret (or is of another mesh)",
            "ipc:///gone.sock refuses our secret (or is of another mesh)",
            "192.168.1.9 was refused 3 times: another secret or mesh",
            "local was refused 1 times: another secret or mesh",
            "tcp://192.168.1.8:5 speaks another version of the protocol",
        ),
        [],
    )
    asked = [Asked(node(), status()), Asked(node(endpoints=()), status())]
    apart = disagreeing(config, own, asked)
    assert apart == asked[:1]
    found = examine_agreement(config, [own, own], asked, apart=apart)
    assert [f.finding for f in found] == [
        "Process 77 (alice) of this host holds another secret than this shell.",
        "Our secret (or mesh) is refused by 192.168.1.9:5.",
        "We refused 192.168.1.9: another secret or mesh.",
        "tcp://192.168.1.8:5 speaks another version of the protocol.",
    ]


def test_clock_that_differs_from_ours_is_a_finding_of_its_own(home):
    config = Config(home=home, secret=SECRET)
    said = "The clock of bob's machine is 10 minutes ahead of ours"
    _, found = examine_agreement(config, [View(status(said), [])], [], apart=[])
    assert (found.check, found.status, found.finding) == ("clock", "warn", f"{said}.")


def test_agreement_is_said_where_there_is_a_secret(home):
    config = Config(home=home, secret=SECRET)
    (found,) = examine_agreement(config, [View(status(), [])], [], apart=[])
    assert found.status == "ok"
    assert disagreeing(config, None, [Asked(node(), status())]) == []


@pytest.mark.parametrize(
    ("version", "is_affected"),
    [
        ("3.6.23", False),
        ("3.40.1", True),
        ("3.44.5", True),
        ("3.44.6", False),
        ("3.50.6", True),
        ("3.50.7", False),
        ("3.51.2", True),
        ("3.51.3", False),
        ("3.53.0", False),
    ],
)
def test_the_range_of_the_wal_reset_bug_is_known(version, is_affected):
    assert has_wal_reset_bug(version) is is_affected


def test_versions_and_limits_are_told():
    assert all(f.status == "ok" for f in examine_versions())
    assert len(examine_limits()) == (1 if IS_POSIX else 0)
