"""What the applications of a simulated process are told, and what they wait for."""

from collections.abc import Mapping

from mesh.core.effects import Answer, Denied
from mesh.core.events import Token
from mesh.model import MailboxKey
from mesh.sim.disk import Disk
from mesh.sim.history import History, Outcome, Sending, Violation
from mesh.sim.tamper import Tamper
from mesh.sim.tick import Tick


class Answers:
    """The requests under way in one process; `disks` are those it holds."""

    def __init__(self, history: History, tamper: Tamper, disks: Mapping[MailboxKey, Disk]) -> None:
        self._history = history
        self._tamper = tamper
        self._disks = disks
        self._pending: dict[Token, Sending] = {}

    def expect(self, token: Token, sending: Sending) -> None:
        """An application sends a message and waits."""
        self._history.invoked(sending)
        self._pending[token] = sending

    def give(self, tick: Tick) -> None:
        """Tell what a tick has made true."""
        for effects in tick.effects:
            for answer in effects.answers:
                self._tell(answer, tick)
            for arrival in effects.arrivals:
                disk = None if arrival.mailbox in tick.failed else self._disks.get(arrival.mailbox)
                if disk is not None and arrival.letter.message_id not in disk.contents.inbox:
                    raise Violation("the application was told of mail that is not on disk")

    def lose(self) -> None:
        """The process has died: nobody is told anything."""
        for sending in self._pending.values():
            self._history.answered(sending, Outcome.UNKNOWN, None)

    def _tell(self, answer: Answer, tick: Tick) -> None:
        """Answer the application; after a failed commit the disk is asked (facts, not hopes)."""
        sending = self._pending.pop(answer.token, None)
        if sending is None:
            return
        disk = self._disks.get(sending.author)
        if isinstance(answer, Denied):
            outcome = Outcome.FAILED
        elif sending.author in tick.failed:
            doubt = Outcome.UNKNOWN if self._tamper.is_honest else Outcome.FAILED
            outcome = doubt if tick.has_left(sending.id) else Outcome.FAILED
            outcome = Outcome.OK if disk and disk.rows_of(sending.id) else outcome
        else:
            outcome = Outcome.OK
        self._history.answered(sending, outcome, disk)
