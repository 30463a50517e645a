"""What another implementation of multicast DNS, Avahi, makes of our service; if it is installed."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.network.lan import join_on, plug_in
from tests.network.machines import Switch
from tests.processes.hosts import short_directory

PROGRAMS = ("avahi-daemon", "avahi-browse", "dbus-daemon")
PID_FILE = Path("/run/avahi-daemon/pid")
BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>{address}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/>
<allow send_destination="*"/><allow eavesdrop="false"/></policy></busconfig>"""
CONFIGURATION = """[server]
use-ipv6=no
disallow-other-stacks=no
[publish]
publish-workstation=no
"""

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not all(map(shutil.which, PROGRAMS)), reason="Avahi's programs are not installed"
    ),
    pytest.mark.skipif(PID_FILE.exists(), reason="an Avahi daemon runs on this machine already"),
]


@asynccontextmanager
async def program(*command: str, environment: dict[str, str]) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@asynccontextmanager
async def avahi(lan: Switch, machine: str) -> AsyncIterator[dict[str, str]]:
    """Run a daemon on a machine; yields the environment its clients need."""
    with short_directory() as directory:
        environment = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={directory}/bus"}
        bus, settings = directory / "bus.conf", directory / "avahi.conf"
        bus.write_text(BUS.format(address=environment["DBUS_SYSTEM_BUS_ADDRESS"]))
        settings.write_text(CONFIGURATION)
        directory.chmod(0o755)
        at = lan.prefix(machine)
        daemon = ("avahi-daemon", "--no-drop-root", "--no-chroot", "-f", str(settings))
        async with program(
            *at, "dbus-daemon", f"--config-file={bus}", "--nofork", environment=environment
        ):
            async with asyncio.timeout(10):
                while not (directory / "bus").exists():
                    await asyncio.sleep(0.02)
            async with program(*at, *daemon, environment=environment):
                yield environment


async def browse(lan: Switch, machine: str, environment: dict[str, str]) -> list[list[str]]:
    """Return the resolved services, each as the fields that avahi-browse prints."""
    process = await asyncio.create_subprocess_exec(
        *lan.prefix(machine),
        *("avahi-browse", "--resolve", "--parsable", "--terminate", "_claude-ipc._tcp"),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(20):
        said, _ = await process.communicate()
    return [line.split(";") for line in said.decode().splitlines() if line.startswith("=")]


async def test_avahi_sees_a_valid_service_that_tells_no_more_than_it_must(lan, mesh):
    plug_in(lan, ("a", "b"))
    a = await join_on(lan, mesh, "a")
    async with avahi(lan, "b") as environment:
        found: list[list[str]] = []
        async with asyncio.timeout(30):
            while not found:
                found = await browse(lan, "b", environment)
    (service,) = found
    _, _, protocol, label, kind, domain, host, address, port, text = service
    assert (protocol, kind, domain, address) == ("IPv4", "_claude-ipc._tcp", "local", "10.77.0.1")
    status = await a.call("status")
    assert f"tcp://{address}:{port}" in status["endpoints"]
    fields = dict(field.strip('"').split("=") for field in text.split(" "))
    assert fields.keys() == {"v", "m", "k"}
    assert len(bytes.fromhex(fields["k"])) == 32
    for told in (label, host.removesuffix(".local")):
        assert len(bytes.fromhex(told)) == 8
