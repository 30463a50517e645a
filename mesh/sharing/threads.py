"""Threads that work on files: they step back while the threads that carry mail have work to do."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

_NICENESS: Final = 3


def file_threads(name: str, *, number: int = 1) -> ThreadPoolExecutor:
    """Return `number` threads that step back; threads they start do the same."""
    return ThreadPoolExecutor(number, thread_name_prefix=name, initializer=_step_back)


def _step_back() -> None:
    """Lower the priority of the calling thread, where threads have one of their own."""
    if sys.platform == "linux":
        own = threading.get_native_id()
        wanted = min(19, os.getpriority(os.PRIO_PROCESS, 0) + _NICENESS)
        if os.getpriority(os.PRIO_PROCESS, own) < wanted:
            os.setpriority(os.PRIO_PROCESS, own, wanted)
