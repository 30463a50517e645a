"""Standard output, as text for people or as JSON lines for programs.

Writing never blocks the event loop: a node that waits for a slow reader of its output must go on
answering its peers. When a call returns, everything it wrote has left this process.
"""

import asyncio
import io
import json
import os
import select
import sys
from typing import Any, Final, TextIO

from mesh.errors import MeshError, UnconfirmedError

# A descriptor reported as writable takes this much without blocking.
_CHUNK_BYTES: Final = getattr(select, "PIPE_BUF", 512)


class OutputError(Exception):
    """What we print cannot be written, so that no error can be reported there either."""


class Console:
    """Where a command prints. `stream` defaults to standard output, which may be closed."""

    def __init__(self, *, is_json: bool, stream: TextIO | None = None) -> None:
        self.is_json = is_json
        self._stream: TextIO | None = sys.stdout if stream is None else stream
        self._descriptor = _descriptor(self._stream)
        self._encoding = getattr(self._stream, "encoding", None) or "utf-8"

    async def show(self, value: dict[str, Any], text: str) -> None:
        """Print `value` as one JSON line, or `text` if people are reading; flushed on return.

        Raises:
            BrokenPipeError: nobody reads any more.
            OutputError: it cannot be written.
        """
        if self.is_json:
            # ASCII only: other agents' control and direction characters stay inert on terminals.
            await self._write(json.dumps(value, separators=(", ", ": ")))
        elif text:
            await self._write(text)

    async def note(self, text: str) -> None:
        """Print a remark for people; programs do not get it."""
        if not self.is_json:
            await self._write(text)

    async def error(self, error: MeshError) -> None:
        """Report an error: to programs on standard output, to people on standard error."""
        if self.is_json:
            value = error_json(error.code, str(error))
            if isinstance(error, UnconfirmedError) and error.message_id:
                value["id"] = error.message_id
            await self.show(value, "")
        else:
            sys.stderr.write(f"mesh: {error}\n")

    async def _write(self, line: str) -> None:
        try:
            await self._write_text(f"{line}\n")
        except BrokenPipeError:
            raise
        except OSError as exc:
            raise OutputError(exc.strerror or str(exc)) from exc

    async def _write_text(self, text: str) -> None:
        if self._stream is None:
            raise OutputError("it is closed")
        if self._descriptor is None:
            self._stream.write(text)
            self._stream.flush()
            return
        data = memoryview(text.encode(self._encoding, "backslashreplace"))
        while data:
            await _writable(self._descriptor)
            try:
                data = data[os.write(self._descriptor, data[:_CHUNK_BYTES]) :]
            except BlockingIOError:
                continue


def error_json(code: str, message: str) -> dict[str, Any]:
    """Return an error in the form of the contract."""
    return {"status": "error", "code": code, "message": message}


def _descriptor(stream: TextIO | None) -> int | None:
    """Return the descriptor to write to directly; None if only the stream itself knows how."""
    if os.name == "nt" or stream is None:
        return None
    try:
        return stream.fileno()
    except (io.UnsupportedOperation, ValueError, AttributeError):
        return None


async def _writable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_writer(descriptor, ready.set)
    except (OSError, NotImplementedError):
        return  # A regular file: it is always ready.
    try:
        await ready.wait()
    finally:
        loop.remove_writer(descriptor)
