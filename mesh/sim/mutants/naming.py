"""Mistakes about names and keys."""

from collections.abc import Sequence
from dataclasses import replace

from mesh import limits
from mesh.core.changes import (
    BindOutbox,
    Change,
    PutPin,
)
from mesh.core.events import Event, PacketReceived
from mesh.core.snapshot import MailboxSnapshot
from mesh.packet import Announce
from mesh.sim.tamper import Tamper


class AliasForever(Tamper):
    """A former name forwards for ever."""

    def event(self, event: Event) -> Event:
        """Stretch what others announce."""
        if isinstance(event, PacketReceived) and isinstance(event.packet, Announce):
            cards = tuple(
                replace(
                    c,
                    aliases=tuple(
                        replace(a, since_s=0.0, until_s=limits.alias_s) for a in c.aliases
                    ),
                )
                for c in event.packet.cards
            )
            return replace(event, packet=Announce(cards))
        return event


class PinsForgotten(Tamper):
    """A binding is sent but the letter stays unbound on disk."""

    def changes(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Drop bindings."""
        return [change for change in changes if not isinstance(change, BindOutbox | PutPin)]


class PinsReplaced(Tamper):
    """The last one to use a name has it: pins are forgotten at a restart."""

    def snapshot(self, snapshot: MailboxSnapshot) -> MailboxSnapshot:
        """Hide the pins."""
        return replace(snapshot, pins={})
