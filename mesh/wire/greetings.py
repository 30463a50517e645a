"""Hello and welcome as bytes: a greeting, signed by its node, and what the link's keys are made of.

    head    [kind, node key, signature]
    part    [version, host, endpoints, expected or null, nonce, ephemeral key,
             dialled curve key, door]     and in a welcome: digest of the hello

Both are sealed under the mesh key. The node's id and its curve key follow from the node key, so
neither can be claimed by anybody else. `dialled` is the CURVE key that the dialling side used, or
that the listening side was met at; each side must compare it with its own view, so that a member
who passes greetings on through its own socket is found out.
"""

from dataclasses import dataclass
from typing import Final

from mesh.errors import MalformedError, SignatureError
from mesh.model import CurveKey, HostId, NodeId
from mesh.packet import Greeting
from mesh.wire.codec import array, dumps, integer, octets
from mesh.wire.heads import (
    PacketKind,
    decode_endpoints,
    encode_endpoints,
    join,
    load_small,
    split,
)
from mesh.wire.keys import (
    SIGNATURE_BYTES,
    NodeSigner,
    greeting_digest,
    node_curve,
    node_id,
    verify,
)

NONCE_BYTES: Final = 16
_VERSION_MAX: Final = 0xFFFF
_PORT_MAX: Final = 0xFFFF
_FIELDS: Final = 8
_LABELS: Final = {PacketKind.HELLO: b"mesh1/hello\0", PacketKind.WELCOME: b"mesh1/welcome\0"}


@dataclass(frozen=True, slots=True)
class Opening:
    """A greeting with 16 random bytes, one half of the link's secret, and the key met."""

    greeting: Greeting
    nonce: bytes
    ephemeral: bytes
    dialled: CurveKey


def encode_hello(opening: Opening, *, signer: NodeSigner) -> bytes:
    """Return the hello; keep the bytes, the link's keys are made of them."""
    return _encode(PacketKind.HELLO, opening, _fields(opening), signer)


def encode_welcome(opening: Opening, *, hello: bytes, signer: NodeSigner) -> bytes:
    """Return the welcome that answers `hello`; keep the bytes, the link's keys are made of them."""
    fields = (*_fields(opening), greeting_digest(hello))
    return _encode(PacketKind.WELCOME, opening, fields, signer)


def decode_hello(data: bytes) -> Opening:
    """Return what the hello says.

    Raises:
        OversizeError: larger than the protocol allows.
        SignatureError: not signed by the node it names.
        MalformedError: anything else that is wrong.
    """
    opening, _ = _decode(data, PacketKind.HELLO, fields=_FIELDS)
    return opening


def decode_welcome(data: bytes, *, hello: bytes) -> Opening:
    """Return what the welcome that answers `hello` says.

    Raises:
        OversizeError: larger than the protocol allows.
        SignatureError: not signed by the node it names, or it answers another hello.
        MalformedError: anything else that is wrong.
    """
    opening, fields = _decode(data, PacketKind.WELCOME, fields=_FIELDS + 1)
    if octets(fields[_FIELDS], 32) != greeting_digest(hello):
        raise SignatureError("a welcome to another hello")
    return opening


def _encode(
    kind: PacketKind, opening: Opening, fields: tuple[object, ...], signer: NodeSigner
) -> bytes:
    greeting = opening.greeting
    assert (greeting.node, greeting.curve) == (signer.id, signer.curve.public)
    part = dumps(fields)
    return join(kind, (signer.key, signer.sign(_LABELS[kind] + part)), (part,))


def _fields(opening: Opening) -> tuple[object, ...]:
    greeting = opening.greeting
    return (
        greeting.version,
        greeting.host,
        encode_endpoints(greeting.endpoints),
        greeting.expected,
        opening.nonce,
        opening.ephemeral,
        opening.dialled,
        greeting.door,
    )


def _decode(data: bytes, expected: PacketKind, *, fields: int) -> tuple[Opening, list[object]]:
    kind, head, parts = split(data)
    if kind != expected or not parts:
        raise MalformedError(f"not a {expected.name.lower()}")
    _, key_field, signature, *_ = array(head, items_min=3)
    key = octets(key_field, 32)
    verify(key, _LABELS[expected] + parts[0], octets(signature, SIGNATURE_BYTES))
    found = array(load_small(parts[0]), items_min=fields)
    return _opening(key, found), found


def _opening(key: bytes, fields: list[object]) -> Opening:
    version, host, endpoints, expected, nonce, ephemeral, dialled, door, *_ = fields
    return Opening(
        Greeting(
            version=integer(version, 0, _VERSION_MAX),
            node=node_id(key),
            host=HostId(octets(host, 16)),
            curve=node_curve(key),
            endpoints=decode_endpoints(endpoints),
            expected=None if expected is None else NodeId(octets(expected, 16)),
            door=integer(door, 0, _PORT_MAX),
        ),
        octets(nonce, NONCE_BYTES),
        octets(ephemeral, 32),
        CurveKey(octets(dialled, 32)),
    )
