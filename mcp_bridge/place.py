"""Where this session works: the name of its directory, and the branch checked out there."""

from pathlib import Path
from typing import Final

from mesh import limits

_HEAD_BYTES_MAX: Final = 4096
_REF: Final = "ref: refs/heads/"


def describe_place(directory: Path) -> str:
    """Return the directory's name with its branch, as far as there is one."""
    branch = branch_of(directory)
    name = directory.name or str(directory)
    return (f"{name} ({branch})" if branch else name)[: limits.summary_chars_max]


def branch_of(directory: Path) -> str:
    """Return the branch checked out around `directory`; empty if detached, or without git.

    Reads `.git/HEAD` (`.git` is a file in a worktree); git itself is not run.
    """
    for parent in (directory, *directory.parents):
        entry = parent / ".git"
        try:
            if entry.is_file():
                entry = parent / _read(entry).removeprefix("gitdir:").strip()
            if entry.is_dir():
                head = _read(entry / "HEAD").strip()
                return head.removeprefix(_REF) if head.startswith(_REF) else ""
        except (OSError, ValueError):
            return ""
    return ""


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES_MAX).decode()
