"""What a process uses, read from /proc: processor time, memory, descriptors. Linux only."""

import os
from dataclasses import dataclass
from pathlib import Path

MIB = 2**20


@dataclass(frozen=True)
class Usage:
    """What a process has used so far and has now; `cpu_s` is of all its threads."""

    cpu_s: float
    resident_mib: float
    files: int
    threads: int


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a living process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files(pid: int) -> int:
    """Count the descriptors of a living process."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def usage_of(pid: int) -> Usage:
    """Look at a living process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return Usage(
        cpu_s=(int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
        resident_mib=resident_bytes(pid) / MIB,
        files=open_files(pid),
        threads=int(fields[17]),
    )
