"""Examines the live nodes of this host, and what they know of the others."""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mesh.cli.doctor.finding import Finding, in_time, ok, warn
from mesh.cli.render import one_line
from mesh.config import Config
from mesh.driver import remote
from mesh.driver.remote import ControlPoint
from mesh.driver.results import Reached, RosterEntry, Status
from mesh.errors import MeshError
from mesh.net.registry import LocalNode, live_nodes
from mesh.store.locks import is_held

ANSWER_S: Final = 0.7
NODES_MAX: Final = 64
SHOWN_MAX: Final = 12
_UNREACHED: Final = (
    "Nothing to do if that machine is off or its session has ended; else allow incoming TCP for "
    "Python there, and see that the network lets its members talk to each other."
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A node of this host and what it answered; no status if it did not."""

    node: LocalNode
    status: Status | None = None
    roster: tuple[RosterEntry, ...] = ()
    reached: tuple[Reached, ...] = ()


@dataclass(frozen=True, slots=True)
class View:
    """How one node sees the mesh."""

    status: Status
    roster: Sequence[RosterEntry]
    reached: Sequence[Reached] = ()

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
            told = await ControlPoint(node.control, node.token).ask("reached", {})
            reached = tuple(map(Reached.from_json, told.items))
            return Asked(node, Status.from_json(answer.value), tuple(roster), reached)
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


def examine_known(views: Iterable[View], *, said: Collection[str]) -> list[Finding]:
    """Say which other nodes are linked and which cannot be reached, each by its address.

    A node counts by the best that any view knows of it. Of the endpoints `said` (those of this host
    and of static peers) all is said already.
    """
    states: dict[str, Reached] = {}
    order = ("linked", "suspect", "out of reach")
    for view in views:
        for place in view.reached:
            best = states.get(place.endpoint, place)
            states[place.endpoint] = min(place, best, key=lambda p: order.index(p.state))
    far = [
        p for p in states.values() if p.endpoint not in said and not p.endpoint.startswith("ipc")
    ]
    linked = [p for p in far if p.state == "linked"]
    found = [ok("reach", f"{_where(p)} is linked.") for p in linked[:SHOWN_MAX]]
    if len(linked) > SHOWN_MAX:
        found.append(ok("reach", f"{len(linked) - SHOWN_MAX} more are linked."))
    others = [p for p in far if p.state != "linked"]
    others.sort(key=lambda p: p.failing_s)
    for place in others[:SHOWN_MAX]:
        text = f"{_where(place)} is {place.state}{_since(place.failing_s)}."
        found.append(warn("reach", text, _UNREACHED))
    if len(others) > SHOWN_MAX:
        text = f"{len(others) - SHOWN_MAX} more addresses are out of reach."
        found.append(warn("reach", text, _UNREACHED))
    return found


def _where(place: Reached) -> str:
    names = ", ".join(map(one_line, place.agents))
    return f"{one_line(place.endpoint)} ({names})" if names else one_line(place.endpoint)


def _since(failing_s: float) -> str:
    if not failing_s:
        return ""
    return f" for {failing_s / 60:.0f} minutes" if failing_s >= 90 else f" for {failing_s:.0f} s"
