"""A TCP proxy that keeps all bytes of both directions, by connection."""

import asyncio
from contextlib import suppress
from typing import Self


class Wiretap:
    """Listens on the loopback and passes everything on to `address`."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._server: asyncio.Server
        self._tasks: set[asyncio.Task[None]] = set()
        self.streams: list[bytearray] = []

    @property
    def port(self) -> int:
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def heard(self) -> bytes:
        return b"".join(bytes(stream) for stream in self.streams)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._address)
            there, back = bytearray(), bytearray()
            self.streams += [there, back]
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_copy(reader, far_writer, there))
                    group.create_task(_copy(far_reader, writer, back))
            finally:
                far_writer.close()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._tasks.discard(task)


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray
) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            kept += data
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()
