"""Short ways to fill a LAN with hosts and to wait until they know each other.

How long it took is printed: `pytest -rP -m "long or not long" tests/network` shows the figures.
"""

import asyncio
import time

from tests.network.machines import Switch
from tests.processes.hosts import Mesh, Session, contents

NAMES = ("a", "b", "c")


def plug_in(lan: Switch, names=NAMES) -> None:
    """Set machines up, at 10.77.0.1 and so on."""
    for number, name in enumerate(names, start=1):
        lan.add(name, ipv4=f"10.77.0.{number}")


async def join_on(lan: Switch, mesh: Mesh, name: str, machine: str = "", /, **changes) -> Session:
    """Start a session on the machine of that name, or on another one."""
    machine = machine or name
    return await mesh.join(name, f"host-{machine}", prefix=lan.prefix(machine), **changes)


async def join_all(lan: Switch, mesh: Mesh, names=NAMES, /, **changes) -> list[Session]:
    """Start one session on each machine."""
    return await asyncio.gather(*(join_on(lan, mesh, name, **changes) for name in names))


async def see_all(sessions: list[Session], timeout_s: float, names=NAMES) -> float:
    """Wait until all see all; return how long it took."""
    begun = time.monotonic()
    everybody = dict.fromkeys(names, "live")
    await asyncio.gather(*(session.sees(timeout_s, **everybody) for session in sessions))
    after_s = time.monotonic() - begun
    print(f"all {len(sessions)} see all after {after_s:.2f} s")
    return after_s


async def exchange(one: Session, other: Session, text: str, timeout_s: float = 15) -> float:
    """Send mail there and back; return how long it took."""
    begun = time.monotonic()
    names = [session.name.rpartition("/")[2] for session in (one, other)]
    await one.call("send", to=names[1], content=text)
    await other.call("send", to=names[0], content=text)
    there, back = await asyncio.gather(
        other.call("collect", count=1, timeout_s=timeout_s, limit_s=timeout_s + 10),
        one.call("collect", count=1, timeout_s=timeout_s, limit_s=timeout_s + 10),
    )
    assert (contents(there), contents(back)) == ([text], [text])
    after_s = time.monotonic() - begun
    print(f"mail went there and back in {after_s:.2f} s")
    return after_s
