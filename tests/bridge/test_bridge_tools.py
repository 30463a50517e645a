"""The tools, over a real node and the SDK's own client."""

import asyncio
import json
from pathlib import Path

import pytest

from mcp_bridge.schemas import BY_NAME, NOTICE
from tests.bridge.bridges import Pair, Start

pytestmark = pytest.mark.anyio
needs_name = sorted(set(BY_NAME) - {"register", "list_instances", "status", "inbox_hook"})


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_register_send_and_check_work_in_both_eras(start: Start, mode: str) -> None:
    async with start(mode=mode) as bridge:
        tools = (await bridge.client.list_tools()).tools
        assert [tool.name for tool in tools] == list(BY_NAME)
        registered = await bridge.call("register", instance_id="Snes-dev", summary="sprites")
        assert registered["message"] == "Registered Snes-dev"
        assert registered["instance_id"] == "Snes-dev"
        assert len(registered["session_token"]) >= 32
        assert len(registered["fingerprint"]) == 32
        assert (registered["mode"], registered["queued"], registered["peers"]) == ("open", 0, 0)
        sent = await bridge.call("send", from_id="snes-DEV", to_id="snes-dev", content="Hello me")
        assert sent["message"] == "Message sent"
        assert sent["state"] in ("delivered", "shown")
        assert sent["to"] == "Snes-dev"
        assert sent["unread"] == 1
        checked = await bridge.call("check", instance_id="snes-dev")
        assert checked["message"] == f"1 new message. {NOTICE}"
        (message,) = checked["messages"]
        assert message["from"] == message["to"] == "Snes-dev"
        assert (message["content"], message["data"], message["id"]) == (
            "Hello me",
            None,
            sent["id"],
        )
        assert message["time"].endswith("+00:00")
        assert "unread" not in checked


async def test_the_client_and_the_summary_are_seen_by_others(start: Start) -> None:
    async with start() as bridge:
        await bridge.call("register", instance_id="alice", summary="first")
        await bridge.call("register", instance_id="ALICE", summary="second")
        (entry,) = (await bridge.call("list_instances"))["instances"]
        while entry["summary"] != "second":
            await asyncio.sleep(0.01)
            (entry,) = (await bridge.call("list_instances"))["instances"]
        assert (entry["client"], entry["wake"], entry["you"]) == ("mcp", "poll", True)
        assert entry["host"]


@pytest.mark.parametrize("tool", needs_name)
async def test_a_tool_before_registration_says_how_to_register(start: Start, tool: str) -> None:
    async with start() as bridge:
        refused = await bridge.call(tool, to_id="bob", content="x")
        assert refused["code"] == "not_registered"
        assert "register" in refused["message"]
        assert "instance_id" in refused["message"]


async def test_roster_and_status_work_before_registration(start: Start) -> None:
    async with start() as bridge:
        assert (await bridge.call("list_instances"))["instances"] == []
        status = await bridge.call("status")
        assert status["instance_id"] is None
        for key in ("mode", "mesh", "outbox", "inbox", "peers", "push"):
            assert key in status
        assert await bridge.code("status", id="0" * 32) == "not_registered"


async def test_registering_again_is_fine_and_another_name_is_not(start: Start) -> None:
    async with start("alice") as bridge:
        first = await bridge.call("register", instance_id="alice")
        again = await bridge.call("register", instance_id="Alice")
        assert again["session_token"] == first["session_token"]
        other = await bridge.call("register", instance_id="bob")
        assert other["code"] == "already_registered"
        assert "rename" in other["message"]


async def test_registering_tells_how_much_mail_waited(start: Start) -> None:
    async with start("alice") as alice:
        for number in range(3):
            await alice.call("send", to_id="alice", content=str(number))
    async with start() as alice:
        registered = await alice.call("register", instance_id="alice")
        assert registered["message"] == "Registered alice with 3 queued messages"
        assert registered["queued"] == registered["unread"] == 3


