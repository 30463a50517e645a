"""What the tool list and an empty answer cost a model, counted in cl100k for real."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from mcp_bridge.render import dump
from mcp_bridge.schemas import INSTRUCTIONS, TOOLS

CLIENTS = Path(os.environ.get("MESH_CLIENTS", "/nonexistent"))
PROGRAM = """
const { getEncoding } = require("js-tiktoken");
const text = require("fs").readFileSync(0, "utf8");
console.log(getEncoding("cl100k_base").encode(text).length);
"""

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not (CLIENTS / "node_modules/js-tiktoken").exists() or shutil.which("node") is None,
        reason="MESH_CLIENTS has no counter of tokens, or there is no Node: see install.py",
    ),
]


def tokens(text: str) -> int:
    counted = subprocess.run(
        ["node", "-e", PROGRAM], cwd=CLIENTS, input=text, capture_output=True, text=True, check=True
    )
    return int(counted.stdout)


def test_the_tool_list_costs_less_than_1500_tokens() -> None:
    listed = [
        {"name": t.name, "description": t.description, "inputSchema": t.input_schema()}
        for t in TOOLS
    ]
    text = json.dumps(listed)
    assert tokens(text) < 1500
    # What the default suite goes by: it has no table of tokens.
    assert len(text.encode()) / tokens(text) > 3.2


def test_an_empty_check_costs_less_than_60_tokens() -> None:
    empty = {"status": "ok", "message": "No new messages", "messages": [], "remaining": 0}
    assert tokens(dump(empty)) < 60


def test_the_instructions_cost_less_than_500_tokens() -> None:
    assert tokens(INSTRUCTIONS) < 500
