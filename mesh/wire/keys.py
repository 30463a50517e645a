"""Everything secret or signed: keys from the team's secret, link keys, keys of nodes and mailboxes.

    secret --Argon2id--> root --keyed BLAKE2b--> frame key, link root, seeds of CURVE keys

The parameters decide the keys, so they are fixed per protocol version and never negotiated. Open
mode has a well-known root and otherwise runs the same code. A link has its own two keys, one for
each direction, from an ephemeral exchange bound to both greetings: who replays or relays a greeting
learns no link key, and a frame sent back to its sender opens nothing.

Key ids follow from the keys they name, so choosing a key by its id commits to that key.
"""

import hashlib
import unicodedata
from dataclasses import dataclass, field
from typing import Final

from nacl import bindings
from nacl.exceptions import BadSignatureError, CryptoError

from mesh.errors import ConfigError, MalformedError, SignatureError
from mesh.model import CurveKey, MailboxKey, NodeId

KEY_BYTES: Final = 32
KEY_ID_BYTES: Final = 8
SIGNATURE_BYTES: Final = 64
BINDING_BYTES: Final = 32

_ARGON2_PASSES: Final = 3
_ARGON2_MEMORY_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class CurvePair:
    """A key pair of a CURVE socket, raw."""

    public: CurveKey
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class MeshKeys:
    """What all members of a mesh share. `door` is the CURVE pair that static peers meet."""

    key_id: bytes
    aead: bytes = field(repr=False)
    link_root: bytes = field(repr=False)
    client: CurvePair
    door: CurvePair


@dataclass(frozen=True, slots=True)
class FrameKey:
    """A key that seals envelopes, and the id by which they ask for it."""

    id: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class LinkKeys:
    """The keys of one side of a link; `binding` names the link in signatures.

    `bulk_seal` and `bulk_open` are those of the suite for large envelopes.
    """

    binding: bytes
    seal_key_id: bytes
    open_key_id: bytes
    seal_key: bytes = field(repr=False)
    open_key: bytes = field(repr=False)
    bulk_seal: FrameKey
    bulk_open: FrameKey

    @property
    def open_ids(self) -> tuple[bytes, bytes]:
        """The ids of the keys under which the other side seals."""
        return (self.open_key_id, self.bulk_open.id)


def derive(secret: str, *, mesh: str) -> MeshKeys:
    """Return the keys of the mesh `mesh` with a secret. Takes about 0.1 s and 64 MiB.

    Raises:
        ConfigError: not encodable as UTF-8.
    """
    root = bindings.crypto_pwhash_alg(
        KEY_BYTES,
        _utf8(secret, what="shared secret"),
        hashlib.blake2b(
            _utf8(mesh, what="mesh name"), digest_size=16, person=b"mesh1-salt"
        ).digest(),
        _ARGON2_PASSES,
        _ARGON2_MEMORY_BYTES,
        bindings.crypto_pwhash_ALG_ARGON2ID13,
    )
    return _expand(root)


def open_keys(mesh: str) -> MeshKeys:
    """Return the keys of the open mesh `mesh`, which everybody knows.

    Raises:
        ConfigError: not encodable as UTF-8.
    """
    name = _utf8(mesh, what="mesh name")
    return _expand(hashlib.blake2b(name, digest_size=KEY_BYTES, person=b"mesh1-open").digest())


def curve_pair(seed: bytes) -> CurvePair:
    """Return the CURVE pair that follows from 32 random or derived bytes."""
    return CurvePair(CurveKey(bindings.crypto_scalarmult_base(seed)), seed)


class LinkSecret:
    """One side's half of a link: an ephemeral X25519 pair made of 32 random bytes, used once."""

    __slots__ = ("_secret", "public")

    def __init__(self, seed: bytes) -> None:
        assert len(seed) == KEY_BYTES
        self._secret = seed
        self.public = bindings.crypto_scalarmult_base(seed)

    def shared_with(self, peer_public: bytes) -> bytes:
        """Return the secret shared with the holder of the other half.

        Raises:
            MalformedError: no proper public key.
        """
        if len(peer_public) != KEY_BYTES:
            raise MalformedError("an ephemeral key of the wrong size")
        try:
            return bindings.crypto_scalarmult(self._secret, peer_public)
        except CryptoError as exc:
            raise MalformedError("an ephemeral key that shares nothing") from exc


