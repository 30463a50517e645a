"""Arguments are all checked before anything is done."""

import pytest

from tests.bridge.bridges import Start

pytestmark = pytest.mark.anyio


async def test_arguments_are_checked_before_anything_is_done(start: Start) -> None:
    async with start("alice") as bridge:
        for tool, values, words in [
            ("send", {"content": "x"}, "to_id"),
            ("send", {"to_id": "alice"}, "content"),
            ("send", {"to_id": "alice", "content": 5}, "content must be a string"),
            ("send", {"to_id": "alice", "content": "x", "data": [1]}, "data must be an object"),
            ("send", {"to_id": "alice", "content": "x", "urgent": "yes"}, "urgent"),
            ("send", {"to_id": "alice", "content": "x", "ttl_s": True}, "ttl_s must be a number"),
            ("send", {"to_id": "alice", "content": "x", "ttl_s": 0}, "ttl_s must be from 1 to"),
            ("send", {"to_id": "alice", "content": "x", "reply_to": "zz"}, "reply_to"),
            ("send", {"to_id": "alice", "content": "x", "nonsense": 1}, "nonsense"),
            ("send", {"to_id": "alice", "content": "é" * 524_289}, "content has 1048578 bytes"),
            ("send", {"to_id": "everyone", "content": "x"}, "broadcast"),
            ("send", {"to_id": "a" * 66, "content": "x"}, "to_id has 66 bytes"),
            ("send", {"to_id": "alice", "content": "\ud800"}, "content is not valid Unicode"),
            ("register", {"instance_id": "alice", "summary": "s" * 201}, "summary has 201"),
            ("send", {"to_id": "no good", "content": "x"}, "Invalid instance ID format"),
            ("check", {"limit": 0}, "limit must be from 1 to 1000"),
            ("check", {"limit": 1.5}, "limit must be a whole number"),
            ("check", {"since": "yesterday"}, "since must be a time"),
            ("check", {"since": "2026-01-31T09:30:00"}, "since must have a zone"),
            ("check", {"wait_s": -1}, "wait_s"),
            ("auto_process", {"every_minutes": 61}, "every_minutes must be from 0 to 60"),
            ("status", {"id": "12"}, "id must be"),
        ]:
            refused = await bridge.call(tool, **values)
            assert refused["code"] == "usage", (tool, values)
            assert words in refused["message"]
        assert (await bridge.call("status"))["outbox"] == {"queued": 0}
        assert (await bridge.call("status"))["inbox"]["unread"] == 0


async def test_null_means_left_out(start: Start) -> None:
    async with start("alice") as bridge:
        sent = await bridge.call("send", from_id=None, to_id="alice", content="x", data=None)
        assert sent["status"] == "ok"
        assert "content" in (await bridge.call("send", to_id="alice", content=None))["message"]
