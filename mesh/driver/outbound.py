"""Carries out what a tick wants sent: packets become envelopes, rows become mail."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from mesh import limits
from mesh.core.effects import Transmission
from mesh.core.link import SELF_LINK
from mesh.driver.ciphers import Ciphers
from mesh.driver.lanes import Lanes
from mesh.driver.merge import Answering, Merged
from mesh.driver.stores import Stores
from mesh.model import LinkId, MailboxKey, NodeId
from mesh.net.interface import Transport
from mesh.packet import Greeting, Mail, MailItem, Offer, Packet, Welcome
from mesh.store.interface import StoredLetter

Letters = Mapping[tuple[MailboxKey, int], StoredLetter]


class Outbound:
    """Sends over the transport; what a node sends to itself is returned by `take_looped`."""

    def __init__(
        self,
        *,
        transport: Transport,
        ciphers: Ciphers,
        stores: Stores,
        greeting: Greeting,
        place_of: Callable[[MailboxKey, bytes], bytes] = lambda *_: b"",
    ) -> None:
        self._transport = transport
        self._ciphers = ciphers
        self.lanes = Lanes(transport, ciphers)
        self._stores = stores
        self._greeting = greeting
        self._place_of = place_of
        self._looped: list[Packet] = []

    async def at_once(self, merged: Merged) -> None:
        """Send everything that need not wait for the commit."""
        for link in merged.closes:
            self._ciphers.drop(link)
            self._transport.close_link(link)
        for dial in merged.dials:
            self._transport.dial(dial.link, endpoint=dial.endpoint, curve=dial.curve)
            greeting = self._own_greeting(expected=dial.expected)
            hello = self._ciphers.hello(dial.link, greeting, dialled=dial.curve)
            self._transport.send(dial.link, hello)
            self.lanes.dialled(dial)
        outgoing = list(merged.packets)
        outgoing += await self._mail(merged.transmissions, merged.fresh)
        self._send(outgoing)

    async def after_commit(self, merged: Merged, failed: Iterable[MailboxKey]) -> None:
        """Send what the commit has made true, except for mailboxes whose commit failed."""
        lost = set(failed)
        outgoing = [(link, packet) for link, key, packet in merged.acks if key not in lost]
        waiting = [t for t in merged.transmissions_after if t.mailbox not in lost]
        outgoing += await self._mail(waiting, merged.fresh)
        self._send(outgoing)

    def answer(self, acks: Iterable[Answering]) -> None:
        """Send verdicts that are durable."""
        self._send((link, packet) for link, _, packet in acks)

    def send(self, link: LinkId, packet: Packet) -> None:
        """Send one packet to another node, outside any tick."""
        assert link != SELF_LINK
        self._send_packets(link, [packet])

    def take_looped(self) -> list[Packet]:
        """Return and forget what was sent to this very node."""
        looped, self._looped = self._looped, []
        return looped

    async def _mail(
        self, transmissions: list[Transmission], fresh: Letters
    ) -> list[tuple[LinkId, Packet]]:
        if not transmissions:
            return []
        unknown = [t for t in transmissions if not _all_in(t, fresh)]
        loaded = await self._stores.load(unknown) if unknown else {}
        batches: dict[tuple[LinkId, MailboxKey], list[MailItem]] = {}
        for transmission in transmissions:
            items = batches.setdefault((transmission.link, transmission.mailbox), [])
            for row, previous, age_s in transmission.letters:
                key = (transmission.mailbox, row)
                stored = fresh.get(key) or loaded.get(key)
                if stored is not None:
                    items.append(MailItem(stored.letter, previous, age_s, stored.body))
        return [
            (link, Mail(mailbox, part))
            for (link, mailbox), items in batches.items()
            for part in _parts(items)
        ]

    def _send(self, outgoing: Iterable[tuple[LinkId, Packet]]) -> None:
        by_link: dict[LinkId, list[Packet]] = {}
        for link, packet in map(self._placed, outgoing):
            if link == SELF_LINK:
                self._looped.append(packet)
            else:
                by_link.setdefault(link, []).append(packet)
        for link, packets in by_link.items():
            self._send_packets(link, packets)

    def _placed(self, outgoing: tuple[LinkId, Packet]) -> tuple[LinkId, Packet]:
        """Let an offer say where its file lies."""
        link, packet = outgoing
        if isinstance(packet, Offer):
            return (link, replace(packet, place=self._place_of(packet.author, packet.file.digest)))
        return outgoing

    def _send_packets(self, link: LinkId, packets: list[Packet]) -> None:
        if not self._ciphers.knows(link):
            return  # It was lost after its hello had come in and before that was answered.
        if isinstance(packets[0], Welcome):
            welcome = self._ciphers.welcome(link, self._own_greeting(expected=None))
            self._transport.send(link, welcome)
            packets = packets[1:]
        if not packets or not self._ciphers.is_open(link):
            return
        by_connection: dict[LinkId, list[Packet]] = {}
        for packet in packets:
            connection = self.lanes.connection_for(link, packet)
            by_connection.setdefault(connection, []).append(packet)
        for connection, of_connection in by_connection.items():
            self._send_envelopes(connection, of_connection)

    def _send_envelopes(self, link: LinkId, packets: list[Packet]) -> None:
        envelope: list[bytes] = []
        size = 0
        for encoded in self._ciphers.encode(link, packets):
            is_full = len(envelope) >= limits.packets_per_envelope_max
            if envelope and (is_full or size + len(encoded) > limits.batch_bytes_max):
                self._transport.send(link, self._ciphers.envelope(link, envelope))
                envelope, size = [], 0
            envelope.append(encoded)
            size += len(encoded)
        self._transport.send(link, self._ciphers.envelope(link, envelope))

    def _own_greeting(self, *, expected: NodeId | None) -> Greeting:
        greeting = self._greeting
        return Greeting(
            version=greeting.version,
            node=greeting.node,
            host=greeting.host,
            curve=greeting.curve,
            endpoints=self._transport.endpoints,
            expected=expected,
            door=self._transport.door_port,
        )


def _all_in(transmission: Transmission, letters: Letters) -> bool:
    return all((transmission.mailbox, row) in letters for row, _, _ in transmission.letters)


def _parts(items: list[MailItem]) -> Iterable[tuple[MailItem, ...]]:
    """Cut a batch so that each part fits one packet."""
    part: list[MailItem] = []
    size = 0
    for item in items:
        is_full = len(part) >= limits.batch_letters_max
        if part and (is_full or size + len(item.body) > limits.batch_bytes_max):
            yield tuple(part)
            part, size = [], 0
        part.append(item)
        size += len(item.body)
    if part:
        yield tuple(part)
