"""Replaces configuration files of others: whole or not at all, the old content kept beside."""

import os
import shutil
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mesh import limits
from mesh.errors import ConfigError, StoreError

_BYTES_MAX: Final = 64 * limits.MIB
_BINARY: Final = getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file as it was read. `path` is where it really lies, links followed."""

    path: Path
    content: bytes | None

    @classmethod
    def read(cls, path: Path) -> "ConfigFile":
        """Read a file; one that does not exist has no content.

        Raises:
            ConfigError: it is not a file of text.
            StoreError: it cannot be read.
        """
        try:
            target = path.resolve()
            if not target.exists():
                return cls(target, None)
            if not target.is_file() or target.stat().st_size > _BYTES_MAX:
                raise ConfigError(f"{path} is not a configuration file.")
            found = cls(target, target.read_bytes())
            found.text.encode()
        except UnicodeDecodeError as exc:
            raise ConfigError(f"{path} is not valid UTF-8; nothing was changed.") from exc
        except (OSError, RuntimeError) as exc:
            raise StoreError(f"{path} cannot be read: {exc}.") from exc
        return found

    @property
    def text(self) -> str:
        """The content, with its line ends as they are."""
        return (self.content or b"").decode("utf-8")

    def replace(self, text: str) -> Path | None:
        """Write `text` instead and return where the old content is kept, None if there was none.

        Raises:
            ConfigError: somebody else changed the file since it was read.
            StoreError: the disk refused; the file is as it was.
        """
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            kept = self._keep()
            draft.unlink(missing_ok=True)
            self._write(draft, text.encode("utf-8"))
            if ConfigFile.read(self.path).content != self.content:
                raise ConfigError(f"{self.path} was just changed by its client; try again.")
            draft.replace(self.path)
        except OSError as exc:
            raise StoreError(f"{self.path} cannot be written: {exc}.") from exc
        finally:
            draft.unlink(missing_ok=True)
        return kept

    def _keep(self) -> Path | None:
        if self.content is None:
            return None
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
        kept = self.path.with_name(f"{self.path.name}.backup-{stamp}")
        shutil.copy2(self.path, kept)
        return kept

    def _write(self, draft: Path, content: bytes) -> None:
        """Write a new file with the permissions of the old one."""
        mode = stat.S_IMODE(self.path.stat().st_mode) if self.content is not None else None
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY
        fd = os.open(draft, flags, 0o666 if mode is None else 0o600)
        with os.fdopen(fd, "wb") as file:
            if mode is not None:
                draft.chmod(mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
