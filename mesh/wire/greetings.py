"""Hello and welcome as bytes: a greeting and what the link's keys are made of.

    [kind, version, node, host, curve, endpoints, expected or null, nonce, ephemeral key,
     dialled curve key]           and in a welcome: digest of the hello

Both are sealed under the mesh key. `dialled` is the CURVE key that the dialling side used, or that
the listening side was met at; each side must compare it with its own view, so that a member who
passes greetings on through its own socket is found out.
"""

from dataclasses import dataclass
from typing import Final

from mesh.errors import MalformedError, SignatureError
from mesh.model import CurveKey, HostId, NodeId
from mesh.packet import Greeting
from mesh.wire.codec import array, integer, octets
from mesh.wire.heads import PacketKind, decode_endpoints, encode_endpoints, join, split
from mesh.wire.keys import greeting_digest

NONCE_BYTES: Final = 16
_VERSION_MAX: Final = 0xFFFF
_FIELDS: Final = 10


@dataclass(frozen=True, slots=True)
class Opening:
    """A greeting with 16 random bytes, one half of the link's secret, and the key met."""

    greeting: Greeting
    nonce: bytes
    ephemeral: bytes
    dialled: CurveKey


def encode_hello(opening: Opening) -> bytes:
    """Return the hello; keep the bytes, the link's keys are made of them."""
    return join(PacketKind.HELLO, _fields(opening))


def encode_welcome(opening: Opening, *, hello: bytes) -> bytes:
    """Return the welcome that answers `hello`; keep the bytes, the link's keys are made of them."""
    return join(PacketKind.WELCOME, (*_fields(opening), greeting_digest(hello)))


def decode_hello(data: bytes) -> Opening:
    """Return what the hello says.

    Raises:
        OversizeError: larger than the protocol allows.
        MalformedError: anything else that is wrong.
    """
    return _opening(_head(data, PacketKind.HELLO))


def decode_welcome(data: bytes, *, hello: bytes) -> Opening:
    """Return what the welcome that answers `hello` says.

    Raises:
        OversizeError: larger than the protocol allows.
        SignatureError: it answers another hello.
        MalformedError: anything else that is wrong.
    """
    head = array(_head(data, PacketKind.WELCOME), items_min=_FIELDS + 1)
    if octets(head[_FIELDS], 32) != greeting_digest(hello):
        raise SignatureError("a welcome to another hello")
    return _opening(head)


def _head(data: bytes, expected: PacketKind) -> list[object]:
    kind, head, _ = split(data)
    if kind != expected:
        raise MalformedError(f"not a {expected.name.lower()}")
    return head


def _fields(opening: Opening) -> tuple[object, ...]:
    greeting = opening.greeting
    return (
        greeting.version,
        greeting.node,
        greeting.host,
        greeting.curve,
        encode_endpoints(greeting.endpoints),
        greeting.expected,
        opening.nonce,
        opening.ephemeral,
        opening.dialled,
    )


def _opening(head: list[object]) -> Opening:
    _, version, node, host, curve, endpoints, expected, nonce, ephemeral, dialled, *_ = array(
        head, items_min=_FIELDS
    )
    return Opening(
        Greeting(
            version=integer(version, 0, _VERSION_MAX),
            node=NodeId(octets(node, 16)),
            host=HostId(octets(host, 16)),
            curve=CurveKey(octets(curve, 32)),
            endpoints=decode_endpoints(endpoints),
            expected=None if expected is None else NodeId(octets(expected, 16)),
        ),
        octets(nonce, NONCE_BYTES),
        octets(ephemeral, 32),
        CurveKey(octets(dialled, 32)),
    )
