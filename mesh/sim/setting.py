"""What all processes of one simulation share."""

from dataclasses import dataclass
from random import Random

from mesh.core.bounds import Bounds
from mesh.sim.clock import Timeline
from mesh.sim.history import History
from mesh.sim.network import Network
from mesh.sim.tamper import Tamper


@dataclass(frozen=True, slots=True)
class Setting:
    """Time, chance, the network, and who judges; `file_random` is for files alone."""

    timeline: Timeline
    random: Random
    file_random: Random
    network: Network
    history: History
    tamper: Tamper
    bounds: Bounds
