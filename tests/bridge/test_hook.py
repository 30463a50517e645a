"""What hooks tell: counts and senders, once, and nothing that others wrote."""

import asyncio
import json
from typing import Any

import pytest

from tests.bridge.bridges import Bridge, Pair, Start
from tests.bridge.inboxes import FakeInbox

pytestmark = pytest.mark.anyio


async def hook(bridge: Bridge, event: str = "PostToolBatch", **values: Any) -> str:
    """Return what a hook puts before the model; checks the form."""
    result = await bridge.client.call_tool("inbox_hook", {"event": event, **values})
    assert not result.is_error
    assert result.structured_content is None
    (block,) = result.content
    value = json.loads(block.text)
    if not value:
        return ""
    output = value.pop("hookSpecificOutput")
    assert value == {}
    assert output["hookEventName"] == event
    return str(output["additionalContext"])


@pytest.mark.parametrize("event", ["UserPromptSubmit", "PostToolBatch", "Stop"])
async def test_unread_mail_is_told_of_once(pair: Pair, event: str) -> None:
    async with pair() as (alice, bob):
        assert await hook(bob, event) == ""
        for text in ("secret one", "secret two"):
            await alice.call("send", to_id="bob", content=text)
        assert await hook(bob, event) == (
            "2 unread messages on the claude-ipc mesh (new: alice 2). "
            "The claude-ipc tool check reads them."
        )
        assert await hook(bob, event) == ""
        await alice.call("send", to_id="bob", content="secret three")
        assert "3 unread messages on the claude-ipc mesh (new: alice)" in await hook(bob, event)
        assert len((await bob.call("check"))["messages"]) == 3
        assert await hook(bob, event) == ""


async def test_a_hook_never_fails(start: Start) -> None:
    async with start() as bridge:
        for values in ({}, {"event": 5}, {"event": "Other", "more": [1]}):
            result = await bridge.client.call_tool("inbox_hook", values)
            assert (result.is_error, result.content[0].text) == (False, "{}")
        assert await hook(bridge) == ""


async def test_a_session_that_was_stopped_already_may_stop(pair: Pair) -> None:
    async with pair() as (alice, bob):
        await alice.call("send", to_id="bob", content="x")
        assert await hook(bob, "Stop", stop_hook_active="true", session_id="s") == ""
        assert await hook(bob, "Stop", stop_hook_active=True) == ""
        assert "1 unread message " in await hook(bob, "Stop", stop_hook_active="false")


async def test_others_see_that_hooks_tell_of_mail(pair: Pair) -> None:
    async with pair() as (alice, bob):
        await hook(bob)
        wakes = ""
        while wakes != "hook":
            found = (await alice.call("list_instances"))["instances"]
            wakes = next(entry["wake"] for entry in found if entry["id"] == "bob")
            await asyncio.sleep(0.02)


async def test_what_is_pushed_is_not_told_by_hooks_too(start: Start, inbox: FakeInbox) -> None:
    async with start("alice") as alice, start("bob", line=inbox.line) as bob:
        await alice.call("send", to_id="bob", content="x" * 3000)
        assert "begins" in await inbox.text(1)
        assert await hook(bob) == ""


async def test_mail_that_a_check_waits_for_is_not_told_by_hooks(pair: Pair) -> None:
    async with pair() as (alice, bob), asyncio.TaskGroup() as group:
        waiting = group.create_task(bob.call("check", wait_s=0.5, search="other"))
        await asyncio.sleep(0.1)
        await alice.call("send", to_id="bob", content="x")
        assert await hook(bob) == ""
        assert (await waiting)["messages"] == []
        assert "1 unread message " in await hook(bob)
