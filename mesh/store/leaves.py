"""Finds rows in the pages of a database whose tree is broken: the last resort of salvage.

A table's rows lie in leaf pages; the pages above only lead to them. When one of those is destroyed,
its leaves are still in the file and are read here one by one (the format is documented by SQLite).
What comes out may be stale or nonsense: the caller must check every digest.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from mesh import limits

page_bytes: Final = 4096
_LEAF: Final = 0x0D
_LOCAL_MAX: Final = page_bytes - 35
_LOCAL_MIN: Final = (page_bytes - 12) * 32 // 255 - 23
_INTEGER_BYTES: Final = (0, 1, 2, 3, 4, 6, 8)
_UNREADABLE: Final = (IndexError, ValueError, OverflowError, struct.error)


def leaf_rows(path: Path, *, columns: int) -> Iterator[tuple[Any, ...]]:
    """Yield rows of that many columns, of which the first is the row id, in the order of pages."""
    with path.open("rb") as file:
        pages = path.stat().st_size // page_bytes
        for number in range(2, pages + 1):
            page = _page(file, number)
            if page[0] != _LEAF:
                continue
            cells = int.from_bytes(page[3:5], "big")
            for index in range(min(cells, page_bytes // 4)):
                try:
                    row = _row(file, page, int.from_bytes(page[8 + 2 * index :][:2], "big"))
                except _UNREADABLE:
                    continue
                if len(row) == columns:
                    yield row


def _page(file: Any, number: int) -> bytes:  # noqa: ANN401  (any binary file)
    if number < 1:
        raise ValueError("not a page")
    file.seek((number - 1) * page_bytes)
    page: bytes = file.read(page_bytes)
    if len(page) != page_bytes:
        raise ValueError("beyond the file")
    return page


def _row(file: Any, page: bytes, start: int) -> tuple[Any, ...]:  # noqa: ANN401
    size, start = _varint(page, start)
    rowid, start = _varint(page, start)
    if size > limits.frame_bytes_max:
        raise ValueError("too long")
    local = size
    if size > _LOCAL_MAX:
        local = _LOCAL_MIN + (size - _LOCAL_MIN) % (page_bytes - 4)
        local = local if local <= _LOCAL_MAX else _LOCAL_MIN
    parts = [page[start : start + local]]
    missing = size - local
    following = int.from_bytes(page[start + local :][:4], "big")
    while missing > 0:
        overflow = _page(file, following)
        following = int.from_bytes(overflow[:4], "big")
        parts.append(overflow[4 : 4 + missing])
        missing -= page_bytes - 4
    return (rowid, *_values(b"".join(parts))[1:])


def _values(record: bytes) -> list[Any]:
    end, at = _varint(record, 0)
    start = end
    values: list[Any] = []
    while at < end:
        kind, at = _varint(record, at)
        value, start = _value(record, kind, start)
        values.append(value)
    if start != len(record):
        raise ValueError("not a record")
    return values


def _value(record: bytes, kind: int, start: int) -> tuple[Any, int]:
    if kind in (8, 9):
        return (kind - 8, start)
    if kind == 7:
        return (_real(record[start : start + 8]), start + 8)
    if kind < len(_INTEGER_BYTES):
        end = start + _INTEGER_BYTES[kind]
        number = int.from_bytes(record[start:end], "big", signed=True)
        return (number if kind else None, end)
    end = start + (kind - 12) // 2
    content = record[start:end]
    return (content.decode("utf-8", "replace") if kind % 2 else content, end)


def _real(content: bytes) -> float:
    if len(content) != 8:
        raise ValueError("not a number")
    (value,) = struct.unpack(">d", content)
    return float(value)


def _varint(content: bytes, start: int) -> tuple[int, int]:
    value = 0
    for index in range(8):
        byte = content[start + index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return (value, start + index + 1)
    return (value << 8 | content[start + 8], start + 9)
