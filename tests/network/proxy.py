"""A TCP proxy that can delay, stall and reset: a bad network where the kernel has none to offer.

    python -m tests.network.proxy LISTEN_HOST LISTEN_PORT HOST PORT

Commands come on stdin, one a line: `delay SECONDS` (each way), `stall [there|back]` (both ways or
one), `resume`, `reset`. It says `ready`, and `done` after each command. It ends with its input.
"""

import asyncio
import sys
from contextlib import suppress

CHUNK_BYTES = 65536


class Proxy:
    def __init__(self, host: str, port: int) -> None:
        self.delay_s = 0.0
        self._target = (host, port)
        self._flows = {way: asyncio.Event() for way in ("there", "back")}
        self.command("resume")
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either side ends it."""
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.close()
            return
        ends = {writer, far_writer}
        self._writers |= ends
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(reader, far_writer, self._flows["there"], ends))
                group.create_task(self._carry(far_reader, writer, self._flows["back"], ends))
        finally:
            self._writers -= ends

    async def _carry(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        flows: asyncio.Event,
        ends: set[asyncio.StreamWriter],
    ) -> None:
        with suppress(OSError):
            while data := await source.read(CHUNK_BYTES):
                await asyncio.sleep(self.delay_s)
                await flows.wait()
                sink.write(data)
                await sink.drain()
        for end in ends:
            end.close()

    async def end(self) -> None:
        """Cut all connections and wait until they are gone."""
        while self._writers:
            self.command("reset")
            await asyncio.sleep(0)

    def command(self, line: str) -> None:
        word, *arguments = line.split()
        match word:
            case "delay":
                self.delay_s = float(arguments[0])
            case "stall":
                for way in arguments or self._flows:
                    self._flows[way].clear()
            case "resume":
                for flows in self._flows.values():
                    flows.set()
            case "reset":
                for writer in tuple(self._writers):
                    writer.transport.abort()
            case _:
                raise ValueError(line)


async def main(host: str, port: str, far_host: str, far_port: str) -> None:
    proxy = Proxy(far_host, int(far_port))
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    server = await asyncio.start_server(proxy.serve, host, int(port))
    async with server:
        print("ready", flush=True)
        while line := await reader.readline():
            proxy.command(line.decode())
            print("done", flush=True)
        proxy.command("resume")
        await proxy.end()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
