"""From where `uvx` can run this package: the place it was installed from, or its name."""

import json
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

PACKAGE: Final = "claude-ipc-mesh"
_CHECKOUT: Final = Path(__file__).parents[3]


def source() -> str:
    """Return what belongs after `uvx --from`: a directory, an address or the package's name."""
    try:
        origin = Distribution.from_name(PACKAGE).read_text("direct_url.json")
    except PackageNotFoundError:  # Run from its sources, without being installed.
        return str(_CHECKOUT) if is_checkout(_CHECKOUT) else PACKAGE
    if origin is None:
        return PACKAGE
    try:
        found = json.loads(origin)
    except ValueError:
        return PACKAGE
    return from_origin(found) if isinstance(found, dict) else PACKAGE


def from_origin(origin: dict[str, Any]) -> str:
    """Read what installers note of where they took a package from (PEP 610)."""
    url = str(origin.get("url", ""))
    version_control = origin.get("vcs_info")
    if isinstance(version_control, dict):
        revision = version_control.get("requested_revision") or version_control.get("commit_id")
        part = f"#subdirectory={origin['subdirectory']}" if origin.get("subdirectory") else ""
        return (
            f"{version_control.get('vcs', 'git')}+{url}{f'@{revision}' if revision else ''}{part}"
        )
    parts = urlsplit(url)
    if parts.scheme != "file":
        return url or PACKAGE
    path = Path(url2pathname(unquote(parts.path)))
    return str(path) if path.exists() else PACKAGE


def is_checkout(path: Path) -> bool:
    """Whether the sources of this package are there."""
    try:
        return f'name = "{PACKAGE}"' in (path / "pyproject.toml").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return False
