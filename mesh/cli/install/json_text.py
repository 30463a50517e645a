"""Puts one member into an object of a JSON text and leaves every other character as it is.

Clients write comments and trailing commas into their files (JSONC) and people care how they are
laid out, so the text is edited in place instead of being written anew. `put_member` proves its
work: both texts are read again, and nothing but that member may differ.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from mesh.errors import ConfigError

_DEPTH_MAX: Final = 64
_SPACE: Final = re.compile(r"(?:[ \t\r\n\ufeff]+|//[^\r\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING: Final = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_REMARK: Final = re.compile(r"[ \t]*(?://[^\r\n]*|/\*[^\r\n]*?\*/(?=[ \t]*[\r\n]))")
_PLAIN: Final = re.compile(r"[-+.\w]+")

JsonObject = dict[str, Any]


class JsonTextError(ConfigError):
    """The text is not the JSON that it should be; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Member:
    """Where a member of an object is: its name, and its value as a span of the text."""

    name: str
    key_start: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Object:
    """Where an object is: between its braces, and its members. `has_tail`: a comma is last."""

    start: int
    end: int
    members: tuple[Member, ...]
    has_tail: bool

    def find(self, name: str) -> Member | None:
        """Return the member of that name."""
        return next((member for member in self.members if member.name == name), None)


def read_object(text: str) -> JsonObject:
    """Return the value of a text that must hold one object; blank is an empty one.

    Raises:
        JsonTextError: it does not.
    """
    if not text[_skip(text, 0) :]:
        return {}
    value, end = _value(text, _skip(text, 0), 0)
    if not isinstance(value, dict):
        raise JsonTextError("it holds no object")
    if text[_skip(text, end) :]:
        raise JsonTextError(f"something follows its end ({_place(text, end)})")
    return value


def put_member(text: str, section: str, name: str, value: Any) -> str:  # noqa: ANN401 - JSON
    """Return `text` with `value` as the member `name` of its member `section`.

    Raises:
        JsonTextError: the text, or the section, is not an object.
    """
    before = read_object(text)
    if not isinstance(before.get(section, {}), dict):
        raise JsonTextError(f"{section} is not an object")
    wanted = {**before, section: {**before.get(section, {}), name: value}}
    if not text[_skip(text, 0) :]:
        head = f"{text.rstrip()}{_newline(text)}" if text.strip() else ""  # Remarks only.
        return f"{head}{json.dumps(wanted, indent=2, ensure_ascii=False)}\n"
    edited = _put(text, section, name, value)
    if read_object(edited) != wanted:
        raise JsonTextError("its layout cannot be kept; enter the configuration by hand")
    return edited


def _put(text: str, section: str, name: str, value: Any) -> str:  # noqa: ANN401 - JSON
    root = _object(text, _skip(text, 0))
    step = _step(text, root)
    found = root.find(section)
    if found is None:
        return _insert(text, root, section, {name: value}, step=step, depth=1)
    inner = _object(text, found.start)
    member = inner.find(name)
    if member is None:
        return _insert(text, inner, name, value, step=step, depth=2)
    line = _line_before(text, member)
    line_start = _newline(text) + line[: len(line) - len(line.lstrip())]
    return text[: member.start] + _dump(value, step, line_start) + text[member.end :]


def _insert(
    text: str,
    into: Object,
    name: str,
    value: Any,  # noqa: ANN401 - JSON
    *,
    step: str,
    depth: int,
) -> str:
    """Add a member behind the last one, on a line of its own, indented as the others are."""
    newline = _newline(text)
    indent = (_indent(text, into.members[-1]) if into.members else None) or step * depth
    new = f"{newline}{indent}{_quote(name)}: {_dump(value, step, newline + indent)}"
    closing = f"{newline}{step * (depth - 1)}"
    if not into.members:
        inside = text[into.start + 1 : into.end].rstrip()
        return f"{text[: into.start + 1]}{inside}{new}{closing}{text[into.end :]}"
    last = into.members[-1].end
    if into.has_tail:
        last = _skip(text, last) + 1
    # A remark behind the last member, on its line, stays with it.
    remark = _REMARK.match(text, last)
    behind = last if remark is None else remark.end()
    comma, tail = ("", ",") if into.has_tail else (",", "")
    head = f"{text[:last]}{comma}{text[last:behind].rstrip()}{new}{tail}"
    if "\n" in text[behind : into.end]:
        return head + text[behind:]
    return f"{head}{text[behind : into.end].rstrip()}{closing}{text[into.end :]}"


