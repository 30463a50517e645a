"""The nodes of this host, through the directory `run/`: no network, and exact.

A node publishes `<node>.json` beside `<node>.lock`, which it holds for as long as it lives; the
system frees a lock at the death of its holder, however it died. A newcomer therefore knows at once
who is alive, and says hello to them; a scan every two seconds is the backstop. Whoever finds the
files of a dead node removes them. A file is published only after its lock is held, so an unheld
lock beside a file always means death.
"""

import asyncio
import contextlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from mesh import limits
from mesh.core.events import LocalNodes, Sighted, Source
from mesh.model import CurveKey, NodeId
from mesh.net.interface import News

FRESH_S: Final = 3.0
ORPHAN_AGE_S: Final = 60.0
_FILE: Final = re.compile(r"([0-9a-f]{32})\.json\Z")
_REMAINS: Final = re.compile(r"([0-9a-f]{32})\.(?:lock|sock|ctl|new)\Z")
_HEX_KEY: Final = re.compile(r"[0-9a-f]{64}\Z")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LocalNode:
    """What a node of this host published about itself.

    `control` is where it takes requests of this user's commands, and `token` what they must show.
    """

    node: NodeId
    curve: CurveKey
    endpoints: tuple[str, ...]
    mesh: str
    pid: int
    names: tuple[str, ...]
    started_ms: int
    control: str = ""
    token: str = field(default="", repr=False)


def lock_path(run: Path, node: NodeId) -> Path:
    """Return the lock file that `node` holds while it lives."""
    return run / f"{node.hex()}.lock"


def live_nodes(run: Path, is_held: Callable[[Path], bool]) -> list[LocalNode]:
    """Return all live nodes of any mesh that published in `run`, oldest first.

    Raises:
        OSError: the directory or a file in it cannot be read.
    """
    found = [
        entry
        for path in _published(run)
        if is_held(path.with_suffix(".lock")) and (entry := _read(path)) is not None
    ]
    return sorted(found, key=lambda entry: entry.started_ms)


