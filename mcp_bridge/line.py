"""The line into the AI session, and how much may be put on it.

Claude Code's inbox socket takes two JSON lines over a fresh link for each text, and answers
nothing: what exceeds its bounds is dropped without a word. It takes a burst of 30, then one text
in two seconds, drops a text equal to another of the last 30 s, and holds at most 50 for a session
that is busy. This module stays well below.
"""

import asyncio
import contextlib
import json
import math
import sys
from pathlib import Path
from typing import Final, Protocol

from mcp_bridge.rates import Bucket
from mesh import limits

if sys.platform != "win32":
    import fcntl
    import termios

line_bytes_max: Final = limits.MIB
burst: Final = 20
per_s: Final = 0.4
letters_held_max: Final = 16
"""Pushes of mail that may lie there unseen: until the model is seen to act, or a tool is called."""
held_max: Final = 20
"""Pushes of any kind that may. The last few are for lines that tell how many messages wait."""
summary_interval_s: Final = 31.0
_write_timeout_s: Final = 2.0
_close_timeout_s: Final = 0.3
_read_timeout_s: Final = 5.0
_look_s: Final = 0.05
_UNREAD: Final = termios.TIOCOUTQ if sys.platform == "linux" else None
"""Asks how many bytes of ours the other end of a local socket has not read, where one can."""


class Line(Protocol):
    """Puts one text before the model."""

    @property
    def is_sure(self) -> bool:
        """Whether what was sent can be taken as shown."""
        ...

    def is_there(self) -> bool:
        """Whether there is something at the other end, as far as can be seen."""
        ...

    async def send(self, text: str) -> bool:
        """Send one text; return whether the other end has certainly read it.

        Raises:
            OSError: it certainly was not taken.
        """
        ...


class InboxSocket:
    """The inbox socket of the Claude Code session that started this process."""

    is_sure = True

    def __init__(self, path: str, token: str) -> None:
        self._path = path
        self._auth = {"type": "auth", "token": token}

    def is_there(self) -> bool:
        """Whether the socket exists."""
        if sys.platform == "win32":
            return True
        return Path(self._path).is_socket()

    async def send(self, text: str) -> bool:
        """Write one text; return whether it was read, not only held by the operating system."""
        message = {"type": "user", "message": {"role": "user", "content": text}}
        lines = [json.dumps(value, ensure_ascii=False) for value in (self._auth, message)]
        assert all(len(line.encode()) < line_bytes_max for line in lines)
        encoded = "".join(f"{line}\n" for line in lines).encode()
        try:
            return await self._write(encoded)
        except TimeoutError as exc:
            raise OSError("the inbox socket takes nothing") from exc

    if sys.platform == "win32":

        async def _write(self, encoded: bytes) -> bool:
            async with asyncio.timeout(_write_timeout_s):
                await asyncio.to_thread(Path(self._path).write_bytes, encoded)
            return True

    else:

        async def _write(self, encoded: bytes) -> bool:
            async with asyncio.timeout(_write_timeout_s):
                reader, writer = await asyncio.open_unix_connection(self._path)
            try:
                async with asyncio.timeout(_write_timeout_s):
                    writer.write(encoded)
                    await writer.drain()
                    writer.write_eof()
                return await _was_read(reader, writer)
            finally:
                writer.close()


async def _was_read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Wait until the other end has read all, which it shows by closing; a reset says it did not.

    One that stays open has perhaps read it nevertheless, or is stopped: the system knows.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_close_timeout_s):
            await reader.read(1)
            return True
    if _UNREAD is None:
        return False
    link = writer.get_extra_info("socket")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_read_timeout_s):
            while _unread(link.fileno()):
                await asyncio.sleep(_look_s)
            return True
    return False


def _unread(descriptor: int) -> int:
    assert _UNREAD is not None
    answer = fcntl.ioctl(descriptor, _UNREAD, bytes(4))
    return int.from_bytes(answer, sys.byteorder)


class Allowance:
    """How many texts the line takes now. `acted` tells that the model has been at work."""

    def __init__(self) -> None:
        self._bucket = Bucket(burst=burst, per_s=per_s)
        self._summaries = Bucket(burst=1, per_s=1 / summary_interval_s)
        self._held = 0

    @property
    def letters_delay_s(self) -> float:
        """Seconds until mail may be pushed; infinite until the model is seen to act."""
        return self._bucket.delay_s if self._held < letters_held_max else math.inf

    @property
    def summary_delay_s(self) -> float:
        """Seconds until a line about waiting messages may be pushed."""
        if self._held >= held_max:
            return math.inf
        return max(self._bucket.delay_s, self._summaries.delay_s)

    def take(self, *, is_summary: bool = False) -> None:
        """Count one text."""
        self._held += 1
        self._bucket.take()
        if is_summary:
            self._summaries.take()

    def acted(self) -> None:
        """Note that the model acts, so that it has seen what lay there."""
        self._held = 0
