"""What is pushed into the AI session: who wrote, how that was verified, what, and how to answer.

What another agent wrote stands inside JSON strings, sanitised, and without any `<`: nothing in it
can pass for markup of the client or for a line of ours.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import mesh
from mcp_bridge import render
from mcp_bridge.sanitise import sanitise, sanitise_json
from mcp_bridge.schemas import NOTICE
from mesh import limits

whole_bytes_max: Final = 2 * limits.KIB
"""Up to this size a message is pushed whole, its data included."""
beginning_bytes_max: Final = 512
headline_bytes_max: Final = 160
push_bytes_max: Final = 8 * limits.KIB
"""One push carries as many messages as fit."""
_senders_shown_max: Final = 8
MARK: Final = "claude-ipc mesh"
"""Stands in each push."""
_READ: Final = "read them with the claude-ipc tool check"
_VERIFIED: Final = {
    "changed": "changed, another key than before: ask your user",
    "open": "open mesh, name not proven",
}


@dataclass(frozen=True, slots=True)
class Item:
    """One message as it is pushed."""

    message: mesh.Message
    address: str
    text: str
    is_whole: bool


def item(message: mesh.Message, *, address: str, may_be_whole: bool) -> Item:
    """Return a message as pushed; without `may_be_whole` only a headline."""
    content = sanitise(message.content)[0]
    data = sanitise_json(message.data)[0]
    size = len(content.encode()) + render.size(data)
    is_whole = may_be_whole and size <= whole_bytes_max
    verified = _VERIFIED.get(message.verified, message.verified)
    parts = [f"From {address} (verified: {verified}), id {message.id}"]
    parts += ["urgent"] if message.urgent else []
    parts += ["to everybody"] if message.kind == "broadcast" else []
    parts += [f"in reply to {message.reply_to}"] if message.reply_to else []
    if is_whole:
        shown = _quote(content) + (f" data: {_quote(data)}" if data is not None else "")
        shown += f" file: {_quote(message.path)}" if message.path else ""
    else:
        room = beginning_bytes_max if may_be_whole else headline_bytes_max
        beginning = render.cut_text(content, room)
        parts.append(f"begins (all {size} bytes by the claude-ipc tool check)")
        shown = _quote(beginning)
    return Item(message, address, f"{', '.join(parts)}: {shown}", is_whole)


def push_text(items: Sequence[Item], waiting: int) -> str:
    """Return the text of one push; `waiting` messages more are unread."""
    if len(items) == 1:
        lines = [f"Message on the {MARK}.", items[0].text]
        answer = f'to_id="{items[0].address}", reply_to="{items[0].message.id}"'
    else:
        lines = [f"{len(items)} messages on the {MARK}."]
        lines += [f"{number}. {one.text}" for number, one in enumerate(items, 1)]
        answer = "to_id the name after From, reply_to the id"
    lines.append(f"To answer: the claude-ipc tool send with {answer}. {NOTICE}")
    if waiting:
        lines.append(f"{_messages(waiting, 'more ')}; {_READ}.")
    return "\n".join(lines)


def waiting_text(waiting: int, *, is_more: bool) -> str:
    """Return the one line that stands for messages that were not pushed."""
    return f"{MARK}: {_messages(waiting, 'more ' if is_more else '')}; {_READ}."


def unread_text(unread: int, messages: Iterable[mesh.Message]) -> str:
    """Return what hooks tell: how many messages, and the senders of the new ones."""
    counts = Counter(sanitise(message.sender)[0] for message in messages)
    senders = [
        sender if count == 1 else f"{sender} {count}"
        for sender, count in counts.most_common(_senders_shown_max)
    ]
    if len(counts) > len(senders):
        senders.append("others")
    noun = "message" if unread == 1 else "messages"
    return (
        f"{unread} unread {noun} on the {MARK} (new: {', '.join(senders)}). "
        "The claude-ipc tool check reads them."
    )


def _messages(count: int, more: str) -> str:
    return f"{count} {more}message waits" if count == 1 else f"{count} {more}messages wait"


def _quote(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")
