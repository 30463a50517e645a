"""Pieces of files do not cost fresh pages each, where the C library is glibc."""

import platform
import subprocess
import sys

import pytest

PIECES = 400
BEGINNING = """
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from resource import RUSAGE_SELF, getrusage

from mesh import limits
from mesh.sharing.memory import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
"""
PIECES_COME_AND_GO = f"""
def touch():
    window = [bytes([n]) * limits.chunk_bytes_max for n in range(4)]
    for n in range({PIECES}):
        window[:] = [bytes([n % 251]) * limits.chunk_bytes_max for _ in window]

with ThreadPoolExecutor(1) as thread:
    thread.submit(touch).result()
    before = getrusage(RUSAGE_SELF).ru_minflt
    thread.submit(touch).result()
    print(getrusage(RUSAGE_SELF).ru_minflt - before)
"""

FLOOD = """
def resident_mib():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // limits.MIB

before = resident_mib()
frames = [(bytes([n]) * limits.MIB, bytes([n]) * 1000) for n in range(200)]
assert resident_mib() > before + 150
frames = [small for _, small in frames]
print(resident_mib() - before)
"""
pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")


def test_pieces_are_made_of_memory_that_was_freed() -> None:
    given_back, kept = (printed(how, PIECES_COME_AND_GO) for how in ("given back", "kept"))

    assert given_back > PIECES
    assert kept < PIECES / 4


def test_large_frames_are_given_back_whatever_stays_between_them() -> None:
    assert printed("kept", FLOOD) < 8


def printed(how: str, what: str) -> int:
    """Return what a process prints that keeps its freed memory, or does not."""
    done = subprocess.run(
        [sys.executable, "-c", BEGINNING + what, how], check=True, capture_output=True, text=True
    )
    return int(done.stdout)
