"""Files shared in a simulated mesh, and what may happen to them: drawn by chance of its own.

Runs without files are the same as if there were none of this, whatever is changed here.
"""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final

from mesh import limits
from mesh.core.events import Draft, Submit, Token
from mesh.model import FileRef, Kind, MessageId, parse_address
from mesh.sim.history import Sending
from mesh.sim.shelf import Spooled
from mesh.sim.world import Agent, World

_PIECE: Final = limits.chunk_bytes_max
_SIZES: Final = (
    1,
    _PIECE,
    3 * _PIECE + 5,
    limits.partial_sync_bytes + 1,
    2 * limits.partial_sync_bytes + limits.near_bytes_max + 7,
)


class Sharing:
    """Plans what is shared in one run; in most runs that is nothing."""

    def __init__(self, world: World, token: Callable[[], Token]) -> None:
        self._world = world
        self._token = token
        self._random = world.file_random
        self._shared: list[tuple[Agent, FileRef]] = []

    def plan(self, end: float) -> None:
        """Draw files and faults for the time up to `end`."""
        random, timeline = self._random, self._world.timeline
        if random.random() > 0.3:
            return
        for _ in range(random.randint(1, 6)):
            timeline.at(random.uniform(0.0, end), self._share)
        for kind in random.choices(list(FILE_FAULTS), k=random.randint(0, 8)):
            timeline.at(random.uniform(0.0, end), partial(FILE_FAULTS[kind], self._world, random))

    def _share(self) -> None:
        world, random = self._world, self._random
        agent = random.choice(world.agents)
        process = agent.session
        if process is None:
            return
        file = self._file(agent)
        sending = Sending(
            id=MessageId(random.randbytes(16)),
            kind=Kind.FILE,
            author=agent.disk.key,
            to=random.choice(world.agents).disk.name,
            body=b"file " + file.digest[:4],
            ttl_s=random.choice([limits.ttl_s_default] * 4 + [10.0]),
            invoked_at=world.timeline.now,
            file=file,
        )
        agent.disk.shelf.spool[file.digest] = Spooled(file.bytes)
        world.history.files["shared"] += 1
        draft = Draft(sending.id, Kind.FILE, sending.body, b"", 0, sending.ttl_s, file=file)
        event = Submit(self._token(), sending.author, parse_address(sending.to), (draft,))
        process.submit(event.token, sending, event)

    def _file(self, agent: Agent) -> FileRef:
        """Return a new file, or one that this agent has shared before."""
        own = [file for author, file in self._shared if author is agent]
        if own and self._random.random() < 0.3:
            return self._random.choice(own)
        digest = self._random.randbytes(32)
        file = FileRef(digest, self._random.choice(_SIZES), f"{digest[:4].hex()}.bin")
        self._shared.append((agent, file))
        return file


def _fill_disk(world: World, random: Random) -> None:
    """Let all writing of received files fail for a while."""
    agent = _choose(world, random, lambda agent: bool(agent.disk.shelf.parts))
    if agent is not None:
        shelf = agent.disk.shelf
        shelf.is_full = True
        world.history.inject("file disk full")
        world.timeline.after(random.uniform(0.5, 20.0), lambda: setattr(shelf, "is_full", False))


def _rot(world: World, random: Random) -> None:
    """Damage a piece of each file that is on its way to somebody."""
    agent = _choose(world, random, lambda agent: bool(agent.disk.shelf.parts))
    for (_, digest), part in agent.disk.shelf.parts.items() if agent is not None else ():
        if part.pieces:
            place = random.randrange(len(part.pieces))
            part.pieces[place] = (part.pieces[place][0], False)
            world.history.spoiled.add(digest)
            world.history.inject("piece damaged", digest[:4])


def _spoil(world: World, random: Random) -> None:
    """Damage or lose an outgoing file."""
    agent = _choose(world, random, lambda agent: bool(agent.disk.shelf.spool))
    if agent is None:
        return
    spool = agent.disk.shelf.spool
    digest = random.choice(list(spool))
    world.history.spoiled.add(digest)
    if random.random() < 0.5:
        del spool[digest]
        world.history.inject("outgoing file lost", digest[:4])
    else:
        spool[digest].is_good = False
        world.history.inject("outgoing file damaged", digest[:4])


def _strike_down(world: World, random: Random) -> None:
    """Kill somebody who receives or sends a file, or cut the power of the machine."""
    agent = _choose(world, random, lambda agent: bool(agent.disk.shelf.parts))
    agent = agent or _choose(world, random, lambda agent: bool(agent.disk.shelf.spool))
    if agent is None or agent.host.is_off:
        return
    if random.random() < 0.6:
        world.history.inject("killed with a file", agent.disk.key)
        world.crash(agent)
    else:
        world.history.inject("power lost with a file", agent.host.number)
        world.power_off(agent.host)
        world.timeline.after(random.uniform(0.5, 5.0), lambda: world.power_on(agent.host))
    for other in agent.host.agents:
        world.timeline.after(random.uniform(6.0, 10.0), partial(world.start, other))


def _choose(world: World, random: Random, suits: Callable[[Agent], bool]) -> Agent | None:
    suitable = [agent for agent in world.agents if suits(agent)]
    return random.choice(suitable) if suitable else None


FILE_FAULTS: Final[dict[str, Callable[[World, Random], None]]] = {
    "file disk full": _fill_disk,
    "piece damaged": _rot,
    "outgoing file spoilt": _spoil,
    "struck down": _strike_down,
}
