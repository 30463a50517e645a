"""The tools: which may run when, what each gives back, and how errors look.

Everything about a call is checked before anything is done: that the tool exists, that the session
has a name, that each argument is known and within bounds, that own-name arguments are our own.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import mesh
from mcp_bridge import hook, mail, render
from mcp_bridge.arguments import Arguments
from mcp_bridge.keeper import Keeper
from mcp_bridge.mail import Call, Progress, ok
from mcp_bridge.rates import Limits
from mcp_bridge.render import JsonObject
from mcp_bridge.schemas import BY_NAME, Tool

_OWN_NAMES: Final = ("from_id", "instance_id", "old_id")
file_progress_s: Final = 0.5
accompany_s: Final = 600.0
"""For how long a call stays with a file that moves; after that, `status` tells of it."""
_stalls_max: Final = 4
_roster_bytes_max: Final = 48 * 1024


class UnknownToolError(mesh.UsageError):
    """There is no such tool."""

    code = "unknown_tool"


class NotYouError(mesh.UsageError):
    """An own-name argument names somebody else."""

    code = "not_you"


@dataclass(frozen=True, slots=True)
class Result:
    """What a call gives back, for the model."""

    text: str
    is_error: bool


class Tools:
    """The tools of one session."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._limits = Limits()
        self._open: dict[str, Callable[[Arguments], Awaitable[JsonObject]]] = {
            "register": self._register,
            "list_instances": self._list_instances,
            "status": self._status,
        }
        self._registered: dict[str, Callable[[Call], Awaitable[JsonObject]]] = {
            "send": mail.send,
            "broadcast": mail.broadcast,
            "check": mail.check,
            "auto_process": mail.auto_process,
            "share_file": _share_file,
            "share_command": _share_command,
            "rename": _rename,
        }

    async def call(self, name: str, values: Mapping[str, Any], progress: Progress) -> Result:
        """Perform one call; what goes wrong is part of the result."""
        if name == hook.name:
            return Result(render.dump(await hook.answer(self._keeper, values)), is_error=False)
        self._keeper.news.acted()
        try:
            value = await self._perform(name, values, progress)
        except mesh.MeshError as exc:
            value = _error(exc)
        if self._keeper.unread:
            value["unread"] = self._keeper.unread
        return Result(render.dump(value), is_error=value["status"] == "error")

    async def _perform(
        self, name: str, values: Mapping[str, Any], progress: Progress
    ) -> JsonObject:
        tool = BY_NAME.get(name)
        if tool is None:
            raise UnknownToolError(f"Unknown tool {name[:80]!r}; there are {', '.join(BY_NAME)}.")
        if tool.name in self._open:
            return await self._open[tool.name](Arguments(tool, values))
        agent = await self._keeper.agent()
        args = _own_arguments(tool, values, agent)
        call = Call(agent, args, progress, self._keeper, self._limits)
        return await self._registered[tool.name](call)

    async def _register(self, args: Arguments) -> JsonObject:
        agent = await self._keeper.register(
            args.text("instance_id"), args.text_or_none("summary") or ""
        )
        roster = (await self._keeper.session()).roster()
        unread = agent.unread
        queued = f" with {unread} queued messages" if unread else ""
        return ok(
            f"Registered {agent.name}{queued}",
            instance_id=agent.name,
            session_token=self._keeper.token,
            fingerprint=agent.fingerprint,
            mode=agent.mode,
            queued=unread,
            peers=sum(entry.state == "live" and not entry.you for entry in roster),
        )

    async def _list_instances(self, _: Arguments) -> JsonObject:
        session = await self._keeper.session()
        await self._keeper.look_around()
        entries = session.roster()
        shown = render.fitting([render.entry(entry) for entry in entries], _roster_bytes_max)
        live = sum(entry.state == "live" for entry in entries)
        omitted = len(entries) - len(shown)
        more = f"; {omitted} not shown" if omitted else ""
        return ok(f"{len(entries)} instances, {live} live{more}", instances=shown)

    async def _status(self, args: Arguments) -> JsonObject:
        message_id = args.text_or_none("id")
        if message_id is not None:
            recipients = await (await self._keeper.agent()).receipt(message_id)
            states = ", ".join(f"{r.to}: {r.state}" for r in recipients)
            return ok(states, id=message_id, recipients=[render.recipient(r) for r in recipients])
        status = await (await self._keeper.session()).status()
        name = status.instance_id or "Not registered"
        return ok(
            f"{name} on mesh {status.mesh} ({status.mode} mode)",
            **{**status.to_json(), "push": self._keeper.push.value},
        )


