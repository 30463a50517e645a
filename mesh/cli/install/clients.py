"""The clients: where each keeps its configuration, and what the server's entry looks like there.

No secret is ever written into a configuration. Servers inherit the environment of most clients;
Codex passes only what it is told to, and Gemini withholds what looks like a secret. The file
`$IPC_HOME/secret` reaches all of them.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from mesh.cli.install import json_text, toml_text
from mesh.errors import ConfigError, UsageError

COMMAND: Final = "claude-ipc-mcp"
WAIT_S: Final = 3600
"""How long a call may take where the client asks: long enough for a check that waits."""
START_S: Final = 60
"""The first start of `uvx` fetches what is needed."""

VARIABLES: Final = (
    *("IPC_SHARED_SECRET", "IPC_SHARED_SECRET_FILE", "IPC_SHARED_SECRET_PREVIOUS", "IPC_MESH"),
    *("IPC_HOME", "IPC_INSTANCE_ID", "IPC_PEERS", "IPC_PORT", "IPC_BIND", "IPC_MDNS", "IPC_OPEN"),
    *("IPC_PUSH", "IPC_SHARE_COMMAND", "IPC_SHARE_ROOTS", "IPC_SHARE_ALLOW"),
    *("IPC_FILE_BYTES_MAX", "IPC_FILES_QUOTA", "IPC_STRICT"),
)
_REMOTE_KEYS: Final = ("url", "serverUrl", "httpUrl")

Scope = Literal["user", "project"]
Entry = dict[str, Any]


def _nothing(_: Mapping[str, str]) -> Entry:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """One client. `section` holds the servers; `additions` are what this one wants in an entry.

    `has_type`: entries say that they are run by the client. `project_path` is below the project's
    directory, None if there is no such file. `hooks_path` gives the file of its hooks, where it has
    hooks that can ask the server. `advice` is for the person who installs.
    """

    name: str
    title: str
    section: str
    user_path: Callable[[Mapping[str, str]], Path]
    project_path: str | None
    additions: Callable[[Mapping[str, str]], Entry] = _nothing
    hooks_path: Callable[[Scope, Mapping[str, str]], Path] | None = None
    has_type: bool = False
    advice: tuple[str, ...] = ()

    @property
    def is_toml(self) -> bool:
        """Whether the configuration is TOML, else JSON."""
        return self.section == "mcp_servers"

    def path(self, scope: Scope, environ: Mapping[str, str]) -> Path:
        """Return the configuration file.

        Raises:
            UsageError: the client has none of that scope.
        """
        if scope == "user":
            return self.user_path(environ)
        if self.project_path is None:
            raise UsageError(f"{self.title} has no configuration per project; use --scope user.")
        return Path.cwd() / self.project_path

    def entry(self, source: str, environ: Mapping[str, str]) -> Entry:
        """Return the server's entry."""
        run = {"command": "uvx", "args": ["--from", source, COMMAND]}
        first = {"type": "stdio"} if self.has_type else {}
        return {**first, **run, **self.additions(environ)}

    def read(self, text: str, name: str) -> Entry | None:
        """Return the entry that a configuration has under that name.

        Raises:
            ConfigError: the configuration is malformed.
        """
        value = toml_text.read_table(text) if self.is_toml else json_text.read_object(text)
        section = value.get(self.section, {})
        found = section.get(name) if isinstance(section, dict) else None
        if found is not None and not isinstance(found, dict):
            raise ConfigError(f"{self.section}.{name} is no entry of a server")
        return found

    def put(self, text: str, name: str, entry: Entry) -> str:
        """Return the configuration with that entry.

        Raises:
            ConfigError: it is malformed, or cannot be edited.
        """
        if self.is_toml:
            return toml_text.put_table(text, self.section, name, entry)
        return json_text.put_member(text, self.section, name, entry)


def merge(known: Entry | None, new: Entry, *, name: str) -> Entry:
    """Return the new entry with what a person had added to the old one.

    Raises:
        ConfigError: the old one is a server on the network.
    """
    if known is None:
        return new
    if any(key in known for key in _REMOTE_KEYS):
        raise ConfigError(f"the server {name} there is another one, on the network; use --name")
    merged = {**known, "command": new["command"], "args": new["args"]}
    merged |= {key: value for key, value in new.items() if key not in known}
    if isinstance(known.get("env"), dict):
        merged["env"] = {**new.get("env", {}), **known["env"]}
    if isinstance(known.get("env_vars"), list):
        merged["env_vars"] = list(dict.fromkeys([*known["env_vars"], *new.get("env_vars", [])]))
    return merged


