"""The tools that send and read mail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeVar

import mesh
from mcp_bridge import render
from mcp_bridge.arguments import Arguments
from mcp_bridge.config import Push
from mcp_bridge.keeper import Keeper
from mcp_bridge.rates import Limits
from mcp_bridge.render import JsonObject
from mcp_bridge.schemas import NOTICE
from mesh import limits

Found = TypeVar("Found")
Progress = Callable[[float, float | None, str], Awaitable[None]]
"""Tells the client that a call is still working: how much so far, of how much, and at what."""

settle_s: Final = 1.0
"""How long a message to somebody live gets to be delivered, so that its state is worth telling."""
settle_all_s: Final = 0.3
progress_interval_s: Final = 10.0
_envelope_bytes: Final = 512
_path_bytes: Final = 512
_ARRIVED: Final = frozenset({"delivered", "shown"})
_EVERYONE: Final = frozenset({"all", "everyone"})


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool by a registered session."""

    agent: mesh.Agent
    args: Arguments
    progress: Progress
    keeper: Keeper
    limits: Limits


class ReceiptSurface(Protocol):
    """What the receipts of messages, files and commands have in common."""

    @property
    def id(self) -> str:
        """32 hexadecimal characters."""
        ...

    @property
    def recipients(self) -> list[mesh.Recipient]:
        """Where it stands with each recipient."""
        ...

    async def wait(self, state: str, timeout_s: float) -> bool:
        """Wait until every recipient has got that far."""
        ...


def ok(message: str, **keys: Any) -> JsonObject:  # noqa: ANN401 - any JSON value
    """Return a result that says that all went well."""
    return {"status": "ok", "message": message, **keys}


# Sending.


async def send(call: Call) -> JsonObject:
    """Send one message; with `wait_reply_s` wait for its answer, too."""
    args = call.args
    to = recipient_of(args)
    call.limits.send()
    reply_to = args.text_or_none("reply_to")
    receipt = await call.agent.send(
        to,
        args.text("content"),
        data=args.json("data"),
        reply_to=reply_to,
        ttl_s=args.number_or_none("ttl_s"),
        urgent=args.flag("urgent"),
        caused_by=call.keeper.news.turn.causes(reply_to),
    )
    wait_s = args.number_or_none("wait_reply_s") or 0
    reply: JsonObject | None = None
    if wait_s:
        with call.keeper.news.waiting(lambda message: message.reply_to == receipt.id):
            await settle(call.keeper, receipt)
            reply = await _await_reply(call, receipt.id, wait_s)
    else:
        await settle(call.keeper, receipt)
    result = sent(to, receipt)
    if reply is not None:
        return {**result, "message": f"{result['message']}. {NOTICE}", "reply": reply}
    if wait_s and result["status"] == "ok":
        result["message"] += f"; no reply within {wait_s:g} s, it will come by check"
    return result


async def broadcast(call: Call) -> JsonObject:
    """Send one message to everybody."""
    args = call.args
    call.limits.broadcast()
    await call.keeper.look_around()
    receipt = await call.agent.broadcast(
        args.text("content"),
        data=args.json("data"),
        ttl_s=args.number_or_none("ttl_s"),
        caused_by=call.keeper.news.turn.causes(None),
    )
    # Those who are away never deliver now; they are not waited for as long as the others.
    is_all_live = not any(recipient.why for recipient in receipt.recipients)
    if receipt.recipients:
        await receipt.wait("delivered", timeout_s=settle_s if is_all_live else settle_all_s)
    recipients = receipt.recipients
    refused = sum(recipient.state == "refused" for recipient in recipients)
    return ok(
        f"Broadcast to {len(recipients)} instances"
        + (f", {refused} refused it" if refused else ""),
        id=receipt.id,
        recipients=[{"to": r.to, "state": r.state} for r in recipients],
        delivered=sum(r.state in _ARRIVED for r in recipients),
        queued=sum(r.state == "queued" for r in recipients),
    )


