"""Data and long texts through the installed commands: every bit of them, whatever their shape."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from mesh import limits
from tests.bridge.test_bridge_stdio import environment, launched  # noqa: F401 - a fixture

pytestmark = pytest.mark.anyio

DATA = (
    '{"": {"": [[], {}, null, true]}, "big": 123456789012345678901234567890,'
    ' "negative": -18446744073709551617,'
    ' "zero": -0.0, "tiny": 5e-324, "huge": 1.7976931348623157e308, "sum": 0.30000000000000004,'
    ' "one": 1.0, "text": "\\ud83d\\ude00 \\n\\t"}'
)
DEPTH = limits.data_depth_max - 1
DEEP = '{"v": ' + "[" * DEPTH + "]" * DEPTH + "}"


async def command(environment: dict[str, str], *words: str) -> str:  # noqa: F811
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mesh.cli.main", *words),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


@pytest.mark.parametrize("text", [DATA, DEEP, "{}"], ids=["odd", "deep", "empty"])
async def test_data_is_the_same_through_mcp_and_the_command_line(text, environment):  # noqa: F811
    expected = repr(json.loads(text))
    async with launched(environment) as alice, launched(environment) as bob:
        for process, name in ((alice, "alice"), (bob, "bob")):
            await process.begin()
            await process.call("register", instance_id=name)
        sent = await alice.call("send", to_id="bob", content="by tool", data=json.loads(text))
        assert sent["status"] == "ok", sent
        await command(environment, "send", "--as", "carol", "bob", "by command", "--data", text)
        found: list[dict] = []
        while len(found) < 2:
            found += (await bob.call("check", wait_s=5))["messages"]
        assert {m["content"] for m in found} == {"by tool", "by command"}
        assert [repr(m["data"]) for m in found] == [expected] * 2
    shown = await command(environment, "--json", "check", "--as", "bob", "--history")
    assert [repr(json.loads(line)["data"]) for line in shown.splitlines()] == [expected] * 2


async def test_long_text_is_shown_in_part_and_kept_whole(environment):  # noqa: F811
    content = "grüße \U0001f600 " * 70_000
    content = content.encode()[: limits.content_bytes_max].decode(errors="ignore")
    async with launched(environment) as alice, launched(environment) as bob:
        for process, name in ((alice, "alice"), (bob, "bob")):
            await process.begin()
            await process.call("register", instance_id=name)
        assert (await alice.call("send", to_id="bob", content=content))["status"] == "ok"
        (message,) = (await bob.call("check", wait_s=5))["messages"]
    assert message["truncated"] is True
    assert content.startswith(message["content"].rstrip("…"))
    assert len(message["content"].encode()) <= limits.shown_content_bytes_max + 64
    path = Path(message["path"])
    assert path.read_bytes() == content.encode()
    assert path.stat().st_mode & 0o777 == 0o600
