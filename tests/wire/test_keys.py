import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.public import PrivateKey

from mesh.errors import ConfigError, MalformedError, SignatureError
from mesh.model import MailboxKey
from mesh.wire import keys

OPEN = keys.open_keys("default")


def link(*, hello=b"hello", welcome=b"welcome", mesh=OPEN, dialler=b"d", listener=b"l"):
    first, second = keys.LinkSecret(dialler * 32), keys.LinkSecret(listener * 32)
    common = {"hello": hello, "welcome": welcome, "mesh_keys": mesh}
    return (
        keys.link_keys(first, second.public, **common, is_dialler=True),
        keys.link_keys(second, first.public, **common, is_dialler=False),
    )


def test_same_secret_and_mesh_give_the_same_keys_and_nothing_else_does():
    composed, decomposed = "caf\u00e9-long-secret", "cafe\u0301-long-secret"
    first = keys.derive(composed, mesh="default")
    assert keys.derive(decomposed, mesh="default") == first
    others = [keys.derive(composed, mesh="other"), OPEN, keys.open_keys("other")]
    everything = [
        value
        for mesh in (first, *others)
        for value in (mesh.aead, mesh.key_id, mesh.link_root, mesh.client.secret, mesh.door.secret)
    ]
    assert len(set(everything)) == len(everything)


def test_open_mode_does_not_meet_a_mesh_with_a_secret_of_the_same_words():
    assert keys.open_keys("default").key_id != keys.derive("default", mesh="default").key_id


def test_secrets_that_are_not_utf8_are_a_wrong_setting():
    with pytest.raises(ConfigError, match="shared secret"):
        keys.derive("bad \udcff secret", mesh="default")
    with pytest.raises(ConfigError, match="mesh name"):
        keys.open_keys("\udcff")


def test_curve_pairs_are_x25519():
    pair = keys.curve_pair(b"s" * 32)
    assert pair.public == bytes(PrivateKey(b"s" * 32).public_key)
    assert "ss" not in repr(pair)


def test_secrets_do_not_show_in_representations():
    ours, _ = link()
    assert repr(OPEN.aead) not in repr(OPEN)
    assert repr(ours.seal_key) not in repr(ours)


def test_both_sides_of_a_link_get_matching_keys():
    ours, theirs = link()
    assert ours.binding == theirs.binding
    assert (ours.seal_key, ours.seal_key_id) == (theirs.open_key, theirs.open_key_id)
    assert (ours.open_key, ours.open_key_id) == (theirs.seal_key, theirs.seal_key_id)


def test_the_two_directions_have_different_keys():
    ours, _ = link()
    assert ours.seal_key != ours.open_key
    assert ours.seal_key_id != ours.open_key_id


@pytest.mark.parametrize(
    "change",
    [
        {"hello": b"other"},
        {"welcome": b"other"},
        {"hello": b"hellow", "welcome": b"elcome"},
        {"mesh": keys.open_keys("other")},
        {"dialler": b"x"},
        {"listener": b"x"},
    ],
)
def test_link_keys_depend_on_every_ingredient(change):
    before, _ = link()
    after, _ = link(**change)
    assert before.seal_key != after.seal_key
    assert before.open_key_id != after.open_key_id


def test_binding_depends_on_both_greetings():
    bindings = {
        link(hello=hello, welcome=welcome)[0].binding
        for hello in (b"a", b"b")
        for welcome in (b"a", b"b")
    }
    assert len(bindings) == 4


@pytest.mark.parametrize(
    "public",
    [b"", bytes(31), bytes(33), bytes(32), b"\1" + bytes(31), b"\xed" + b"\xff" * 30 + b"\x7f"],
)
def test_public_keys_that_share_nothing_are_refused(public):
    with pytest.raises(MalformedError):
        keys.LinkSecret(b"s" * 32).shared_with(public)


@given(st.binary(max_size=100))
def test_signatures_verify(message):
    signer = keys.MailboxSigner(b"a" * 32)
    signature = signer.sign(message)
    assert len(signature) == keys.SIGNATURE_BYTES
    keys.verify(signer.key, message, signature)


def test_signatures_of_others_or_of_something_else_do_not_verify():
    signer, other = keys.MailboxSigner(b"a" * 32), keys.MailboxSigner(b"b" * 32)
    signature = signer.sign(b"message")
    attempts = [
        (other.key, b"message", signature),
        (signer.key, b"massage", signature),
        (signer.key, b"message", other.sign(b"message")),
        (signer.key, b"message", signature[:-1]),
        (signer.key, b"essage", signature + b"m"),
        (MailboxKey(signer.key[:-1]), b"message", signature),
        (MailboxKey(bytes(32)), b"message", bytes(64)),
        (MailboxKey(b"\1" + bytes(31)), b"message", b"\1" + bytes(63)),
    ]
    for key, message, attempt in attempts:
        with pytest.raises(SignatureError):
            keys.verify(key, message, attempt)


def test_a_node_has_one_key_from_which_its_id_and_its_socket_follow():
    signer, other = keys.NodeSigner(b"a" * 32), keys.NodeSigner(b"b" * 32)
    assert signer.id == keys.node_id(signer.key) != other.id
    assert signer.curve.public == keys.node_curve(signer.key) != other.curve.public
    assert signer.curve.public == bytes(PrivateKey(signer.curve.secret).public_key)
    keys.verify(signer.key, b"message", signer.sign(b"message"))


@pytest.mark.parametrize("key", [bytes(32), b"\1" + bytes(31), b"\xff" * 32])
def test_node_keys_that_are_none_are_refused(key):
    with pytest.raises(MalformedError):
        keys.node_curve(key)
