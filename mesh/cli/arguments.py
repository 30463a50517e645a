"""Types of command-line arguments; each refuses with one sentence."""

import json
import math
from argparse import ArgumentTypeError
from datetime import datetime
from typing import Any, Never

from mesh import limits


def seconds(text: str) -> float:
    """Read a duration in seconds, from 0 to a day."""
    return _number(text, limits.wait_s_max)


def lifetime(text: str) -> float:
    """Read how long a message is worth sending, in seconds."""
    value = _number(text, limits.ttl_s_max)
    if value < limits.ttl_s_min:
        raise ArgumentTypeError(f"at least {limits.ttl_s_min:g} seconds, not {text}")
    return value


def _number(text: str, number_max: float) -> float:
    try:
        value = float(text)
    except ValueError as exc:
        raise ArgumentTypeError(f"a number of seconds, not {text!r}") from exc
    if not math.isfinite(value) or not 0 <= value <= number_max:
        raise ArgumentTypeError(f"from 0 to {number_max:g} seconds, not {text}")
    return value


def count(text: str) -> int:
    """Read how many messages to show at most."""
    if not text.isdecimal() or not 1 <= int(text[:9]) <= limits.check_messages_max:
        raise ArgumentTypeError(f"a number from 1 to {limits.check_messages_max}, not {text!r}")
    return int(text)


def moment(text: str) -> str:
    """Check a time in ISO 8601 with its zone."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError as exc:
        raise ArgumentTypeError(f"a time as 2026-01-31T09:30:00+00:00, not {text!r}") from exc
    if time.tzinfo is None:
        raise ArgumentTypeError(f"a time with its zone, as {text}Z, not {text!r}")
    return text


def json_value(text: str) -> Any:  # noqa: ANN401 - any JSON value
    """Read a JSON value."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as exc:
        raise ArgumentTypeError(f"JSON: {exc}") from exc


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")
