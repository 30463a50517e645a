"""Pushes mail into the AI session, so that it wakes an idle one and reaches a busy one.

Short messages go whole and count as shown once they were read; of long ones goes the beginning,
and they stay unread. Several that arrive together go in one push. What the line has no room for is
summed up in one text, and stays unread, too. While a call waits for mail, that call gets it. A text
that the line did not take counts as not told: it is tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import mesh
from mcp_bridge import wording
from mcp_bridge.config import Push
from mcp_bridge.keeper import Keeper
from mcp_bridge.line import Allowance, Line
from mcp_bridge.wording import Item

log = logging.getLogger(__name__)

gather_s: Final = 0.1
"""How long arrivals are gathered before a push."""
pace_s: Final = 0.7
"""The least time between two pushes: what arrives in between shares the next."""
retry_s: Final = 20.0
_QUIET: Final = frozenset({"renamed"})
"""Kinds of messages for which nobody is woken."""


@dataclass(frozen=True, slots=True)
class _Next:
    """When to look again: after a rest, on news or after a time."""

    rest_s: float = 0.0
    again_s: float = math.inf


class _Sent(Enum):
    """What became of a text: what was perhaps read is neither repeated nor counts as shown."""

    NOT = "not"
    PERHAPS = "perhaps"
    READ = "read"


class Pusher:
    """Pushes the mail of one session over one line; `run` beside the keeper's."""

    def __init__(self, keeper: Keeper, line: Line, push: Push) -> None:
        self._keeper = keeper
        self._news = keeper.news
        self._line = line
        self._push = push
        self._allowance = Allowance()
        self._acts = 0
        self._known: mesh.Agent | None = None
        self._is_failing = False
        self._members: frozenset[str] = frozenset()
        if line.is_there():
            keeper.present(push=push)

    async def run(self) -> None:
        """Push until cancelled."""
        while True:
            agent = await self._keeper.named()
            async with asyncio.TaskGroup() as group:
                listening = group.create_task(self._listen(agent))
                while self._keeper.agent_or_none is agent:
                    await self._wait(await self._attempt(agent))
                listening.cancel()

    async def _listen(self, agent: mesh.Agent) -> None:
        with agent.arrivals() as ear:
            while True:
                await ear.wait()
                self._news.changed.set()

    async def _wait(self, planned: _Next) -> None:
        await asyncio.sleep(planned.rest_s)
        due_s = self._news.schedule.due_s
        again_s = min(planned.again_s, math.inf if due_s is None else due_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if math.isinf(again_s) else again_s):
                await self._news.changed.wait()
                await asyncio.sleep(gather_s)

    async def _attempt(self, agent: mesh.Agent) -> _Next:
        self._news.changed.clear()
        if self._news.acts != self._acts:
            self._acts = self._news.acts
            self._allowance.acted()
        try:
            if self._known is not agent:
                await self._introduce(agent)
                self._known = agent
            if self._news.schedule.take() and agent.unread:
                await self._sum_up(agent.unread, is_more=False)
            async with self._news.showing:
                return await self._push_untold(agent)
        except mesh.MeshError as exc:
            log.warning("Mail could not be pushed: %s", exc)
            return _Next(rest_s=1.0, again_s=retry_s)

    async def _introduce(self, agent: mesh.Agent) -> None:
        """Sum up the mail that waited for this session, if registering has not told of it."""
        async with self._news.showing:
            self._news.forget()
            waiting = agent.unread
            if waiting <= self._keeper.queued_told or await self._sum_up(waiting, is_more=False):
                while messages := await self._news.untold(agent):
                    self._news.tell(messages)

    async def _push_untold(self, agent: mesh.Agent) -> _Next:
        messages = await self._news.untold(agent)
        if all(message.kind in _QUIET for message in messages):
            return _Next()
        letters = await self._of_members(agent, messages)
        if letters:
            delay_s = self._allowance.letters_delay_s
            if not delay_s:
                return await self._push_letters(agent, letters)
            if not math.isinf(delay_s):
                return _Next(again_s=delay_s)
        delay_s = self._allowance.summary_delay_s
        if delay_s:
            return _Next(again_s=delay_s)
        if not await self._sum_up(agent.unread, is_more=True):
            return _Next(again_s=retry_s)
        self._news.tell(messages)
        return _Next(rest_s=pace_s, again_s=0)

    async def _of_members(
        self, agent: mesh.Agent, messages: Sequence[mesh.Message]
    ) -> list[mesh.Message]:
        """Return the messages whose words may be pushed.

        A push reaches even a session that runs without asking its user. An open mesh has no
        members, and any user of this machine may join: there only agents of our own state directory
        get so far. Of others it is told that mail waits.
        """
        if agent.mode != "open":
            return list(messages)
        if any(message.fingerprint not in self._members for message in messages):
            self._members = await agent.fingerprints_of_host()
        return [message for message in messages if message.fingerprint in self._members]

    async def _push_letters(self, agent: mesh.Agent, messages: Sequence[mesh.Message]) -> _Next:
        items = self._fitting(agent, messages)
        waiting = max(0, agent.unread - len(items))
        self._news.turn.woken(one.message.id for one in items)
        sent = await self._send(wording.push_text(items, waiting))
        if sent is _Sent.NOT:
            return _Next(again_s=retry_s)
        self._allowance.take()
        self._news.tell([one.message for one in items])
        if sent is _Sent.READ:
            await agent.mark_shown([one.message for one in items if one.is_whole])
        return _Next(rest_s=pace_s, again_s=0)

    def _fitting(self, agent: mesh.Agent, messages: Sequence[mesh.Message]) -> list[Item]:
        addresses = _addresses(agent.roster())
        items: list[Item] = []
        room = wording.push_bytes_max
        for message in messages:
            one = wording.item(
                message,
                address=addresses.get(message.fingerprint, message.sender),
                may_be_whole=self._line.is_sure,
            )
            room -= len(one.text.encode())
            if items and room < 0:
                break
            items.append(one)
        return items

    async def _sum_up(self, waiting: int, *, is_more: bool) -> bool:
        if self._allowance.summary_delay_s:
            return False
        self._news.turn.woken()
        text = wording.waiting_text(waiting, is_more=is_more)
        if await self._send(text) is _Sent.NOT:
            return False
        self._allowance.take(is_summary=True)
        return True

    async def _send(self, text: str) -> _Sent:
        """Send one text; what others are told of this session follows whether that works."""
        try:
            was_read = await self._line.send(text)
        except OSError as exc:
            if not self._is_failing:
                log.warning("Mail cannot be pushed into the AI session: %s", exc)
            self._is_failing = True
            self._keeper.present(push=Push.OFF)
            return _Sent.NOT
        self._is_failing = False
        self._keeper.present(push=self._push)
        return _Sent.READ if was_read else _Sent.PERHAPS


def _addresses(roster: Sequence[mesh.RosterEntry]) -> dict[str, str]:
    """Return by fingerprint how to address those whose bare name means somebody else, too."""
    counts = Counter(entry.id.lower() for entry in roster)
    return {entry.fingerprint: entry.address for entry in roster if counts[entry.id.lower()] > 1}
