"""Messages and roster entries as JSON for a model: sanitised, cut to size, in the contract's keys.

Text of other agents stays inside JSON strings. What a message shows of itself, content and data
together, is at most 8 KiB; who cuts says so (`truncated`) and names the file that has all of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import mesh
from mcp_bridge.sanitise import sanitise, sanitise_json
from mesh import limits

JsonObject = dict[str, Any]

_CUT_MARK: Final = "…"
# Inside JSON a `<` stands in strings only, so that this changes no value.
_TAG: Final = re.compile(r"<(?=[A-Za-z/!?])")
# Texts inside of data are cut to the first of these lengths that makes the data fit.
_STEPS: Final = (4096, 1024, 256, 64)


@dataclass(frozen=True, slots=True)
class Shown:
    """A message as JSON. `is_cut`: it needs a file that has all of it."""

    value: JsonObject
    is_cut: bool

    def with_path(self, path: str | None) -> JsonObject:
        """Return the message, naming the file that belongs to it, if there is one."""
        return self.value if path is None else {**self.value, "path": path}


def dump(value: JsonObject) -> str:
    """Return JSON as a model reads it: compact, and escaped only where a text opens a tag.

    Clients pass results on as they are, and mark their own words by tags such as system-reminder.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return _TAG.sub("\\\\u003c", text)


def size(value: object) -> int:
    """Return how many bytes a value takes in a result."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return len(_TAG.sub("\\\\u003c", text).encode())


def show(message: mesh.Message) -> Shown:
    """Return `message` in the form of the contract, cut to the 8 KiB that one message may show."""
    content, content_finds = sanitise(message.content)
    data, data_finds = sanitise_json(message.data)
    finds = content_finds + data_finds
    room = limits.shown_content_bytes_max
    beginning = cut_text(content, room)
    shortened = shorten(data, max(room - len(beginning.encode()), 0))
    is_cut = beginning != content or shortened != data
    value = {
        "id": message.id,
        "from": sanitise(message.sender)[0],
        "fingerprint": message.fingerprint,
        "verified": message.verified,
        "to": sanitise(message.to)[0],
        "time": message.time.isoformat(timespec="milliseconds"),
        "content": beginning,
        "data": shortened,
        "reply_to": message.reply_to,
        "urgent": message.urgent,
        "kind": message.kind,
        "truncated": is_cut,
    }
    return Shown({**value, "sanitised": finds} if finds else value, is_cut)


def cut_text(text: str, bytes_max: int) -> str:
    """Return the beginning of `text`, at most that many bytes of UTF-8, no character split."""
    encoded = text.encode()
    return text if len(encoded) <= bytes_max else encoded[:bytes_max].decode(errors="ignore")


def shorten(value: object, bytes_max: int) -> object:
    """Return `value` with its long texts cut so that it fits; None if even that is too large."""
    if value is None or size(value) <= bytes_max:
        return value
    for chars_max in _STEPS:
        cut = _cut_texts(value, chars_max)
        if size(cut) <= bytes_max:
            return cut
    return None


def _cut_texts(value: object, chars_max: int) -> object:
    # Depth is bounded: `mesh` refuses data nested deeper than its limit.
    match value:
        case str() if len(value) > chars_max:
            return value[:chars_max] + _CUT_MARK
        case dict():
            return {key: _cut_texts(item, chars_max) for key, item in value.items()}
        case list():
            return [_cut_texts(item, chars_max) for item in value]
        case _:
            return value


def entry(value: mesh.RosterEntry) -> JsonObject:
    """Return one agent of the roster; what it says of itself is sanitised."""
    cleaned, _ = sanitise_json(value.to_json())
    assert isinstance(cleaned, dict)
    return cleaned


def recipient(value: mesh.Recipient) -> JsonObject:
    """Return where a message stands with one recipient."""
    at = value.at.isoformat(timespec="milliseconds") if value.at else None
    return {"to": value.to, "state": value.state, "why": value.why, "at": at}


def fitting(values: Sequence[JsonObject], bytes_max: int) -> list[JsonObject]:
    """Return as many of the first values as fit, but at least one."""
    found: list[JsonObject] = []
    left = bytes_max
    for value in values:
        left -= size(value) + 1
        if found and left < 0:
            break
        found.append(value)
    return found
