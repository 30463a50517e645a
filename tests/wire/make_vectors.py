"""Makes `tests/vectors/wire.json`: the bytes of one example of everything on the wire, as hex.

An implementation in another language must make and read the same bytes. They may only change with
the protocol version; new ones may be added: `python tests/wire/make_vectors.py`.
"""

import json
from pathlib import Path

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
    Profile,
    Why,
)
from mesh.packet import (
    Ack,
    AckItem,
    Announce,
    Gap,
    Greeting,
    Hint,
    Leave,
    Mail,
    MailItem,
    Noted,
    Packet,
    Peers,
    Ping,
    Pong,
    Verdict,
)
from mesh.wire import bodies, frames, greetings, keys, letters, packets

PATH = Path(__file__).parent.parent / "vectors" / "wire.json"
SIGNERS = {signer.key: signer for signer in map(keys.MailboxSigner, (b"a" * 32, b"b" * 32))}
ALICE, BOB = SIGNERS
NODES = {letter: keys.NodeSigner(letter * 32) for letter in (b"d", b"l")}
BODY = bodies.encode_body("hello", '{"k":1.0}', b"\0file")
INCARNATION = Incarnation(b"incarnat")
MESSAGE_ID = MessageId(b"message-id-of-16")
LETTER = Letter(
    message_id=MESSAGE_ID,
    kind=Kind.DIRECT,
    author=ALICE,
    author_name="alice",
    incarnation=INCARNATION,
    to="bob#0123ab",
    recipient=BOB,
    sequence=7,
    ttl_s=604_800.0,
    created_ms=1_790_000_000_000,
    reply_to=MessageId(b"earlier-message!"),
    is_urgent=True,
    is_auto=False,
    chain=(b"hop-1", b"hop-2"),
    body_digest=letters.body_digest(BODY),
    body_bytes=len(BODY),
)
CARD = Card(
    key=ALICE,
    name="alice",
    incarnation=INCARNATION,
    claim=3,
    is_live=True,
    claimed_s=12.5,
    registered_ms=1_790_000_000_000,
    profile=Profile("claude", "builds the parser", "inbox", "laptop", "parser (main)"),
    aliases=(Alias("alicia", 10.0, 7190.0), Alias("al", 9000.0, -1800.0)),
)
CURVE = CurveKey(b"curve-key-of-32-bytes-in-a-hint!")
PACKETS: dict[str, Packet] = {
    "announce": Announce((CARD,)),
    "mail": Mail(ALICE, (MailItem(LETTER, 5, 0.25, BODY),)),
    "ack": Ack(
        BOB,
        ALICE,
        INCARNATION,
        (
            AckItem(7, MESSAGE_ID, Verdict.DELIVERED),
            AckItem(8, MESSAGE_ID, Verdict.REFUSED, Why.EXPIRED),
        ),
    ),
    "gap": Gap(BOB, ALICE, INCARNATION, 6),
    "noted": Noted(ALICE, BOB, (MESSAGE_ID,)),
    "peers": Peers((Hint(CURVE, ("tcp://192.168.1.5:47600",), 3.5),)),
    "ping": Ping(42),
    "pong": Pong(42),
    "leave": Leave(),
}


def opening(letter: bytes) -> greetings.Opening:
    """Return the greeting of the dialler `d` or the listener `l`."""
    node = NODES[letter]
    return greetings.Opening(
        Greeting(
            version=1,
            node=node.id,
            host=HostId(b"h" * 16),
            curve=node.curve.public,
            endpoints=("ipc:///home/me/.claude-ipc/run/n.sock", "tcp://[fe80::1%eth0]:47600"),
            expected=NODES[b"l"].id if letter == b"d" else None,
        ),
        nonce=letter * 16,
        ephemeral=keys.LinkSecret(letter * 32).public,
        dialled=NODES[b"l"].curve.public,
    )


def sign(key: MailboxKey, message: bytes) -> bytes:
    return SIGNERS[key].sign(message)


def vectors() -> dict[str, str]:
    """Return every vector by its name."""
    mesh = keys.derive("correct horse battery staple", mesh="default")
    hello = greetings.encode_hello(opening(b"d"), signer=NODES[b"d"])
    welcome = greetings.encode_welcome(opening(b"l"), hello=hello, signer=NODES[b"l"])
    link = keys.link_keys(
        keys.LinkSecret(b"d" * 32),
        opening(b"l").ephemeral,
        hello=hello,
        welcome=welcome,
        mesh_keys=mesh,
        is_dialler=True,
    )
    found = {
        "mesh.aead": mesh.aead,
        "mesh.key_id": mesh.key_id,
        "mesh.link_root": mesh.link_root,
        "mesh.client": mesh.client.secret + mesh.client.public,
        "mesh.door": mesh.door.secret + mesh.door.public,
        "open.aead": keys.open_keys("default").aead,
        "node.id": NODES[b"d"].id,
        "node.curve": NODES[b"d"].curve.secret + NODES[b"d"].curve.public,
        "hello": hello,
        "welcome": welcome,
        "link.binding": link.binding,
        "link.dialler": link.seal_key_id + link.seal_key,
        "link.listener": link.open_key_id + link.open_key,
        "body": BODY,
        "body.digest": letters.body_digest(BODY),
        "letter": letters.encode(LETTER),
        "letter.digest": letters.digest(letters.encode(LETTER)),
    }
    for name, packet in PACKETS.items():
        found[f"packet.{name}"] = packets.encode(packet, sign=sign, binding=link.binding)
    plain = packets.pack([found["packet.ping"], found["packet.leave"]])
    found["envelope.plain"] = plain
    header, sealed = frames.seal(
        plain,
        key=link.seal_key,
        key_id=link.seal_key_id,
        nonce=b"n" * frames.NONCE_BYTES[frames.Suite.MAIL],
    )
    found["envelope.header"] = header
    found["envelope.sealed"] = sealed
    return {name: value.hex() for name, value in found.items()}


if __name__ == "__main__":
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(json.dumps(vectors(), indent=2) + "\n", encoding="utf-8")
