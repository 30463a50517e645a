"""Between what people write and the bytes of a body: drafts going out, messages coming in."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from mesh import limits
from mesh.core.events import Draft
from mesh.driver.clock import wall_ms
from mesh.driver.results import Message
from mesh.errors import PeerError, StoreError, UsageError
from mesh.model import FileRef, Kind, Letter, MailboxKey, MessageId, fingerprint
from mesh.sharing.files import digest_of, save_quarantined
from mesh.sharing.received import find_received
from mesh.store.interface import InboxMessage
from mesh.wire.bodies import check_content, decode_body, dump_json, encode_body, load_json
from mesh.wire.letters import body_digest

_QUICK_BYTES_MAX: Final = 64 * limits.KIB


@dataclass(frozen=True, slots=True)
class Options:
    """How a message is to be sent."""

    reply_to: str | None = None
    ttl_s: float | None = None
    is_urgent: bool = False
    is_auto: bool = False
    chain: tuple[bytes, ...] = ()


_PLAIN: Final = Options()


def draft(
    content: str,
    data: Any,  # noqa: ANN401 - any JSON value
    options: Options,
    *,
    kind: Kind,
    attachment: bytes | None = None,
    file: FileRef | None = None,
) -> Draft:
    """Check what a user wants to send and give it an id.

    Raises:
        UsageError: `content`, `data`, `reply_to` or `ttl_s` is over its limit or malformed.
    """
    check_content(content)
    data_json = None if data is None else dump_json(data)
    body = encode_body(content, data_json, attachment)
    return Draft(
        message_id=new_message_id(),
        kind=kind,
        body=body,
        body_digest=body_digest(body),
        created_ms=wall_ms(),
        ttl_s=_ttl_s(options.ttl_s, kind),
        reply_to=None if options.reply_to is None else message_id(options.reply_to, "reply_to"),
        is_urgent=options.is_urgent,
        is_auto=options.is_auto,
        chain=options.chain,
        file=file,
    )


def grouped(
    messages: Iterable[tuple[str, str] | tuple[str, str, Any]],
) -> Iterator[tuple[str, list[Draft]]]:
    """Make the drafts of (recipient, content) or (recipient, content, data), in order.

    Neighbours to one recipient come together, up to a batch. On an error what came before it comes
    first.

    Raises:
        UsageError: a message is malformed; or whatever `messages` raises.
    """
    to, drafts, size = "", list[Draft](), 0
    try:
        for recipient, content, *rest in messages:
            is_full = len(drafts) >= limits.batch_letters_max or size >= limits.batch_bytes_max
            if drafts and (recipient != to or is_full):
                yield (to, drafts)
                drafts, size = [], 0
            data = rest[0] if rest else None
            drafts.append(draft(content, data, _PLAIN, kind=Kind.DIRECT))
            to = recipient
            size += len(drafts[-1].body)
    except Exception:
        if drafts:
            yield (to, drafts)
        raise
    if drafts:
        yield (to, drafts)


def file_draft(
    name: str, *, size: int, blake2b: str, description: str, attachment: bytes | None = None
) -> Draft:
    """Make the message of a shared file; without `attachment` the file is streamed beside it."""
    data = {
        "type": "file",
        "name": name,
        "bytes": size,
        "blake2b": blake2b,
        "description": description,
    }
    content = description or f"Shared file {name} ({size} bytes)"
    file = None if attachment is not None else FileRef(bytes.fromhex(blake2b), size, name)
    return draft(content, data, Options(), kind=Kind.FILE, attachment=attachment, file=file)


def new_message_id() -> MessageId:
    """Return an id that nobody else has: the time in milliseconds, then 80 random bits.

    Ids that grow with time keep the newest letters together in every index.
    """
    return MessageId(wall_ms().to_bytes(6, "big") + os.urandom(10))


def message_id(text: str, argument: str) -> MessageId:
    """Read the 32 hexadecimal characters of a message id.

    Raises:
        UsageError: they are none; names `argument`.
    """
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != 16 or len(text) != 32:
        raise UsageError(f"{argument} must be a message id of 32 hexadecimal characters.")
    return MessageId(value)


def to_message(stored: InboxMessage, *, own_name: str, files: Path) -> Message:
    """Turn a stored message into what its reader sees; a shared file is put into `files`.

    Runs on the store thread.
    """
    letter = stored.letter
    content, data, path = _read_body(stored.body, files, letter)
    return Message(
        id=letter.message_id.hex(),
        sender=letter.author_name,
        fingerprint=fingerprint(letter.author),
        verified=stored.verified.value,
        to=own_name,
        time=datetime.fromtimestamp(letter.created_ms / 1000, UTC),
        content=content,
        data=data,
        reply_to=letter.reply_to.hex() if letter.reply_to else None,
        urgent=letter.is_urgent,
        kind=letter.kind.value,
        path=str(path) if path else None,
        is_read=stored.is_shown,
        row=stored.row,
    )


def may_have_file(stored: InboxMessage) -> bool:
    """Whether reading a message may touch the disk, or take long."""
    body = stored.body
    return stored.letter.file is not None or len(body) > _QUICK_BYTES_MAX or b"attachment" in body


def _read_body(encoded: bytes, files: Path, letter: Letter) -> tuple[str, Any, Path | None]:
    """Read a body that its author may have made badly: that must not hide other mail."""
    try:
        body = decode_body(encoded)
        data: Any = None if body.data_json is None else load_json(body.data_json)
    except PeerError as exc:
        return (f"[unreadable: {exc}]", None, None)
    if letter.file is not None and isinstance(data, dict):
        return (body.content, *_received_file(files, letter.author, letter.file, data))
    if body.attachment is None or not isinstance(data, dict):
        return (body.content, data, None)
    try:
        path = save_quarantined(
            files,
            name=str(data.get("name", "file")),
            content=body.attachment,
            digest=str(data.get("blake2b", "")),
        )
    except (PeerError, StoreError) as exc:
        return (body.content, {**data, "path": None, "problem": str(exc)}, None)
    facts = {**data, "type": "file", "bytes": len(body.attachment), "path": str(path)}
    return (body.content, {**facts, **_inline_text(body.attachment)}, path)


def _received_file(
    files: Path, author: MailboxKey, file: FileRef, data: dict[str, Any]
) -> tuple[dict[str, Any], Path | None]:
    """Add where a streamed file lies; its letter, not its body, says which file it is."""
    digest = file.digest.hex()
    facts = {**data, "name": file.name, "bytes": file.bytes, "blake2b": digest}
    path = find_received(files, author=author.hex(), digest=digest)
    if path is None:
        return (
            {**facts, "path": None, "problem": "The file is not, or no longer, where it was put."},
            None,
        )
    return ({**facts, "path": str(path)}, path)


def searchable_text(body: bytes) -> str:
    """Return what a search looks at; nothing if the author made the body badly."""
    try:
        return decode_body(body).content
    except PeerError:
        return ""


def parse_since(since: str | datetime) -> int:
    """Return milliseconds since the epoch for an ISO 8601 time with zone.

    Raises:
        UsageError: malformed or without a zone.
    """
    try:
        value = datetime.fromisoformat(since) if isinstance(since, str) else since
    except ValueError as exc:
        raise UsageError("since must be an ISO 8601 time such as 2026-01-31T12:00:00Z.") from exc
    if value.tzinfo is None:
        raise UsageError("since must name its zone, as in 2026-01-31T12:00:00Z.")
    return int(value.timestamp() * 1000)


def save_text(directory: Path, message: Message) -> Path:
    """Write a message's whole content under `directory`, 0600; return the path. Idempotent."""
    content = message.content.encode()
    name = f"{message.id[:12]}.txt"
    return save_quarantined(directory, name=name, content=content, digest=digest_of(content))


