"""Until when a previous secret is accepted: remembered from its first sight on this host.

A deadline that began anew at each start would never come. The file names a secret by the id of its
frame key, which travels in clear anyway, and is damaged or missing at worst once: then the time
begins again, and it is reported.
"""

import json
from typing import Final

from mesh import limits
from mesh.errors import StoreError
from mesh.store.files import read_private, write_private
from mesh.store.home import Home

_FILE_BYTES_MAX: Final = 16 * limits.KIB


def previous_deadline_ms(home: Home, *, key_id: bytes, now_ms: int) -> int:
    """Return when (Unix epoch) the secret with `key_id` ends; its first sight is written down.

    A wall clock that is set back does not make it longer than it is from now.

    Raises:
        StoreError: the disk refused, so that no deadline would hold.
    """
    path = home.path / "rotation.json"
    term_ms = int(limits.previous_secret_s * 1000)
    try:
        known = _parse(read_private(path, bytes_max=_FILE_BYTES_MAX))
        name = key_id.hex()
        deadline_ms = min(known.get(name, now_ms + term_ms), now_ms + term_ms)
        if known.get(name) != deadline_ms:
            others = {key: until for key, until in known.items() if key != name}
            newest = sorted(others.items(), key=lambda item: item[1])
            kept = dict(newest[-(limits.previous_secrets_max - 1) :])
            write_private(path, json.dumps({**kept, name: deadline_ms}).encode())
    except OSError as exc:
        raise StoreError(f"The rotation of the secret cannot be kept in {path}: {exc}.") from exc
    return deadline_ms


def _parse(content: bytes | None) -> dict[str, int]:
    try:
        value = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    return {key: until for key, until in value.items() if type(until) is int}