def recipient_of(args: Arguments) -> str:
    """Return `to_id`.

    Raises:
        UsageError: it means everybody.
    """
    to = args.text("to_id")
    if to.lower() in _EVERYONE:
        raise mesh.UsageError(f"to_id names one agent; to reach {to.lower()} use broadcast.")
    return to


async def settle(keeper: Keeper, receipt: ReceiptSurface) -> None:
    """Give a message the moment that it needs to be delivered, if it can be by now."""
    (recipient,) = receipt.recipients
    if recipient.state != "queued":
        return
    # A node that has just started takes everybody for unknown or away.
    timeout_s = settle_s if not recipient.why else keeper.news_due_s
    if timeout_s:
        await receipt.wait("delivered", timeout_s=timeout_s)


def sent(to: str, receipt: ReceiptSurface) -> JsonObject:
    """Return what became of a message to one recipient."""
    (recipient,) = receipt.recipients
    keys = {"id": receipt.id, "state": recipient.state, "to": recipient.to}
    if recipient.why:
        keys["why"] = recipient.why
    match recipient.state:
        case "refused" if recipient.why == "loop":
            text = f"{recipient.to} refused one more automatic message in a row: ask your user"
            return {"status": "error", "code": "refused", "message": text, **keys}
        case "refused":
            text = f"Message refused by {recipient.to}: {recipient.why or 'no reason given'}"
            return {"status": "error", "code": "refused", "message": text, **keys}
        case "expired":
            text = f"Message to {recipient.to} expired before it could be confirmed"
            return {"status": "error", "code": "expired", "message": text, **keys}
        case "queued" if recipient.why == "unknown_name":
            return ok(f"Message queued for {to} (not yet registered)", **keys)
        case _ if recipient.forwarded_from:
            text = f"Message forwarded from {recipient.forwarded_from} to {recipient.to}"
            return ok(text, **keys)
        case _ if recipient.is_changed:
            text = (
                f"Message sent to another {recipient.to} than the one known, which is away: its "
                f"key is {recipient.fingerprint[:8]}. Tell your user if that is not expected"
            )
            return ok(text, verified="changed", **keys)
        case "queued" if recipient.why == "pin_conflict":
            text = (
                f"Message queued for {recipient.to} (pin conflict: it waits for the agent known by "
                "that name; your user may let another one have it by mesh trust)"
            )
            return ok(text, **keys)
        case "queued":
            why = recipient.why.replace("_", " ") or "not yet confirmed"
            return ok(f"Message queued for {recipient.to} ({why})", **keys)
        case _:
            return ok("Message sent", **keys)


async def _await_reply(call: Call, message_id: str, wait_s: float) -> JsonObject | None:
    async def attempt(timeout_s: float) -> JsonObject | None:
        reply = await call.agent.await_reply(message_id, timeout_s=timeout_s)
        if reply is None:
            return None
        async with call.keeper.news.showing:
            page = await call.agent.read(peek=True, after_row=reply.row - 1, limit=1)
            if all(message.id != reply.id for message in page.messages):
                return None  # another call has shown it
            (shown,) = await _present(call.agent, mesh.Page((reply,), 0), marks=True)
        call.keeper.news.turn.shown([reply.id])
        return shown

    return await _patiently(attempt, wait_s, call.progress, "waiting for the reply")


# Reading.


async def check(call: Call) -> JsonObject:
    """Show mail, and wait for some if asked to."""
    args, agent, news = call.args, call.agent, call.keeper.news
    is_history = args.flag("history")
    marks = not (is_history or args.flag("peek"))
    since, limit = args.moment_or_none("since"), args.integer_or_none("limit")
    sender = args.text_or_none("sender")

    async def read(timeout_s: float = 0) -> mesh.Page:
        return await agent.read(
            sender=sender,
            since=since,
            limit=limit,
            wait_s=timeout_s,
            peek=True,
            history=is_history,
            search=args.text_or_none("search"),
        )

    async def attempt(timeout_s: float) -> JsonObject | None:
        if timeout_s and not (await read(timeout_s)).messages:
            return None
        async with news.showing:
            page = await read()
            if not page.messages:
                return None
            found = await _shown(agent, page, marks=marks, is_new=not is_history)
            news.turn.shown(message["id"] for message in found["messages"])
            return found

    wait_s = args.number_or_none("wait_s") or 0
    found = await attempt(0)
    if found is None and wait_s:
        with news.waiting(_wants_from(sender)):
            found = await _patiently(attempt, wait_s, call.progress, "waiting for mail")
    return found or await _shown(agent, mesh.Page((), 0), marks=False, is_new=not is_history)


