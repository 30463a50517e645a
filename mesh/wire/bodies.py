"""Message bodies as bytes, and what people may put into them.

    {"data": JSON text, "content": text, "attachment": byte string}      data, attachment optional

Data travels as JSON text, not as CBOR, so that every JSON value arrives as it was written: large
integers, the order of keys, 1.0 beside 1. Unknown keys are ignored. The limits that people meet are
checked here before anything is accepted, each naming its argument.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NoReturn

from mesh import limits
from mesh.errors import MalformedError, UsageError
from mesh.wire.codec import dumps, loads, loads_map

_CONTENT_ALONE: Final = b"\xa1" + dumps("content")
"""How a body without data and attachment begins, as most do: a map of one entry."""
_TEXT_BYTES_MAX: Final = limits.body_bytes_max - len(_CONTENT_ALONE)

_Container = dict[object, object] | list[object] | tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Body:
    """What a message says. `attachment` is a small shared file."""

    content: str
    data_json: str | None = None
    attachment: bytes | None = None


def encode_body(content: str, data_json: str | None, attachment: bytes | None = None) -> bytes:
    """Return the body of a message; content and data have passed the checks below.

    Raises:
        UsageError: too large together.
    """
    if data_json is None and attachment is None:
        encoded = _CONTENT_ALONE + dumps(content)
    else:
        body: dict[str, str | bytes] = {"content": content}
        if data_json is not None:
            body["data"] = data_json
        if attachment is not None:
            body["attachment"] = attachment
        encoded = dumps(body)
    if len(encoded) > limits.body_bytes_max:
        raise UsageError(
            "content, data and attached file are too large together: "
            f"{len(encoded)} bytes where {limits.body_bytes_max} are allowed"
        )
    return encoded


def decode_body(body: bytes) -> Body:
    """Return what a message says; its data is not parsed.

    Raises:
        OversizeError: longer than a body may be.
        MalformedError: anything else that is wrong.
    """
    if body.startswith(_CONTENT_ALONE):
        text = loads(body[len(_CONTENT_ALONE) :], bytes_max=_TEXT_BYTES_MAX, depth_max=1)
        return Body(_text(text, limits.content_bytes_max))
    fields = loads_map(body, bytes_max=limits.body_bytes_max)
    attachment = fields.get("attachment")
    if attachment is not None and not isinstance(attachment, bytes):
        raise MalformedError("an attachment that is not a byte string")
    if attachment is not None and len(attachment) > limits.file_bytes_max:
        raise MalformedError(f"an attachment of more than {limits.file_bytes_max} bytes")
    data = fields.get("data")
    return Body(
        _text(fields.get("content"), limits.content_bytes_max),
        None if data is None else _text(data, limits.data_bytes_max),
        attachment,
    )


def check_content(text: str) -> str:
    """Return `text` if it may be the content of a message.

    Raises:
        UsageError: over the limit, or not encodable as UTF-8.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError as exc:
        raise UsageError("content: contains a lone surrogate, which is not valid text") from exc
    if size > limits.content_bytes_max:
        raise UsageError(f"content: {size} bytes; the limit is {limits.content_bytes_max} bytes")
    return text


def dump_json(value: object) -> str:
    """Return `value` as JSON text: compact, in UTF-8, keys in their order.

    Raises:
        UsageError: not a JSON value, or over a limit of size or depth.
    """
    _check_shape(value)
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(text.encode())
    except UnicodeEncodeError as exc:
        raise UsageError("data: contains a lone surrogate, which is not valid text") from exc
    except (TypeError, ValueError) as exc:
        raise UsageError(f"data: not a JSON value ({exc})") from exc
    if size > limits.data_bytes_max:
        raise UsageError(f"data: {size} bytes; the limit is {limits.data_bytes_max} bytes")
    return text


def load_json(text: str) -> object:
    """Return the value of JSON text that a peer wrote; `dump_json` would accept it.

    Raises:
        MalformedError: not JSON, or beyond the limits.
    """
    try:
        value: object = json.loads(text, parse_constant=_refuse_constant)
        # Text can spell what no value may be: half a surrogate pair, or 1e999.
        dump_json(value)
    except (ValueError, RecursionError, UsageError) as exc:
        raise MalformedError("data that is not JSON within the limits") from exc
    return value


def _text(value: object, bytes_max: int) -> str:
    if not isinstance(value, str) or len(value.encode()) > bytes_max:
        raise MalformedError(f"not a text of up to {bytes_max} bytes")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedError(f"{name} is not JSON")


def _check_shape(value: object) -> None:
    """Walk `value` level by level, so that neither depth, size nor a cycle can hurt."""
    containers = _containers([value])
    items = 0
    for _ in range(limits.data_depth_max):
        inner: list[_Container] = []
        for container in containers:
            items += len(container)
            if items > limits.data_bytes_max:
                raise UsageError(f"data: the limit is {limits.data_bytes_max} bytes")
            inner.extend(_containers(_children(container)))
        containers = inner
    if containers:
        raise UsageError(f"data: nested too deeply; the limit is {limits.data_depth_max} levels")


def _children(container: _Container) -> Iterable[object]:
    if not isinstance(container, dict):
        return container
    if not all(isinstance(key, str) for key in container):
        raise UsageError("data: not a JSON value (keys must be strings)")
    return container.values()


def _containers(values: Iterable[object]) -> list[_Container]:
    return [value for value in values if isinstance(value, dict | list | tuple)]
