"""What an examination finds, and how it stays within its time.

Whatever may block for longer than the doctor has (a dead network file system, a resolver that is
not there) runs on a thread of its own that dies with the process: nothing waits for it.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal, TypeVar

from mesh.errors import MeshError

Result = TypeVar("Result")
Standing = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `mend` says in a sentence what to do, empty if nothing."""

    check: str
    status: Standing
    finding: str
    mend: str = ""

    def to_json(self) -> dict[str, str]:
        """Return the finding as the contract has it."""
        return {
            "check": self.check,
            "status": self.status,
            "finding": self.finding,
            "mend": self.mend,
        }


def ok(check: str, finding: str, mend: str = "") -> Finding:
    """Return a finding that is as it should be."""
    return Finding(check, "ok", finding, mend)


def warn(check: str, finding: str, mend: str) -> Finding:
    """Return a finding that costs something but stops nothing."""
    return Finding(check, "warn", finding, mend)


def fail(check: str, finding: str, mend: str) -> Finding:
    """Return a finding that keeps the mesh from working here."""
    return Finding(check, "fail", finding, mend)


async def in_time(work: Callable[[], Result], *, timeout_s: float) -> Result:
    """Perform blocking work on a thread that nobody waits for once its time is up.

    Raises:
        TimeoutError: it takes longer.
    """
    outcome: Future[Result] = Future()

    def perform() -> None:
        try:
            result = work()
        except BaseException as exc:  # noqa: BLE001 - raised again where it is awaited
            outcome.set_exception(exc)
        else:
            outcome.set_result(result)

    outcome.set_running_or_notify_cancel()  # A late result must not find it cancelled.
    threading.Thread(target=perform, name="doctor", daemon=True).start()
    async with asyncio.timeout(timeout_s):
        return await asyncio.wrap_future(outcome)


async def examine(check: str, work: Awaitable[list[Finding]], *, timeout_s: float) -> list[Finding]:
    """Return what `work` finds; that it fails, or takes too long, is a finding as well."""
    try:
        async with asyncio.timeout(timeout_s):
            return await work
    except TimeoutError:
        return [
            warn(
                check,
                f"This could not be examined within {timeout_s:g} seconds.",
                "Look for what blocks it: a dead network drive, or a machine under heavy load.",
            )
        ]
    except Exception as exc:  # noqa: BLE001 - a doctor reports what it trips over
        return [
            warn(
                check,
                f"This could not be examined: {describe(exc)}.",
                "Report this as a fault of mesh doctor if the other findings do not explain it.",
            )
        ]


def describe(error: BaseException) -> str:
    """Say what went wrong, whatever it is: our own errors are sentences, others need their type."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = str(error).removesuffix(".")
    if isinstance(error, MeshError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
