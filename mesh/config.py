"""Settings of one node: validated once, frozen, passed down explicitly.

`Config(...)` takes settings as values and reads nothing from the environment; `Config.from_env` is
the one function that does, by the variables of the contract. Every refusal is one sentence that
names the variable and never shows a secret. A setting that is wrong stops the start: guessing what
was meant could put a node on the wrong mesh, or an open one on the LAN.
"""

import ipaddress
import os
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Self

from mesh import limits
from mesh.errors import ConfigError, UsageError
from mesh.model import check_name, has_name_form
from mesh.secret import check_secret, read_secret
from mesh.settings import (
    PORT_MAX,
    absolute,
    check_bind,
    parse_peer,
    parse_port,
    parse_size,
    parse_switch,
    split,
)

PORT: Final = 47600
"""Where the first node of a host listens, and where a static peer without a port is looked for."""

Mode = Literal["open", "secret"]

PUSH_MODES: Final = ("auto", "inbox", "channel", "off")
COMMAND_POLICIES: Final = ("off", "allowlist", "any")


def _default_home() -> Path:
    try:
        return Path.home() / ".claude-ipc"
    except RuntimeError as exc:
        raise ConfigError("IPC_HOME must be set, as this user has no home directory.") from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Settings of one node; derive variants with `dataclasses.replace`.

    Raises:
        WeakSecretError: the secret is empty, shorter than 8 characters or a placeholder.
        ConfigError: any other setting is wrong.
    """

    home: Path = field(default_factory=_default_home)
    """State directory of this host; each directory is a host of its own, with its own mailboxes."""

    secret: str | None = field(default=None, repr=False)
    """The team secret; None is open mode. Costs 85 ms and 64 MiB once, at start."""

    previous_secret: str | None = field(default=None, repr=False)
    """An older secret still accepted for 7 days from first sight; costs one more key derivation."""

    mesh: str = "default"
    """Name of the mesh, compared exactly; nodes of different meshes never meet."""

    instance_id: str | None = None
    """Register under this name at start; None waits to be told."""

    peers: tuple[str, ...] = ()
    """Static peers: `host`, `host:port`, `[v6%scope]:port`; each costs a dial with backoff."""

    port: int = PORT
    """TCP port of this host's first node; 0 always takes a free one, unknown to static peers."""

    bind: str | None = None
    """Address to listen on, `*` for all; None is all in secret mode and loopback in open mode."""

    is_open_allowed: bool = False
    """Whether open mode is meant: beyond loopback, or in a home once used with a secret."""

    is_strict: bool = False
    """Whether mail is exchanged only with keys that are pinned, and pins come only by trust."""

    mdns: bool = True
    """Whether to find and be found by multicast DNS; costs one socket per interface."""

    push: str = "auto"
    """How mail wakes the AI session: `auto`, `inbox`, `channel`, `off`."""

    share_command: str = "allowlist"
    """Which commands may be run to share their output: `off`, `allowlist`, `any`."""

    share_roots: tuple[Path, ...] | None = None
    """Directories whose files may be shared; None is the working directory and its git root."""

    share_allow: tuple[Path, ...] = ()
    """Files that may be shared although their names or contents say that they hold credentials."""

    file_bytes_max: int = limits.streamed_file_bytes_max
    """Largest file that is shared or received, in bytes; costs that much of both disks."""

    files_bytes_per_author_max: int = limits.files_bytes_per_author_max
    """How much the files received from one author may take of the disk, in bytes."""

    tends: bool = True
    """Whether to hold the mailboxes of this host whose agents are away."""

    advertises: bool = True
    """Whether to be seen by others before they are dialled, by mDNS and at the well-known port;
    False for commands that end at once."""

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "home", absolute(self.home, "IPC_HOME"))
        if self.secret is not None:
            put(self, "secret", check_secret(self.secret, "IPC_SHARED_SECRET"))
        if self.previous_secret is not None:
            previous = check_secret(self.previous_secret, "IPC_SHARED_SECRET_PREVIOUS")
            put(self, "previous_secret", None if previous == self.secret else previous)
            if self.secret is None:
                raise ConfigError("IPC_SHARED_SECRET_PREVIOUS is set without IPC_SHARED_SECRET.")
        _check_names(mesh=self.mesh, instance_id=self.instance_id)
        put(self, "peers", _check_peers(self.peers))
        if not 0 <= self.port <= PORT_MAX:
            raise ConfigError(f"IPC_PORT must be a number from 0 to {PORT_MAX}, not {self.port}.")
        if self.bind is not None:
            put(self, "bind", check_bind(self.bind))
        if self.file_bytes_max < limits.file_bytes_max:
            raise ConfigError(f"IPC_FILE_BYTES_MAX must be at least {limits.file_bytes_max}.")
        _check_choice(self.push, "IPC_PUSH", PUSH_MODES)
        _check_choice(self.share_command, "IPC_SHARE_COMMAND", COMMAND_POLICIES)
        if self.share_roots is not None:
            put(self, "share_roots", _check_paths(self.share_roots, "IPC_SHARE_ROOTS"))
        put(self, "share_allow", _check_paths(self.share_allow, "IPC_SHARE_ALLOW"))
        if self.mode == "open" and not self.is_loopback_only and not self.is_open_allowed:
            raise ConfigError(
                f"IPC_BIND={self.bind} would let anyone in the network join, as there is no "
                "secret; set IPC_SHARED_SECRET, or IPC_OPEN=1 if that is meant."
            )

    @property
    def mode(self) -> Mode:
        """`secret` when members must hold the team secret, else `open`."""
        return "open" if self.secret is None else "secret"

    @property
    def listen_host(self) -> str:
        """Where to listen: `*` or an address, IPv6 without brackets."""
        if self.bind is not None:
            return self.bind
        return "127.0.0.1" if self.mode == "open" else "*"

    @property
    def is_loopback_only(self) -> bool:
        """Whether other machines cannot reach what we listen on."""
        host = self.listen_host
        return host != "*" and ipaddress.ip_address(host).is_loopback

    @property
    def peer_addresses(self) -> tuple[tuple[str, int], ...]:
        """The static peers as (host, port); IPv6 without brackets."""
        return tuple(parse_peer(text, PORT) for text in self.peers)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed but unwise, one sentence each; show them at start."""
        found = []
        if self.secret is not None and len(self.secret) < limits.secret_chars_strong:
            found.append(
                f"The shared secret has fewer than {limits.secret_chars_strong} characters; "
                "make a strong one with `mesh secret new`."
            )
        if self.mode == "open" and not self.is_loopback_only:
            found.append(
                f"Open mode on {self.bind}: anyone who reaches this machine can join, read what "
                "is sent to all and write to every agent."
            )
        return tuple(found)

    @classmethod
    def lan(cls, *, secret: str, home: Path | None = None, peers: tuple[str, ...] = ()) -> Self:
        """Return settings for a team on a LAN: a secret, all interfaces, mDNS."""
        return cls(secret=secret, peers=peers, home=home or _default_home())

    @classmethod
    def local(cls, *, home: Path | None = None, secret: str | None = None) -> Self:
        """Return settings for one machine: loopback, no multicast."""
        return cls(home=home or _default_home(), secret=secret, bind="127.0.0.1", mdns=False)

    @classmethod
    def from_env(
        cls, environ: MutableMapping[str, str] = os.environ, *, wipe: bool = False
    ) -> Self:
        """Read the variables of the contract, and the secret's file; empty means unset.

        Only an empty `IPC_SHARED_SECRET` is refused, as an expansion that failed must not open the
        mesh. With `wipe` the secrets are taken out of `environ`, so that child processes do not
        inherit them; do that once and keep the result, as a second reading would find none.

        Raises:
            WeakSecretError: the secret is empty, shorter than 8 characters or a placeholder.
            ConfigError: any other variable, or the secret's file, is wrong.
        """
        read = {name: text.strip() for name, text in environ.items() if name.startswith("IPC_")}
        home = absolute(Path(read.get("IPC_HOME") or _default_home()), "IPC_HOME")
        roots, allow = read.get("IPC_SHARE_ROOTS"), read.get("IPC_SHARE_ALLOW", "")
        config = cls(
            home=home,
            secret=read_secret(read, home),
            previous_secret=read.get("IPC_SHARED_SECRET_PREVIOUS") or None,
            mesh=read.get("IPC_MESH") or "default",
            instance_id=read.get("IPC_INSTANCE_ID") or None,
            peers=split(read.get("IPC_PEERS", ""), ","),
            port=parse_port(read.get("IPC_PORT") or str(PORT), "IPC_PORT"),
            bind=read.get("IPC_BIND") or None,
            is_open_allowed=parse_switch(read.get("IPC_OPEN") or "0", "IPC_OPEN"),
            is_strict=parse_switch(read.get("IPC_STRICT") or "off", "IPC_STRICT"),
            mdns=parse_switch(read.get("IPC_MDNS") or "on", "IPC_MDNS"),
            push=(read.get("IPC_PUSH") or "auto").lower(),
            share_command=(read.get("IPC_SHARE_COMMAND") or "allowlist").lower(),
            file_bytes_max=parse_size(read, "IPC_FILE_BYTES_MAX", limits.streamed_file_bytes_max),
            files_bytes_per_author_max=parse_size(
                read, "IPC_FILES_QUOTA", limits.files_bytes_per_author_max
            ),
            share_roots=tuple(map(Path, split(roots, os.pathsep))) if roots else None,
            share_allow=tuple(map(Path, split(allow, os.pathsep))),
        )
        if wipe:
            environ.pop("IPC_SHARED_SECRET", None)
            environ.pop("IPC_SHARED_SECRET_PREVIOUS", None)
        return config


def _check_peers(peers: tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(peers, str):
        raise ConfigError("IPC_PEERS as `peers` must be a tuple of texts, not one text.")
    if len(peers) > limits.static_peers_max:
        raise ConfigError(f"IPC_PEERS has more than {limits.static_peers_max} peers.")
    for peer in peers:
        parse_peer(peer, PORT)
    return tuple(dict.fromkeys(peers))


def _check_paths(paths: tuple[Path, ...], variable: str) -> tuple[Path, ...]:
    if len(paths) > limits.share_roots_max:
        raise ConfigError(f"{variable} has more than {limits.share_roots_max} paths.")
    return tuple(absolute(path, variable) for path in paths)


def _check_names(*, mesh: str, instance_id: str | None) -> None:
    if not has_name_form(mesh):
        raise ConfigError(
            f"IPC_MESH must be 1-{limits.name_chars_max} alphanumeric characters, hyphens, or "
            f"underscores, not {mesh[:80]!r}."
        )
    if instance_id is not None:
        try:
            check_name(instance_id)
        except UsageError as exc:
            raise ConfigError(f"IPC_INSTANCE_ID is {instance_id[:80]!r}. {exc}") from exc


def _check_choice(value: str, variable: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{variable} must be one of {', '.join(choices)}, not {value[:80]!r}.")
