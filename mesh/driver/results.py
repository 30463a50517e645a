"""What applications get back: messages, receipts, the roster; the words of the contract.

Each value turns into plain JSON by `to_json` and back by `from_json`, so that a command acting
through another process's session returns the very same thing.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Self

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """A message as its reader sees it.

    `id` and `reply_to` are 32 hexadecimal characters; `verified` is `pinned`, `first_contact`,
    `changed` or `open`; `time` is when the author wrote it, by the author's clock; `path` names a
    local file that belongs to the message, if there is one; `row` orders the inbox.
    """

    id: str
    sender: str
    fingerprint: str
    verified: str
    to: str
    time: datetime
    content: str
    data: Any
    reply_to: str | None
    urgent: bool
    kind: str
    path: str | None = None
    is_read: bool = False
    row: int = 0

    def to_json(self) -> JsonObject:
        """Return the message as plain JSON values."""
        return {**asdict(self), "time": self.time.isoformat()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(**{**value, "time": datetime.fromisoformat(value["time"])})


@dataclass(frozen=True, slots=True)
class Recipient:
    """Where a message stands with one recipient; `at` is the last change, None if unknown.

    `is_changed`: when it was sent, the name had another key than the one known here.
    """

    to: str
    state: str
    why: str = ""
    at: datetime | None = None
    fingerprint: str = ""
    forwarded_from: str = ""
    is_changed: bool = False

    def to_json(self) -> JsonObject:
        """Return the entry as plain JSON values."""
        return {**asdict(self), "at": self.at.isoformat() if self.at else None}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        at = value.get("at")
        return cls(**{**value, "at": datetime.fromisoformat(at) if at else None})


@dataclass(frozen=True, slots=True)
class RosterEntry:
    """One agent of the mesh. `state` is `live`, `suspect` or `away`."""

    id: str
    address: str
    state: str
    host: str
    registered_at: str
    last_seen: str
    fingerprint: str
    verified: str
    client: str
    summary: str
    wake: str
    place: str
    you: bool

    def to_json(self) -> JsonObject:
        """Return the entry as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(**value)


@dataclass(frozen=True, slots=True)
class Page:
    """What a reading call found, and how many matching messages are left."""

    messages: tuple[Message, ...]
    remaining: int

    def to_json(self) -> JsonObject:
        """Return the page as plain JSON values."""
        return {"messages": [m.to_json() for m in self.messages], "remaining": self.remaining}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(tuple(Message.from_json(m) for m in value["messages"]), value["remaining"])


@dataclass(frozen=True, slots=True)
class Status:
    """How this session and its mesh are doing.

    `outbox` and `inbox` count messages (`queued`; `unread`, `history`); `peers` counts nodes by
    presence; `problems` are sentences for people, such as a peer that refuses our secret.
    """

    instance_id: str | None
    fingerprint: str | None
    mode: str
    mesh: str
    outbox: Mapping[str, int]
    inbox: Mapping[str, int]
    peers: Mapping[str, int]
    push: str
    endpoints: tuple[str, ...] = ()
    drops: Mapping[str, int] | None = None
    problems: tuple[str, ...] = ()

    def to_json(self) -> JsonObject:
        """Return the status as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        lists = {name: tuple(value[name]) for name in ("endpoints", "problems")}
        return cls(**{**value, **lists})


@dataclass(frozen=True, slots=True)
class Reached:
    """Another node, or an address where one should be: `linked`, `suspect` or `out of reach`.

    `agents` are the names announced there; `failing_s` tells for how long nobody was reached.
    """

    endpoint: str
    state: str
    agents: tuple[str, ...] = ()
    failing_s: float = 0.0

    def to_json(self) -> JsonObject:
        """Return the result as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(**{**value, "agents": tuple(value["agents"])})


@dataclass(frozen=True, slots=True)
class Renamed:
    """The new name, and until when the old one forwards."""

    name: str
    forwarding_until: datetime

    def to_json(self) -> JsonObject:
        """Return the result as plain JSON values."""
        return {"name": self.name, "forwarding_until": self.forwarding_until.isoformat()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(value["name"], datetime.fromisoformat(value["forwarding_until"]))