def link_keys(
    own_secret: LinkSecret,
    peer_public: bytes,
    *,
    hello: bytes,
    welcome: bytes,
    mesh_keys: MeshKeys,
    is_dialler: bool,
) -> LinkKeys:
    """Return the keys of a link from its greetings, exactly as their packets were sent.

    Raises:
        MalformedError: `peer_public` is no proper public key.
    """
    shared = own_secret.shared_with(peer_public)
    transcript = greeting_digest(hello) + greeting_digest(welcome)
    binding = hashlib.blake2b(
        transcript, digest_size=BINDING_BYTES, person=b"mesh1-binding"
    ).digest()
    dialler = _subkey(mesh_keys.link_root, b"mesh1-dialler", shared + transcript)
    listener = _subkey(mesh_keys.link_root, b"mesh1-listener", shared + transcript)
    seal, open_ = (dialler, listener) if is_dialler else (listener, dialler)
    return LinkKeys(
        binding, _key_id(seal), _key_id(open_), seal, open_, _bulk_key(seal), _bulk_key(open_)
    )


def greeting_digest(packet: bytes) -> bytes:
    """Return the digest by which a welcome names the hello it answers."""
    return hashlib.blake2b(packet, digest_size=32, person=b"mesh1-greeting").digest()


class NodeSigner:
    """Signs the greetings of one node, made of a seed of 32 random bytes.

    The node's id and the key of its listening socket both follow from the signing key, so whoever
    signs as a node has its id, and nobody else can say to listen under its socket's key.
    """

    __slots__ = ("_secret", "curve", "id", "key")

    def __init__(self, seed: bytes) -> None:
        assert len(seed) == KEY_BYTES
        self.key, self._secret = bindings.crypto_sign_seed_keypair(seed)
        self.id = node_id(self.key)
        self.curve = curve_pair(bindings.crypto_sign_ed25519_sk_to_curve25519(self._secret))

    def sign(self, message: bytes) -> bytes:
        """Return the signature of `message`, 64 bytes."""
        return bindings.crypto_sign(message, self._secret)[:SIGNATURE_BYTES]


def node_id(key: bytes) -> NodeId:
    """Return the id of the node whose signing key is `key`."""
    return NodeId(hashlib.blake2b(key, digest_size=16, person=b"mesh1-node").digest())


def node_curve(key: bytes) -> CurveKey:
    """Return the public CURVE key of the node whose signing key is `key`.

    Raises:
        MalformedError: no proper signing key.
    """
    try:
        return CurveKey(bindings.crypto_sign_ed25519_pk_to_curve25519(key))
    except CryptoError as exc:
        raise MalformedError("a node key that is none") from exc


class MailboxSigner:
    """Signs for one mailbox, whose identity is the Ed25519 key made of a seed of 32 bytes."""

    __slots__ = ("_secret", "key")

    def __init__(self, seed: bytes) -> None:
        assert len(seed) == KEY_BYTES
        public, self._secret = bindings.crypto_sign_seed_keypair(seed)
        self.key = MailboxKey(public)

    def sign(self, message: bytes) -> bytes:
        """Return the signature of `message`, 64 bytes."""
        return bindings.crypto_sign(message, self._secret)[:SIGNATURE_BYTES]


def verify(key: bytes, message: bytes, signature: bytes) -> None:
    """Return if `signature` was made of `message` by the holder of `key`.

    Raises:
        SignatureError: it was not.
    """
    if len(key) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        raise SignatureError("a key or signature of the wrong size")
    try:
        bindings.crypto_sign_open(signature + message, key)
    except BadSignatureError as exc:
        raise SignatureError("a signature that does not verify") from exc


def _expand(root: bytes) -> MeshKeys:
    aead = _subkey(root, b"mesh1-frame")
    return MeshKeys(
        key_id=_key_id(aead),
        aead=aead,
        link_root=_subkey(root, b"mesh1-link"),
        client=curve_pair(_subkey(root, b"mesh1-client")),
        door=curve_pair(_subkey(root, b"mesh1-door")),
    )


def _bulk_key(key: bytes) -> FrameKey:
    bulk = _subkey(key, b"mesh1-bulk")
    return FrameKey(_key_id(bulk), bulk)


def _subkey(root: bytes, label: bytes, material: bytes = b"") -> bytes:
    return hashlib.blake2b(material, key=root, digest_size=KEY_BYTES, person=label).digest()


def _key_id(key: bytes) -> bytes:
    return hashlib.blake2b(b"", key=key, digest_size=KEY_ID_BYTES, person=b"mesh1-keyid").digest()


def _utf8(text: str, *, what: str) -> bytes:
    try:
        return unicodedata.normalize("NFC", text).encode()
    except UnicodeEncodeError as exc:
        raise ConfigError(f"The {what} is not valid UTF-8.") from exc