def check_limit(limit: int | None) -> int:
    """Return how many messages to read at most.

    Raises:
        UsageError: out of bounds.
    """
    if limit is None:
        return limits.check_messages_max
    if not 1 <= limit <= limits.check_messages_max:
        raise UsageError(f"limit must be from 1 to {limits.check_messages_max}.")
    return limit


def check_wait(wait_s: float) -> float:
    """Return how long to wait.

    Raises:
        UsageError: out of bounds.
    """
    if not 0 <= wait_s <= limits.wait_s_max:
        raise UsageError(f"wait_s must be from 0 to {limits.wait_s_max:g} seconds.")
    return wait_s


def check_description(description: str) -> None:
    """Check a description.

    Raises:
        UsageError: too long.
    """
    if len(description) > limits.description_chars_max:
        raise UsageError(f"description must be at most {limits.description_chars_max} characters.")


def _ttl_s(ttl_s: float | None, kind: Kind) -> float:
    if ttl_s is None:
        is_broadcast = kind is Kind.BROADCAST or kind is Kind.RENAMED
        return limits.ttl_s_broadcast if is_broadcast else limits.ttl_s_default
    if not limits.ttl_s_min <= ttl_s <= limits.ttl_s_max:
        raise UsageError(
            f"ttl_s must be from {limits.ttl_s_min:.0f} to {limits.ttl_s_max:.0f} seconds."
        )
    return float(ttl_s)


def _inline_text(content: bytes) -> dict[str, str]:
    if len(content) > limits.file_inline_text_bytes_max:
        return {}
    try:
        return {"content": content.decode()}
    except UnicodeDecodeError:
        return {}
