"""An entry and calls that were written for the predecessor work as they are.

The story is told by the installed module (in the default suite), and by the command of the entry,
`uvx --from PATH claude-ipc-mcp`, which builds the package and needs its registry (`-m long`).
"""

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters

pytestmark = pytest.mark.anyio
root = Path(__file__).parents[2]

MCP_JSON = """
{
  "mcpServers": {
    "claude-ipc": {
      "type": "stdio",
      "command": "uvx",
      "args": ["--from", "./claude-ipc-mcp", "claude-ipc-mcp"],
      "description": "Inter-process communication between sessions"
    }
  }
}
"""


def entry(work: Path, environment: dict[str, str], *, command: list[str]) -> StdioServerParameters:
    """Return how a client starts the entry of `.mcp.json`, or `command` in its place."""
    found = json.loads(MCP_JSON)["mcpServers"]["claude-ipc"]
    words = command or [found["command"], *found["args"]]
    return StdioServerParameters(command=words[0], args=words[1:], env=environment, cwd=work)


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    (block,) = result.content
    value: dict[str, Any] = json.loads(block.text)
    return value


@pytest.mark.parametrize(
    "command",
    [
        pytest.param([sys.executable, "-m", "mcp_bridge"], id="module"),
        pytest.param([], id="uvx", marks=pytest.mark.long),
    ],
)
async def test_the_story_of_the_old_guide(home: Path, tmp_path: Path, command: list[str]) -> None:
    if not command and shutil.which("uvx") is None:
        pytest.skip("there is no uvx")
    (tmp_path / "claude-ipc-mcp").symlink_to(root)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "sprite-bug-analysis.md").write_text("# Sprites\n")
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("IPC_", "CLAUDE", "VIRTUAL_ENV"))
    }
    environment |= {"IPC_HOME": str(home), "IPC_MESH": f"t{uuid4().hex[:12]}", "IPC_MDNS": "off"}
    environment |= {"IPC_PORT": "0"} | ({"PYTHONPATH": str(root)} if command else {})
    server = entry(tmp_path, environment, command=command)
    async with asyncio.timeout(300), Client(server) as snes, Client(server) as other:
        await _tell(snes, other)


async def _tell(snes: Client, other: Client) -> None:
    registered = await call(snes, "register", instance_id="snes-dev")
    assert (registered["status"], registered["message"]) == ("ok", "Registered snes-dev")
    assert registered["session_token"]
    assert (await call(other, "register", instance_id="other"))["status"] == "ok"

    me = {"from_id": "snes-dev"}
    sent = await call(snes, "send", **me, to_id="snes-dev", content="Test message from AI")
    assert (sent["status"], sent["message"]) == ("ok", "Message sent")
    data = {"status": "operational", "tests_passed": 3}
    await call(snes, "send", **me, to_id="snes-dev", content="Status update", data=data)
    found = (await call(snes, "check", instance_id="snes-dev"))["messages"]
    assert [(m["from"], m["content"], m["data"]) for m in found] == [
        ("snes-dev", "Test message from AI", None),
        ("snes-dev", "Status update", data),
    ]
    assert all(message["time"] for message in found)
    assert (await call(snes, "check", instance_id="snes-dev"))["message"] == "No new messages"

    while len((await call(snes, "list_instances"))["instances"]) < 2:
        await asyncio.sleep(0.05)
    listed = (await call(snes, "list_instances"))["instances"]
    assert {entry["id"] for entry in listed} == {"snes-dev", "other"}
    assert all(entry["registered_at"] and entry["last_seen"] for entry in listed)

    phase = await call(snes, "broadcast", **me, content="Phase 1 testing complete", data={"n": 1})
    assert phase["message"] == "Broadcast to 1 instances"
    await call(snes, "send", **me, to_id="not-yet", content="x")
    file = {"filepath": "./docs/sprite-bug-analysis.md", "description": "analysis"}
    shared = await call(snes, "share_file", **me, to_id="other", **file)
    assert (shared["status"], shared["name"]) == ("ok", "sprite-bug-analysis.md")
    ran = await call(snes, "share_command", **me, to_id="other", command="pwd", description="where")
    assert (ran["status"], ran["returncode"]) == ("ok", 0)
    kinds = []
    while len(kinds) < 3:
        page = await call(other, "check", instance_id="other", wait_s=10)
        kinds += [message["data"].get("type", "plain") for message in page["messages"]]
    assert kinds == ["plain", "file", "command"]

    scheduled = await call(snes, "auto_process", instance_id="snes-dev", every_minutes=5)
    assert scheduled["every_minutes"] == 5
    renamed = await call(snes, "rename", old_id="snes-dev", new_id="snes-production")
    assert renamed["message"] == "Renamed snes-dev to snes-production"
    again = await call(snes, "rename", old_id="snes-production", new_id="third")
    assert again["message"].startswith("Rate limit: can rename again in ")
    old = {"from_id": "snes-dev", "to_id": "other", "content": "x"}
    assert (await call(snes, "send", **old))["code"] == "not_you"
