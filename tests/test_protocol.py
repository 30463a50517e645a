"""PROTOCOL.md against the code and the tests, and its byte formats by an independent hand.

The second half rebuilds keys, frames and signatures from the text of the rules with nothing but
primitives, and holds the result against `mesh.wire`.
"""

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import cbor2
import pytest
from nacl import bindings

import mesh
from mesh.core.link import TABLE, LinkSignal, LinkState
from mesh.driver.ciphers import Ciphers
from mesh.errors import MalformedError, PeerError, SignatureError
from mesh.model import CurveKey, LinkId, MailboxKey, fingerprint
from mesh.packet import Ack, AckItem, Announce, Mail, MailItem, Ping, Verdict
from mesh.wire import bodies, cards, codec, frames, greetings, keys, letters, packets
from mesh.wire.greetings import Opening
from tests.core.samples import ALICE, LIFE, card, greeting, item, message_id

PROTOCOL = Path(mesh.__file__).with_name("PROTOCOL.md")
ROOT = PROTOCOL.parent.parent
RULE = re.compile(r"\b([A-Z]{2,5}-[0-9]+)\b")
DEFINED = re.compile(r"^- ([A-Z]+-[0-9]+) ", re.MULTILINE)
ROW = re.compile(r"^\| (\w+) \| (\w+) \| (\w+) \|$", re.MULTILINE)
CITED = re.compile(r"PROTOCOL\.md ((?:[A-Z]+-[0-9]+(?:, | to | and )?)+)")


def rules() -> list[str]:
    return DEFINED.findall(PROTOCOL.read_text())


