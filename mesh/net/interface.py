"""What every transport and every discovery source offers to the driver."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

from mesh.core.events import LocalNodes, Loss, Moved, Sighted
from mesh.model import CurveKey, LinkId
from mesh.values import value


@value
class FramesReceived:
    """One multipart message from a peer. A negative link not seen before was dialled by the peer.

    `is_door` tells which of our listening sockets it came in by (inbound links only).
    """

    link: LinkId
    frames: tuple[bytes, ...]
    is_door: bool = False


@value
class TransportLost:
    """A link is gone or could not be opened; its number is never used again."""

    link: LinkId
    loss: Loss
    address: str = ""


TransportEvent = FramesReceived | TransportLost


class Transport(Protocol):
    """Carries multipart messages over links; may lose everything at any time, never reorders."""

    @property
    def curve(self) -> CurveKey:
        """The public key of the main listening socket."""
        ...

    @property
    def door_curve(self) -> CurveKey:
        """The public key under which static peers meet us; follows from the secret."""
        ...

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Where the main socket listens, best first (`ipc://…`, `tcp://host:port`)."""
        ...

    def dial(self, link: LinkId, *, endpoint: str, curve: CurveKey | None) -> None:
        """Open a link; failure arrives as `TransportLost`. `curve` None means the peer's door."""
        ...

    def send(self, link: LinkId, frames: Sequence[bytes]) -> None:
        """Hand frames to the wire; a link that cannot take them is lost as `CONGESTED`."""
        ...

    def close_link(self, link: LinkId) -> None:
        """Close a link without an event; unknown links are ignored."""
        ...

    def open_door(self, port: int, host: str) -> bool:
        """Listen on the well-known port under `door_curve` too; false when it is taken."""
        ...

    @property
    def door_port(self) -> int:
        """The well-known port while this transport listens there, else 0."""
        ...

    def close_door(self) -> None:
        """Stop listening on the well-known port; links that came by it are lost."""
        ...

    def refusals(self) -> Mapping[str, int]:
        """How often each address was refused for not holding our secret."""
        ...

    async def receive(self) -> list[TransportEvent]:
        """Wait until something happened and return all of it (at least one event, bounded)."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


News = Sighted | LocalNodes | Moved
"""What a source can report."""


class Discovery(Protocol):
    """One source of sightings, or of other news about where this node is."""

    async def watch(self) -> list[News]:
        """Wait for news and return it. Never ends by itself; trouble is logged, not raised."""
        ...

    def rescan(self) -> None:
        """Look again now (a link was lost, the process was asleep, the network is another)."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
