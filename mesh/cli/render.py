"""How results look: JSON of the contract for programs, short text for people.

Text of other agents is data. On the way to a terminal it loses everything that could move the
cursor, hide or reorder characters, and its lines are indented, so that no message can imitate the
heading of another one.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from mesh.driver.results import JsonObject, Message, Recipient, RosterEntry, Status
from mesh.driver.surface import ReceiptSurface

_ESCAPES: Final = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b[\]PX^_].*?(?:\x1b\\|\x07|\x9c|$)"  # OSC and other strings up to their end
    r"|\x9b[0-?]*[ -/]*[@-~]"  # CSI in one character
    r"|\x1b[ -/]*[0-~]?",
    re.DOTALL,
)
_INDENT: Final = "    "
_ROSTER_HEADINGS: Final = (
    "NAME",
    "STATE",
    "VERIFIED",
    "HOST",
    "CLIENT",
    "WAKE",
    "FINGERPRINT",
    "SUMMARY",
)


def sanitise(text: str) -> str:
    """Return `text` without escape sequences, control, direction and invisible characters."""
    unified = _ESCAPES.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return "".join(c for c in unified if c in "\n\t" or unicodedata.category(c)[0] != "C")


def one_line(text: str, chars_max: int = 80) -> str:
    """Return `text` sanitised, on one line and cut."""
    line = " ".join(sanitise(text).split())
    return line if len(line) <= chars_max else line[: chars_max - 1] + "…"


def message_json(message: Message) -> JsonObject:
    """Return a message with the keys that the contract gives it; its content is whole."""
    value = {
        "id": message.id,
        "from": message.sender,
        "fingerprint": message.fingerprint,
        "verified": message.verified,
        "to": message.to,
        "time": message.time.isoformat(),
        "content": message.content,
        "data": message.data,
        "reply_to": message.reply_to,
        "urgent": message.urgent,
        "kind": message.kind,
        "truncated": False,
    }
    return value if message.path is None else {**value, "path": message.path}


def message_text(message: Message) -> str:
    """Return a message for people: one heading, then its text, indented."""
    marks = [message.verified]
    if message.kind != "direct":
        marks.append(message.kind)
    if message.urgent:
        marks.append("urgent")
    if message.reply_to:
        marks.append(f"reply to {message.reply_to}")
    when = message.time.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    heading = f"{when}  {one_line(message.sender)} ({', '.join(marks)})  id {message.id}"
    parts = [heading, _indented(message.content)]
    if message.data is not None:
        parts.append(_indented("data: " + json.dumps(message.data, ensure_ascii=False)))
    if message.path:
        parts.append(_indented(f"file: {message.path}"))
    return "\n".join(part for part in parts if part)


def _indented(text: str) -> str:
    # Every character that a terminal or str.splitlines takes for a new line begins a new line here.
    return "\n".join(_INDENT + line for line in sanitise(text).splitlines())


def recipient_json(recipient: Recipient) -> JsonObject:
    """Return where a message stands with one recipient."""
    at = recipient.at.isoformat() if recipient.at else None
    return {"to": recipient.to, "state": recipient.state, "why": recipient.why, "at": at}


def sent_json(to: str, receipt: ReceiptSurface) -> JsonObject:
    """Return the result of sending to one recipient."""
    recipient = _only(receipt.recipients)
    return {
        "status": "ok",
        "message": sent_text(to, receipt.recipients),
        "id": receipt.id,
        "state": recipient.state,
        "why": recipient.why,
        "to": recipient.to,
    }


def sent_text(to: str, recipients: Sequence[Recipient]) -> str:
    """Say in the words that users know what became of a message to one recipient."""
    recipient = _only(recipients)
    match recipient.state, recipient.why:
        case "refused", why:
            return f"Message refused by {recipient.to} ({why})" if why else "Message refused"
        case "expired", _:
            return f"Message to {recipient.to} expired unconfirmed"
        case "queued", "unknown_name":
            return f"Message queued for {to} (not yet registered)"
        case _ if recipient.forwarded_from:
            return f"Message forwarded from {recipient.forwarded_from} to {recipient.to}"
        case _ if recipient.is_changed:
            return (
                f"Message sent to another {recipient.to} than before, {recipient.fingerprint[:8]}: "
                f"the one known is away (mesh trust {recipient.to} {recipient.fingerprint} if it "
                "moved)"
            )
        case "queued", "pin_conflict":
            return (
                f"Message queued for {recipient.to} (pin_conflict: it waits for the agent known by "
                "that name; mesh list shows the other one, mesh trust lets it have the mail)"
            )
        case "queued", why if why:
            return f"Message queued for {recipient.to} ({why})"
        case _:
            return "Message sent"


def broadcast_json(receipt: ReceiptSurface) -> JsonObject:
    """Return the result of sending to everybody."""
    recipients = receipt.recipients
    arrived = sum(recipient.state in ("delivered", "shown") for recipient in recipients)
    queued = sum(recipient.state == "queued" for recipient in recipients)
    return {
        "status": "ok",
        "message": f"Broadcast to {len(recipients)} instances",
        "id": receipt.id,
        "recipients": [recipient_json(recipient) for recipient in recipients],
        "delivered": arrived,
        "queued": queued,
    }


def receipt_json(message_id: str, recipients: Sequence[Recipient]) -> JsonObject:
    """Return where a message stands."""
    states = ", ".join(f"{recipient.to}: {recipient.state}" for recipient in recipients)
    values = [recipient_json(recipient) for recipient in recipients]
    return {"status": "ok", "message": states, "id": message_id, "recipients": values}


def _only(recipients: Sequence[Recipient]) -> Recipient:
    return recipients[0] if recipients else Recipient(to="", state="queued")


def roster_text(entries: Iterable[RosterEntry]) -> str:
    """Return the roster as aligned columns."""
    rows: list[tuple[str, ...]] = [_ROSTER_HEADINGS]
    for entry in entries:
        name = f"{entry.address} (you)" if entry.you else entry.address
        facts = (name, entry.state, entry.verified, entry.host, entry.client, entry.wake)
        about = [text for text in (entry.summary, entry.place) if text]
        summary = ", in ".join(dict.fromkeys(about))
        rows.append((*map(one_line, facts), entry.fingerprint[:12], one_line(summary)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def receipt_text(message_id: str, recipients: Iterable[Recipient]) -> str:
    """Return where a message stands, one recipient a line."""
    lines = [f"Message {message_id}"]
    for recipient in recipients:
        why = f" ({recipient.why})" if recipient.why else ""
        at = f" since {_local(recipient.at)}" if recipient.at else ""
        lines.append(f"{_INDENT}{recipient.to}: {recipient.state}{why}{at}")
    return "\n".join(lines)


def _local(time: datetime) -> str:
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def status_json(status: Status) -> JsonObject:
    """Return the status of a session with the result keys that every command has."""
    return {"status": "ok", "message": status_heading(status), **status.to_json()}


def status_heading(status: Status) -> str:
    """Say who and where this is."""
    return f"{status.instance_id or 'nobody'} on mesh {status.mesh} ({status.mode} mode)"


def status_text(status: Status) -> str:
    """Return the status of a session for people."""
    lines = [
        status_heading(status),
        f"fingerprint: {status.fingerprint or 'none'}",
        f"outbox: {_counts(status.outbox)}",
        f"inbox: {_counts(status.inbox)}",
        f"peers: {_counts(status.peers)}",
    ]
    lines += [f"listening: {endpoint}" for endpoint in status.endpoints]
    lines += [f"problem: {sanitise(problem)}" for problem in status.problems]
    return "\n".join(lines)


def _counts(counts: Any) -> str:  # noqa: ANN401 - a mapping of words to numbers
    return ", ".join(f"{number} {word}" for word, number in counts.items()) or "none"