def _dump(value: Any, step: str, line_start: str) -> str:  # noqa: ANN401 - JSON
    return line_start.join(json.dumps(value, indent=step, ensure_ascii=False).split("\n"))


def _quote(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _line_before(text: str, member: Member) -> str:
    return text[text.rfind("\n", 0, member.key_start) + 1 : member.key_start]


def _indent(text: str, member: Member) -> str | None:
    """Return the white space before a member that begins its line; None if it does not."""
    line = _line_before(text, member)
    return None if line.strip() else line


def _step(text: str, root: Object) -> str:
    return (_indent(text, root.members[0]) if root.members else None) or "  "


def _object(text: str, start: int) -> Object:
    """Find the members of the object that begins at `start`; the text was read before."""
    members: list[Member] = []
    at, has_tail = _skip(text, start + 1), False
    while text[at] != "}":
        key = _STRING.match(text, at)
        assert key is not None
        colon = _skip(text, key.end())
        value_start = _skip(text, colon + 1)
        _, end = _value(text, value_start, 0)
        members.append(Member(json.loads(key[0]), at, value_start, end))
        at = _skip(text, end)
        has_tail = text[at] == ","
        if has_tail:
            at = _skip(text, at + 1)
    return Object(start, at, tuple(members), has_tail)


def _value(text: str, at: int, depth: int) -> tuple[Any, int]:
    """Return the value that begins at `at`, and where it ends."""
    if depth > _DEPTH_MAX:
        raise JsonTextError("it is nested too deeply")
    if text[at : at + 1] == "{":
        return _read_members(text, at, depth)
    if text[at : at + 1] == "[":
        return _read_items(text, at, depth)
    found = _STRING.match(text, at) or _PLAIN.match(text, at)
    if found is None:
        raise JsonTextError(f"a value is missing ({_place(text, at)})")
    try:
        return json.loads(found[0]), found.end()
    except ValueError as exc:
        raise JsonTextError(f"{found[0][:20]!r} is no value ({_place(text, at)})") from exc


def _read_members(text: str, at: int, depth: int) -> tuple[JsonObject, int]:
    result: JsonObject = {}
    at = _skip(text, at + 1)
    while text[at : at + 1] != "}":
        if _STRING.match(text, at) is None:
            raise JsonTextError(f"a name is missing ({_place(text, at)})")
        name, at = _value(text, at, depth)
        if name in result:
            raise JsonTextError(f"{name!r} is there twice ({_place(text, at)})")
        at = _skip(text, at)
        if text[at : at + 1] != ":":
            raise JsonTextError(f"a colon is missing ({_place(text, at)})")
        result[name], at = _value(text, _skip(text, at + 1), depth + 1)
        at = _next(text, at, "}")
    return result, at + 1


def _read_items(text: str, at: int, depth: int) -> tuple[list[Any], int]:
    result: list[Any] = []
    at = _skip(text, at + 1)
    while text[at : at + 1] != "]":
        item, at = _value(text, at, depth + 1)
        result.append(item)
        at = _next(text, at, "]")
    return result, at + 1


def _next(text: str, at: int, closing: str) -> int:
    """Step over the comma behind a member or item."""
    at = _skip(text, at)
    if text[at : at + 1] == ",":
        return _skip(text, at + 1)
    if text[at : at + 1] != closing:
        raise JsonTextError(f"a comma or {closing} is missing ({_place(text, at)})")
    return at


def _skip(text: str, at: int) -> int:
    """Step over white space and comments."""
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _place(text: str, at: int) -> str:
    return f"line {text.count(chr(10), 0, at) + 1}"
