"""Deliberate mistakes, each of which the simulator must catch: they prove that it looks.

A mutant interferes around the core, the driver and the disk (see `tamper`). Adding one: subclass
`Tamper` in one of these modules and break one thing; `MUTANTS` finds it, and `tests/sim` demands
that it is caught.
"""

from types import ModuleType
from typing import Final

from mesh.sim.mutants import durability, naming, receiving, sending
from mesh.sim.tamper import Tamper


def _in(module: ModuleType) -> dict[str, type[Tamper]]:
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, Tamper)
        and value.__module__ == module.__name__
        and not name.startswith("_")
    }


MUTANTS: Final[dict[str, type[Tamper]]] = {
    name: mutant
    for module in (durability, sending, receiving, naming)
    for name, mutant in sorted(_in(module).items())
}
