"""How the process ends: with a goodbye if there is time for one, but in any case soon.

A thread of its own hears the signals and keeps the time, since the event loop may be held up just
then. The process ends by `os._exit`: a thread of the SDK may block on standard input for as long as
the client lives, and no interpreter shutdown may stand between a signal and the end.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
import time
from typing import Final, Never

goodbye_s: Final = 0.05
"""How long leaving may take; a client sends the next, harder signal after 0.1 s."""
_grace_s: Final = 0.02
_SIGNALS: Final = ("SIGINT", "SIGTERM", "SIGHUP")


class Ending:
    """Made inside the running loop; `begun` is set once the process is to end."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        if os.name == "posix":
            self._listen()

    def begin(self) -> None:
        """End the process because the client is gone."""
        self.begun.set()

    def _listen(self) -> None:
        heard, told = socket.socketpair()
        told.setblocking(False)  # noqa: FBT003 - its only form
        signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
        for name in _SIGNALS:
            signal.signal(getattr(signal, name), lambda *_: None)
        # What listens to signals lives as long as the process.
        watch = threading.Thread(target=self._watch, args=(heard, told), daemon=True)
        watch.start()

    def _watch(self, heard: socket.socket, _: socket.socket) -> None:
        heard.recv(1)
        self._loop.call_soon_threadsafe(self.begun.set)
        time.sleep(goodbye_s + _grace_s)
        os._exit(0)


def end(code: int) -> Never:
    """End the process now."""
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)
