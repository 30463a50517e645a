"""Where the main socket of a transport listens, and what of that others are told."""

import logging
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import zmq

from mesh import limits
from mesh.errors import TransportError
from mesh.net.addresses import (
    LOOPBACK,
    WILDCARDS,
    local_addresses,
    published_hosts,
    tcp_endpoint,
)
from mesh.net.listener import Listener

IPC_PATH_CHARS_MAX: Final = 100
IPC_FILES_MIN: Final = 1024
FILES_SPARE: Final = 512
_log = logging.getLogger(__name__)


class Places:
    """A TCP port of each of `hosts`, and a local socket at `ipc_path` where that is safe.

    `files_max` is how many files this process may open: libzmq ends the process when it has none
    left to accept a local peer with (for TCP it waits), so with few there is no local socket.
    """

    def __init__(self, hosts: Sequence[str], ipc_path: Path | None, *, files_max: int) -> None:
        self._hosts = tuple(hosts)
        self._ipc_path = ipc_path
        self._files_max = files_max
        self._ipc_endpoint = ""
        self.bound: list[tuple[str, int]] = []

    def bind(self, main: Listener) -> None:
        """Listen on a free port of each address, the same one where possible, and on ipc.

        Raises:
            TransportError: nothing can be bound at an address.
        """
        port: int | None = None
        for host in self._hosts:
            try:
                port = main.bind(host, port)
            except TransportError:
                if port is None:
                    raise
                port = main.bind(host, None)
            self.bound.append((host, port))
        path = self._ipc_path
        if self._files_max < IPC_FILES_MIN:
            _log.info("No local socket: only %s files may be open.", self._files_max)
        elif path is not None and zmq.has("ipc") and _is_private_place(path):
            self._ipc_endpoint = f"ipc://{path}"
            main.socket.bind(self._ipc_endpoint)
            path.chmod(0o600)

    def find(self) -> tuple[str, ...]:
        """Return the endpoints, ipc first.

        Raises:
            OSError: the system does not tell its addresses, for want of a descriptor.
        """
        found = [self._ipc_endpoint] if self._ipc_endpoint else []
        for host, port in self.bound:
            hosts = published_hosts(local_addresses()) if host in WILDCARDS else (host,)
            usable = [h for h in hosts if host != "0.0.0.0" or ":" not in h]  # noqa: S104
            found += [tcp_endpoint(h, port) for h in usable]
            if host in WILDCARDS and not self._ipc_endpoint:
                found.append(tcp_endpoint(LOOPBACK, port))
        return tuple(dict.fromkeys(found))[: limits.endpoints_per_node_max]

    def is_too_full(self, descriptor: int) -> bool:
        """Whether the local socket should be given up, now that `descriptor` was handed out.

        Descriptors are given out from the lowest free number on, so a high one tells.
        """
        return bool(self._ipc_endpoint) and descriptor > self._files_max - FILES_SPARE

    def leave_ipc(self, main: Listener) -> None:
        """Listen on TCP alone from now on."""
        main.socket.unbind(self._ipc_endpoint)
        self._ipc_endpoint = ""

    def close(self) -> None:
        """Remove the file of the local socket."""
        if self._ipc_endpoint and self._ipc_path is not None:
            self._ipc_path.unlink(missing_ok=True)


def _is_private_place(path: Path) -> bool:
    """Tell whether a socket may lie at `path`: short enough, in a directory only we can enter.

    libzmq would take over whatever lies there and anybody could connect.
    """
    if len(str(path).encode()) > IPC_PATH_CHARS_MAX:
        _log.warning("No local socket: its path is longer than %s bytes.", IPC_PATH_CHARS_MAX)
        return False
    place = path.parent.lstat()
    is_private = stat.S_ISDIR(place.st_mode) and not place.st_mode & 0o077
    if not is_private:
        _log.warning("No local socket: others can enter %s.", path.parent)
    return is_private
