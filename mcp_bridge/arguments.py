"""The arguments of one call, all checked before anything is done."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import mesh
from mcp_bridge.schemas import Argument, Kind, Tool

_TYPES: Final[dict[Kind, tuple[type, ...]]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int, float),
    "boolean": (bool,),
    "object": (dict,),
}
_WORDS: Final[dict[type, str]] = {
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    dict: "an object",
    list: "an array",
}


class Arguments:
    """Checked arguments by name; what was left out, or given as null, is None.

    Raises:
        UsageError: one is unknown, missing, of the wrong type or out of bounds.
    """

    def __init__(self, tool: Tool, values: Mapping[str, Any]) -> None:
        known = {argument.name: argument for argument in tool.arguments}
        for name in values:
            if name not in known:
                takes = ", ".join(known) or "no arguments"
                raise mesh.UsageError(f"Unknown argument {name[:80]!r}: {tool.name} takes {takes}.")
        self._values = {name: value for name, value in values.items() if value is not None}
        for argument in tool.arguments:
            if argument.name in self._values:
                _check(argument, self._values[argument.name])
            elif argument.is_required:
                raise mesh.UsageError(f"Missing argument {argument.name}: {tool.name} needs it.")

    def text(self, name: str) -> str:
        """Return a required text."""
        value: str = self._values[name]
        return value

    def text_or_none(self, name: str) -> str | None:
        """Return a text, or None."""
        return self._values.get(name)

    def number_or_none(self, name: str) -> float | None:
        """Return a number, or None."""
        return self._values.get(name)

    def integer_or_none(self, name: str) -> int | None:
        """Return a whole number, or None."""
        value = self._values.get(name)
        return None if value is None else int(value)

    def flag(self, name: str) -> bool:
        """Return whether a flag is set."""
        return self._values.get(name) is True

    def json(self, name: str) -> dict[str, Any] | None:
        """Return an object, or None."""
        return self._values.get(name)

    def moment_or_none(self, name: str) -> str | None:
        """Return a time in ISO 8601 with its zone, or None.

        Raises:
            UsageError: in another form, or without a zone.
        """
        text: str | None = self._values.get(name)
        if text is None:
            return None
        try:
            time = datetime.fromisoformat(text)
        except ValueError as exc:
            raise mesh.UsageError(
                f"{name} must be a time in ISO 8601 with its zone, as 2026-01-31T09:30:00Z."
            ) from exc
        if time.tzinfo is None:
            raise mesh.UsageError(f"{name} must have a zone: 2026-01-31T09:30:00Z or …+01:00.")
        return time.isoformat()


def _check(argument: Argument, value: object) -> None:
    is_stray_bool = isinstance(value, bool) and argument.kind != "boolean"
    if is_stray_bool or not isinstance(value, _TYPES[argument.kind]):
        found = _WORDS.get(type(value), "something else")
        raise mesh.UsageError(f"{argument.name} must be {_article(argument.kind)}, not {found}.")
    if isinstance(value, str):
        _check_text(argument, value)
    elif isinstance(value, int | float) and argument.kind in ("number", "integer"):
        _check_number(argument, value)


def _article(kind: Kind) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _check_text(argument: Argument, text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as exc:
        raise mesh.UsageError(f"{argument.name} is not valid Unicode: a lone surrogate.") from exc
    if argument.chars_max is not None:
        if len(text) > argument.chars_max:
            raise mesh.UsageError(
                f"{argument.name} has {len(text)} characters; the limit is {argument.chars_max}."
            )
    elif size > argument.bytes_max:
        raise mesh.UsageError(
            f"{argument.name} has {size} bytes; the limit is {argument.bytes_max} bytes."
        )


def _check_number(argument: Argument, number: float) -> None:
    # The range comes first: a whole number may be too large to be a float, or to be shown.
    if not argument.least <= number <= argument.most:
        raise mesh.UsageError(
            f"{argument.name} must be from {argument.least:.0f} to {argument.most:.0f}."
        )
    if argument.kind == "integer" and number != int(number):
        raise mesh.UsageError(f"{argument.name} must be a whole number, not {number}.")
