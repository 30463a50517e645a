"""The team secret: what counts as one, and the file it is read from.

No error ever shows a secret, only the variable or file that should have held it.
"""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mesh import limits
from mesh.errors import ConfigError, WeakSecretError
from mesh.settings import absolute

_PLACEHOLDER: Final = re.compile(
    r"changeme|secret|password|your-secret-key-here|your-team-secret-here|your-secret-here"
    r"|change-me-to-something-secure|\$env:\w+|\$ipc_\w+|\{env:\w+\}|%\w+%|.*\$\{.*\}.*",
    re.IGNORECASE | re.DOTALL,
)
# Upper case only: a true secret may begin with a dollar sign.
_UNEXPANDED: Final = re.compile(r"\$[A-Z_][A-Z0-9_]*")


def check_secret(text: str, source: str) -> str:
    """Return the secret without surrounding white space; `source` is what an error names.

    Raises:
        WeakSecretError: empty, too short or a placeholder.
        ConfigError: too long, or not Unicode text.
    """
    secret = text.strip()
    if not secret:
        raise WeakSecretError(
            f"{source} is empty; make a secret with `mesh secret new`, or unset it for open mode."
        )
    if len(secret.encode(errors="surrogatepass")) > limits.secret_bytes_max:
        raise ConfigError(f"{source} is longer than {limits.secret_bytes_max} bytes.")
    if any("\ud800" <= character <= "\udfff" for character in secret):
        raise ConfigError(f"{source} is not valid UTF-8.")
    if _PLACEHOLDER.fullmatch(secret) or _UNEXPANDED.fullmatch(secret):
        raise WeakSecretError(
            f"{source} is a placeholder, not a secret; make one with `mesh secret new`."
        )
    if len(secret) < limits.secret_chars_min:
        raise WeakSecretError(
            f"{source} has fewer than {limits.secret_chars_min} characters; "
            "make a secret with `mesh secret new`."
        )
    return secret


def read_secret(read: Mapping[str, str], home: Path) -> str | None:
    """Return the secret by order of precedence; None is open mode.

    Raises:
        WeakSecretError: see `check_secret`.
        ConfigError: its file is missing, or not ours alone.
    """
    if "IPC_SHARED_SECRET" in read:
        return check_secret(read["IPC_SHARED_SECRET"], "IPC_SHARED_SECRET")
    named = read.get("IPC_SHARED_SECRET_FILE")
    if named:
        path = absolute(Path(named), "IPC_SHARED_SECRET_FILE")
        text = _read_secret_file(path, "IPC_SHARED_SECRET_FILE")
        if text is None:
            raise ConfigError(f"IPC_SHARED_SECRET_FILE names {path}, which does not exist.")
        return check_secret(text, f"IPC_SHARED_SECRET_FILE {path}")
    path = home / "secret"
    text = _read_secret_file(path, "IPC_HOME")
    return None if text is None else check_secret(text, f"The secret of IPC_HOME in {path}")


def _read_secret_file(path: Path, variable: str) -> str | None:
    """Read a file that only its owner, us, can read; None if there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            # Checked on the opened file, so that it cannot be exchanged in between.
            _check_private(os.fstat(descriptor), f"{variable}: {path}", path)
            return os.read(descriptor, limits.secret_bytes_max + 1).decode("utf-8-sig")
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise ConfigError(f"{variable}: {path} cannot be read ({exc.strerror}).") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{variable}: {path} is not valid UTF-8.") from exc


def _check_private(status: os.stat_result, what: str, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{what} is not a regular file.")
    if os.name == "posix" and status.st_uid != os.geteuid():
        raise ConfigError(f"{what} belongs to another user; make a copy of your own.")
    if os.name == "posix" and status.st_mode & 0o077:
        raise ConfigError(f"{what} can be read by others; run `chmod 600 {path}`.")
