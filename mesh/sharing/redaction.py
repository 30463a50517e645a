"""Taking secrets out of text before it is shared: known token shapes, and values known as secret.

A help against accidents, not a wall: what has no known shape stays. Each pattern begins where a
run of its characters begins or at a fixed mark, so the work grows with the text, not its square.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

REDACTED: Final = "[redacted]"
_VALUE_CHARS_MIN: Final = 8
_SECRET_NAME: Final = re.compile(
    r"SECRET|TOKEN|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY"
    r"|(?:^|_)KEY(?:_|\Z)|(?:^|_)PAT\Z|_DSN\Z|COOKIE",
    re.IGNORECASE,
)
_KEY_BLOCK: Final = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
_TOKEN: Final = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"(?:AKIA|ASIA)[A-Z0-9]{16}"
    r"|gh[opsur]_[A-Za-z0-9]{20,255}|github_pat_[A-Za-z0-9_]{20,255}|glpat-[A-Za-z0-9_-]{16,255}"
    r"|sk-[A-Za-z0-9_-]{20,255}|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,255}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,255}|AIza[A-Za-z0-9_-]{30,60}|npm_[A-Za-z0-9]{30,60}"
    r"|pypi-[A-Za-z0-9_-]{30,600}|hf_[A-Za-z0-9]{30,60}|dop_v1_[a-f0-9]{64}"
    r"|eyJ[A-Za-z0-9_-]{10,4000}\.eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{10,4000}"
    r")"
)
_BEARER: Final = re.compile(
    r"\b((?:Bearer|Basic)\s{1,4})[A-Za-z0-9._~+/-]{16,4000}=*", re.IGNORECASE
)
_URL_PASSWORD: Final = re.compile(r"(://[^/\s:@]{0,100}:)[^/\s@]{1,200}@")
_ASSIGNMENT: Final = re.compile(
    r"^([+\- ]?(?:export )?[A-Z0-9_]{0,64}"
    r"(?:SECRET|TOKEN|PASSWORD|PASSWD|API_KEY|ACCESS_KEY|PRIVATE_KEY)[A-Z0-9_]{0,64}=)\S{8,4000}",
    re.MULTILINE,
)


def secret_values(environ: Mapping[str, str]) -> frozenset[str]:
    """Return the values of the environment that their names call secret."""
    return frozenset(
        value
        for name, value in environ.items()
        if _SECRET_NAME.search(name) and len(value) >= _VALUE_CHARS_MIN
    )


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Replace what looks like a secret, or is one of `secrets`, by a mark."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _VALUE_CHARS_MIN:
            text = text.replace(secret, REDACTED)
    text = _KEY_BLOCK.sub(REDACTED, text)
    text = _ASSIGNMENT.sub(rf"\1{REDACTED}", text)
    text = _BEARER.sub(rf"\1{REDACTED}", text)
    text = _URL_PASSWORD.sub(rf"\1{REDACTED}@", text)
    return _TOKEN.sub(REDACTED, text)
