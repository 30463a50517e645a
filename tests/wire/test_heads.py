import pytest

from mesh import limits
from mesh.errors import MalformedError, OversizeError
from mesh.wire import codec, heads
from mesh.wire.heads import PacketKind


def test_a_head_and_its_parts_come_back():
    data = heads.join(PacketKind.PEERS, (1, "two"), (b"three",))
    assert heads.split(data) == (PacketKind.PEERS, [PacketKind.PEERS, 1, "two"], [b"three"])


def test_packet_kinds_keep_their_numbers():
    assert [kind.value for kind in PacketKind] == list(range(1, 18))


@pytest.mark.parametrize("head", [[], {}, 1, ["ping"], [-1], [True], [2**63]])
def test_a_head_that_begins_with_no_kind_is_malformed(head):
    with pytest.raises(MalformedError):
        heads.split(codec.pack([codec.dumps(head)]))


def test_a_large_head_is_refused():
    with pytest.raises(OversizeError):
        heads.split(codec.pack([bytes(limits.packet_head_bytes_max + 1)]))


def test_endpoints_that_may_not_travel_stay_at_home():
    good = "tcp://192.168.1.5:47600"
    assert heads.encode_endpoints([good, "", "tcp://x\n", "a" * 201]) == [good]
    assert len(heads.encode_endpoints([good] * 99)) == limits.endpoints_per_node_max
    assert heads.decode_endpoints([good]) == (good,)


@pytest.mark.parametrize("value", [None, [""], ["a\0"], ["a" * 201], [b"a"], ["a"] * 17])
def test_endpoints_that_may_not_travel_are_malformed(value):
    with pytest.raises(MalformedError):
        heads.decode_endpoints(value)
