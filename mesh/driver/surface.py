"""What commands and the control endpoint need of a session, its agent and its receipts.

Two things offer it: the agent of this process, and `RemoteAgent`, which asks the session of another
process to do the same. What each method does is said where `Agent` defines it.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from mesh import limits
from mesh.config import Config
from mesh.driver.results import Message, Page, Reached, Recipient, Renamed, RosterEntry, Status
from mesh.driver.transfers import Progress

read_bytes_max: Final = 8 * limits.MIB
"""How much one reading operation holds in memory; whoever wants more reads again."""


class ReceiptSurface(Protocol):
    """What the sender knows of a message so far."""

    @property
    def id(self) -> str:
        """32 hexadecimal characters."""
        ...

    @property
    def recipients(self) -> Sequence[Recipient]:
        """Where the message stands with each recipient."""
        ...

    async def wait(self, state: str, timeout_s: float) -> bool:
        """Wait until every recipient has got that far; false when time is up or it never will."""
        ...


class FileReceiptSurface(ReceiptSurface, Protocol):
    """The receipt of a shared file."""

    @property
    def name(self) -> str:
        """The name of the file, without directories."""
        ...

    @property
    def bytes(self) -> int:
        """Its size."""
        ...

    @property
    def blake2b(self) -> str:
        """Its BLAKE2b digest in hexadecimal characters."""
        ...


class CommandReceiptSurface(ReceiptSurface, Protocol):
    """The receipt of a shared command."""

    @property
    def returncode(self) -> int | None:
        """What the command returned; None if it was ended."""
        ...

    @property
    def truncated(self) -> bool:
        """Whether its output was cut."""
        ...


class AgentSurface(Protocol):
    """An agent as commands use it: of this process, or of another one."""

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def mode(self) -> str: ...

    @property
    def unread(self) -> int: ...

    async def send(
        self,
        to: str,
        content: str,
        *,
        data: Any = None,  # noqa: ANN401 - any JSON value
        reply_to: str | None = None,
        ttl_s: float | None = None,
        urgent: bool = False,
        caused_by: Sequence[str] = (),
    ) -> ReceiptSurface: ...

    async def broadcast(
        self,
        content: str,
        *,
        data: Any = None,  # noqa: ANN401 - any JSON value
        ttl_s: float | None = None,
        caused_by: Sequence[str] = (),
    ) -> ReceiptSurface: ...

    async def read(
        self,
        *,
        sender: str | None = None,
        since: str | None = None,
        limit: int | None = None,
        wait_s: float = 0,
        peek: bool = False,
        history: bool = False,
        search: str | None = None,
        body_bytes_max: int = read_bytes_max,
    ) -> Page: ...

    async def mark_shown(self, messages: Iterable[Message]) -> None: ...

    def messages(self) -> AsyncIterator[Message]: ...

    async def ask(
        self,
        to: str,
        content: str,
        *,
        data: Any = None,  # noqa: ANN401 - any JSON value
        timeout_s: float,
    ) -> Message: ...

    async def rename(self, new: str) -> Renamed: ...

    async def share_file(
        self,
        to: str,
        path: Path | str,
        description: str = "",
        *,
        on_progress: Progress | None = None,
    ) -> FileReceiptSurface: ...

    async def share_command(
        self, to: str, command: str, description: str = "", *, cwd: Path | str | None = None
    ) -> CommandReceiptSurface: ...

    async def receipt(self, message_id: str) -> Sequence[Recipient]: ...

    async def status(self) -> Status: ...

    async def trust(self, name: str, fingerprint: str) -> None: ...

    async def save_text(self, message: Message) -> Path: ...


class SessionSurface(Protocol):
    """A node and, once it has registered, its agent."""

    @property
    def agent(self) -> AgentSurface | None: ...

    @property
    def mode(self) -> str: ...

    @property
    def config(self) -> Config: ...

    def roster(self) -> Sequence[RosterEntry]: ...

    def reached(self) -> Sequence[Reached]: ...

    async def status(self) -> Status: ...
