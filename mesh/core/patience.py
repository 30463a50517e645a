"""Which writes nobody waits for, so that they may share the next commit.

They are verdicts of others, who repeat them if we forget, doors that will be met again, and what a
reader has seen: forgotten in a crash, it is shown once more. What says that they are done waits
with them (see `mesh.core.effects`).
"""

from mesh.core.changes import Change, MarkShown, MarkTold, PutPeer, SettleOutbox, SettleShown
from mesh.model import State
from mesh.packet import Ack, Noted, Packet, Verdict


def is_repeatable(change: Change) -> bool:
    """Whether a change may be lost in a crash, because it comes again."""
    match change:
        case SettleOutbox(state=state):
            return state is not State.EXPIRED
        case SettleShown() | MarkShown() | MarkTold() | PutPeer():
            return True
        case _:
            return False


def is_patient(packet: Packet) -> bool:
    """Whether an answer to a peer may wait for the next commit: mail does not wait for it."""
    match packet:
        case Noted():
            return True
        case Ack():
            return all(item.verdict is Verdict.SHOWN for item in packet.items)
        case _:
            return False