async def test_register_counts_mail_that_waited_for_the_name_with_its_senders(start):
    async with start("alice") as alice:
        for number in range(3):
            sent = await alice.call("send", to_id="later", content=str(number))
            assert (sent["state"], sent["why"]) == ("queued", "unknown_name")
        async with start() as later:
            registered = await later.call("register", instance_id="later")
            assert registered["message"] == "Registered later with 3 queued messages"
            assert (registered["queued"], registered["peers"]) == (3, 1)


async def test_bad_names_are_refused_with_the_known_text(start: Start) -> None:
    async with start() as bridge:
        refused = await bridge.call("register", instance_id="no good")
        assert refused["message"] == (
            "Invalid instance ID format. Use 1-32 alphanumeric characters, hyphens, or underscores."
        )


async def test_the_configured_name_is_taken_once_the_client_calls(start: Start) -> None:
    async with start(instance_id="carol", mode="legacy") as bridge:
        assert (await bridge.call("status"))["instance_id"] == "carol"


async def test_a_look_at_the_tools_alone_opens_nothing(start: Start, home: Path) -> None:
    async with start(instance_id="carol") as bridge:
        await bridge.client.list_tools()
    assert not home.exists()


async def test_whoever_stays_after_listing_the_tools_is_registered(start: Start) -> None:
    async with start(instance_id="carol") as bridge:
        await bridge.client.list_tools()
        while bridge.keeper.agent_or_none is None:
            await asyncio.sleep(0.02)
        assert bridge.keeper.agent_or_none.name == "carol"


async def test_the_reason_for_a_failed_start_name_is_told(start: Start) -> None:
    async with start("alice"), start(instance_id="alice") as second:
        refused = await second.call("check")
        assert refused["code"] == "not_registered"
        assert "alice" in refused["message"]
        assert (await second.call("register", instance_id="bob"))["status"] == "ok"


async def test_own_name_arguments_must_be_own(start: Start) -> None:
    async with start("alice") as bridge:
        for tool, values in {
            "send": {"from_id": "bob", "to_id": "x", "content": "y"},
            "broadcast": {"from_id": "bob", "content": "y"},
            "check": {"instance_id": "bob"},
            "share_file": {"from_id": "bob", "to_id": "x", "filepath": "y"},
            "share_command": {"from_id": "bob", "to_id": "x", "command": "pwd"},
            "rename": {"old_id": "bob", "new_id": "y"},
            "auto_process": {"instance_id": "bob"},
        }.items():
            assert await bridge.code(tool, **values) == "not_you"


async def test_an_unknown_tool_is_an_error_that_names_the_tools(start: Start) -> None:
    async with start() as bridge:
        refused = await bridge.call("mesh_send")
        assert refused["code"] == "unknown_tool"
        assert "list_instances" in refused["message"]


async def test_mail_to_a_name_nobody_has_is_queued(start: Start) -> None:
    async with start("alice") as bridge:
        sent = await bridge.call("send", to_id="Nobody", content="x")
        assert sent["message"] == "Message queued for Nobody (not yet registered)"
        assert (sent["state"], sent["why"]) == ("queued", "unknown_name")
        status = await bridge.call("status", id=sent["id"])
        assert status["recipients"][0]["state"] == "queued"


async def test_mail_for_somebody_away_is_queued_or_tended(pair: Pair, start: Start) -> None:
    async with pair() as (alice, bob):
        await bob.keeper.leave()
        sent = await alice.call("send", to_id="bob", content="x")
        assert sent["state"] in ("queued", "delivered")
        assert sent["message"].startswith(("Message sent", "Message queued for bob ("))


