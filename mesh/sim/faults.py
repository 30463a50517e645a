"""What may go wrong, each drawn from the seed and counted in the history.

A fault strikes at once and mends itself after a while, if it can be mended; what is still broken
when the faults stop is mended by `mend_all`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import permutations
from typing import Final

from mesh.sim.disk import DiskFault
from mesh.sim.tick import Phase
from mesh.sim.world import Agent, Host, World

Strike = Callable[[World], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault; a seed that has it draws it `weight` times as often as one of weight 1."""

    strike: Strike
    weight: int = 1


def mend_all(world: World) -> None:
    """Heal the network and the disks, and start every host that has nobody running."""
    network = world.network
    network.slow_s.clear()
    network.heal(set(network.blocked))
    newest = max(host.secrets[0] for host in world.hosts)
    for host in world.hosts:
        if host.secrets[0] != newest:
            world.rotate(host, newest)
    world.retire(newest)
    for agent in world.agents:
        agent.disk.fault = None
        agent.disk.shelf.is_full = False
        if agent.process is not None and agent.process.is_stopping:
            world.crash(agent)
    for process in world.running():
        process.doom = None
        process.commit_s = (0.0002, 0.003)
        if process.paused_until > world.timeline.now:
            process.pause(world.timeline.now)
    for host in world.hosts:
        world.power_on(host)
        world.rescan(host)
        if host.agents and not any(a.session for a in host.agents):
            world.start(world.random.choice(host.agents))
    for process in world.running():
        world.meet(process)


def kill(world: World) -> None:
    """Kill a session now."""
    agent = _running(world)
    if agent is not None:
        world.history.inject("kill", agent.disk.key)
        world.crash(agent)
        _restart_later(world, agent)


def kill_in_tick(world: World) -> None:
    """Kill a session at a certain point of a tick soon to come."""
    agent = _running(world)
    if agent is not None and agent.process is not None:
        agent.process.doom = world.random.choice(list(Phase))
        agent.process.doom_weight = world.random.choice([1, 1, 2, 3])
        world.history.inject("kill in a tick", agent.disk.key, agent.process.doom)
        world.timeline.after(world.random.uniform(0.0, 10.0), lambda: _bury(world, agent))
        _restart_later(world, agent)


def stop(world: World) -> None:
    """End a session in peace."""
    agent = _running(world)
    if agent is not None:
        world.history.inject("stop", agent.disk.key)
        world.stop(agent)
        _restart_later(world, agent)


def power_loss(world: World) -> None:
    """Cut a machine's power."""
    host = world.random.choice(world.hosts)
    if not host.is_off:
        world.history.inject("power loss", host.number)
        world.power_off(host)
        agents = [a for a in host.agents if world.random.random() < 0.8]
        world.timeline.after(world.random.uniform(0.5, 20.0), lambda: world.power_on(host))
        for agent in agents:
            _restart_later(world, agent)


def pause(world: World) -> None:
    """Stop a process for a while, as a laptop lid or a debugger does."""
    agent = _running(world)
    if agent is not None and agent.process is not None:
        duration_s = world.random.choice([0.5, 5.0, 30.0, 70.0]) * world.random.uniform(0.5, 1.5)
        world.history.inject("pause", agent.disk.key, duration_s)
        agent.process.pause(world.timeline.now + duration_s)


def partition(world: World) -> None:
    """Block one or both directions between two hosts, or around one host."""
    random = world.random
    pairs = list(permutations([host.number for host in world.hosts], 2))
    if not pairs:
        return
    pair = random.choice(pairs)
    both = {pair, (pair[1], pair[0])}
    blocked = random.choice([{pair}, both, {p for p in pairs if pair[0] in p}])
    duration_s = random.choice([2.0, 20.0, 60.0]) * random.uniform(0.5, 1.5)
    world.history.inject("partition", sorted(blocked), duration_s)
    world.network.blocked |= blocked
    world.timeline.after(duration_s, lambda: world.network.heal(blocked))


def cut(world: World) -> None:
    """Break some links; what was on its way is lost."""
    connections = list(world.network.connections.values())
    if connections:
        chosen = world.random.sample(connections, world.random.randint(1, len(connections)))
        world.history.inject("cut", len(chosen))
        for connection in chosen:
            world.network.cut(connection, is_silent=world.random.random() < 0.1)


