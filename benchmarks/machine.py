"""The facts of a machine without which no figure means anything."""

import os
import platform
import sqlite3
import time
from pathlib import Path
from typing import Final

import zmq

from benchmarks.pairs import quantile

_SYNCS: Final = 200


def facts(directory: Path) -> dict[str, object]:
    """Return them, with the time that an fsync takes in `directory`."""
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "pyzmq": zmq.pyzmq_version(),
        "libzmq": zmq.zmq_version(),
        "sqlite": sqlite3.sqlite_version,
        "fsync_p50_us": round(_fsync_p50(directory) * 1e6),
    }


def _fsync_p50(directory: Path) -> float:
    """Append 4 KiB and sync, again and again."""
    times = []
    path = directory / "fsync"
    with path.open("wb", buffering=0) as file:
        for _ in range(_SYNCS):
            file.write(bytes(4096))
            started = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - started)
    path.unlink()
    return quantile(times, 0.5)
