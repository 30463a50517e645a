"""How this session presents itself to the mesh: its client, and how mail wakes it."""

from collections.abc import Mapping
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
    has_inbox = bool(environ.get(_SOCKET) and environ.get(_TOKEN))
    if setting == "channel":
        return Push.CHANNEL
    if setting in ("auto", "inbox") and has_inbox:
        return Push.INBOX
    return Push.OFF


def profile(*, client: str, summary: str, push: Push) -> mesh.Profile:
    """Return what others see of this session; `client` is the name its MCP client gave itself."""
    return mesh.Profile(
        client=client[: limits.profile_chars_max],
        summary=summary,
        wake="poll" if push is Push.OFF else "push",
    )