def _own_arguments(tool: Tool, values: Mapping[str, Any], agent: mesh.Agent) -> Arguments:
    """Return the checked arguments.

    Raises:
        NotYouError: one that must be our own name is not.
        UsageError: one is bad.
    """
    args = Arguments(tool, values)
    for argument in _OWN_NAMES:
        given = args.text_or_none(argument)
        if given is not None and given.lower() != agent.name.lower():
            raise NotYouError(
                f"{argument} is {given!r}, but this session is {agent.name}; leave it out."
            )
    return args


def _error(error: mesh.MeshError) -> JsonObject:
    value: JsonObject = {"status": "error", "code": error.code, "message": str(error)}
    match error:
        case mesh.UnconfirmedError():
            value["id"] = error.message_id
        case mesh.RateLimitError():
            value["retry_after_s"] = math.ceil(error.retry_after_s)
        case _:
            pass
    return value


async def _rename(call: Call) -> JsonObject:
    old = call.agent.name
    try:
        renamed = await call.keeper.rename(call.args.text("new_id"))
    except mesh.RateLimitError as exc:
        minutes = max(1, math.ceil(exc.retry_after_s / 60))
        text = f"Rate limit: can rename again in {minutes} minutes"
        raise mesh.RateLimitError(text, retry_after_s=exc.retry_after_s) from exc
    return ok(
        f"Renamed {old} to {renamed.name}",
        instance_id=renamed.name,
        forwarding_until=renamed.forwarding_until.isoformat(timespec="seconds"),
    )


async def _share_file(call: Call) -> JsonObject:
    to = mail.recipient_of(call.args)
    call.limits.send()
    meter = Meter()
    shared = await call.agent.share_file(
        to,
        call.args.text("filepath"),
        call.args.text_or_none("description") or "",
        on_progress=meter,
    )
    await mail.settle(call.keeper, shared)
    if meter.reached:
        await accompany(call, shared, meter)
    result = mail.sent(to, shared)
    return {
        **result,
        "message": f"Shared {shared.name} ({shared.bytes} bytes). {result['message']}",
        "name": shared.name,
        "bytes": shared.bytes,
        "blake2b": shared.blake2b,
    }


class Meter:
    """How many bytes of a streamed file its recipient has asked for; of a small file none."""

    def __init__(self) -> None:
        self.reached = 0

    def __call__(self, done: int, _: int) -> None:
        self.reached = max(self.reached, done)


async def accompany(call: Call, shared: mesh.SharedFile, meter: Meter) -> None:
    """Stay while a large file moves, and tell the client how far it has come."""
    before = stalls = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(accompany_s):
            while stalls < _stalls_max and not await shared.wait("delivered", file_progress_s):
                stalls = 0 if meter.reached > before else stalls + 1
                before = meter.reached
                await call.progress(before, shared.bytes, f"sending {shared.name}")


async def _share_command(call: Call) -> JsonObject:
    to = mail.recipient_of(call.args)
    call.limits.send()
    shared = await call.agent.share_command(
        to, call.args.text("command"), call.args.text_or_none("description") or ""
    )
    await mail.settle(call.keeper, shared)
    result = mail.sent(to, shared)
    ending = "was ended" if shared.returncode is None else f"returned {shared.returncode}"
    return {
        **result,
        "message": f"The command {ending}. {result['message']}",
        "returncode": shared.returncode,
        "truncated": shared.truncated,
    }
