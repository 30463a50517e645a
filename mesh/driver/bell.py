"""Wakes many waiting tasks at once."""

import asyncio


class Bell:
    """Wakes everybody who waits, each time it rings; a ring nobody waits for is not kept."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Event] = set()

    def ring(self) -> None:
        """Wake all waiting tasks."""
        for event in self._waiting:
            event.set()

    def listen(self) -> "Ear":
        """Begin to listen: rings from now on are heard by `Ear.wait`."""
        return Ear(self._waiting)


class Ear:
    """Hears rings of a bell between enter and exit."""

    def __init__(self, waiting: set[asyncio.Event]) -> None:
        self._waiting = waiting
        self._event = asyncio.Event()

    def __enter__(self) -> "Ear":
        self._waiting.add(self._event)
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.discard(self._event)

    async def wait(self) -> None:
        """Wait for the next ring since the last wait (or since entering)."""
        await self._event.wait()
        self._event.clear()
