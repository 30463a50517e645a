"""How the C library deals with the memory of pieces, many of which come and go each second."""

from typing import Final

from mesh import limits

_BLOCK_BYTES: Final = 4 * limits.MIB


def keep_freed_memory() -> None:
    """Let the process keep up to 8 MiB of a heap that are free, where the C library is glibc.

    It gives back what is free beyond twice the size of the largest block that it mapped alone and
    that was freed since (mallopt(3), `M_MMAP_THRESHOLD` and `M_TRIM_THRESHOLD`). That is less than
    the pieces under way, so each would be made of pages which the system clears anew: a third of
    all work on a file that is sent. A block that is freed here, untouched, takes no memory.
    """
    bytearray(_BLOCK_BYTES)