def citations(folder: str) -> dict[str, set[str]]:
    """Return the rules that the files of a folder cite, with the names of the files."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        for passage in CITED.findall(path.read_text()):
            for rule in _expanded(passage):
                found.setdefault(rule, set()).add(path.name)
    return found


def _expanded(passage: str) -> list[str]:
    """Return the rules of `IN-1 to IN-3, OUT-2`."""
    cited: list[str] = []
    for span in re.split(r", | and ", passage):
        ends = RULE.findall(span)
        if " to " in span and len(ends) == 2:
            family = ends[0].partition("-")[0]
            first, last = (int(end.partition("-")[2]) for end in ends)
            cited += [f"{family}-{n}" for n in range(first, last + 1)]
        else:
            cited += ends
    return cited


def test_rules_are_numbered_without_gaps_or_repetition():
    found = rules()
    assert len(found) == len(set(found))
    families = {rule.partition("-")[0] for rule in found}
    for family in families:
        numbers = [int(r.partition("-")[2]) for r in found if r.startswith(f"{family}-")]
        assert numbers == list(range(1, len(numbers) + 1)), family


def test_every_rule_is_cited_by_a_test():
    assert set(rules()) - set(citations("tests")) == set()


@pytest.mark.parametrize("folder", ["tests", "mesh", "mcp_bridge", "benchmarks"])
def test_every_citation_names_a_rule(folder):
    strange = {r: files for r, files in citations(folder).items() if r not in rules()}
    assert strange == {}


def test_the_link_table_of_the_protocol_is_that_of_the_code():
    """PROTOCOL.md LINK-4."""
    section = PROTOCOL.read_text().partition("## 5. Links")[2].partition("\n- LINK-1")[0]
    written = {
        (LinkState(state), LinkSignal(signal)): LinkState(becomes)
        for state, signal, becomes in ROW.findall(section)
        if state != "state"
    }
    assert written == TABLE


# An independent hand.


def blake(person: bytes, data: bytes, *, size: int = 32, key: bytes = b"") -> bytes:
    return hashlib.blake2b(data, digest_size=size, person=person, key=key).digest()


def cbor(value: object) -> bytes:
    return cbor2.dumps(value, canonical=True)


def sealed(plain: bytes, key: bytes) -> tuple[bytes, bytes]:
    header = b"MESH\x01\x01\x00" + blake(b"mesh1-keyid", b"", size=8, key=key) + b"n" * 24
    body = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plain, header, b"n" * 24, key)
    return header, body


BINDING = b"b" * 32
SEED = b"s" * 32
SIGNER = keys.MailboxSigner(SEED)


def signature(message: bytes) -> bytes:
    _, secret = bindings.crypto_sign_seed_keypair(SEED)
    return bindings.crypto_sign(message, secret)[:64]


def packet(head: list[object], *parts: bytes) -> bytes:
    return cbor([cbor(head), *parts])


def test_the_root_of_a_secret_is_its_argon2id():
    """PROTOCOL.md KEY-1, KEY-3, KEY-4, KEY-5."""
    root = bindings.crypto_pwhash_alg(
        32,
        "sécret-sécret".encode(),
        blake(b"mesh1-salt", b"team", size=16),
        3,
        64 * 1024 * 1024,
        bindings.crypto_pwhash_ALG_ARGON2ID13,
    )
    made = keys.derive("se\u0301cret-sécret", mesh="team")
    assert made.aead == blake(b"mesh1-frame", b"", key=root)
    assert made.link_root == blake(b"mesh1-link", b"", key=root)
    assert made.key_id == blake(b"mesh1-keyid", b"", size=8, key=made.aead)
    client = blake(b"mesh1-client", b"", key=root)
    door = blake(b"mesh1-door", b"", key=root)
    assert made.client.public == bindings.crypto_scalarmult_base(client)
    assert (made.client.secret, made.door.secret) == (client, door)


def test_an_open_mesh_has_a_well_known_root():
    """PROTOCOL.md KEY-2, KEY-3."""
    root = blake(b"mesh1-open", b"team")
    assert keys.open_keys("team").aead == blake(b"mesh1-frame", b"", key=root)


def test_a_fingerprint_is_a_hash_of_the_key():
    """PROTOCOL.md KEY-6."""
    assert fingerprint(ALICE) == blake(b"mesh1-finger", ALICE, size=16).hex()
    assert SIGNER.key == bindings.crypto_sign_seed_keypair(SEED)[0]


def test_an_envelope_is_a_header_and_what_is_sealed_under_it():
    """PROTOCOL.md FRAME-1, FRAME-2, KEY-4."""
    mesh_keys = keys.open_keys("team")
    made = sealed(b"plain", mesh_keys.aead)
    frames_ = frames.seal(b"plain", key=mesh_keys.aead, key_id=mesh_keys.key_id, nonce=b"n" * 24)
    assert tuple(frames_) == made
    assert frames.open_frame(made, key=mesh_keys.aead, key_id=mesh_keys.key_id) == b"plain"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda header, body: (header,),
        lambda header, body: (header, body, b""),
        lambda header, body: (header[:-1], body),
        lambda header, body: (header[:6] + b"\x01" + header[7:], body),
        lambda header, body: (header, body[:-1]),
        lambda header, body: (header, b"x" * (frames.plain_bytes_max + 17)),
        lambda header, body: (header[:-1] + b"x", body),
    ],
)
def test_an_envelope_that_is_anything_else_is_dropped(wrong):
    """PROTOCOL.md FRAME-3, SEAL-7."""
    made = keys.open_keys("team")
    with pytest.raises(PeerError):
        frames.open_frame(wrong(*sealed(b"p", made.aead)), key=made.aead, key_id=made.key_id)


def test_an_envelope_holds_packets_and_a_packet_a_head_with_parts():
    """PROTOCOL.md FRAME-4, FRAME-5: what a reader does not know it ignores."""
    ping = packet([9, 7, "a field of the future"], b"and a part")
    strange = packet([99])
    found = packets.unpack(cbor([ping, strange]))
    assert packets.decode(found[0], binding=BINDING) == Ping(7)
    with pytest.raises(packets.UnknownPacketError):
        packets.decode(found[1], binding=BINDING)


@pytest.mark.parametrize(
    "encoded",
    [
        b"\x18\x07",  # 7 in two bytes
        b"\x9f\x07\xff",  # indefinite length
        b"\xc1\x07",  # a tag
        b"\xa2\x01\x01\x01\x02",  # a key twice
        b"\x07\x07",  # trailing bytes
    ],
)
def test_only_canonical_cbor_is_read(encoded):
    """PROTOCOL.md FRAME-6."""
    with pytest.raises(MalformedError):
        codec.loads(encoded, bytes_max=100, depth_max=8)


NODE = keys.NodeSigner(SEED)


def opening(dialled: CurveKey, seed: bytes) -> Opening:
    public = bindings.crypto_scalarmult_base(seed)
    own = replace(greeting(), node=NODE.id, curve=NODE.curve.public)
    return Opening(own, b"n" * 16, public, dialled)


def fields(made: Opening) -> list[object]:
    g = made.greeting
    start = [g.version, g.host, list(g.endpoints), g.expected]
    return [*start, made.nonce, made.ephemeral, made.dialled, g.door]


def test_a_node_is_named_by_its_key_and_listens_under_it():
    """PROTOCOL.md KEY-5, KEY-7."""
    public, secret = bindings.crypto_sign_seed_keypair(SEED)
    assert NODE.id == blake(b"mesh1-node", public, size=16)
    curve = bindings.crypto_sign_ed25519_sk_to_curve25519(secret)
    assert (NODE.curve.secret, NODE.curve.public) == (curve, keys.node_curve(public))
    assert NODE.curve.public == bindings.crypto_scalarmult_base(curve)


def test_greetings_make_the_keys_of_a_link():
    """PROTOCOL.md KEY-7, SEAL-2, SEAL-3, SEAL-4, SEAL-5, SEAL-6."""
    mesh_keys = keys.open_keys("team")
    first, second = opening(CurveKey(b"c" * 32), b"1" * 32), opening(CurveKey(b"c" * 32), b"2" * 32)
    part = cbor(fields(first))
    hello = packet([1, SIGNER.key, signature(b"mesh1/hello\0" + part)], part)
    assert greetings.encode_hello(first, signer=NODE) == hello
    digest = blake(b"mesh1-greeting", hello)
    part = cbor([*fields(second), digest])
    welcome = packet([2, SIGNER.key, signature(b"mesh1/welcome\0" + part)], part)
    assert greetings.encode_welcome(second, hello=hello, signer=NODE) == welcome
    assert greetings.decode_welcome(welcome, hello=hello) == second
    with pytest.raises(SignatureError):
        greetings.decode_welcome(welcome, hello=hello + b"x")
    transcript = digest + blake(b"mesh1-greeting", welcome)
    shared = bindings.crypto_scalarmult(b"1" * 32, second.ephemeral)
    dialler = blake(b"mesh1-dialler", shared + transcript, key=mesh_keys.link_root)
    listener = blake(b"mesh1-listener", shared + transcript, key=mesh_keys.link_root)
    for secret, peer, is_dialler in ((b"1", second, True), (b"2", first, False)):
        made = keys.link_keys(
            keys.LinkSecret(secret * 32),
            peer.ephemeral,
            hello=hello,
            welcome=welcome,
            mesh_keys=mesh_keys,
            is_dialler=is_dialler,
        )
        expected = (dialler, listener) if is_dialler else (listener, dialler)
        assert (made.seal_key, made.open_key) == expected
        assert made.binding == blake(b"mesh1-binding", transcript)


def test_a_greeting_is_alone_in_its_envelope():
    """PROTOCOL.md SEAL-1, SEAL-7: `mesh.driver.ciphers` drops it otherwise."""
    mesh_keys = keys.open_keys("team")
    made = opening(NODE.curve.public, b"1" * 32)
    hello = greetings.encode_hello(made, signer=NODE)

    def ciphers() -> Ciphers:
        sign = lambda _key, message: SIGNER.sign(message)  # noqa: E731
        return Ciphers([mesh_keys], node=NODE, sign=sign, random=bytes)

    alone, crowd = (sealed(cbor(n * [hello]), mesh_keys.aead) for n in (1, 2))
    ((found,), unknown) = ciphers().open(LinkId(-1), alone, is_door=False)
    assert (found.greeting, unknown) == (made.greeting, 0)
    with pytest.raises(MalformedError):
        ciphers().open(LinkId(-1), crowd, is_door=False)
    with pytest.raises(SignatureError):
        ciphers().open(LinkId(-1), alone, is_door=True)


def test_cards_mail_and_acks_are_signed_for_their_link():
    """PROTOCOL.md SEAL-6, MAIL-1, MAIL-2, ACK-1."""
    own = card(SIGNER.key, "alice")
    part = cards.encode(own)
    announce = packet([3, [signature(b"mesh1/card\0" + BINDING + part)]], part)
    body = b"body"
    letter = item(3, author=SIGNER.key, body_digest=blake(b"mesh1-body", body)).letter
    header = letters.encode(letter)
    signed = b"mesh1/mail\0" + BINDING + 2 * blake(b"mesh1-letter", header)
    mail = packet([4, SIGNER.key, signature(signed), [[2, 5], [2, 5]]], header, body, header, body)
    verdicts = cbor([ALICE, LIFE, [[1, 1, 0, message_id(1)]]])
    ack = packet([5, SIGNER.key, signature(b"mesh1/ack\0" + BINDING + verdicts)], verdicts)
    expected = (
        Announce((own,)),
        Mail(SIGNER.key, 2 * (MailItem(letter, 2, 0.005, body),)),
        Ack(SIGNER.key, ALICE, LIFE, (AckItem(1, message_id(1), Verdict.DELIVERED),)),
    )
    for encoded, value in zip((announce, mail, ack), expected, strict=True):
        assert packets.decode(encoded, binding=BINDING) == value
        with pytest.raises(SignatureError):
            packets.decode(encoded, binding=b"x" * 32)


@pytest.mark.parametrize(
    ("changes", "previous", "body"),
    [
        ({"recipient": None}, 0, b"body"),
        ({"sequence": 0}, 0, b"body"),
        ({"author": MailboxKey(b"x" * 32)}, 0, b"body"),
        ({}, 3, b"body"),
        ({}, 0, b"beau"),
        ({}, 0, b"bod"),
    ],
)
def test_one_wrong_letter_spoils_its_packet(changes, previous, body):
    """PROTOCOL.md MAIL-2, MAIL-3."""
    good = {"author": SIGNER.key, "body_digest": blake(b"mesh1-body", b"body")}
    header = letters.encode(replace(item(3).letter, **{**good, **changes}))
    signed = b"mesh1/mail\0" + BINDING + blake(b"mesh1-letter", header)
    encoded = packet([4, SIGNER.key, signature(signed), [[previous, 0]]], header, body)
    with pytest.raises(MalformedError):
        packets.decode(encoded, binding=BINDING)


def test_a_body_is_a_map_of_content_data_and_attachment():
    """PROTOCOL.md MAIL-4."""
    encoded = cbor({"content": "hi", "data": "[1]", "attachment": b"x", "future": 1})
    assert bodies.decode_body(encoded) == bodies.Body("hi", "[1]", b"x")
    with pytest.raises(MalformedError):
        bodies.decode_body(cbor({"data": "[1]"}))
