"""Which addresses are published, dialled or refused."""

import pytest

from mesh import limits
from mesh.net.addresses import (
    LocalAddress,
    is_dialable,
    local_addresses,
    multicast_interfaces,
    nearest_first,
    plain_address,
    published_hosts,
    split_tcp_endpoint,
    tcp_endpoint,
)

LOOP, LAN = LocalAddress("127.0.0.1", "lo"), LocalAddress("192.168.1.5", "eth0")
ULA, LINKED = LocalAddress("fd00::5", "eth0"), LocalAddress("fe80::5", "eth0", "2")


@pytest.mark.parametrize(
    ("addresses", "hosts"),
    [
        ([LOOP, LINKED, ULA, LAN], ("192.168.1.5", "fd00::5")),
        ([LOOP, LINKED], ("fe80::5%2",)),
        ([LOOP], ("127.0.0.1",)),
        ([], ("127.0.0.1",)),
    ],
)
def test_the_best_kind_of_address_is_published(addresses, hosts):
    assert published_hosts(addresses) == hosts


def test_of_many_addresses_those_of_containers_are_left_out_first():
    virtual = [LocalAddress(f"172.{16 + n}.0.1", f"br-{n}") for n in range(20)]
    hosts = published_hosts([*virtual, LAN, ULA, LOOP])
    assert hosts[:2] == ("192.168.1.5", "fd00::5")
    assert len(hosts) == limits.endpoints_per_node_max - 2


def test_multicast_leaves_out_networks_of_containers_where_there_are_too_many_for_the_system():
    virtual = [LocalAddress(f"172.{n}.0.1", f"br-{n}", index=n) for n in range(1, 30)]
    linked = LocalAddress("fe80::5", "eth0", "90", index=90)
    v4, v6 = multicast_interfaces([*virtual, LAN, linked])
    assert (v4[0], len(v4), v6) == (LAN.host, limits.multicast_interfaces_max, [90])


def test_addresses_of_our_own_network_are_dialled_first_and_our_own_last():
    lan = LocalAddress("192.168.1.5", "eth0", prefix=24)
    linked = LocalAddress("fe80::5", "eth0", "2", prefix=64)
    docker = LocalAddress("172.17.0.1", "docker0", prefix=16)
    theirs = ["172.17.0.1", "172.17.0.9", "10.0.0.7", "192.168.1.7", "fe80::7%2"]
    sorted_ = nearest_first(theirs, [LOOP, docker, lan, linked])
    assert sorted_ == ["192.168.1.7", "fe80::7%2", "172.17.0.9", "10.0.0.7", "172.17.0.1"]


def test_another_state_directory_of_this_machine_keeps_its_order():
    lan = LocalAddress("192.168.1.5", "eth0", prefix=24)
    assert nearest_first(["192.168.1.5", "127.0.0.1"], [LOOP, lan]) == ["192.168.1.5", "127.0.0.1"]


def test_this_machine_has_a_loopback_address():
    assert any(address.is_loopback for address in local_addresses())


@pytest.mark.parametrize(
    ("endpoint", "parts"),
    [
        ("tcp://10.0.0.1:5", ("10.0.0.1", 5)),
        ("tcp://[fe80::1%eth0]:5", ("fe80::1%eth0", 5)),
        ("tcp://localhost:5", None),
        ("tcp://10.0.0.1:0", None),
        ("tcp://10.0.0.1:65536", None),
        ("tcp://*:5", None),
        ("tcp://10.0.0.1:5;10.0.0.2:6", None),
    ],
)
def test_only_numeric_endpoints_are_split(endpoint, parts):
    assert split_tcp_endpoint(endpoint) == parts
    assert parts is None or tcp_endpoint(*parts) == endpoint


@pytest.mark.parametrize("host", ["10.1.2.3", "192.168.0.1", "fd00::1", "fe80::1%2", "100.64.0.9"])
def test_private_addresses_may_be_dialled(host):
    assert is_dialable(host, is_loopback_allowed=False)


@pytest.mark.parametrize(
    "host", ["1.1.1.1", "224.0.0.1", "0.0.0.0", "fe80::1", "::", "x", "2a00::1"]
)
def test_other_addresses_may_not_be_dialled(host):
    assert not is_dialable(host, is_loopback_allowed=True)


def test_loopback_may_be_dialled_only_where_there_is_nothing_else():
    assert is_dialable("127.0.0.1", is_loopback_allowed=True)
    assert not is_dialable("127.0.0.1", is_loopback_allowed=False)


def test_observed_addresses_are_shown_plainly():
    assert plain_address("::ffff:10.0.0.1") == "10.0.0.1"
    assert plain_address("") == plain_address("localhost:1:2:3") == "local"
