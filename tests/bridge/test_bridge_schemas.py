"""The surface of the contract, and what it costs the model to read."""

import json
import re

import pytest

from mcp_bridge.schemas import BY_NAME, INSTRUCTIONS, NOTICE, TOOLS
from tests.bridge.bridges import Start

CONTRACT = {
    "register": "instance_id summary?",
    "send": "from_id? to_id content data? reply_to? ttl_s? urgent? wait_reply_s?",
    "broadcast": "from_id? content data? ttl_s?",
    "check": "instance_id? sender? since? limit? wait_s? peek? history? search?",
    "list_instances": "",
    "share_file": "from_id? to_id filepath description?",
    "share_command": "from_id? to_id command description?",
    "rename": "old_id? new_id",
    "auto_process": "instance_id? every_minutes?",
    "status": "id?",
    "inbox_hook": "event? prompt? stop_hook_active?",
}


def test_tools_and_arguments_are_those_of_the_contract() -> None:
    found = {
        tool.name: " ".join(a.name + ("" if a.is_required else "?") for a in tool.arguments)
        for tool in TOOLS
    }
    assert found == CONTRACT


@pytest.mark.anyio
async def test_the_tool_list_stays_under_its_token_budget(start: Start) -> None:
    async with start() as bridge:
        listed = await bridge.client.list_tools()
    # As it goes over the wire, marks for clients included, and laid out wastefully.
    text = json.dumps(listed.model_dump(by_alias=True, exclude_none=True, mode="json"))
    # Counted for real by the tests of clients: 3.6 bytes a token in cl100k, and never under 3.2.
    assert len(text.encode()) / 3.2 < 1650
    shown = json.dumps(
        [
            {"name": tool.name, "description": tool.description, "inputSchema": tool.input_schema}
            for tool in listed.tools
        ]
    )
    assert len(shown.encode()) / 3.2 < 1500
    # Words, numbers and runs of marks: the pieces that its tokens never cross.
    assert len(re.findall(r" ?[A-Za-z]+|\d{1,3}| ?[^\sA-Za-z0-9]+", shown)) < 1300


def test_the_instructions_are_whole_where_clients_cut_them() -> None:
    assert len(INSTRUCTIONS.encode()) < 2048
    assert NOTICE in INSTRUCTIONS
    assert all(len(tool.description.encode()) < 2048 for tool in TOOLS)


def test_only_sharing_a_command_asks_the_user_each_time() -> None:
    marks = {tool.name: tool.meta() for tool in TOOLS if tool.meta()}
    assert marks.pop("share_command") == {"anthropic/requiresUserInteraction": True}
    assert set(marks) == {"register", "send", "check"}
    assert all(mark == {"anthropic/alwaysLoad": True} for mark in marks.values())


def test_required_arguments_are_marked() -> None:
    assert BY_NAME["send"].input_schema()["required"] == ["to_id", "content"]
    assert BY_NAME["list_instances"].input_schema() == {"type": "object", "properties": {}}