async def test_ask_and_reply_in_one_call(pair: Pair) -> None:
    async with pair() as (alice, bob), asyncio.TaskGroup() as group:

        async def answer() -> None:
            checked = await bob.call("check", wait_s=10)
            (message,) = checked["messages"]
            await bob.call("send", to_id="alice", content="other")
            await bob.call("send", to_id="alice", content="yes", reply_to=message["id"])

        group.create_task(answer())
        asked = await alice.call("send", to_id="bob", content="ready?", wait_reply_s=10)
        assert asked["reply"]["content"] == "yes"
        assert asked["reply"]["reply_to"] == asked["id"]
        assert asked["unread"] == 1
        (other,) = (await alice.call("check"))["messages"]
        assert other["content"] == "other"


async def test_no_reply_in_time_is_no_error(pair: Pair) -> None:
    async with pair() as (alice, _):
        asked = await alice.call("send", to_id="bob", content="ready?", wait_reply_s=0.05)
        assert "no reply within" in asked["message"]
        assert "reply" not in asked


async def test_broadcast_reaches_all_others(pair: Pair) -> None:
    async with pair() as (alice, bob):
        sent = await alice.call("broadcast", content="phase 1 done", data={"n": 1})
        assert sent["message"] == "Broadcast to 1 instances"
        assert sent["recipients"] == [{"to": "bob", "state": "delivered"}]
        assert (sent["delivered"], sent["queued"]) == (1, 0)
        (message,) = (await bob.call("check", sender="alice"))["messages"]
        assert (message["kind"], message["data"]) == ("broadcast", {"n": 1})


async def test_peek_history_search_since_and_limit(start: Start) -> None:
    async with start("alice") as bridge:
        for text in ("build green", "build red", "lunch"):
            await bridge.call("send", to_id="alice", content=text)
        peeked = await bridge.call("check", peek=True, limit=2)
        assert [m["content"] for m in peeked["messages"]] == ["build green", "build red"]
        assert (peeked["remaining"], peeked["unread"]) == (1, 3)
        found = await bridge.call("check", search="RED build")
        assert [m["content"] for m in found["messages"]] == ["build red"]
        time = found["messages"][0]["time"]
        assert (await bridge.call("check", sender="bob"))["messages"] == []
        assert (await bridge.call("check", since="2999-01-01T00:00:00Z"))["messages"] == []
        rest = await bridge.call("check", since="2020-01-01T00:00:00+01:00")
        assert [m["content"] for m in rest["messages"]] == ["build green", "lunch"]
        everything = await bridge.call("check", history=True)
        assert len(everything["messages"]) == 3
        assert everything["message"] == f"3 messages. {NOTICE}"
        assert len((await bridge.call("check", history=True, since=time))["messages"]) <= 2


async def test_an_empty_check_is_short(start: Start) -> None:
    async with start("alice") as bridge:
        result = await bridge.client.call_tool("check", {})
        assert result.content[0].text == (
            '{"status":"ok","message":"No new messages","messages":[],"remaining":0}'
        )


async def test_a_long_message_is_cut_and_whole_in_a_file(start: Start) -> None:
    text = "ä" * 400_000
    async with start("alice") as bridge:
        await bridge.call("send", to_id="alice", content=text)
        (message,) = (await bridge.call("check"))["messages"]
        assert message["truncated"] is True
        assert message["content"] == text[:4096]
        assert Path(message["path"]).read_text() == text


async def test_large_data_is_cut_and_whole_in_a_file(start: Start) -> None:
    data = {"log": "x" * 100_000, "n": 1}
    async with start("alice") as bridge:
        await bridge.call("send", to_id="alice", content="see data", data=data)
        (message,) = (await bridge.call("check"))["messages"]
        assert message["truncated"] is True
        assert (message["content"], message["data"]["n"]) == ("see data", 1)
        assert len(message["data"]["log"]) < 8192
        assert data["log"] in Path(message["path"]).read_text()


async def test_what_one_call_has_no_room_for_stays_unread(start: Start) -> None:
    async with start("alice") as bridge:
        for number in range(9):
            await bridge.call("send", to_id="alice", content=f"{number}" * 7000)
        seen: list[str] = []
        remaining = 9
        while remaining:
            result = await bridge.client.call_tool("check", {})
            assert len(result.content[0].text.encode()) <= 32 * 1024
            page = json.loads(result.content[0].text)
            seen += [message["content"][0] for message in page["messages"]]
            remaining = page["remaining"]
            assert remaining == page.get("unread", 0) == 9 - len(seen)
        assert seen == [str(number) for number in range(9)]


