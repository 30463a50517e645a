"""A member gone bad: holds the secret, speaks the wire by hand, keeps to no rule."""

import asyncio
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

import zmq

from mesh.model import (
    Alias,
    Card,
    CurveKey,
    HostId,
    Incarnation,
    Kind,
    Letter,
    MailboxKey,
    MessageId,
    NodeId,
    Profile,
)
from mesh.packet import Announce, Greeting, Hello, Mail, MailItem, Packet, Welcome
from mesh.wire import bodies, frames, greetings, heads, letters, packets
from mesh.wire.frames import Suite
from mesh.wire.greetings import Opening
from mesh.wire.keys import (
    LinkKeys,
    LinkSecret,
    MailboxSigner,
    MeshKeys,
    NodeSigner,
    derive,
    link_keys,
    open_keys,
)

PATIENCE_S = 5.0
PAUSE_S = 0.003
P = TypeVar("P", bound=Packet)


@dataclass(frozen=True)
class Target:
    """A live node, as its run file tells."""

    node: NodeId
    pid: int
    curve: CurveKey
    endpoint: str

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.endpoint.removeprefix("tcp://").rpartition(":")
        return host, int(port)


def target(home: Path, pid: int | None = None) -> Target:
    """Return the (only) node of a host, or the one with `pid`."""
    for path in sorted((home / "run").glob("*.json")):
        fields = json.loads(path.read_text())
        if pid in {None, fields["pid"]}:
            endpoint = next(e for e in fields["endpoints"] if e.startswith("tcp:"))
            node, curve = NodeId(bytes.fromhex(path.stem)), CurveKey(bytes.fromhex(fields["curve"]))
            return Target(node, fields["pid"], curve, endpoint)
    raise LookupError(f"no node of process {pid} in {home}")


