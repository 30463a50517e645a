"""What may be shared: only files inside the roots, never files that hold credentials.

A path is judged twice, as it was given and as it resolves, so a link with an innocent name does not
help. The judgement is by name and place; `files` then opens exactly the path judged here, following
no link, so that nothing can be exchanged in between.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path
from typing import Final

from mesh.errors import PolicyError, UsageError

_CREDENTIAL_DIRECTORIES: Final = frozenset(
    (".ssh", ".aws", ".gnupg", ".kube", ".azure", ".password-store", ".claude-ipc")
)
_CREDENTIAL_PLACES: Final = (
    (".config", "gcloud"),
    (".config", "gh"),
    (".docker", "config.json"),
    (".m2", "settings.xml"),
)
_CREDENTIAL_NAMES: Final = (
    *(".env*", "*.env", "*.pem", "*.key", "*.p8", "*.p12", "*.pfx", "*.ppk", "*.jks", "*.kdbx"),
    *("*.keystore", "*.ovpn", "credentials*", ".credentials*", ".netrc", "_netrc", ".npmrc"),
    *(".pypirc", ".git-credentials", ".pgpass", ".my.cnf", ".htpasswd", ".dockercfg"),
    *(".vault-token", ".terraformrc", ".*_history", ".claude.json", "oauth_creds.json"),
    *("*.tfstate", "*.tfstate.backup", ".s3cfg", ".boto", "rclone.conf", "auth.json"),
    *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*"),
)
_KEY_NAME: Final = re.compile(r"id_[^.]*\Z")
_KERNEL_DIRECTORIES: Final = (Path("/proc"), Path("/sys"), Path("/dev"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """What may be shared from `cwd`. `roots` None means `cwd` and its git root.

    `home` is the state directory, which is never shared; `allowed` are files that the user has
    named: they may be shared whatever they are called.
    """

    cwd: Path
    roots: tuple[Path, ...] | None = None
    home: Path | None = None
    allowed: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """A file that may be shared: `root` and the names below it, all free of links."""

    root: Path
    parts: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The resolved path."""
        return self.root.joinpath(*self.parts)


def locate(path: str | Path, fence: Fence) -> Place:
    """Find where a path leads and judge it; whether a file is there is not looked at.

    Raises:
        PolicyError: outside the roots, or a credential file.
        UsageError: no path at all.
    """
    given = absolute(path, cwd=fence.cwd)
    # `..` after a link leaves the link's target, so it is not taken out before links are followed.
    resolved = Path(os.path.realpath(_joined(path, cwd=fence.cwd)))
    is_allowed = is_among(resolved, fence.allowed)
    for judged in (given, resolved):
        if is_kept_in(judged, fence.home) or (not is_allowed and is_credential(judged)):
            raise PolicyError(
                f"{path} may hold credentials; such files are never shared, unless the user has "
                "named them in IPC_SHARE_ALLOW."
            )
    for root in resolved_roots(fence.roots, cwd=fence.cwd):
        if resolved.is_relative_to(root):
            return Place(root, resolved.relative_to(root).parts)
    raise PolicyError(
        f"{path} is outside the directories that may be shared (IPC_SHARE_ROOTS, by default the "
        "working directory and its git root)."
    )


def absolute(path: str | Path, *, cwd: Path) -> Path:
    """Return the path from `cwd`, `~` and `..` taken out, links left as they are.

    Raises:
        UsageError: empty, or no path.
    """
    return Path(os.path.normpath(_joined(path, cwd=cwd)))


def _joined(path: str | Path, *, cwd: Path) -> Path:
    text = str(path)
    if not text.strip() or "\0" in text:
        raise UsageError("filepath must name a file.")
    try:
        expanded = Path(text).expanduser()
    except RuntimeError as exc:
        raise UsageError(f"{text} names a user without a home directory.") from exc
    return cwd.absolute() / expanded


def is_credential(path: Path, *, home: Path | None = None) -> bool:
    """Tell whether an absolute path names a place where secrets are usually kept."""
    if any(path.is_relative_to(directory) for directory in _KERNEL_DIRECTORIES):
        return True
    if is_kept_in(path, home):
        return True
    parts = [_fold(part) for part in path.parts]
    if _CREDENTIAL_DIRECTORIES.intersection(parts):
        return True
    if any(pair in _CREDENTIAL_PLACES for pair in pairwise(parts)):
        return True
    name = parts[-1]
    if ".git" in parts[:-1] and name.startswith(("config", "credentials")):
        return True
    return _KEY_NAME.match(name) is not None or any(
        fnmatchcase(name, pattern) for pattern in _CREDENTIAL_NAMES
    )


def is_kept_in(path: Path, home: Path | None) -> bool:
    """Tell whether a path lies in the state directory."""
    return home is not None and (
        path.is_relative_to(home) or path.is_relative_to(os.path.realpath(home))
    )


def is_among(resolved: Path, allowed: Sequence[Path]) -> bool:
    """Tell whether a path free of links is one of the files that the user has named."""
    return any(str(resolved) == os.path.realpath(path) for path in allowed)


def resolved_roots(roots: Sequence[Path] | None, *, cwd: Path) -> tuple[Path, ...]:
    """Return the directories whose files may be shared, free of links."""
    if roots is not None:
        return tuple(Path(os.path.realpath(root)) for root in roots)
    here = Path(os.path.realpath(cwd))
    return (here, *_git_root(here))


def _git_root(here: Path) -> Iterator[Path]:
    """Find the repository around `here`; one planted by another user does not count."""
    for directory in (here, *here.parents):
        try:
            status = (directory / ".git").lstat()
        except OSError:
            continue
        if os.name != "posix" or status.st_uid == os.geteuid():
            yield directory
        return


def _fold(part: str) -> str:
    """Return the form in which some file systems compare names."""
    folded = part.casefold()
    # Windows ignores what follows a colon, and trailing dots and spaces.
    return folded.split(":")[0].rstrip(". ") or folded if os.name == "nt" else folded
