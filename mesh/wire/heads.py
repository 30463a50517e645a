"""The common shape of packets: an array of byte strings, the first of which is the head.

The *head* is a small array that begins with the kind; it tells how many of the parts behind
it belong to it. Further fields and further parts are ignored.
"""

from collections.abc import Sequence
from enum import IntEnum

from mesh import limits
from mesh.errors import MalformedError
from mesh.wire import codec
from mesh.wire.frames import plain_bytes_max


class PacketKind(IntEnum):
    """The first field of every head. Numbers are never reused."""

    HELLO = 1
    WELCOME = 2
    ANNOUNCE = 3
    MAIL = 4
    ACK = 5
    GAP = 6
    NOTED = 7
    PEERS = 8
    PING = 9
    PONG = 10
    LEAVE = 11
    OFFER = 12
    WANT = 13
    CHUNK = 14
    HAVE = 15
    DECLINE = 16
    SPOOLING = 17


def join(kind: PacketKind, fields: Sequence[object], parts: Sequence[bytes] = ()) -> bytes:
    """Return the packet made of a head and its parts."""
    return codec.pack((codec.dumps((int(kind), *fields)), *parts))


def split(data: bytes) -> tuple[int, list[object], list[bytes]]:
    """Return the kind of a packet, its head with the kind in front, and its parts.

    Raises:
        OversizeError: larger than the protocol allows.
        MalformedError: anything else that is wrong.
    """
    start, *parts = codec.unpack(data, bytes_max=plain_bytes_max, parts_max=limits.packet_parts_max)
    head = codec.array(load_small(start), items_min=1)
    return codec.integer(head[0], 0, codec.INTEGER_MAX), head, parts


def load_small(part: bytes) -> object:
    """Decode a head, or a part of the same size and depth.

    Raises:
        OversizeError: larger than the protocol allows.
        MalformedError: anything else that is wrong.
    """
    return codec.loads(
        part, bytes_max=limits.packet_head_bytes_max, depth_max=limits.cbor_depth_max
    )


def encode_endpoints(endpoints: Sequence[str]) -> list[str]:
    """Return the endpoints that may travel: the first ones that fit the limits."""
    fitting = [endpoint for endpoint in endpoints if _is_endpoint(endpoint)]
    return fitting[: limits.endpoints_per_node_max]


def decode_endpoints(value: object) -> tuple[str, ...]:
    """Return `value` as a list of endpoints.

    Raises:
        MalformedError: something else.
    """
    items = codec.array(value, items_max=limits.endpoints_per_node_max)
    return tuple([_endpoint(item) for item in items])


def _is_endpoint(endpoint: str) -> bool:
    return 0 < len(endpoint) <= limits.endpoint_chars_max and endpoint.isprintable()


def _endpoint(value: object) -> str:
    if not isinstance(value, str) or not _is_endpoint(value):
        raise MalformedError("not an endpoint")
    return value