class Line:
    """One link of the insider's, dialled or accepted."""

    def __init__(
        self,
        insider: "Insider",
        socket: zmq.Socket[bytes],
        keys: LinkKeys,
        greeting: Greeting,
        routing_id: bytes | None = None,
        *,
        peer_key: bytes,
    ) -> None:
        self._insider = insider
        self._socket = socket
        self._routing_id = routing_id
        self.keys = keys
        self.greeting = greeting
        self.peer_key = peer_key
        self.sent: list[Sequence[bytes]] = []
        self.heard: list[Packet] = []
        self.raw: list[bytes] = []
        self.received: list[Sequence[bytes]] = []

    def seal(self, *encoded: bytes) -> tuple[bytes, bytes]:
        """Seal whatever bytes as an envelope of this link."""
        plain = packets.pack(encoded)
        keys = self.keys
        return frames.seal(plain, key=keys.seal_key, key_id=keys.seal_key_id, nonce=os.urandom(24))

    def encode(self, packet: Packet) -> bytes:
        return packets.encode(packet, sign=self._insider.sign, binding=self.keys.binding)

    async def send(self, *some: Packet) -> None:
        await self.send_frames(self.seal(*[self.encode(packet) for packet in some]))

    async def send_frames(self, parts: Sequence[bytes]) -> None:
        self.sent.append(parts)
        whole = list(parts) if self._routing_id is None else [self._routing_id, *parts]
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    self._socket.send_multipart(whole, zmq.NOBLOCK)
                except zmq.Again:
                    await asyncio.sleep(PAUSE_S)
                else:
                    return

    def open(self, parts: Sequence[bytes]) -> list[Packet]:
        self.received.append(parts)
        key, key_id, suite = self.keys.open_key, self.keys.open_key_id, Suite.MAIL
        if frames.peek_key_id(parts) == self.keys.bulk_open.id:
            key, key_id, suite = self.keys.bulk_open.key, self.keys.bulk_open.id, Suite.BULK
        plain = frames.open_frame(parts, key=key, key_id=key_id, suite=suite)
        found = []
        for data in packets.unpack(plain):
            self.raw.append(data)
            with suppress(packets.UnknownPacketError):
                found.append(packets.decode(data, binding=self.keys.binding))
        self.heard += found
        return found

    async def hear(self, for_s: float) -> list[Packet]:
        """Return what comes within `for_s`."""
        loop = asyncio.get_running_loop()
        deadline, found = loop.time() + for_s, []
        while loop.time() < deadline:
            while self._socket.poll(0):
                parts = self._socket.recv_multipart()
                if self._routing_id is not None:
                    parts = parts[1:]
                if len(parts) == 2:
                    found += self.open(parts)
            await asyncio.sleep(PAUSE_S)
        return found

    async def hear_of(self, kind: type[P], within_s: float = PATIENCE_S) -> P:
        """Return the first packet of a kind."""
        async with asyncio.timeout(within_s):
            while True:
                for packet in await self.hear(0.02):
                    if isinstance(packet, kind):
                        return packet

    async def is_closed(self, within_s: float = PATIENCE_S) -> bool:
        """Whether the other side says that it has no use for this link."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        while loop.time() < deadline:
            while self._socket.poll(0):
                if self._socket.recv_multipart() == [b"\x01"]:
                    return True
            await asyncio.sleep(PAUSE_S)
        return False

    def close(self) -> None:
        self._socket.close(linger=0)


class Insider:
    """Makes links, cards and letters of any content."""

    def __init__(self, secret: str | None, mesh: str) -> None:
        keys = open_keys(mesh) if secret is None else derive(secret, mesh=mesh)
        self.mesh: MeshKeys = keys
        self.me = MailboxSigner(os.urandom(32))
        self.others: dict[MailboxKey, MailboxSigner] = {}
        self.signer = NodeSigner(os.urandom(32))
        self.host = HostId(os.urandom(16))
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._lines: list[Line] = []
        self.listening: zmq.Socket[bytes] | None = None

    @property
    def key(self) -> MailboxKey:
        return self.me.key

    def another(self) -> MailboxKey:
        """Make one more identity of one's own."""
        signer = MailboxSigner(os.urandom(32))
        self.others[signer.key] = signer
        return signer.key

    def sign(self, key: MailboxKey, message: bytes) -> bytes:
        """Sign as asked; for keys of others with one's own, as that is all an insider can do."""
        return self.others.get(key, self.me).sign(message)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for line in self._lines:
            line.close()
        if self.listening is not None:
            self.listening.close(linger=0)
        self.context.destroy(linger=0)

    # Links.

    def dealer(self, curve: bytes, *, routing_id: bytes = b"") -> zmq.Socket[bytes]:
        """Return a socket with the team's client key."""
        socket = self.context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDHWM, 100_000)
        socket.setsockopt(zmq.ROUTING_ID, routing_id or b"x" + os.urandom(15))
        socket.setsockopt(zmq.CURVE_SERVERKEY, curve)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self.mesh.client.secret)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self.mesh.client.public)
        return socket

    def greeting(self, **changes: object) -> Greeting:
        values: dict[str, object] = {
            "version": 1,
            "node": self.signer.id,
            "host": self.host,
            "curve": self.signer.curve.public,
            "endpoints": (),
        }
        return Greeting(**{**values, **changes})  # type: ignore[arg-type]

    async def dial(
        self,
        to: Target,
        *,
        cards: Sequence[Card] | None = None,
        source: str = "",
        signer: NodeSigner | None = None,
        posing_as: bytes | None = None,
        **greeting: object,
    ) -> Line:
        """Open a link and announce `cards` (default: one's own, called mallory).

        `posing_as` is the node key of somebody else, put in the place of one's own.
        """
        socket = self.dealer(to.curve)
        at = f"{source}:0;" if source else ""
        socket.connect(to.endpoint.replace("tcp://", f"tcp://{at}"))
        secret = LinkSecret(os.urandom(32))
        signer = signer or self.signer
        own = self.greeting(node=signer.id, curve=signer.curve.public, **greeting)
        opening = Opening(own, os.urandom(16), secret.public, to.curve)
        hello = posed(greetings.encode_hello(opening, signer=signer), posing_as)
        socket.send_multipart(self._seal(hello))
        try:
            parts = await _receive(socket)
        except TimeoutError:
            socket.close(linger=0)
            raise
        (welcome,) = packets.unpack(
            frames.open_frame(parts, key=self.mesh.aead, key_id=self.mesh.key_id)
        )
        answer = greetings.decode_welcome(welcome, hello=hello)
        keys = link_keys(
            secret,
            answer.ephemeral,
            hello=hello,
            welcome=welcome,
            mesh_keys=self.mesh,
            is_dialler=True,
        )
        line = Line(self, socket, keys, answer.greeting, peer_key=node_key(welcome))
        self._lines.append(line)
        await line.send(Announce(tuple([self.card()] if cards is None else cards)))
        return line

    def listen(self, *, is_door: bool = False) -> str:
        """Listen like a node, or like a host's door, with no gate; return the endpoint."""
        socket = self.context.socket(zmq.ROUTER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        pair = self.mesh.door if is_door else self.signer.curve
        socket.setsockopt(zmq.CURVE_SECRETKEY, pair.secret)
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        self.listening = socket
        return f"tcp://127.0.0.1:{port}"

    async def accept(
        self,
        *,
        cards: Sequence[Card] | None = (),
        within_s: float = 10.0,
        posing_as: bytes | None = None,
        **greeting: object,
    ) -> Line:
        """Welcome whoever dials and announce `cards` (None: nothing at all)."""
        assert self.listening is not None
        async with asyncio.timeout(within_s):
            while True:
                while not self.listening.poll(0):
                    await asyncio.sleep(PAUSE_S)
                routing_id, *parts = self.listening.recv_multipart()
                if len(parts) == 2:
                    break
        (hello,) = packets.unpack(
            frames.open_frame(parts, key=self.mesh.aead, key_id=self.mesh.key_id)
        )
        theirs = greetings.decode_hello(hello)
        secret = LinkSecret(os.urandom(32))
        own = self.greeting(**greeting)
        opening = Opening(own, os.urandom(16), secret.public, theirs.dialled)
        welcome = greetings.encode_welcome(opening, hello=hello, signer=self.signer)
        welcome = posed(welcome, posing_as)
        keys = link_keys(
            secret,
            theirs.ephemeral,
            hello=hello,
            welcome=welcome,
            mesh_keys=self.mesh,
            is_dialler=False,
        )
        self.listening.send_multipart([routing_id, *self._seal(welcome)])
        peer_key = node_key(hello)
        line = Line(self, self.listening, keys, theirs.greeting, routing_id, peer_key=peer_key)
        if cards is not None:
            await line.send(Announce(tuple(cards)))
        return line

    def heard_nothing_but_hellos(self) -> bool:
        """Whether everything that lies at the listening socket is a greeting."""
        assert self.listening is not None
        key_ids = set()
        while self.listening.poll(0):
            _, *parts = self.listening.recv_multipart()
            if len(parts) == 2:
                key_ids.add(frames.peek_key_id(parts))
        return key_ids <= {self.mesh.key_id}

    def hello_frames(self, to: Target, **greeting: object) -> tuple[bytes, bytes]:
        """Return a hello that leads nowhere, as nobody keeps its secret."""
        own = self.greeting(**greeting)
        opening = Opening(own, os.urandom(16), LinkSecret(os.urandom(32)).public, to.curve)
        return self._seal(greetings.encode_hello(opening, signer=self.signer))

    def _seal(self, data: bytes) -> tuple[bytes, bytes]:
        plain = packets.pack([data])
        mesh = self.mesh
        return frames.seal(plain, key=mesh.aead, key_id=mesh.key_id, nonce=os.urandom(24))

    # Claims and mail.

    def card(self, name: str = "mallory", **changes: object) -> Card:
        values: dict[str, object] = {
            "key": self.key,
            "name": name,
            "incarnation": Incarnation(b"i" * 8),
            "claim": 1,
            "is_live": True,
            "claimed_s": 0.0,
            "registered_ms": 0,
            "profile": Profile(),
            "aliases": (),
        }
        return Card(**{**values, **changes})  # type: ignore[arg-type]

    def alias_card(self, alias: str, name: str = "mallory", **changes: object) -> Card:
        return self.card(name, aliases=(Alias(alias, 10.0, 7000.0),), **changes)

    def letter(
        self, to: MailboxKey, sequence: int, content: str = "evil", **changes: object
    ) -> tuple[Letter, bytes]:
        body = bodies.encode_body(content, None)
        values: dict[str, object] = {
            "message_id": MessageId(os.urandom(16)),
            "kind": Kind.DIRECT,
            "author": self.key,
            "author_name": "mallory",
            "incarnation": Incarnation(b"i" * 8),
            "to": "bob",
            "recipient": to,
            "sequence": sequence,
            "ttl_s": 3600.0,
            "created_ms": 0,
            "reply_to": None,
            "is_urgent": False,
            "is_auto": False,
            "chain": (),
            "body_digest": letters.body_digest(body),
            "body_bytes": len(body),
        }
        return Letter(**{**values, **changes}), body  # type: ignore[arg-type]

    def mail(self, some: Iterable[tuple[Letter, bytes]], *, previous: int = 0) -> Mail:
        items = []
        author = self.key
        for letter, body in some:
            items.append(MailItem(letter, previous, 0.0, body))
            author, previous = letter.author, letter.sequence
        return Mail(author, tuple(items))


def node_key(greeting: bytes) -> bytes:
    """Return the key of the node that signed a greeting."""
    _, head, _ = heads.split(greeting)
    return bytes(head[1])  # type: ignore[call-overload]  # Decoded before.


def posed(greeting: bytes, key: bytes | None) -> bytes:
    """Put another node's key into a greeting, where the signature still is one's own."""
    kind, head, parts = heads.split(greeting)
    return heads.join(heads.PacketKind(kind), (key or head[1], head[2]), parts)


async def _receive(socket: zmq.Socket[bytes]) -> list[bytes]:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            while not socket.poll(0):
                await asyncio.sleep(PAUSE_S)
            parts = socket.recv_multipart()
            if parts == [b"\x01"]:
                raise TimeoutError("the other side has no use for this link")
            if len(parts) == 2:
                return parts


__all__ = ["Hello", "Insider", "Line", "Target", "Welcome", "target"]
