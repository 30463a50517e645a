"""Pieces of files do not cost fresh pages each, where the C library is glibc."""

import platform
import subprocess
import sys

import pytest

PIECES = 400
PROBE = f"""
import sys
from concurrent.futures import ThreadPoolExecutor
from resource import RUSAGE_SELF, getrusage

from mesh import limits
from mesh.sharing.memory import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()

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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_pieces_are_made_of_memory_that_was_freed() -> None:
    given_back, kept = faults("given back"), faults("kept")

    assert given_back > PIECES
    assert kept < PIECES / 4


def faults(how: str) -> int:
    """Return how many fresh pages a thread takes that handles pieces for a while."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, how], check=True, capture_output=True, text=True
    )
    return int(done.stdout)
