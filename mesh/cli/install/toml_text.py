"""Puts one table into a TOML text and leaves every other line as it is.

The standard library reads TOML but does not write it, and a writer would lose the remarks. So lines
are put in and exchanged, and `put_table` proves its work: both texts are read, and nothing but that
table may differ.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final

from mesh.errors import ConfigError

_HEADER: Final = re.compile(r"\s*\[")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+\Z")

TomlTable = dict[str, Any]


class TomlTextError(ConfigError):
    """The text is not the TOML that it should be; nothing was changed."""


def read_table(text: str) -> TomlTable:
    """Return the value of a text.

    Raises:
        TomlTextError: it is malformed.
    """
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as exc:
        raise TomlTextError(str(exc)) from exc


def put_table(text: str, section: str, name: str, value: Mapping[str, Any]) -> str:
    """Return `text` with `value` as the table `[section.name]`.

    Keys of a table that is there already may be changed and added, not removed.

    Raises:
        TomlTextError: the text is malformed, or the table is written in a form we cannot edit.
    """
    before = read_table(text)
    tables = before.get(section, {})
    if not isinstance(tables, dict):
        raise TomlTextError(f"{section} is not a table")
    wanted = {**before, section: {**tables, name: dict(value)}}
    newline = "\r\n" if "\r\n" in text else "\n"
    if name in tables:
        edited = _change(text, section, name, {**value}, known=tables[name])
    else:
        start = text if not text or text.endswith("\n") else text + newline
        edited = f"{start}{newline if start.strip() else ''}{dump_table(section, name, value)}"
    edited = edited if newline == "\n" else re.sub(r"\r?\n", newline, edited)
    try:
        is_right = read_table(edited) == wanted
    except TomlTextError:
        is_right = False
    if not is_right:
        raise TomlTextError("its layout cannot be kept; enter the configuration by hand")
    return edited


def dump_table(section: str, name: str, value: Mapping[str, Any]) -> str:
    """Return a table of texts, numbers, flags and lists as lines of TOML."""
    plain = {key: item for key, item in value.items() if not isinstance(item, Mapping)}
    lines = [f"[{section}.{_key(name)}]", *(_line(key, item) for key, item in plain.items())]
    for key in value.keys() - plain.keys():
        lines += ["", f"[{section}.{_key(name)}.{_key(key)}]"]
        lines += [_line(inner, item) for inner, item in value[key].items()]
    return "\n".join(lines) + "\n"


def _change(
    text: str, section: str, name: str, value: TomlTable, *, known: Mapping[str, Any]
) -> str:
    """Exchange the lines of the keys that differ, and add those that are missing."""
    lines = text.splitlines(keepends=True)
    header = re.compile(
        rf"\s*\[\s*{re.escape(section)}\s*\.\s*[\"']?{re.escape(name)}[\"']?\s*\]\s*(#.*)?$"
    )
    start = next((at for at, line in enumerate(lines) if header.match(line.rstrip())), None)
    if start is None:
        raise TomlTextError(f"{section}.{name} is there in another form; change it by hand")
    added = []
    for key, item in value.items():
        if key in known and known[key] == item:
            continue
        span = _span(lines, start + 1, key)
        if span is None:
            added.append(f"{_line(key, item)}\n")
        else:
            lines[span[0] : span[1]] = [f"{_line(key, item)}\n"]
    if not lines[start].endswith("\n"):
        lines[start] += "\n"
    return "".join([*lines[: start + 1], *added, *lines[start + 1 :]])


def _span(lines: list[str], start: int, key: str) -> tuple[int, int] | None:
    """Return the lines that hold a key of the table whose lines begin at `start`."""
    pattern = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=")
    for first in range(start, len(lines)):
        if _HEADER.match(lines[first]):
            return None
        if not pattern.match(lines[first]):
            continue
        for last in range(first + 1, len(lines) + 1):
            try:
                tomllib.loads("".join(lines[first:last]))
            except tomllib.TOMLDecodeError:
                continue
            return first, last
    return None


def _line(key: str, value: Any) -> str:  # noqa: ANN401 - a text, number, flag or list of texts
    return f"{_key(key)} = {json.dumps(value, ensure_ascii=False)}"


def _key(name: str) -> str:
    return name if _BARE.match(name) else json.dumps(name, ensure_ascii=False)
