"""A little of the fuzzing that `python -m tests.fuzz` does at length."""

import random
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh import limits
from mesh.errors import PeerError
from mesh.wire import bodies, cards, codec, frames, greetings, heads, letters, packets
from tests.fuzz.__main__ import SLOW_S, fuzz, name
from tests.fuzz.targets import BINDING, KEY, KEY_ID, ME, OTHERS, QUICK, WIRE, Databases


@pytest.mark.parametrize("target", QUICK, ids=name)
def test_no_input_of_a_few_thousand_crashes_or_takes_long(target) -> None:
    (score,) = fuzz({target: 1000}, seed=random.randrange(2**40)).values()
    assert score.crashes == 0
    assert score.slowest_s < SLOW_S, score.slowest_seed
    # What is signed but never taken is of a form that is no longer the protocol's.
    assert score.taken > 0 or not name(target).startswith("signed_")


@pytest.mark.parametrize("target", OTHERS, ids=name)
def test_no_conversation_and_no_command_line_crashes(target) -> None:
    (score,) = fuzz({target: 300}, seed=random.randrange(2**40)).values()
    assert score.crashes == 0


def test_no_damaged_database_crashes_the_store(tmp_path: Path) -> None:
    (score,) = fuzz({Databases(tmp_path): 15}, seed=random.randrange(2**40)).values()
    assert score.crashes == 0


@given(st.binary(max_size=300))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    decoders = (
        lambda: packets.decode(data, binding=BINDING),
        lambda: packets.unpack(data),
        lambda: frames.open_frame([data, data], key=KEY, key_id=KEY_ID),
        lambda: cards.decode(data),
        lambda: letters.decode(data),
        lambda: bodies.decode_body(data),
        lambda: bodies.load_json(data.decode("utf-8", "replace")),
        lambda: greetings.decode_hello(data),
        lambda: greetings.decode_welcome(data, hello=WIRE.hello),
        lambda: codec.loads(data, bytes_max=1000, depth_max=8),
    )
    for decode in decoders:
        with suppress(PeerError):
            decode()


def _largest() -> dict[str, Callable[[], object]]:
    """What costs the most of what may come at all, honestly signed."""
    card = heads.join(heads.PacketKind.PING, (1,))
    number = limits.cards_per_node_max
    signature = ME.sign(b"mesh1/card\0" + BINDING + WIRE.card)
    announce = heads.join(heads.PacketKind.ANNOUNCE, ([signature] * number,), [WIRE.card] * number)
    count = limits.batch_letters_max
    digests = letters.digest(WIRE.letter) * count
    facts = [[4, 0]] * count
    mail_head = (ME.key, ME.sign(b"mesh1/mail\0" + BINDING + digests), facts)
    mail = heads.join(heads.PacketKind.MAIL, mail_head, [WIRE.letter, WIRE.body] * count)
    small = codec.dumps([[]] * (limits.packet_head_bytes_max - 4))
    ints = codec.dumps(list(range(24, 250)) * 140)
    many = codec.pack([b""] * limits.packets_per_envelope_max)
    huge = codec.pack([bytes(limits.body_bytes_max)])
    pairs = codec.dumps({n << 40: n for n in range(6000)})
    return {
        "cards": lambda: packets.decode(announce, binding=BINDING),
        "letters": lambda: packets.decode(mail, binding=BINDING),
        "empty lists": lambda: heads.load_small(small),
        "integers": lambda: heads.load_small(ints),
        "colliding keys": lambda: heads.load_small(pairs),
        "empty packets": lambda: packets.unpack(many),
        "one packet": lambda: packets.unpack(huge),
        "many packets": lambda: packets.unpack(codec.pack([card] * 257)),
        "json": lambda: bodies.load_json("[" * 63 + "]" * 63),
        "deep json": lambda: bodies.load_json("[" * 500_000),
        "long json": lambda: bodies.load_json("[" + "0," * 100_000 + "0]"),
    }


@pytest.mark.long  # a figure: what else the machine does blurs it
@pytest.mark.parametrize("what", list(_largest()))
def test_the_largest_inputs_take_less_than_50_ms(what: str) -> None:
    decode = _largest()[what]
    took = []
    for _ in range(3):
        begun = time.thread_time()
        with suppress(PeerError):
            decode()
        took.append(time.thread_time() - begun)
    assert min(took) < SLOW_S, took
