"""How a command gets the agent it acts for.

A mailbox that a live session of this host holds is used through that session: what the command
sends goes out as it, and nothing is shown twice. Otherwise the command becomes a node itself for a
moment, one that does not advertise itself. The holder may end, or appear, at any point between
looking and asking; then the command looks again.
"""

import asyncio
import contextlib
import os
from argparse import Namespace
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import mesh
from mesh.cli.console import Console
from mesh.config import Config
from mesh.driver import remote
from mesh.driver.remote import RemoteAgent, SessionGoneError
from mesh.driver.results import RosterEntry
from mesh.driver.surface import AgentSurface, ReceiptSurface
from mesh.errors import ConfigError, NameInUseError, TransportError, UsageError
from mesh.model import check_name, fold
from mesh.net.registry import live_nodes
from mesh.store.locks import holder, is_held

Result = TypeVar("Result")

settle_s: Final = 2.0
"""How long a command that is a node itself tries the network before it leaves the rest."""
settle_remote_s: Final = 0.5
"""The same when a session stays behind and carries on."""
look_around_s: Final = 1.5
"""How long a new node needs to know who is there, on this host and on the LAN."""
_look_again_s: Final = 5.0
_look_pause_s: Final = 0.05
_answer_s: Final = 3.0


@dataclass(frozen=True, slots=True)
class Visit:
    """An agent for the time of one command. `is_own_node`: it ends with this process."""

    agent: AgentSurface
    is_own_node: bool

    async def settle(self, receipt: ReceiptSurface) -> None:
        """Give the message a moment to be delivered, so that its state is worth printing."""
        await receipt.wait("delivered", settle_s if self.is_own_node else settle_remote_s)

    async def look_around(self) -> None:
        """Wait until we know who is there; a session that was here before knows already."""
        if self.is_own_node:
            await asyncio.sleep(look_around_s)


def read_config(options: Namespace) -> Config:
    """Read the settings; the secret leaves the environment, so that no child process inherits it.

    Raises:
        ConfigError: a setting is wrong.
        UsageError: so is the name after --as.
    """
    environ: MutableMapping[str, str] = os.environ
    if options.is_open_allowed:
        environ["IPC_OPEN"] = "1"
    config = Config.from_env(environ, wipe=True)
    if options.as_name is None:
        return config
    return replace(config, instance_id=check_name(options.as_name))


def own_name(config: Config) -> str:
    """Return the name of the mailbox to act for.

    Raises:
        UsageError: none was given, or a bad one.
    """
    if config.instance_id is None:
        raise UsageError("Say whose mailbox: --as NAME, or set IPC_INSTANCE_ID.")
    return check_name(config.instance_id)


async def warn(config: Config, console: Console) -> None:
    """Show what is allowed but unwise."""
    for warning in config.warnings:
        await console.note(f"warning: {warning}")


async def visit(
    options: Namespace, action: Callable[[Visit], Awaitable[Result]], *, name: str | None = None
) -> Result:
    """Perform `action` with the agent named by the options (or `name`).

    `action` is begun anew when the session it acts through ends; it must remember what it has done.

    Raises:
        NameInUseError: a session that cannot be asked holds the mailbox.
        MeshError: what `action` raises.
    """
    config = read_config(options)
    return await visit_as(config, check_name(name) if name else own_name(config), action)


async def visit_as(
    config: Config, name: str, action: Callable[[Visit], Awaitable[Result]]
) -> Result:
    """Perform `action` with the agent of that name; see `visit`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _look_again_s
    while True:
        try:
            session = await find_session(config, name)
            if session is not None:
                return await action(Visit(session, is_own_node=False))
        except SessionGoneError as exc:
            if loop.time() >= deadline:
                raise NameInUseError(f"{name} is held by a session that cannot be asked.") from exc
            await asyncio.sleep(_look_pause_s)
            continue
        async with AsyncExitStack() as stack:
            try:
                agent = await stack.enter_async_context(mesh.join(name, passing(config)))
            except NameInUseError:  # Taken since we looked, or its session is just starting.
                if loop.time() >= deadline:
                    raise
            else:
                return await action(Visit(agent, is_own_node=True))
        await asyncio.sleep(_look_pause_s)


async def wait_for_passing(config: Config, name: str) -> None:
    """Wait a little while a command holds the mailbox; a session that stays is not waited for."""
    with contextlib.suppress(TimeoutError, SessionGoneError):
        async with asyncio.timeout(_look_again_s):
            while (session := await find_session(config, name)) and session.is_passing:
                await asyncio.sleep(_look_pause_s)


def passing(config: Config) -> Config:
    """Return the settings of a node that ends at once.

    It tends the mailboxes of the host meanwhile, if nobody does: mail between two agents whose
    commands never run at the same time gets through, too.
    """
    return replace(config, advertises=False)


async def find_session(config: Config, name: str) -> RemoteAgent | None:
    """Return the live session of this host that holds the mailbox; None if there is none.

    Raises:
        SessionGoneError: it is just ending, or just starting.
        ConfigError: the session is of another mesh.
        TransportError: its process does not answer.
    """
    content = holder(config.home / "mail" / fold(name) / "lock")
    if content is None:
        return None
    for node in live_nodes(config.home / "run", is_held):
        if node.node.hex().encode() != content:
            continue
        try:
            async with asyncio.timeout(_answer_s):
                agent = await remote.connect(node.control, node.token)
        except TimeoutError as exc:
            raise TransportError(f"The session that holds {name} does not answer.") from exc
        if agent is None or fold(agent.name) != fold(name):
            return None  # It only tends the mailbox, and gives it up to whoever joins.
        if agent.mesh != config.mesh:
            raise ConfigError(f"{name} is in use by a session of the mesh {agent.mesh}.")
        return agent
    raise SessionGoneError(f"{name} is held by a node that has no entry in the registry.")


async def roster_of_host(config: Config) -> list[RosterEntry] | None:
    """Return the roster that a live node of this host knows; None if there is no such node."""
    for node in live_nodes(config.home / "run", is_held):
        if node.mesh != config.mesh:
            continue
        try:
            async with asyncio.timeout(_answer_s):
                return await remote.local_roster(node.control, node.token)
        except (TransportError, TimeoutError):
            continue
    return None


def mailboxes(config: Config) -> list[str]:
    """Return the folded names of this host's mailboxes."""
    return sorted(lock.parent.name for lock in (config.home / "mail").glob("*/lock"))