async def test_mail_that_arrives_after_a_cancelled_wait_is_unread(pair: Pair) -> None:
    async with pair() as (alice, bob):
        waiting = asyncio.timeout(0.1)
        with pytest.raises(TimeoutError):
            async with waiting:
                await bob.call("check", wait_s=30)
        await alice.call("send", to_id="bob", content="late")
        (message,) = (await bob.call("check", wait_s=5))["messages"]
        assert message["content"] == "late"


async def test_a_waiting_call_reports_progress(start: Start, monkeypatch) -> None:
    monkeypatch.setattr("mcp_bridge.mail.progress_interval_s", 0.05)
    seen: list[tuple[float, str | None]] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        seen.append((done, message))

    async with start("alice") as bridge:
        await bridge.client.call_tool("check", {"wait_s": 0.2}, progress_callback=progress)
    assert len(seen) >= 2
    assert seen[0][1] == "waiting for mail"


async def test_hidden_characters_are_taken_out_and_counted(start: Start) -> None:
    async with start("alice") as bridge:
        await bridge.call("send", to_id="alice", content="a\x1b[31mb", data={"k": "c\u202ed"})
        (message,) = (await bridge.call("check"))["messages"]
        assert (message["content"], message["data"]) == ("ab", {"k": "cd"})
        assert message["sanitised"] == 6


async def test_rename_forwards_and_is_limited(pair: Pair) -> None:
    async with pair() as (alice, bob):
        renamed = await alice.call("rename", old_id="alice", new_id="alice-2")
        assert renamed["message"] == "Renamed alice to alice-2"
        assert renamed["instance_id"] == "alice-2"
        assert "T" in renamed["forwarding_until"]
        again = await alice.call("rename", new_id="alice-3")
        assert again["code"] == "rate_limited"
        assert again["message"].startswith("Rate limit: can rename again in ")
        async with asyncio.timeout(5):
            while not (await bob.call("check"))["messages"]:
                await asyncio.sleep(0.02)
        sent = await bob.call("send", to_id="alice", content="x")
        assert sent["message"] == "Message forwarded from alice to alice-2"
        assert sent["to"] == "alice-2"


async def test_auto_process_checks_once_and_keeps_the_schedule(start: Start) -> None:
    async with start("alice") as bridge:
        await bridge.call("send", to_id="alice", content="x")
        started = await bridge.call("auto_process", every_minutes=5)
        assert len(started["messages"]) == 1
        assert started["every_minutes"] == 5
        assert started["next_at"].endswith("+00:00")
        kept = await bridge.call("auto_process")
        assert (kept["every_minutes"], kept["messages"]) == (5, [])
        stopped = await bridge.call("auto_process", every_minutes=0)
        assert (stopped["every_minutes"], stopped["next_at"]) == (0, None)


async def test_broadcasts_are_limited_and_it_is_said_until_when(start: Start) -> None:
    async with start("alice") as bridge:
        for _ in range(5):
            assert (await bridge.call("broadcast", content="x"))["status"] == "ok"
        refused = await bridge.call("broadcast", content="x")
        assert refused["code"] == "rate_limited"
        assert refused["message"] == "Rate limit: can broadcast again in 1 second"


async def test_two_checks_at_once_never_show_the_same(start: Start) -> None:
    async with start("alice") as bridge, asyncio.TaskGroup() as group:
        waits = [group.create_task(bridge.call("check", wait_s=0.5)) for _ in range(2)]
        await asyncio.sleep(0.1)
        await bridge.call("send", to_id="alice", content="once")
        shown = [message for wait in waits for message in (await wait)["messages"]]
        assert [message["content"] for message in shown] == ["once"]
