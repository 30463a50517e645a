"""The hooks of Claude Code that tell a session of unread mail, and their place in its settings.

They call a tool of the running server, which answers with counts and senders, never with bodies.
A person's own hooks stay; ours of an earlier installation are replaced.
"""

from typing import Any, Final

from mesh.cli.install import json_text
from mesh.errors import ConfigError

SECTION: Final = "hooks"
TOOL: Final = "inbox_hook"
_EVENTS: Final = ("UserPromptSubmit", "PostToolBatch", "Stop")
_ASKED: Final = {"UserPromptSubmit": ("prompt",), "Stop": ("stop_hook_active",)}
_TIMEOUT_S: Final = 5

Groups = list[dict[str, Any]]


def hooks(server: str) -> dict[str, Groups]:
    """Return by event the hooks that ask `server`."""
    return {event: [{"hooks": [_hook(server, event)]}] for event in _EVENTS}


def _hook(server: str, event: str) -> dict[str, Any]:
    asked = {"event": event}
    asked |= {name: f"${{{name}}}" for name in _ASKED.get(event, ())}
    return {
        "type": "mcp_tool",
        "server": server,
        "tool": TOOL,
        "input": asked,
        "timeout": _TIMEOUT_S,
    }


def put_hooks(text: str, server: str) -> str:
    """Return settings that have the hooks, unchanged if they have them already.

    Raises:
        ConfigError: the settings are malformed.
    """
    section = json_text.read_object(text).get(SECTION, {})
    if not isinstance(section, dict):
        raise ConfigError(f"{SECTION} is not an object")
    for event, ours in hooks(server).items():
        known = section.get(event, [])
        if not isinstance(known, list):
            raise ConfigError(f"{SECTION}.{event} is not a list")
        wanted = known if ours[0] in known else [*_without(known, server), *ours]
        if wanted != known:
            text = json_text.put_member(text, SECTION, event, wanted)
    return text


def _without(groups: list[Any], server: str) -> list[Any]:
    """Return the groups without our hooks; a group that held nothing else goes."""
    kept: list[Any] = []
    for group in groups:
        found = group.get("hooks") if isinstance(group, dict) else None
        if not isinstance(found, list):
            kept.append(group)
            continue
        others = [hook for hook in found if not _is_ours(hook, server)]
        if others or not found:
            kept.append({**group, "hooks": others})
    return kept


def _is_ours(hook: Any, server: str) -> bool:  # noqa: ANN401 - any JSON value
    return isinstance(hook, dict) and (hook.get("server"), hook.get("tool")) == (server, TOOL)
