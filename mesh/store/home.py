"""The state directory of a host (`IPC_HOME`): checked before anything in it is trusted.

It belongs to its user alone (0700). Loose permissions of one's own directory are tightened and
reported; a link or somebody else's directory is refused, since whoever made it could read the mail.
"""

import hashlib
import os
import secrets
import stat
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mesh.errors import ConfigError, StoreError
from mesh.model import HostId
from mesh.store.files import (
    make_private_directory,
    private_directory_mode,
    private_file_mode,
    read_private,
    write_private,
)
from mesh.store.locks import FileLock
from mesh.store.mounts import network_file_system

if sys.platform == "win32":
    import winreg

init_timeout_s: Final = 30.0
_host_id_bytes: Final = 16
_MARK: Final = "secret.used"
_MACHINE_ID_FILES: Final = (
    Path("/etc/machine-id"),
    Path("/var/lib/dbus/machine-id"),
    Path("/etc/hostid"),
)


@dataclass(frozen=True, slots=True)
class Home:
    """An opened state directory. `reports` are sentences about what was mended while opening."""

    path: Path
    mesh: str
    host_id: HostId
    reports: tuple[str, ...] = ()

    @classmethod
    def open(cls, path: Path, *, mesh: str, machine_id: str | None = None) -> "Home":
        """Create or verify the directory, its parts and the host's id.

        `machine_id` names the machine; None asks the operating system.

        Raises:
            ConfigError: a link, another user's directory, not a directory, or on a network.
            StoreError: the disk refused.
        """
        path = _absolute(path)
        reports: list[str] = []
        try:
            _prepare(path, reports)
            kind = network_file_system(path)
            if kind is not None:
                raise ConfigError(
                    f"The state directory {path} is on a network file system ({kind}), where locks"
                    " and databases are not safe. Set IPC_HOME to a directory on a local disk."
                )
            machine = _machine_id() if machine_id is None else machine_id
            host_id = _host_id(path, machine, reports)
            home = cls(path, mesh, host_id, ())
            for part in (home.run, home.mail):
                _prepare(part, reports)
        except OSError as exc:
            raise StoreError(f"The state directory {path} cannot be used: {exc}.") from exc
        return cls(path, mesh, host_id, tuple(reports))

    @staticmethod
    def inspect(path: Path, *, is_open: bool) -> None:
        """Look for what would make `open` refuse the directory, without making or mending any.

        `is_open`: it is to be used without a secret.

        Raises:
            ConfigError: a link, another user's, no directory, or used with a secret before.
        """
        path = _absolute(path)
        try:
            _check_owned(path, path.lstat())
        except FileNotFoundError:
            return
        except OSError as exc:
            raise ConfigError(f"The state directory {path} cannot be used: {exc}.") from exc
        if is_open and (path / _MARK).exists():
            raise ConfigError(
                f"The state directory {path} was used with a secret; set IPC_SHARED_SECRET, "
                "or say that open mode is meant with --open or IPC_OPEN=1."
            )

    @property
    def run(self) -> Path:
        """Where live nodes register; may be deleted while none runs."""
        return self.path / "run"

    @property
    def mail(self) -> Path:
        """Where the mailboxes are, each under its folded name."""
        return self.path / "mail"

    @property
    def was_secret(self) -> bool:
        """Whether this directory was ever used with a secret."""
        return self._secret_mark.exists()

    def mark_secret_mode(self) -> None:
        """Remember that this directory is used with a secret; idempotent."""
        if not self.was_secret:
            write_private(self._secret_mark, b"This directory has been used with a secret.\n")

    def ensure_run(self) -> Path:
        """Return the run directory, made anew if somebody cleaned it away."""
        make_private_directory(self.run)
        return self.run

    @property
    def _secret_mark(self) -> Path:
        return self.path / _MARK


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path.expanduser()))  # noqa: PTH100  (resolve would follow links)


def _prepare(path: Path, reports: list[str]) -> None:
    """Make the directory or check that nobody but us can have prepared it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):  # perhaps a link: looked at without following it
        path.mkdir(mode=private_directory_mode)
    found = path.lstat()
    _check_owned(path, found)
    if sys.platform == "win32":  # the profile's access list protects it
        return
    mode = stat.S_IMODE(found.st_mode)
    if mode != private_directory_mode:
        path.chmod(private_directory_mode)
        if mode & ~private_directory_mode:
            reports.append(f"The permissions of {path} were {mode:04o}; they are 0700 now.")


def _check_owned(path: Path, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise ConfigError(f"{path} is a symbolic link; a state directory must not be one.")
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigError(f"{path} is not a directory.")
    if sys.platform != "win32" and found.st_uid != os.geteuid():
        raise ConfigError(f"{path} belongs to another user (uid {found.st_uid}).")


def tighten_file(path: Path, reports: list[str]) -> None:
    """Take a private file's loose permissions away and report it."""
    if sys.platform == "win32" or not path.exists():
        return
    mode = stat.S_IMODE(path.lstat().st_mode)
    if mode & 0o077 and not path.is_symlink():
        path.chmod(private_file_mode)
        reports.append(f"The permissions of {path} were {mode:04o}; they are 0600 now.")


def _host_id(path: Path, machine_id: str, reports: list[str]) -> HostId:
    """Read the host's id, or make one: at first use, and in the clone of a machine."""
    file = path / "host.id"
    lock = FileLock.acquire_within(path / "lock", content=b"", timeout_s=init_timeout_s)
    if lock is None:
        raise StoreError(f"{path / 'lock'} is held by another process; it should be for moments.")
    with lock:
        tighten_file(file, reports)
        known = (read_private(file, bytes_max=200) or b"").decode("ascii", "replace").split()
        machine = _digest(machine_id) if machine_id else "-"
        is_sound = len(known) == 2 and _is_hex(known[0], _host_id_bytes)
        if is_sound and ("-" in (known[1], machine) or known[1] == machine):
            return HostId(bytes.fromhex(known[0]))
        if is_sound:
            reports.append(f"{path} was copied from another machine: this host has a new id now.")
        elif known:
            reports.append(f"{file} was damaged: this host has a new id now.")
        host_id = secrets.token_bytes(_host_id_bytes)
        write_private(file, f"{host_id.hex()} {machine}\n".encode("ascii"))
        return HostId(host_id)


def _is_hex(text: str, length: int) -> bool:
    return len(text) == 2 * length and all(character in "0123456789abcdef" for character in text)


def _digest(machine_id: str) -> str:
    """Hide the machine's id: other programs treat it as confidential."""
    return hashlib.blake2b(machine_id.encode(), digest_size=16, person=b"mesh1-machine").hexdigest()


def _machine_id() -> str:
    """Ask the operating system for something that differs between machines; empty if unknown."""
    if sys.platform == "win32":
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SOFTWARE\Microsoft\Cryptography") as key:
            return str(winreg.QueryValueEx(key, "MachineGuid")[0])
    if sys.platform == "darwin":
        return _mac_platform_id()
    for file in _MACHINE_ID_FILES:
        try:
            text = file.read_text("ascii", "replace").strip()
        except OSError:
            continue
        if text:
            return text
    return ""


def _mac_platform_id() -> str:
    command = ("/usr/sbin/ioreg", "-rd1", "-c", "IOPlatformExpertDevice")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ""
    for line in done.stdout.splitlines():
        if "IOPlatformUUID" in line:
            return line.rpartition("=")[2].strip().strip('"')
    return ""
