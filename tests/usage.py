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


def usage_of(pid: int) -> Usage:
    """Look at a living process."""
    place = Path(f"/proc/{pid}")
    fields = (place / "stat").read_text().rpartition(")")[2].split()
    pages = (place / "statm").read_text().split()[1]
    return Usage(
        cpu_s=(int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
        resident_mib=int(pages) * os.sysconf("SC_PAGE_SIZE") / MIB,
        files=sum(1 for _ in (place / "fd").iterdir()),
        threads=int(fields[17]),
    )
