"""Examines the settings: the secret, the mode and where to listen."""

import os
from argparse import Namespace
from pathlib import Path
from typing import Final

from mesh import limits
from mesh.cli.doctor.finding import Finding, fail, ok, warn
from mesh.cli.session import read_config
from mesh.config import Config
from mesh.errors import ConfigError, UsageError, WeakSecretError
from mesh.store.files import read_private

_MAKE_ONE: Final = (
    "Run `mesh secret new` on one machine, carry the file to the others and unset "
    "IPC_SHARED_SECRET."
)


def home_of(environ: dict[str, str]) -> Path:
    """Return the state directory even where the other settings are wrong.

    Raises:
        UsageError: nothing says where it is.
    """
    try:
        named = environ.get("IPC_HOME", "").strip()
        return (Path(named) if named else Path.home() / ".claude-ipc").expanduser().absolute()
    except RuntimeError as exc:
        raise UsageError("IPC_HOME must be set, as this user has no home directory.") from exc


def examine_settings(options: Namespace) -> tuple[list[Finding], Config | None]:
    """Read the settings as every session does; without a config nothing can start.

    Raises:
        UsageError: the command itself was used wrongly.
    """
    is_in_environment = "IPC_SHARED_SECRET" in os.environ
    names_file = bool(os.environ.get("IPC_SHARED_SECRET_FILE"))
    try:
        config = read_config(options)
    except WeakSecretError as exc:
        return [fail("secret", str(exc), _MAKE_ONE)], None
    except ConfigError as exc:
        if "secret" in str(exc).lower():
            return [fail("secret", str(exc), "Mend that file or variable, or remove it.")], None
        mend = "Correct it where it is set: in the shell, or in the client's configuration."
        return [fail("settings", str(exc), mend)], None
    source = "IPC_SHARED_SECRET" if is_in_environment else str(config.home / "secret")
    if names_file and not is_in_environment:
        source = "IPC_SHARED_SECRET_FILE"
    found = [_secret(config, source), _listening(config)]
    if is_in_environment or names_file:
        found += _second_secret(config, source)
    if config.previous_secret is not None:
        found.append(ok("secret", "IPC_SHARED_SECRET_PREVIOUS is still accepted from peers."))
    return found, config


def _secret(config: Config, source: str) -> Finding:
    if config.secret is None:
        return ok(
            "secret",
            "There is none: open mode, for the sessions of this machine.",
            "For several machines run `mesh secret new` and carry the file to the others.",
        )
    count = len(config.secret)
    if count < limits.secret_chars_strong:
        text = f"The secret from {source} has only {count} characters; it can be guessed."
        return warn("secret", text, _MAKE_ONE)
    return ok("secret", f"The secret from {source} has {count} characters.")


def _second_secret(config: Config, source: str) -> list[Finding]:
    """Compare with the file that sessions without the variable read."""
    path = config.home / "secret"
    try:
        content = read_private(path, bytes_max=limits.secret_bytes_max)
    except OSError:
        content = None
    if content is None or content.decode("utf-8-sig", "replace").strip() == config.secret:
        return []
    text = f"{source} differs from {path}, which sessions without that variable use."
    return [warn("secret", text, f"Keep one: unset {source}, or write its value to the file.")]


def _listening(config: Config) -> Finding:
    host = config.listen_host
    where = "on this machine only" if config.is_loopback_only else f"on {host}"
    if host == "*":
        where = "on all interfaces"
    strict = ", strict (mail only with trusted keys)" if config.is_strict else ""
    text = f"{config.mode} mode{strict}, mesh {config.mesh}, listening {where}."
    if config.mode == "open" and not config.is_loopback_only:
        return warn("mode", f"{text} Anyone who reaches this machine can join.", _MAKE_ONE)
    if config.mode == "secret" and config.is_loopback_only:
        return ok("mode", text, "Unset IPC_BIND if other machines should reach this one.")
    return ok("mode", text)
