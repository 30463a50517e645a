"""One AI session as the tests of the bridge see it."""

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from mcp.client import Client

from mcp_bridge.keeper import Keeper


class Bridge:
    """One AI session as a test sees it."""

    def __init__(self, client: Client, keeper: Keeper) -> None:
        self.client = client
        self.keeper = keeper

    async def call(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        """Call a tool and return its one JSON object; checks what holds for every result."""
        result = await self.client.call_tool(tool, arguments)
        assert result.structured_content is None
        (block,) = result.content
        assert block.type == "text"
        value = json.loads(block.text)
        assert isinstance(value, dict)
        assert value["status"] in ("ok", "error")
        assert isinstance(value["message"], str)
        assert result.is_error == (value["status"] == "error") == ("code" in value)
        return value

    async def code(self, tool: str, /, **arguments: Any) -> str:
        """Call a tool that must fail and return the code."""
        return str((await self.call(tool, **arguments))["code"])


Start = Callable[..., AbstractAsyncContextManager[Bridge]]
Pair = Callable[[], AbstractAsyncContextManager[tuple[Bridge, Bridge]]]
