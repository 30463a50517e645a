"""Waiting for messages that have been accepted, and the exit codes that follow."""

from mesh.cli.command import Exit
from mesh.cli.session import Visit
from mesh.driver.surface import ReceiptSurface
from mesh.errors import TransportError

_ARRIVED = frozenset({"delivered", "shown"})
_ENDED = frozenset({"refused", "expired"})


async def outcome(visit: Visit, receipt: ReceiptSurface, *, wait_s: float | None) -> Exit:
    """Wait for an accepted message and return the exit code.

    Without `wait_s` the message gets a moment to arrive, and being accepted is enough. The message
    was accepted whatever happens to the session meanwhile, so this never asks for another try.
    """
    try:
        if wait_s is None:
            await visit.settle(receipt)
        else:
            await receipt.wait("delivered", wait_s)
    except TransportError:
        pass  # The mailbox keeps it; the next holder delivers it.
    states = {recipient.state for recipient in receipt.recipients}
    if states & _ENDED:
        return Exit.FAILED
    if wait_s is not None and not states <= _ARRIVED:
        return Exit.NOT_DELIVERED
    return Exit.DONE
