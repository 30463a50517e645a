"""The MCP side: both protocol eras over stdio, and how the process ends.

The client's first request decides the era, and the SDK serves either. What counts as an initialised
client differs: `notifications/initialized` in the handshake era; a tool call, or having stayed for
a moment after listing the tools, in the modern one, which has no handshake.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Coroutine, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Never, Protocol, Self

import mcp_types as types
from anyio import BrokenResourceError, ClosedResourceError
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

import mesh
from mcp_bridge.config import Push, choose_push, inbox_of, wipe
from mcp_bridge.ending import Ending, end, goodbye_s
from mcp_bridge.keeper import Keeper
from mcp_bridge.line import InboxSocket
from mcp_bridge.place import describe_place
from mcp_bridge.push import Pusher
from mcp_bridge.schemas import INSTRUCTIONS, TOOLS, Tool
from mcp_bridge.tools import Tools

log = logging.getLogger(__name__)

Context = ServerRequestContext[Any, Any]


def build_server(keeper: Keeper) -> Server[Any]:
    """Return the MCP server of one session; `keeper.run` must be running beside it."""
    tools = Tools(keeper)

    async def list_tools(
        ctx: Context, _: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        keeper.notice(_client_of(ctx))
        return types.ListToolsResult(tools=[_declare(tool) for tool in TOOLS])

    async def call_tool(ctx: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        keeper.want(_client_of(ctx))

        async def progress(done: float, total: float | None, what: str) -> None:
            await ctx.session.report_progress(done, total, what)

        result = await tools.call(params.name, params.arguments or {}, progress)
        content = types.TextContent(type="text", text=result.text)
        return types.CallToolResult(content=[content], is_error=result.is_error)

    async def initialized(ctx: Context, _: types.NotificationParams | None) -> None:
        keeper.want(_client_of(ctx))

    server: Server[Any] = Server(
        "claude-ipc",
        version=_version(),
        title="claude-ipc mesh",
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )
    server.add_notification_handler(
        "notifications/initialized", types.NotificationParams, initialized
    )
    return server


def _declare(tool: Tool) -> types.Tool:
    return types.Tool(
        name=tool.name,
        description=tool.description,
        input_schema=tool.input_schema(),
        # Only what differs from the defaults of the protocol is worth its tokens.
        annotations=types.ToolAnnotations(
            read_only_hint=tool.is_read_only or None,
            destructive_hint=None if tool.is_read_only else False,
            idempotent_hint=(tool.is_idempotent and not tool.is_read_only) or None,
            open_world_hint=False if tool.is_local else None,
        ),
        _meta=tool.meta() or None,
    )


def _client_of(ctx: Context) -> str:
    params = ctx.session.client_params
    return params.client_info.name if params is not None else ""


def _version() -> str:
    try:
        return version("claude-ipc-mesh")
    except PackageNotFoundError:
        return "0"


class _Outgoing(Protocol):
    async def send(self, item: SessionMessage, /) -> None: ...


class Channel:
    """The channel of a Claude Code session whose user has enabled it for this server.

    Whether that is so cannot be seen, and notifications to nobody vanish. So nothing sent here
    counts as shown: it carries headlines, and the mail stays unread.
    """

    capability: Final = "claude/channel"
    is_sure = False

    def __init__(self) -> None:
        self.outgoing: _Outgoing | None = None

    def is_there(self) -> bool:
        """Whether there is a client; more cannot be known."""
        return True

    async def send(self, text: str) -> bool:
        """Send one text, of which nobody knows who reads it; raises OSError without a client."""
        if self.outgoing is None:
            raise ConnectionError("no client yet")
        params = {"content": text, "meta": {"kind": "mail"}}
        notification = types.JSONRPCNotification(
            jsonrpc="2.0", method=f"notifications/{self.capability}", params=params
        )
        try:
            await self.outgoing.send(SessionMessage(notification))
        except (BrokenResourceError, ClosedResourceError) as exc:
            raise ConnectionError("the client is gone") from exc
        return False


@contextlib.asynccontextmanager
async def _open(config: mesh.Config) -> AsyncIterator[mesh.Session]:
    """Open a session; its code is loaded here, beside what the client asks meanwhile."""
    opener = await asyncio.to_thread(lambda: mesh.open_session)
    async with opener(config) as session:
        yield session


async def serve(config: mesh.Config) -> Never:
    """Serve this process's client until it is gone or a signal comes; ends the process."""
    push = choose_push(config.push, os.environ)
    inbox = inbox_of(os.environ)
    wipe(os.environ)
    directory = Path(os.environ.get("CLAUDE_PROJECT_DIR") or Path.cwd())
    keeper = Keeper(config, opener=_open, place=describe_place(directory))
    channel = Channel() if push is Push.CHANNEL else None
    line = InboxSocket(*inbox) if push is Push.INBOX and inbox else channel
    ending = Ending()
    async with asyncio.TaskGroup() as group:
        group.create_task(_guard(keeper.run()))
        group.create_task(_guard(_serve_stdio(keeper, ending, channel)))
        if line is not None:
            group.create_task(_guard(Pusher(keeper, line, push).run()))
        await ending.begun.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(goodbye_s):
                await keeper.leave()
        end(0)
    raise AssertionError("unreachable")


