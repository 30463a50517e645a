"""Taking out of foreign text what a reader cannot see but a model or a terminal acts on.

Escape sequences, control characters, direction overrides, invisible and private characters go;
line breaks become plain ones; the rest is put into its composed form (NFC). Letters of every script
stay as they are. Joined emoji fall apart into their members, which is accepted. How many characters
were taken out is returned, so that it can be shown.
"""

import re
import unicodedata
from typing import Final

_ESCAPES: Final = re.compile(
    r"(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\n\x90\x98\x9c-\x9f]{0,4096}(?:\x07|\x1b\\|\x9c)"
    r"|(?:\x1b\[|\x9b)[0-?]{0,64}[ -/]{0,16}[@-~]"
    r"|\x1b[ -/]{0,4}[0-~]"
)
_LINE_BREAKS: Final = re.compile(r"\r|\u2028|\u2029")
_INVISIBLE: Final = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls but tab and line feed
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u3164\uffa0"  # soft hyphen, joiners, fillers
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"  # zero width, directions, invisible operators
    "\ufff9-\ufffb\ufdd0-\ufdef"  # annotations, what is no character
    "\ue000-\uf8ff\ud800-\udfff"  # private use, lone surrogates
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"  # format controls of shorthand and music
    "\U000e0000-\U0010ffff"  # tags, supplementary variation selectors, private use
    + "".join(f"{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}" for plane in range(14))
    + "]+"
)
_SELECTORS: Final = re.compile("(?<=[\ufe00-\ufe0f])[\ufe00-\ufe0f]+")


def sanitise(text: str) -> tuple[str, int]:
    """Return the text without what acts unseen, and how many characters were taken out."""
    clean = text.replace("\r\n", "\n")
    removed = 0
    for pattern, replacement in (
        (_ESCAPES, ""),
        (_LINE_BREAKS, "\n"),
        (_INVISIBLE, ""),
        (_SELECTORS, ""),
    ):
        removed += sum(len(match.group()) for match in pattern.finditer(clean))
        clean = pattern.sub(replacement, clean)
    return unicodedata.normalize("NFC", clean), removed


def sanitise_json(value: object) -> tuple[object, int]:
    """Return a JSON value with every text in it sanitised, keys too, and the count of it all.

    Keys that become equal are kept apart by a number.
    """
    match value:
        case str():
            return sanitise(value)
        case dict():
            return _sanitise_object(value)
        case list() | tuple():
            items = [sanitise_json(item) for item in value]
            return [item for item, _ in items], sum(removed for _, removed in items)
        case _:
            return value, 0


def _sanitise_object(value: dict[object, object]) -> tuple[dict[str, object], int]:
    clean: dict[str, object] = {}
    removed = 0
    for key, item in value.items():
        name, removed_name = sanitise(str(key))
        unique, number = name, 2
        while unique in clean:
            unique, number = f"{name}_{number}", number + 1
        clean[unique], removed_item = sanitise_json(item)
        removed += removed_name + removed_item
    return clean, removed
