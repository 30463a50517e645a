"""How this session presents itself to the mesh: its client, and how mail wakes it."""

from collections.abc import Mapping, MutableMapping
from enum import Enum
from typing import Final

import mesh
from mesh import limits

_SOCKET: Final = "CLAUDE_CODE_MESSAGING_SOCKET"
_TOKEN: Final = "CLAUDE_CODE_MESSAGING_TOKEN"  # noqa: S105 - the name of a variable


class Push(Enum):
    """The one path by which mail wakes the AI session."""

    INBOX = "inbox"
    CHANNEL = "channel"
    OFF = "off"


def choose_push(setting: str, environ: Mapping[str, str]) -> Push:
    """Return the path for `IPC_PUSH`, given what the client put into the environment.

    A channel is used only on demand: whether the client listens to it cannot be seen, and a message
    pushed by two paths would arrive twice.
    """
    if setting == "channel":
        return Push.CHANNEL
    if setting in ("auto", "inbox") and inbox_of(environ):
        return Push.INBOX
    return Push.OFF


def inbox_of(environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Return path and token of the inbox socket of the client's session, if it has one."""
    path, token = environ.get(_SOCKET), environ.get(_TOKEN)
    return (path, token) if path and token else None


def wipe(environ: MutableMapping[str, str]) -> None:
    """Take the inbox's token out of the environment, so that child processes do not get it."""
    environ.pop(_TOKEN, None)


def wake(push: Push, *, is_hooked: bool) -> str:
    """Return what happens when mail arrives, for others to see.

    `push`: an idle session is woken at once. `channel`: so, if its user has enabled channels.
    `hook`: it is told at its next prompt or step. `poll`: it sees the mail when it looks.
    """
    match push:
        case Push.INBOX:
            return "push"
        case Push.CHANNEL:
            return "channel"
        case _:
            return "hook" if is_hooked else "poll"


def profile(*, client: str, summary: str, place: str, wake: str) -> mesh.Profile:
    """Return what others see of this session; `client` is the name its MCP client gave itself."""
    return mesh.Profile(
        client=client[: limits.profile_chars_max],
        summary=(summary or place)[: limits.summary_chars_max],
        wake=wake,
        place=place[: limits.profile_chars_max],
    )