async def _serve_stdio(keeper: Keeper, ending: Ending, channel: Channel | None) -> None:
    server = build_server(keeper)
    experimental: dict[str, dict[str, Any]] = {} if channel is None else {Channel.capability: {}}
    options = server.create_initialization_options(experimental_capabilities=experimental)
    try:
        async with stdio_server() as (incoming, outgoing):
            source = _Watched(incoming, outgoing, ending, is_handshake_only=channel is not None)
            if channel is not None:
                channel.outgoing = outgoing
            try:
                await server.run(source, outgoing, options)
            finally:
                # Standard output may have broken while a thread still waits for input.
                ending.begin()
    except* OSError as group:
        # The client no longer reads: it is gone, and that is how sessions end.
        log.info("The client is gone: %s", group)


async def _guard(work: Coroutine[None, None, None]) -> None:
    """End the process with a sentence, or with the trace of what nobody expected."""
    try:
        await work
    except mesh.ConfigError as exc:
        sys.stderr.write(f"claude-ipc-mcp: {exc}\n")
        end(1)
    except Exception:
        log.exception("The mesh node failed.")
        end(1)


class _Watched:
    """The read stream of the SDK, with lines that are no messages answered and its end noticed.

    With `is_handshake_only` the probe for the newer era, which has no way for notifications, is
    refused before the SDK decides on the era; clients then fall back to the handshake.
    """

    def __init__(
        self,
        source: Any,  # noqa: ANN401 - the SDK's own business
        outgoing: _Outgoing,
        ending: Ending,
        *,
        is_handshake_only: bool,
    ) -> None:
        self._is_handshake_only = is_handshake_only
        self._source = source
        self._outgoing = outgoing
        self._ending = ending

    @property
    def last_context(self) -> Any:  # noqa: ANN401 - the SDK's own business
        """The context of the sender of the last message."""
        return self._source.last_context

    async def receive(self) -> SessionMessage | Exception:
        """Return the next message."""
        try:
            return await self.__anext__()
        except StopAsyncIteration:
            raise EOFError from None

    async def aclose(self) -> None:
        """Close the stream."""
        await self._source.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        while True:
            try:
                item: SessionMessage | Exception = await self._source.__anext__()
            except StopAsyncIteration:
                self._ending.begin()
                raise
            answer = self._answer(item)
            if isinstance(item, SessionMessage) and answer is None:
                return item
            if answer is not None:
                await self._outgoing.send(SessionMessage(answer))

    def _answer(self, item: SessionMessage | Exception) -> types.JSONRPCError | None:
        """Return what is answered here; None for what is passed on, or for an empty line."""
        if isinstance(item, Exception):
            return _refusal(item)
        request = item.message
        if not self._is_handshake_only or not isinstance(request, types.JSONRPCRequest):
            return None
        if request.method != "server/discover":
            return None
        error = types.ErrorData(code=types.METHOD_NOT_FOUND, message="Method not found")
        return types.JSONRPCError(jsonrpc="2.0", id=request.id, error=error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        await self.aclose()
        return None


def _refusal(error: Exception) -> types.JSONRPCError | None:
    """Return the answer to a line that is no message; None for an empty line."""
    found = (
        error.errors(include_url=False)[0]["input"] if isinstance(error, ValidationError) else ""
    )
    code, text = types.INVALID_REQUEST, "This is no JSON-RPC message."
    if isinstance(found, str):
        if not found.strip():
            return None
        code, text = types.PARSE_ERROR, "This is no valid JSON."
        with contextlib.suppress(ValueError, RecursionError):
            # Python reads what the SDK refuses (lone surrogates), so the asker can be told.
            found = json.loads(found)
    request_id = found.get("id") if isinstance(found, Mapping) else None
    if isinstance(request_id, bool) or not isinstance(request_id, int | str):
        request_id = None
    return types.JSONRPCError(
        jsonrpc="2.0", id=request_id, error=types.ErrorData(code=code, message=text)
    )
