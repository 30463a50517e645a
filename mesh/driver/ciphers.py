"""What is secret about each link: opening its first greetings, then sealing under its own key.

A link begins under the mesh key (hello, welcome); both greetings together make the link key, and
everything after is sealed under that (PROTOCOL.md SEAL-1 to SEAL-6). Only the bytes are handled
here; what a greeting means is the core's business.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mesh import limits
from mesh.errors import MalformedError, SignatureError
from mesh.model import CurveKey, LinkId, MailboxKey
from mesh.packet import Greeting, Hello, Packet, Welcome
from mesh.wire import frames, greetings, packets
from mesh.wire.frames import Suite
from mesh.wire.greetings import NONCE_BYTES, Opening
from mesh.wire.keys import KEY_BYTES, LinkKeys, LinkSecret, MeshKeys, NodeSigner, link_keys

RandomBytes = Callable[[int], bytes]
Sign = Callable[[MailboxKey, bytes], bytes]


@dataclass(slots=True)
class _Cipher:
    """One link. `keys` is None until both greetings are known."""

    mesh_keys: MeshKeys
    dialled: CurveKey
    hello: bytes
    secret: LinkSecret | None = None
    ephemeral: bytes = b""
    keys: LinkKeys | None = None


class Ciphers:
    """Seals and opens what goes over the links.

    `mesh_keys` are the current ones, then older ones; `node` signs this node's greetings, `sign`
    for the mailboxes it holds.
    """

    def __init__(
        self, mesh_keys: Sequence[MeshKeys], *, node: NodeSigner, sign: Sign, random: RandomBytes
    ) -> None:
        self._mesh_keys = tuple(mesh_keys)
        self._node = node
        self._sign = sign
        self._random = random
        self._links: dict[LinkId, _Cipher] = {}
        self._by_key_id: dict[bytes, LinkId] = {}

    def hello(
        self, link: LinkId, greeting: Greeting, *, dialled: CurveKey | None
    ) -> tuple[bytes, bytes]:
        """Return the first envelope of a link that we dial (`dialled` None: a door)."""
        mesh_keys = self._mesh_keys[0]
        secret = LinkSecret(self._random(KEY_BYTES))
        met = mesh_keys.door.public if dialled is None else dialled
        opening = Opening(greeting, self._random(NONCE_BYTES), secret.public, met)
        data = greetings.encode_hello(opening, signer=self._node)
        self._links[link] = _Cipher(mesh_keys, met, data, secret)
        return self._seal_greeting(mesh_keys, data)

    def welcome(self, link: LinkId, greeting: Greeting) -> tuple[bytes, bytes]:
        """Return the answer to the hello that came over `link`; its keys are known from now on."""
        cipher = self._links[link]
        secret = LinkSecret(self._random(KEY_BYTES))
        opening = Opening(greeting, self._random(NONCE_BYTES), secret.public, cipher.dialled)
        data = greetings.encode_welcome(opening, hello=cipher.hello, signer=self._node)
        keys = link_keys(
            secret,
            cipher.ephemeral,
            hello=cipher.hello,
            welcome=data,
            mesh_keys=cipher.mesh_keys,
            is_dialler=False,
        )
        self._set_keys(link, cipher, keys)
        return self._seal_greeting(cipher.mesh_keys, data)

    def encode(self, link: LinkId, plain_packets: Sequence[Packet]) -> list[bytes]:
        """Encode packets for an open link, each as its own part of an envelope to come."""
        keys = self._links[link].keys
        assert keys is not None
        return [
            packets.encode(packet, sign=self._sign, binding=keys.binding)
            for packet in plain_packets
        ]

    def envelope(self, link: LinkId, encoded: Sequence[bytes]) -> tuple[bytes, bytes]:
        """Seal encoded packets into one envelope."""
        keys = self._links[link].keys
        assert keys is not None
        plain = packets.pack(encoded)
        is_large = len(plain) >= limits.bulk_bytes_min
        suite = frames.suite_for_bulk if is_large else Suite.MAIL
        is_bulk = suite is Suite.BULK
        return frames.seal(
            plain,
            key=keys.bulk_seal.key if is_bulk else keys.seal_key,
            key_id=keys.bulk_seal.id if is_bulk else keys.seal_key_id,
            nonce=self._random(frames.NONCE_BYTES[suite]),
            suite=suite,
        )

    def open(
        self, link: LinkId, parts: Sequence[bytes], *, is_door: bool
    ) -> tuple[list[Packet], int]:
        """Return the packets of an envelope, and how many were of an unknown kind.

        Raises:
            PeerError: the envelope is to be dropped.
        """
        key_id = frames.peek_key_id(parts)
        cipher = self._links.get(link)
        if cipher is not None and cipher.keys is not None:
            return self._open_traffic(cipher.keys, key_id, parts)
        mesh_keys = next((keys for keys in self._mesh_keys if keys.key_id == key_id), None)
        if mesh_keys is None:
            raise SignatureError("sealed under a key we do not hold")
        plain = frames.open_frame(parts, key=mesh_keys.aead, key_id=key_id)
        encoded = packets.unpack(plain)
        if len(encoded) != 1:
            raise MalformedError("a greeting comes alone")
        if cipher is None:
            return ([self._take_hello(link, encoded[0], mesh_keys, is_door=is_door)], 0)
        return ([self._take_welcome(link, cipher, encoded[0])], 0)

    def retire_previous(self) -> list[LinkId]:
        """Accept the current secret only from now on; return the links that an older one made."""
        self._mesh_keys = self._mesh_keys[:1]
        return [
            link for link, cipher in self._links.items() if cipher.mesh_keys not in self._mesh_keys
        ]

    def knows(self, link: LinkId) -> bool:
        """Whether a hello went over `link`, in either direction, and it has not ended."""
        return link in self._links

    def is_open(self, link: LinkId) -> bool:
        """Whether packets can be sealed for `link`."""
        cipher = self._links.get(link)
        return cipher is not None and cipher.keys is not None

    def link_of(self, key_id: bytes) -> LinkId | None:
        """Return which open link a key is for that others seal with."""
        return self._by_key_id.get(key_id)

    def share(self, link: LinkId, lane: LinkId) -> None:
        """Let a second connection use the keys of an open link, until it is dropped itself."""
        self._links[lane] = self._links[link]

    def drop(self, link: LinkId) -> None:
        """Forget a link that has ended, or a second connection of one."""
        cipher = self._links.pop(link, None)
        if cipher is not None and cipher.keys is not None:
            for key_id in cipher.keys.open_ids:
                if self._by_key_id.get(key_id) == link:
                    del self._by_key_id[key_id]

    def _open_traffic(
        self, keys: LinkKeys, key_id: bytes, parts: Sequence[bytes]
    ) -> tuple[list[Packet], int]:
        if key_id == keys.open_key_id:
            plain = frames.open_frame(parts, key=keys.open_key, key_id=key_id)
        elif key_id == keys.bulk_open.id:
            key = keys.bulk_open.key
            plain = frames.open_frame(parts, key=key, key_id=key_id, suite=Suite.BULK)
        else:
            raise SignatureError("not sealed under the key of this link")
        known: list[Packet] = []
        unknown = 0
        for data in packets.unpack(plain):
            try:
                known.append(packets.decode(data, binding=keys.binding))
            except packets.UnknownPacketError:
                unknown += 1
        return (known, unknown)

    def _take_hello(
        self, link: LinkId, data: bytes, mesh_keys: MeshKeys, *, is_door: bool
    ) -> Packet:
        opening = greetings.decode_hello(data)
        met = mesh_keys.door.public if is_door else self._node.curve.public
        if opening.dialled != met:
            raise SignatureError("a hello that was meant for another socket")
        self._links[link] = _Cipher(mesh_keys, met, data, ephemeral=opening.ephemeral)
        return Hello(opening.greeting)

    def _take_welcome(self, link: LinkId, cipher: _Cipher, data: bytes) -> Packet:
        if cipher.secret is None:
            raise MalformedError("a second hello")
        opening = greetings.decode_welcome(data, hello=cipher.hello)
        is_door = cipher.dialled == cipher.mesh_keys.door.public
        if opening.dialled != cipher.dialled or not (
            is_door or opening.greeting.curve == cipher.dialled
        ):
            raise SignatureError("a welcome from another socket than the one dialled")
        keys = link_keys(
            cipher.secret,
            opening.ephemeral,
            hello=cipher.hello,
            welcome=data,
            mesh_keys=cipher.mesh_keys,
            is_dialler=True,
        )
        self._set_keys(link, cipher, keys)
        return Welcome(opening.greeting)

    def _set_keys(self, link: LinkId, cipher: _Cipher, keys: LinkKeys) -> None:
        cipher.keys = keys
        for key_id in keys.open_ids:
            self._by_key_id[key_id] = link

    def _seal_greeting(self, mesh_keys: MeshKeys, data: bytes) -> tuple[bytes, bytes]:
        return frames.seal(
            packets.pack([data]),
            key=mesh_keys.aead,
            key_id=mesh_keys.key_id,
            nonce=self._random(frames.NONCE_BYTES[Suite.MAIL]),
        )
