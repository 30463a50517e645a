"""After a failed commit: go on from what the disk really holds, and tell nobody more than that.

The mailbox is opened anew and its core state rebuilt from it. Each message of the failed tick is
looked up there: it is accepted, it is not, or - if it may have left before the commit - nobody can
say. A disk that keeps failing is asked ever more rarely, and while it is in trouble mail waits for
its commit instead of leaving early, so that a refusal is certain.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from mesh import limits
from mesh.core.effects import Accepted, Denied, Done
from mesh.core.events import Event, MailboxReleased, MailboxTaken
from mesh.core.node import Node
from mesh.core.snapshot import MailboxSnapshot
from mesh.driver.clock import now_s
from mesh.driver.merge import Merged
from mesh.driver.stores import Stores
from mesh.errors import DiskFullError, StoreError
from mesh.model import MailboxKey, MessageId, Profile

_log = logging.getLogger(__name__)
_DELAY_S_MIN: Final = 0.1
_DELAY_S_MAX: Final = 5.0

Reopen = Callable[[MailboxKey], MailboxSnapshot]
"""Closes and opens the store of a mailbox; runs on the store thread."""


class Report(Protocol):
    """Tells the application of an answer: its error, if any, and whether that is uncertain."""

    def __call__(
        self, answer: Accepted | Done, error: StoreError | None, *, uncertain: bool
    ) -> None: ...


@dataclass(slots=True)
class _Patient:
    """A mailbox that is out of use until its disk works again."""

    is_live: bool
    profile: Profile
    error: StoreError
    delay_s: float
    due_at: float


class DiskWatch:
    """Whether the disk below a directory can be expected to take what it is given."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._failed_at = -limits.disk_trust_s

    def note_failure(self) -> None:
        """A commit has failed."""
        self._failed_at = now_s()

    def is_trusted(self) -> bool:
        """Whether mail may leave before it is committed."""
        if now_s() - self._failed_at < limits.disk_trust_s:
            return False
        if not hasattr(os, "statvfs"):
            return True
        try:
            status = os.statvfs(self._path)
        except OSError:
            return False
        is_writable = not status.f_flag & os.ST_RDONLY
        return is_writable and status.f_bavail * status.f_frsize >= limits.disk_free_bytes_min


class Recovery:
    """Opens mailboxes again after failed commits; `run` must be running for the stubborn ones."""

    def __init__(
        self,
        core: Node,
        *,
        stores: Stores,
        reopen: Reopen,
        post_first: Callable[..., None],
        report: Report,
        disk: DiskWatch,
    ) -> None:
        self.disk = disk
        self._core = core
        self._stores = stores
        self._reopen = reopen
        self._post_first = post_first
        self._report = report
        self._patients: dict[MailboxKey, _Patient] = {}
        self._delays_s: dict[MailboxKey, float] = {}
        self._news = asyncio.Event()

    def succeeded(self, key: MailboxKey) -> None:
        """A commit went through: the next failure is met afresh."""
        self._delays_s.pop(key, None)

    def trouble(self, key: MailboxKey) -> StoreError | None:
        """Return why a mailbox is out of use for now; None if it is not for our reasons."""
        patient = self._patients.get(key)
        return patient.error if patient else None

    async def recover(self, key: MailboxKey, error: StoreError, merged: Merged) -> None:
        """Take a mailbox out of use, report on its messages, and bring it back."""
        _log.error("commit failed: %s", error)
        self.disk.note_failure()
        answers = [a for a in merged.answers if not isinstance(a, Denied) and a.mailbox == key]
        mailbox = self._core.mailboxes.get(key)
        if mailbox is None:  # Released in this very tick; its next holder asks the disk.
            self._report_all(answers, error, merged)
            return
        delay_s = self._delays_s.get(key, 0.0)
        self._delays_s[key] = min(max(2 * delay_s, _DELAY_S_MIN), _DELAY_S_MAX)
        patient = _Patient(mailbox.is_live, mailbox.profile, error, delay_s, now_s() + delay_s)
        snapshot = await self._reopened(key)
        if snapshot is None:
            self._report_all(answers, error, merged)
        else:
            for answer in answers:
                await self._look_up(key, answer, error, merged.left_early())
        if snapshot is not None and not delay_s:
            self._post_first(MailboxReleased(key), _taken(snapshot, patient))
            return
        self._post_first(MailboxReleased(key))
        self._patients[key] = patient
        self._news.set()

    async def run(self) -> None:
        """Bring back mailboxes whose disk failed more than once, until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._patients:
                key, patient = min(self._patients.items(), key=lambda item: item[1].due_at)
                await asyncio.sleep(max(0.0, patient.due_at - now_s()))
                await self._treat(key, patient)

    async def _treat(self, key: MailboxKey, patient: _Patient) -> None:
        if not self._stores.has(key):
            del self._patients[key]
            return
        snapshot = await self._reopened(key)
        if snapshot is None:
            patient.delay_s = min(max(2 * patient.delay_s, _DELAY_S_MIN), _DELAY_S_MAX)
            patient.due_at = now_s() + patient.delay_s
            return
        del self._patients[key]
        self._post_first(_taken(snapshot, patient))

    async def _reopened(self, key: MailboxKey) -> MailboxSnapshot | None:
        try:
            return await self._stores.run(lambda: self._reopen(key))
        except StoreError as exc:
            _log.error("a mailbox cannot be opened again: %s", exc)
            return None

    async def _look_up(
        self,
        key: MailboxKey,
        answer: Accepted | Done,
        error: StoreError,
        left_early: set[MessageId],
    ) -> None:
        if isinstance(answer, Done):
            self._report(answer, error, uncertain=False)
            return
        try:
            # All of an answer's messages are in one transaction.
            wanted = answer.message_ids[0]
            is_there = bool(await self._stores.use(key, lambda store: store.receipts(wanted)))
        except StoreError:
            self._report(answer, error, uncertain=True)
            return
        self._report(
            answer,
            None if is_there else error,
            uncertain=not is_there and not left_early.isdisjoint(answer.message_ids),
        )

    def _report_all(
        self, answers: list[Accepted | Done], error: StoreError, merged: Merged
    ) -> None:
        """Report without the disk: only a full one is known to have written nothing."""
        is_definite = isinstance(error, DiskFullError)
        left_early = merged.left_early()
        for answer in answers:
            may_be_out = isinstance(answer, Accepted) and (
                not is_definite or not left_early.isdisjoint(answer.message_ids)
            )
            self._report(answer, error, uncertain=may_be_out)


def _taken(snapshot: MailboxSnapshot, patient: _Patient) -> Event:
    return MailboxTaken(snapshot, patient.is_live, patient.profile)