def without_secrets(entry: Entry) -> Entry:
    """Return an entry fit for being printed: a secret that a person wrote into it is left out."""
    env = entry.get("env")
    if not isinstance(env, dict):
        return entry
    shown = {name: "..." if _is_secret(name, value) else value for name, value in env.items()}
    return {**entry, "env": shown}


def holds_secret(entry: Entry) -> bool:
    """Whether a person wrote a secret into an entry."""
    return without_secrets(entry) != entry


def _is_secret(name: str, value: Any) -> bool:  # noqa: ANN401 - any JSON value
    has_name = "SECRET" in name.upper() and not name.upper().endswith("_FILE")
    return has_name and not str(value).startswith("$")


def _home(*parts: str) -> Callable[[Mapping[str, str]], Path]:
    return lambda _: Path.home().joinpath(*parts)


def _claude_path(environ: Mapping[str, str]) -> Path:
    directory = environ.get("CLAUDE_CONFIG_DIR")
    return (Path(directory).expanduser() if directory else Path.home()) / ".claude.json"


def _claude_settings(scope: Scope, environ: Mapping[str, str]) -> Path:
    if scope == "project":
        return Path.cwd() / ".claude" / "settings.json"
    directory = environ.get("CLAUDE_CONFIG_DIR")
    return (
        Path(directory).expanduser() if directory else Path.home() / ".claude"
    ) / "settings.json"


def _codex_path(environ: Mapping[str, str]) -> Path:
    directory = environ.get("CODEX_HOME")
    return (Path(directory).expanduser() if directory else Path.home() / ".codex") / "config.toml"


def _vscode_path(environ: Mapping[str, str]) -> Path:
    if sys.platform == "win32":
        base = Path(environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "Code" / "User" / "mcp.json"


def _codex_extra(_: Mapping[str, str]) -> Entry:
    times = {"startup_timeout_sec": START_S, "tool_timeout_sec": WAIT_S}
    # Not required, Codex may begin its first turn before the server is up, without its tools.
    return {"env_vars": list(VARIABLES), "required": True, **times}


def _gemini_extra(environ: Mapping[str, str]) -> Entry:
    # Gemini makes an unset variable an empty one, which we refuse as a secret: name the set ones.
    withheld = {v: f"${v}" for v in VARIABLES if "SECRET" in v and environ.get(v)}
    return {**({"env": withheld} if withheld else {}), "timeout": 1000 * WAIT_S}


_NEW_SESSION: Final = "Start a new session of the client; it asks before it uses a new server."

CLIENTS: Final = (
    Client(
        name="claude",
        title="Claude Code",
        section="mcpServers",
        user_path=_claude_path,
        project_path=".mcp.json",
        hooks_path=_claude_settings,
        has_type=True,
        advice=("Sessions that run now see the server after a restart.",),
    ),
    Client(
        name="codex",
        title="Codex",
        section="mcp_servers",
        user_path=_codex_path,
        project_path=".codex/config.toml",
        additions=_codex_extra,
        advice=("Configurations of projects count only where Codex trusts the project.",),
    ),
    Client(
        name="gemini",
        title="Gemini CLI",
        section="mcpServers",
        user_path=_home(".gemini", "settings.json"),
        project_path=".gemini/settings.json",
        additions=_gemini_extra,
        advice=("Gemini starts servers only in folders that it trusts.",),
    ),
    Client(
        name="cursor",
        title="Cursor",
        section="mcpServers",
        user_path=_home(".cursor", "mcp.json"),
        project_path=".cursor/mcp.json",
        advice=(_NEW_SESSION,),
    ),
    Client(
        name="vscode",
        title="VS Code",
        section="servers",
        user_path=_vscode_path,
        project_path=".vscode/mcp.json",
        has_type=True,
        advice=(_NEW_SESSION,),
    ),
    Client(
        name="windsurf",
        title="Windsurf",
        section="mcpServers",
        user_path=_home(".codeium", "windsurf", "mcp_config.json"),
        project_path=None,
        advice=(_NEW_SESSION,),
    ),
)


def secret_advice(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Say how the secret gets to the server, if that needs anything."""
    home = Path(environ.get("IPC_HOME") or Path.home() / ".claude-ipc").expanduser()
    if not environ.get("IPC_SHARED_SECRET") or (home / "secret").exists():
        return ()
    return (
        f"IPC_SHARED_SECRET reaches the server only if the client has it; {home / 'secret'} "
        "(0600) always does.",
    )
