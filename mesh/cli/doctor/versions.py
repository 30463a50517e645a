"""Examines the libraries and limits that this process runs with."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from mesh.cli.doctor.finding import Finding, fail, ok, warn
from mesh.net.versions import has_curve, library_versions
from mesh.store.versions import has_wal_reset_bug, sqlite_version

try:
    import resource
except ImportError:  # Windows has no such limit.
    resource = None  # type: ignore[assignment]  # Absent on Windows only.

_FILES_MIN: Final = 512
_FILES_ENOUGH: Final = 4096


def examine_versions() -> list[Finding]:
    """Name what this runs on."""
    own = {name: _version(name) for name in ("claude-ipc-mesh", "mcp", "pynacl", "cbor2")}
    found = {
        "claude-ipc-mesh": own["claude-ipc-mesh"] or "from its sources",
        "Python": platform.python_version(),
        **library_versions(),
        "mcp": own["mcp"] or "missing",
        "pynacl": own["pynacl"],
        "cbor2": own["cbor2"],
    }
    text = ", ".join(f"{name} {number}" for name, number in found.items() if number)
    findings = [ok("versions", f"{text}.")]
    if not own["mcp"]:
        mend = "Install claude-ipc-mesh with its dependencies (uvx does) to use it from AI clients."
        findings.append(warn("versions", "The MCP library is missing: no claude-ipc-mcp.", mend))
    if not has_curve():
        mend = "Install pyzmq from a wheel: `pip install --force-reinstall pyzmq`."
        findings.append(fail("versions", "This build of ZeroMQ cannot encrypt (no CURVE).", mend))
    if sys.flags.optimize:
        mend = "Start Python without -O and unset PYTHONOPTIMIZE."
        findings.append(warn("versions", "Python runs with -O, without its safety checks.", mend))
    return [*findings, _sqlite()]


def _sqlite() -> Finding:
    number = sqlite_version()
    if has_wal_reset_bug(number):
        text = (
            f"SQLite {number} has the WAL-reset bug (3.7.0 to 3.51.2); mailboxes are not exposed "
            "to it, as each has one exclusive connection."
        )
        return ok("versions", text, "Do not open mailbox.db with other tools while sessions run.")
    return ok("versions", f"SQLite {number}.")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def examine_limits() -> list[Finding]:
    """Look at how many files, and so links, a process may open."""
    if resource is None:
        return []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= _FILES_ENOUGH:
        shown = "no limit" if hard == resource.RLIM_INFINITY else str(hard)
        return [ok("limits", f"Open files: {soft} now, and each node may raise that to {shown}.")]
    text = f"A process may open {hard} files at most; each peer costs one to three."
    mend = "Raise the hard limit of open files (ulimit -Hn, limits.conf, launchctl limit)."
    return [(warn if hard >= _FILES_MIN else fail)("limits", text, mend)]