def _wants_from(sender: str | None) -> Callable[[mesh.Message], bool]:
    name = sender.partition("#")[0].lower() if sender else None
    return lambda message: name is None or message.sender.lower() == name


async def auto_process(call: Call) -> JsonObject:
    """Show new mail now, and keep the schedule by which it is to be brought up."""
    every_minutes = call.args.integer_or_none("every_minutes")
    news = call.keeper.news
    async with news.showing:
        page = await call.agent.read(peek=True)
        result = await _shown(call.agent, page, marks=True, is_new=True)
        news.turn.shown(message["id"] for message in result["messages"])
    if every_minutes is not None:
        news.schedule.set(every_minutes)
        news.changed.set()
    minutes, next_at = news.schedule.every_minutes, news.schedule.next_at()
    state = f"Auto-check every {minutes} minutes" if minutes else "Auto-check is off"
    if minutes and call.keeper.push is Push.OFF:
        state += " (nothing can wake this session: `unread` on results tells of mail)"
    message = f"{state}. {result['message']}"
    return {**result, "message": message, "every_minutes": minutes, "next_at": next_at}


async def _shown(agent: mesh.Agent, page: mesh.Page, *, marks: bool, is_new: bool) -> JsonObject:
    messages = await _present(agent, page, marks=marks)
    remaining = page.remaining + len(page.messages) - len(messages)
    return ok(
        _summary(len(messages), remaining, is_new=is_new), messages=messages, remaining=remaining
    )


def _summary(shown: int, remaining: int, *, is_new: bool) -> str:
    kind = "new " if is_new else ""
    if not shown:
        return f"No {kind}messages"
    noun = f"{kind}message" if shown == 1 else f"{kind}messages"
    more = f", {remaining} more waiting" if remaining else ""
    return f"{shown} {noun}{more}. {NOTICE}"


async def _present(agent: mesh.Agent, page: mesh.Page, *, marks: bool) -> list[JsonObject]:
    """Return the first messages of a page as far as there is room, and mark only those."""
    values: list[JsonObject] = []
    room = limits.shown_total_bytes_max - _envelope_bytes
    for message in page.messages:
        shown = render.show(message)
        room -= render.size(shown.value) + _path_bytes * (shown.is_cut or bool(message.path))
        if values and room < 0:
            break
        values.append(shown.with_path(await _file_of(agent, message, shown)))
    if marks:
        await agent.mark_shown(page.messages[: len(values)])
    return values


async def _file_of(agent: mesh.Agent, message: mesh.Message, shown: render.Shown) -> str | None:
    """Return the path of the file that has all of a message, made if what is shown was cut."""
    if message.path is not None or not shown.is_cut:
        return message.path
    if shown.value["data"] == message.data:
        return str(await agent.save_text(message))
    whole = render.dump({"content": message.content, "data": message.data})
    return str(await agent.save_text(replace(message, content=whole)))


async def _patiently(
    attempt: Callable[[float], Awaitable[Found | None]],
    wait_s: float,
    progress: Progress,
    what: str,
) -> Found | None:
    """Try until something is found or `wait_s` is over, with a sign of life at times."""
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    while True:
        left_s = started_at + wait_s - loop.time()
        found = await attempt(max(0.0, min(left_s, progress_interval_s)))
        if found is not None or left_s <= 0:
            return found
        await progress(loop.time() - started_at, None, what)
