"""Hypothesis strategies for every value that travels, and the signers that belong to them."""

from hypothesis import strategies as st

from mesh import limits
from mesh.model import (
    RESERVED_NAMES,
    Alias,
    Card,
    CurveKey,
    FileRef,
    HostId,
    Incarnation,
    Kind,
    Letter,
    MailboxKey,
    MessageId,
    NodeId,
    Profile,
    Why,
    fold,
)
from mesh.packet import (
    Ack,
    AckItem,
    Announce,
    Chunk,
    Decline,
    Gap,
    Greeting,
    Have,
    Hint,
    Leave,
    Mail,
    MailItem,
    Noted,
    Offer,
    Peers,
    Ping,
    Pong,
    Verdict,
    Want,
)
from mesh.wire.codec import INTEGER_MAX
from mesh.wire.greetings import Opening
from mesh.wire.keys import MailboxSigner, NodeSigner
from mesh.wire.letters import body_digest, created_ms_max

SIGNERS = {signer.key: signer for signer in (MailboxSigner(bytes([n]) * 32) for n in range(4))}
BINDING = bytes(range(32))
NODE = NodeSigner(b"n" * 32)


def sign(key: MailboxKey, message: bytes) -> bytes:
    return SIGNERS[key].sign(message)


def octets(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


def durations(high_s: float = 1e9) -> st.SearchStrategy[float]:
    return st.integers(0, int(high_s * 1000)).map(lambda ms: ms / 1000)


numbers = st.integers(0, INTEGER_MAX)
times_ms = st.integers(0, created_ms_max)
names = st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True).filter(
    lambda name: fold(name) not in RESERVED_NAMES
)
addresses = st.one_of(
    names, st.builds("{}#{}".format, names, st.from_regex(r"[0-9a-f]{6,32}", fullmatch=True))
)
keys = octets(32).map(MailboxKey)
curves = octets(32).map(CurveKey)
signers = st.sampled_from(sorted(SIGNERS))
message_ids = octets(16).map(MessageId)
incarnations = octets(8).map(Incarnation)
endpoints = st.lists(
    st.text(st.characters(codec="ascii", min_codepoint=33), min_size=1, max_size=60).filter(
        str.isprintable
    ),
    max_size=limits.endpoints_per_node_max,
).map(tuple)


files = st.builds(
    FileRef,
    octets(32),
    st.integers(1, INTEGER_MAX),
    st.text(st.characters(codec="utf-8"), max_size=limits.file_name_bytes_max // 4),
)
keys_or_none = st.none() | keys


@st.composite
def letters(draw, author=keys, recipient=keys_or_none, sequence=numbers, body=None):
    content = draw(st.binary(max_size=50)) if body is None else body
    return Letter(
        message_id=draw(message_ids),
        kind=draw(st.sampled_from(Kind)),
        author=draw(author),
        author_name=draw(names),
        incarnation=draw(incarnations),
        to=draw(addresses),
        recipient=draw(recipient),
        sequence=draw(sequence),
        ttl_s=draw(durations(limits.ttl_s_max)),
        created_ms=draw(times_ms),
        reply_to=draw(st.none() | message_ids),
        is_urgent=draw(st.booleans()),
        is_auto=draw(st.booleans()),
        chain=draw(st.lists(st.binary(min_size=1, max_size=32), max_size=4).map(tuple)),
        body_digest=body_digest(content),
        body_bytes=len(content),
        file=draw(st.none() | files),
    )


def texts(chars_max: int) -> st.SearchStrategy[str]:
    return st.text(st.characters(codec="utf-8"), max_size=chars_max)


profiles = st.builds(Profile, texts(64), texts(200), texts(64), texts(64), texts(64))
aliases = st.builds(
    Alias,
    names,
    durations(),
    st.builds(lambda s, sign: s * sign, durations(), st.sampled_from((1, -1))),
)


def cards(key=keys):
    return st.builds(
        Card,
        key=key,
        name=names,
        incarnation=incarnations,
        claim=numbers,
        is_live=st.booleans(),
        claimed_s=durations(),
        registered_ms=times_ms,
        profile=profiles,
        aliases=st.lists(aliases, max_size=limits.aliases_per_card_max).map(tuple),
    )


@st.composite
def mail_items(draw, author):
    body = draw(st.binary(max_size=50))
    letter = draw(
        letters(
            author=st.just(author), recipient=keys, sequence=st.integers(1, INTEGER_MAX), body=body
        )
    )
    return MailItem(letter, draw(st.integers(0, letter.sequence - 1)), draw(durations()), body)


mails = signers.flatmap(
    lambda author: st.builds(
        Mail, st.just(author), st.lists(mail_items(author), min_size=1, max_size=4).map(tuple)
    )
)
acks = st.builds(
    Ack,
    signers,
    keys,
    incarnations,
    st.lists(
        st.builds(
            AckItem,
            st.integers(1, INTEGER_MAX),
            message_ids,
            st.sampled_from(Verdict),
            st.sampled_from(Why),
        ),
        min_size=1,
        max_size=5,
    ).map(tuple),
)
packets = st.one_of(
    st.builds(Announce, st.lists(cards(signers), max_size=3).map(tuple)),
    mails,
    acks,
    st.builds(Gap, keys, keys, incarnations, numbers),
    st.builds(Noted, keys, keys, st.lists(message_ids, max_size=5).map(tuple)),
    st.builds(
        Peers, st.lists(st.builds(Hint, curves, endpoints, durations()), max_size=3).map(tuple)
    ),
    st.builds(Ping, numbers),
    st.builds(Pong, numbers),
    st.builds(Offer, signers, keys, files, st.binary(max_size=80)),
    st.builds(Want, keys, keys, octets(32), numbers, st.integers(0, limits.chunk_bytes_max)),
    st.builds(Chunk, keys, keys, octets(32), numbers, st.binary(min_size=1, max_size=60)),
    st.builds(Have, signers, keys, octets(32)),
    st.builds(Decline, signers, keys, octets(32), st.sampled_from(Why)),
    st.just(Leave()),
)
openings = st.builds(
    Opening,
    st.builds(
        Greeting,
        st.integers(0, 0xFFFF),
        st.just(NODE.id),
        octets(16).map(HostId),
        st.just(NODE.curve.public),
        endpoints,
        st.none() | octets(16).map(NodeId),
        st.integers(0, 0xFFFF),
    ),
    octets(16),
    octets(32),
    curves,
)
"""Greetings of `NODE`."""


@st.composite
def mutations(draw, original: bytes) -> bytes:
    """Any bytes, or the original with a few bytes changed, removed or added."""
    if draw(st.booleans()):
        data = bytearray(original)
        for _ in range(draw(st.integers(1, 3))):
            place = draw(st.integers(0, len(data)))
            data[place : place + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
        return bytes(data)
    return draw(st.binary(max_size=80))
