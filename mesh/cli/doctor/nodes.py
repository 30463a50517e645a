"""Examines the live nodes of this host, and what they know of the others."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mesh.cli.doctor.finding import Finding, in_time, ok, warn
from mesh.cli.render import one_line
from mesh.config import Config
from mesh.driver import remote
from mesh.driver.remote import ControlPoint
from mesh.driver.results import RosterEntry, Status
from mesh.errors import MeshError
from mesh.net.registry import LocalNode, live_nodes
from mesh.store.locks import is_held

ANSWER_S: Final = 0.7
NODES_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Asked:
    """A node of this host and what it answered; no status if it did not."""

    node: LocalNode
    status: Status | None = None
    roster: tuple[RosterEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class View:
    """How one node sees the mesh."""

    status: Status
    roster: Sequence[RosterEntry]

    def is_of(self, config: Config) -> bool:
        """Whether that node and a session with these settings are in the same mesh."""
        return (self.status.mode, self.status.mesh) == (config.mode, config.mesh)


async def ask_nodes(home: Path) -> list[Asked]:
    """Ask all live nodes of the state directory how they are."""
    nodes = await in_time(lambda: live_nodes(home / "run", is_held), timeout_s=0.4)
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(_ask(node)) for node in nodes[:NODES_MAX]]
    return [task.result() for task in asked]


async def _ask(node: LocalNode) -> Asked:
    try:
        async with asyncio.timeout(ANSWER_S):
            answer = await ControlPoint(node.control, node.token).ask("status", {})
            roster = await remote.local_roster(node.control, node.token)
            return Asked(node, Status.from_json(answer.value), tuple(roster))
    except (MeshError, OSError, TimeoutError, LookupError, TypeError, ValueError):
        return Asked(node)


def examine_nodes(config: Config | None, asked: Sequence[Asked]) -> list[Finding]:
    """Say which nodes run here and whether a session from this shell would meet them."""
    if not asked:
        return [ok("nodes", "No node of this host is running.")]
    return [_node(config, each) for each in asked]


def _node(config: Config | None, asked: Asked) -> Finding:
    node, status = asked.node, asked.status
    held = ", ".join(map(one_line, node.names)) or "no mailbox"
    if status is None:
        text = f"Process {node.pid} ({held}) is alive but does not answer."
        return warn("nodes", text, f"Resume it if it is stopped, else end it: kill {node.pid}")
    text = f"Process {node.pid} holds {held}: {status.mode} mode, mesh {one_line(status.mesh)}."
    if config is not None and status.mode != config.mode:
        text += f" A session from this shell would be in {config.mode} mode and not see it."
        return warn("nodes", text, "Give both the same secret and start that session again.")
    if config is not None and status.mesh != config.mesh:
        return ok("nodes", f"{text} Sessions from this shell are in {config.mesh}.")
    return ok("nodes", text)


def examine_peers(views: Iterable[View]) -> list[Finding]:
    """Sum up who is known; an agent is in the best state that any node knows it in."""
    agents: dict[str, str] = {}
    order = ("live", "suspect", "away")
    for view in views:
        for entry in view.roster:
            states = (entry.state, agents.get(entry.fingerprint, "away"))
            agents[entry.fingerprint] = min(states, key=order.index)
    counts = Counter(agents.values())
    shown = ", ".join(f"{counts[state]} {state}" for state in order if counts[state])
    if counts["suspect"]:
        mend = "Wait a minute: their machines may be asleep, else look at the network between."
        return [warn("peers", f"Agents known: {shown}.", mend)]
    return [ok("peers", f"Agents known: {shown}." if shown else "No agent is known yet.")]
