"""Values: classes of fields that are compared by what they hold and never changed.

`@value` is `@dataclass(frozen=True, slots=True)` whose freezing only the type checker enforces. A
value that checks this itself at run time takes four times as long to make, and every message is a
dozen of them.
"""

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[T]) -> type[T]:
    """Make a class of values."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
