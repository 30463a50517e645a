"""How the C library deals with the memory of pieces, many of which come and go each second."""

import ctypes
import sys
from typing import Final

from mesh import limits

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
"""The numbers of glibc's parameters (malloc.h)."""
_KEPT_BYTES: Final = 8 * limits.MIB
_ALONE_BYTES: Final = 768 * limits.KIB


def keep_freed_memory() -> None:
    """Let glibc keep up to 8 MiB that are free at the end of a heap; others are left as they are.

    By itself it gives back what is free beyond about 1 MiB (mallopt(3)), less than the pieces under
    way, so that each is made of pages which the system clears anew: a third of all work on a file
    that is sent. What is larger than any piece still goes back as soon as it is freed, so that a
    flood of large frames leaves nothing behind.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # Other C libraries have none.
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _ALONE_BYTES)
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
