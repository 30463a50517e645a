"""Examines the state directory and the clock by which its files are dated."""

import os
import shutil
import stat
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final

from mesh import limits
from mesh.cli.doctor.finding import Finding, fail, ok, warn
from mesh.driver.clock import MachineClocks
from mesh.errors import ConfigError, MeshError
from mesh.store.files import create_private
from mesh.store.home import Home

FREE_BYTES_MIN: Final = 64 * limits.MIB
FREE_BYTES_LOW: Final = 1024 * limits.MIB
AHEAD_S_MAX: Final = 300.0
_ENTRIES_MAX: Final = 4096
_SHOWN_MAX: Final = 20
_PLAUSIBLE_FROM: Final = datetime(2026, 1, 1, tzinfo=UTC)
_ELSEWHERE: Final = "Set IPC_HOME to a directory of your own on a local disk."


def examine_home(path: Path, mesh: str) -> tuple[list[Finding], Home | None]:
    """Open the state directory as a node does; None if no node can."""
    is_new = not path.exists()
    try:
        home = Home.open(path, mesh=mesh)
        _try_writing(home.run)
    except ConfigError as exc:
        return [fail("state", str(exc), _ELSEWHERE)], None
    except (OSError, MeshError) as exc:
        text = str(exc) if isinstance(exc, MeshError) else f"{path} cannot be written to: {exc}."
        return [fail("state", text, f"Free space and make it writable for you. {_ELSEWHERE}")], None
    found = [
        warn("state", report, "Nothing more to do here; find out what had changed it.")
        for report in home.reports
    ]
    found += [_space(path, is_new=is_new), *_damaged(home.mail), *_loose_keys(home.mail)]
    return found, home


def check_mode(home: Home, mode: str, *, is_open_allowed: bool) -> list[Finding]:
    """Find out whether a start in open mode would be refused."""
    if mode == "secret" or not home.was_secret:
        return []
    text = f"{home.path} has been used with a secret, but now there is none."
    if is_open_allowed:
        return [warn("secret", text, "Give the secret back, unless open mode is meant.")]
    return [fail("secret", text, "Give the secret back; if open mode is meant, set IPC_OPEN=1.")]


def _try_writing(run: Path) -> None:
    """Write a few blocks, as free space is no proof: quotas and read-only disks refuse, too."""
    probe = run / f"doctor.{os.getpid()}.tmp"
    probe.unlink(missing_ok=True)
    try:
        create_private(probe, bytes(16 * limits.KIB))
    finally:
        probe.unlink(missing_ok=True)


def _space(path: Path, *, is_new: bool) -> Finding:
    free = shutil.disk_usage(path).free
    facts = f"{path} is ours alone, writable{', new' if is_new else ''}"
    text = f"{facts}; {free / limits.MIB / 1024:.1f} GiB free."
    if free < FREE_BYTES_MIN:
        text = f"{facts}, but only {free / limits.MIB:.0f} MiB are free."
        return fail("state", text, "Free some space: mail that cannot be stored is not accepted.")
    if free < FREE_BYTES_LOW:
        return warn("state", text, "Free some space before mail is refused for lack of it.")
    return ok("state", text)


def _damaged(mail: Path) -> list[Finding]:
    """Name the databases that were kept aside."""
    kept = sorted(
        path
        for path in islice(mail.glob("*/mailbox.db.damaged-*"), _ENTRIES_MAX)
        if path.name.endswith("Z")
    )
    found = []
    for path in kept[:_SHOWN_MAX]:
        text = f"The mailbox {path.parent.name} was damaged once; its old database is {path}."
        mend = f"Read {path.name}.txt beside it for what was lost, then remove both; test the disk."
        found.append(warn("mailboxes", text, mend))
    if len(kept) > _SHOWN_MAX:
        text = f"{len(kept)} damaged databases are kept under {mail}."
        found.append(warn("mailboxes", text, "Test the disk and the memory of this machine."))
    count = sum(1 for _ in islice(mail.glob("*/mailbox.db"), _ENTRIES_MAX))
    return found or [ok("mailboxes", f"{count} on this host, none kept aside as damaged.")]


def _loose_keys(mail: Path) -> list[Finding]:
    if sys.platform == "win32":
        return []
    return [
        warn("mailboxes", f"{path} can be read by others.", f"Run `chmod 600 {path}`.")
        for path in islice(mail.glob("*/key"), _ENTRIES_MAX)
        if stat.S_IMODE(path.lstat().st_mode) & 0o077
    ]


def examine_clock(home: Path) -> list[Finding]:
    """Compare the wall clock with what was written before.

    How it compares with other machines is seen by those who get mail from there.
    """
    now = time.time()
    shown = datetime.fromtimestamp(now, UTC)
    mend = "Set this machine's clock, and let it be set by the network (NTP)."
    if shown < _PLAUSIBLE_FROM:
        return [warn("clock", f"The clock says {shown:%Y-%m-%d}, which cannot be.", mend)]
    ahead_s = _newest(home) - now
    if ahead_s > AHEAD_S_MAX:
        text = f"Files of the state directory are dated {ahead_s / 60:.0f} minutes in the future."
        return [warn("clock", text, mend)]
    boot = "known" if MachineClocks().boot_id else "not told by this system"
    text = f"{shown:%Y-%m-%d %H:%M:%S} UTC; boot id {boot}."
    return [ok("clock", text)]


def _newest(home: Path) -> float:
    times = [0.0]
    for path in islice(_dated(home), _ENTRIES_MAX):
        try:
            times.append(path.lstat().st_mtime)
        except OSError:
            continue
    return max(times)


def _dated(home: Path) -> Iterable[Path]:
    for pattern in ("*", "run/*.json", "mail/*/mailbox.db"):
        yield from home.glob(pattern)
