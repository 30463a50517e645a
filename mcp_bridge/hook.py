"""The tool for hooks of Claude Code: says at a prompt or between steps that mail is waiting.

What a hook returns is put before the model with more weight than mail deserves, so it holds counts
and the names of senders only. Each message is told of once. A hook never fails and never delays
anything: without news it returns an empty object.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import mesh
from mcp_bridge import wording
from mcp_bridge.config import Push
from mcp_bridge.keeper import Keeper
from mcp_bridge.render import JsonObject

name: Final = "inbox_hook"
_NOT_FILLED_IN: Final = "${prompt}"
_EVENTS: Final = frozenset({"UserPromptSubmit", "PostToolBatch", "Stop"})


async def answer(keeper: Keeper, values: Mapping[str, Any]) -> JsonObject:
    """Return the answer to one hook, as Claude Code reads it."""
    event = values.get("event")
    if event not in _EVENTS:
        return {}
    keeper.present(is_hooked=True)
    keeper.news.acted()
    if event == "UserPromptSubmit" and _is_of_person(values.get("prompt")):
        keeper.news.turn.begun_by_person()
    is_repeated = str(values.get("stop_hook_active", "")).lower() == "true"
    # What is pushed needs no hook besides.
    if is_repeated or keeper.push is not Push.OFF or not keeper.unread:
        return {}
    try:
        text = await _news(keeper)
    except mesh.MeshError:
        return {}
    if not text:
        return {}
    return {"hookSpecificOutput": {"hookEventName": event, "additionalContext": text}}


def _is_of_person(prompt: object) -> bool:
    """Whether a person wrote the prompt; a push comes as one, too. Unknown without its text."""
    if not isinstance(prompt, str) or prompt in ("", _NOT_FILLED_IN):
        return False
    return wording.MARK not in prompt


async def _news(keeper: Keeper) -> str:
    agent = keeper.agent_or_none
    if agent is None:
        return ""
    async with keeper.news.showing:
        found: list[mesh.Message] = []
        while messages := await keeper.news.untold(agent):
            keeper.news.tell(messages)
            found += messages
    return wording.unread_text(agent.unread, found) if found else ""
