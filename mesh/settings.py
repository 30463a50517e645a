"""How single settings are read: switches, sizes, ports, paths, addresses.

Everything wrong is a `ConfigError` of one sentence that names the variable it came from.
"""

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mesh.errors import ConfigError

PORT_MAX: Final = 65535
_SWITCH: Final = {"1": True, "on": True, "true": True, "0": False, "off": False, "false": False}
_HOST_LABEL: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\Z")
_NUMERIC_HOST: Final = re.compile(r"[0-9.]+\Z")


def parse_peer(text: str, default_port: int) -> tuple[str, int]:
    """Read `host`, `host:port`, `v6`, `[v6]` or `[v6%scope]:port` into (host, port).

    Raises:
        ConfigError: malformed, or an address nobody can be dialled at.
    """
    peer = text.strip().removeprefix("tcp://")
    bracketed = re.fullmatch(r"\[([^\[\]]+)\](?::(.*))?", peer)
    if bracketed:
        host, port = bracketed[1], bracketed[2]
        if ":" not in host:
            raise ConfigError(f"IPC_PEERS has {text!r}; brackets are for IPv6 addresses.")
    elif peer.count(":") > 1:
        host, port = peer, None
    else:
        host, mark, port_text = peer.partition(":")
        port = port_text if mark else None
    _check_peer_host(host, text)
    number = (
        default_port if port is None else parse_port(port, f"The port of {text!r} in IPC_PEERS")
    )
    if number == 0:
        raise ConfigError(f"IPC_PEERS has {text!r}; a peer cannot listen on port 0.")
    return host, number


def _check_peer_host(host: str, peer: str) -> None:
    if ":" in host or _NUMERIC_HOST.match(host):
        try:
            address = ipaddress.ip_address(host)
        except ValueError as exc:
            raise ConfigError(f"IPC_PEERS has {peer!r}, which is no valid address.") from exc
        if address.is_unspecified or address.is_multicast:
            raise ConfigError(f"IPC_PEERS has {peer!r}, an address that nobody can be dialled at.")
    elif len(host) > 253 or not all(map(_HOST_LABEL.match, host.removesuffix(".").split("."))):
        raise ConfigError(f"IPC_PEERS has {peer!r}, which is not of the form host or host:port.")


def check_bind(text: str) -> str:
    """Return an address to listen on, IPv6 without brackets, or `*`."""
    bare = text.strip().removeprefix("[").removesuffix("]")
    if bare == "*":
        return bare
    if bare.lower() == "localhost":
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(bare)
    except ValueError as exc:
        raise ConfigError(
            f"IPC_BIND must be an address of this machine, localhost or *, not {text[:80]!r}."
        ) from exc
    if address.is_multicast:
        raise ConfigError(f"IPC_BIND is {bare}, a multicast address, which cannot be listened on.")
    return bare


def parse_switch(text: str, variable: str) -> bool:
    """Read `on` or `off`."""
    if text.lower() not in _SWITCH:
        raise ConfigError(f"{variable} must be on or off, not {text[:80]!r}.")
    return _SWITCH[text.lower()]


def parse_size(read: Mapping[str, str], variable: str, default: int) -> int:
    """Read a number of bytes; `default` if the variable is unset or empty."""
    text = read.get(variable) or str(default)
    if not re.fullmatch(r"[0-9]{1,15}", text):
        raise ConfigError(f"{variable} must be a number of bytes, not {text[:80]!r}.")
    return int(text)


def parse_port(text: str, variable: str) -> int:
    """Read a TCP port, 0 included."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > PORT_MAX:
        raise ConfigError(f"{variable} must be a number from 0 to {PORT_MAX}, not {text[:80]!r}.")
    return int(text)


def split(text: str, separator: str) -> tuple[str, ...]:
    """Return the parts of a list, without white space and empty ones."""
    return tuple(part.strip() for part in text.split(separator) if part.strip())


def absolute(path: Path, variable: str) -> Path:
    """Return a path that does not depend on the working directory."""
    if "\0" in str(path):
        raise ConfigError(f"{variable} has a NUL character in a path.")
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError as exc:
        raise ConfigError(f"{variable} is {str(path)!r}, but that user has no home.") from exc
