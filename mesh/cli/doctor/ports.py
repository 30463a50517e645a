"""Examines whether nodes can listen, and who has the well-known port of this host."""

import errno
import os
import re
import socket
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from mesh.cli.doctor.finding import Finding, fail, ok, warn
from mesh.config import Config
from mesh.net.addresses import tcp_endpoint

_PROC: Final = Path("/proc")
_LISTENING: Final = "0A"
_SOCKET: Final = re.compile(r"socket:\[(\d+)\]\Z")


def examine_ports(config: Config, pids_of_host: Collection[int]) -> list[Finding]:
    """Bind where a node would; `pids_of_host` are the live nodes of this state directory."""
    host = config.listen_host
    try:
        _try_to_bind(host, 0)
    except OSError as exc:
        mend = "Set IPC_BIND to an address of this machine, or unset it."
        return [fail("ports", f"No node can listen on {host}: {exc.strerror}.", mend)]
    if not config.port:
        return [ok("ports", "Nodes take free ports only (IPC_PORT=0).", _without_door())]
    try:
        _try_to_bind(host, config.port)
    except OSError as exc:
        return [_unavailable(config, exc, pids_of_host)]
    if pids_of_host:
        text = f"TCP port {config.port} is free; a node of this host takes it within seconds."
    else:
        text = f"TCP port {config.port} is free; the first node of this host takes it."
    return [ok("ports", text)]


def _without_door() -> str:
    return "Set IPC_PORT if others should reach this host as a static peer."


def _unavailable(config: Config, exc: OSError, pids_of_host: Collection[int]) -> Finding:
    port = config.port
    if exc.errno in (errno.EACCES, errno.EPERM):
        text = f"TCP port {port} may not be listened on: {exc.strerror}."
        return warn("ports", text, "Set IPC_PORT to a number above 1023.")
    if exc.errno != errno.EADDRINUSE:
        endpoint = tcp_endpoint(config.listen_host, port)
        text = f"{endpoint} cannot be listened on: {exc.strerror}."
        return warn("ports", text, "Set IPC_BIND and IPC_PORT to what this machine has.")
    holders = tuple(_holders(port))
    ours = [pid for pid in holders if pid in pids_of_host]
    if ours:
        return ok("ports", f"TCP port {port} is held by process {ours[0]}, a node of this host.")
    if not holders and pids_of_host:
        text = f"TCP port {port} is in use, probably by a node of this host."
        return ok("ports", text)
    who = ", ".join(f"process {pid}{_command(pid)}" for pid in holders)
    text = f"TCP port {port} is held by {who or 'somebody else'}, no node of this state directory."
    mend = (
        "Set another IPC_PORT and have static peers name it, or end that process; all else works."
    )
    return warn("ports", text, mend)


def _try_to_bind(host: str, port: int) -> None:
    """Bind for an instant, as ZeroMQ does: all interfaces means IPv6 and IPv4 where it can.

    Raises:
        OSError: it cannot be bound.
    """
    if host == "*":
        try:
            _bind(socket.AF_INET6, "::", port)
        except OSError as exc:
            if exc.errno in (errno.EADDRINUSE, errno.EACCES):
                raise
        else:
            return
        host = "0.0.0.0"  # noqa: S104 - bound for an instant, and never listened on
    _bind(socket.AF_INET6 if ":" in host else socket.AF_INET, host, port)


def _bind(family: int, host: str, port: int) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as link:
        if os.name == "posix":
            link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if host == "::":
            link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        address = socket.getaddrinfo(
            host, port, family, socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )
        link.bind(address[0][4])


def _holders(port: int) -> Iterator[int]:
    """Return the processes that listen on a TCP port, as far as Linux lets us see."""
    wanted = {inode for inode in _listening_sockets(port) if inode != "0"}
    if not wanted:
        return
    for process in _PROC.iterdir():
        if process.name.isdecimal() and wanted & _sockets_of(process):
            yield int(process.name)


def _listening_sockets(port: int) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        try:
            lines = (_PROC / "net" / table).read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _LISTENING and _port(fields[1]) == port:
                yield fields[9]


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def _sockets_of(process: Path) -> set[str]:
    found = set()
    try:
        for link in (process / "fd").iterdir():
            with suppress(FileNotFoundError):  # Just closed, as that of this very listing.
                if match := _SOCKET.match(str(link.readlink())):
                    found.add(match[1])
    except OSError:  # Another user's, or it has just ended.
        return set()
    return found


def _command(pid: int) -> str:
    try:
        return f" ({(_PROC / str(pid) / 'comm').read_text().strip()})"
    except (OSError, UnicodeDecodeError):
        return ""