class Registry:
    """Publishes this node and watches the others.

    The caller takes the lock at `lock_path` before entering and frees it after leaving. `is_held`
    must tell whether any process, this one too, holds the lock at a path.
    """

    def __init__(
        self,
        run: Path,
        *,
        own: LocalNode,
        is_held: Callable[[Path], bool],
        interval_s: float = limits.rescan_interval_s,
    ) -> None:
        self._run = run
        self._own = own
        self._is_held = is_held
        self._interval_s = interval_s
        self._known: dict[NodeId, LocalNode] = {}
        self._stamps: dict[NodeId, tuple[int, int]] = {}
        self._dir_stamp = 0
        self._is_first = True
        self._trouble: OSError | None = None
        self._is_blind = False
        self._elders: frozenset[NodeId] = frozenset()
        self._wake = asyncio.Event()
        self._wake.set()

    async def watch(self) -> list[News]:
        """Wait for newcomers or deaths among the nodes of our mesh on this host."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval_s):
                    await self._wake.wait()
            is_asked = self._wake.is_set()
            self._wake.clear()
            news = self._scan(is_asked=is_asked)
            if news:
                return news

    def rescan(self) -> None:
        """Look again now."""
        self._wake.set()

    def update(
        self, names: Sequence[str] | None = None, endpoints: Sequence[str] | None = None
    ) -> None:
        """Publish which mailboxes this node holds now, or where it listens now."""
        own = self._own
        self._own = replace(
            own,
            endpoints=own.endpoints if endpoints is None else tuple(endpoints),
            names=own.names if names is None else tuple(names),
        )
        self._publish()

    async def __aenter__(self) -> Self:
        """Publish, and look who had done so before: whoever comes later will find us here."""
        self._publish()
        with contextlib.suppress(OSError):
            self._elders = frozenset(map(_node_of, _published(self._run)))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _remove(self._path(self._own.node))

    def _path(self, node: NodeId) -> Path:
        return self._run / f"{node.hex()}.json"

    def _publish(self) -> None:
        own = self._own
        text = json.dumps(
            {
                "curve": own.curve.hex(),
                "endpoints": own.endpoints,
                "mesh": own.mesh,
                "pid": own.pid,
                "names": own.names,
                "started_ms": own.started_ms,
                "control": own.control,
                "token": own.token,
            }
        )
        try:
            _replace(self._path(own.node), text.encode())
        except OSError as error:
            _log.warning("Cannot publish this node in %s: %s.", self._run, error)

    def _scan(self, *, is_asked: bool) -> list[News]:
        """Read what changed, probe the locks of all, and tell the difference.

        That the directory has changed is news by itself: a node may have come and gone meanwhile.
        """
        before = set(self._known)
        newcomers: list[News] = []
        self._trouble = None
        stamp = self._stamp()
        # A file system counts time in steps: a directory that has just changed may do so again.
        is_fresh = time.time() - stamp / 1e9 < FRESH_S
        if is_asked or is_fresh or stamp != self._dir_stamp:
            newcomers = self._read_changed()
        for node in tuple(self._stamps):
            if not self._is_alive(node):
                del self._stamps[node]
                self._known.pop(node, None)
        is_changed = stamp != self._dir_stamp
        self._dir_stamp = 0 if self._trouble else stamp
        self._warn()
        newcomers = [s for s in newcomers if isinstance(s, Sighted) and s.node in self._known]
        if before != set(self._known) or is_changed or self._is_first:
            if self._is_first:
                _remove_orphans(self._run, self._own.node, self._is_held)
            self._is_first = False
            return [*newcomers, LocalNodes((self._own.node, *self._known))]
        return newcomers

    def _stamp(self) -> int:
        """Return when the directory has changed last."""
        try:
            return self._run.stat().st_mtime_ns
        except OSError as error:
            self._trouble = error
            return 0

    def _warn(self) -> None:
        """Say once that the directory cannot be read, and again when it could be in between."""
        if self._trouble is not None:
            level = logging.DEBUG if self._is_blind else logging.WARNING
            _log.log(level, "Cannot read %s: %s.", self._run, self._trouble)
        self._is_blind = self._trouble is not None

    def _read_changed(self) -> list[News]:
        """Read the files that are new or rewritten; newcomers and movers are sighted."""
        sighted: list[News] = []
        try:
            paths = _published(self._run)
        except OSError as error:
            self._trouble = error
            return []
        for path in paths:
            node = _node_of(path)
            if node == self._own.node:
                continue
            try:
                status = path.stat()
            except OSError:
                continue
            stamp = (status.st_mtime_ns, status.st_ino)
            if self._stamps.get(node) == stamp:
                continue
            try:
                entry = _read(path)
            except OSError as error:
                self._trouble = error
                continue
            self._stamps[node] = stamp
            if entry is None or entry.mesh != self._own.mesh:
                self._known.pop(node, None)
                continue
            known = self._known.get(node)
            self._known[node] = entry
            if known is None or known.endpoints != entry.endpoints:
                sighted.append(self._sighting(entry))
        return sighted

    def _sighting(self, entry: LocalNode) -> Sighted:
        is_older = entry.node in self._elders
        return Sighted(Source.REGISTRY, entry.curve, entry.endpoints, entry.node, is_older)

    def _is_alive(self, node: NodeId) -> bool:
        """Probe a lock; the files of the dead are removed, the lock last.

        Who cannot be asked after (no descriptor is left) counts as alive.
        """
        lock = lock_path(self._run, node)
        try:
            if self._is_held(lock):
                return self._path(node).exists()
        except OSError as error:
            self._trouble = error
            return True
        for suffix in (".json", ".sock", ".ctl", ".lock"):
            _remove(lock.with_suffix(suffix))
        return False


def _node_of(path: Path) -> NodeId:
    return NodeId(bytes.fromhex(path.stem))


def _published(run: Path) -> list[Path]:
    try:
        return sorted(path for path in run.iterdir() if _FILE.match(path.name))
    except FileNotFoundError:
        return []


def _remove_orphans(run: Path, own: NodeId, is_held: Callable[[Path], bool]) -> None:
    """Remove what nodes left that ended without, or before, publishing themselves."""
    with contextlib.suppress(OSError):
        for path in tuple(run.iterdir()):
            match = _REMAINS.match(path.name)
            if match is None or match[1] == own.hex() or path.with_suffix(".json").exists():
                continue
            is_old = time.time() - path.stat().st_mtime > ORPHAN_AGE_S
            if is_old and not is_held(path.with_suffix(".lock")):
                _remove(path)


def _read(path: Path) -> LocalNode | None:
    """Return what a file says, or None if it is no proper file of a node.

    Raises:
        OSError: it cannot be read now.
    """
    try:
        with path.open("rb") as file:
            fields = json.loads(file.read(limits.run_file_bytes_max))
        if not isinstance(fields, dict) or not _HEX_KEY.match(fields["curve"]):
            return None
        endpoints = tuple(map(str, fields["endpoints"]))[: limits.endpoints_per_node_max]
        return LocalNode(
            node=_node_of(path),
            curve=CurveKey(bytes.fromhex(fields["curve"])),
            endpoints=tuple(e for e in endpoints if len(e) <= limits.endpoint_chars_max),
            mesh=str(fields["mesh"]),
            pid=int(fields["pid"]),
            names=tuple(map(str, fields["names"])),
            started_ms=int(fields["started_ms"]),
            control=str(fields["control"]),
            token=str(fields["token"]),
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, readable by its owner only."""
    draft = path.with_suffix(".new")
    with contextlib.suppress(FileNotFoundError):
        draft.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(draft, flags, 0o600)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)
    draft.replace(path)


def _remove(path: Path) -> None:
    """Remove a file; one that is gone, or open on Windows, is left to the next scan."""
    with contextlib.suppress(OSError):
        path.unlink()