def slow_link(world: World) -> None:
    """Delay everything between two hosts."""
    pairs = list(permutations([host.number for host in world.hosts], 2))
    if not pairs:
        return
    pair = world.random.choice(pairs)
    delay_s = world.random.choice([0.1, 0.5, 3.0])
    world.history.inject("slow link", pair, delay_s)
    world.network.slow_s[pair] = delay_s
    duration_s = world.random.uniform(2.0, 30.0)
    world.timeline.after(duration_s, lambda: _drop_slow(world, pair))


def slow_disk(world: World) -> None:
    """Make the commits of a process slow."""
    agent = _running(world)
    if agent is not None and agent.process is not None:
        world.history.inject("slow disk", agent.disk.key)
        agent.process.commit_s = (0.05, world.random.choice([0.2, 1.0, 4.0]))


def disk_full(world: World) -> None:
    """Let all commits of a mailbox fail for a while."""
    disk = _agent(world).disk
    world.history.inject("disk full", disk.key)
    disk.fault = DiskFault.FULL
    world.timeline.after(world.random.uniform(0.5, 20.0), lambda: setattr(disk, "fault", None))


def disk_error(world: World) -> None:
    """Let the next commit of a mailbox fail, written or not."""
    disk = _agent(world).disk
    disk.fault = world.random.choice([DiskFault.LOST, DiskFault.UNCERTAIN])
    world.history.inject(disk.fault.value, disk.key)


def clock_jump(world: World) -> None:
    """Set the wall clock of a machine to another day."""
    host = world.random.choice(world.hosts)
    by_s = world.random.choice([-1, 1]) * world.random.choice([60.0, 86400.0, 30_000_000.0])
    world.history.inject("clock jump", host.number, by_s)
    world.history.has_clock_jumped = True
    host.clocks.jump(by_s)


def wipe(world: World) -> None:
    """Lose a database while its session is down; the key survives."""
    agent = _agent(world)
    world.crash(agent)
    if world.wipe(agent):
        world.history.inject("database lost", agent.disk.key)
    _restart_later(world, agent)


def rotation(world: World) -> None:
    """Change the secret, host by host; some time after that the old one is worth nothing."""
    secret = max(host.secrets[0] for host in world.hosts) + 1
    world.history.inject("secret rotation", secret)
    for host in world.hosts:
        delay_s = world.random.uniform(0.0, 20.0)
        world.timeline.after(delay_s, partial(_rotate, world, host, secret))
    world.timeline.after(world.random.uniform(15.0, 60.0), lambda: world.retire(secret))


FAULTS: Final[dict[str, Fault]] = {
    "kill": Fault(kill, 3),
    "kill in a tick": Fault(kill_in_tick, 4),
    "stop": Fault(stop, 2),
    "power loss": Fault(power_loss, 2),
    "pause": Fault(pause),
    "partition": Fault(partition, 2),
    "cut": Fault(cut, 3),
    "slow link": Fault(slow_link),
    "slow disk": Fault(slow_disk),
    "disk full": Fault(disk_full),
    "disk error": Fault(disk_error, 2),
    "clock jump": Fault(clock_jump),
    "database lost": Fault(wipe),
    "secret rotation": Fault(rotation),
}


def _agent(world: World) -> Agent:
    """Choose an agent, busy ones rather than others."""
    is_busy = world.busy and world.random.random() < 0.5
    return world.random.choice(world.busy if is_busy else world.agents)


def _running(world: World) -> Agent | None:
    running = [a for a in world.agents if a.process is not None and a.process.is_alive]
    return world.random.choice(running) if running else None


def _bury(world: World, agent: Agent) -> None:
    """If the doomed process never came to its phase, it dies now."""
    if agent.process is not None and agent.process.doom is not None:
        world.crash(agent)
    elif agent.process is not None and not agent.process.is_alive:
        world.rescan(agent.host)


def _rotate(world: World, host: Host, secret: int) -> None:
    if host.secrets[0] < secret:
        world.rotate(host, secret)


def _restart_later(world: World, agent: Agent) -> None:
    if world.random.random() < 0.85:
        delay_s = world.random.choice([0.3, 3.0, 30.0]) * world.random.uniform(0.5, 1.5)
        world.timeline.after(delay_s + 10.0 * world.random.random(), lambda: world.start(agent))


def _drop_slow(world: World, pair: tuple[int, int]) -> None:
    world.network.slow_s.pop(pair, None)
