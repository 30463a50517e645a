"""Whom to dial, where and when."""

import pytest

from mesh import limits
from mesh.core.agenda import DialDue, HandshakeDue
from mesh.core.effects import Dial
from mesh.core.events import LocalNodes, Loss, Sighted, Source
from mesh.model import CurveKey, LinkId
from tests.core.candidates_bench import LARGER, OWN, SMALLER, Bench, fail_round, numbered
from tests.core.samples import OTHER_NODE, THIRD_NODE, half


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_sighting_of_ourselves_or_without_an_endpoint_is_ignored(bench):
    """PROTOCOL.md DISC-1."""
    bench.sight(OWN)
    bench.candidates.sight(Sighted(Source.MDNS, LARGER, ()), 0.0)
    assert len(bench.candidates) == 0
    assert bench.agenda.next_deadline() is None


@pytest.mark.parametrize(
    ("curve", "source", "delay_s"),
    [
        (LARGER, Source.MDNS, 0.0),
        (SMALLER, Source.MDNS, limits.dial_delay_s),
        (SMALLER, Source.REGISTRY, limits.local_dial_delay_s),
        (None, Source.STATIC, 0.0),
        (SMALLER, Source.STATIC, 0.0),
        (LARGER, Source.EXCHANGE, 2 * limits.dial_delay_s),
        (None, Source.REMEMBERED, limits.remembered_spacing_s / 2),
    ],
)
def test_of_two_nodes_that_sight_each_other_one_dials_first(bench, curve, source, delay_s):
    """PROTOCOL.md DISC-2."""
    bench.sight(curve, source=source)
    assert bench.agenda.next_deadline() == pytest.approx(delay_s)


@pytest.mark.parametrize(("is_older", "delay_s"), [(True, 0.0), (False, limits.local_dial_delay_s)])
@pytest.mark.parametrize("curve", [SMALLER, LARGER])
def test_of_two_nodes_of_a_host_the_newcomer_dials_first(bench, curve, is_older, delay_s):
    """PROTOCOL.md DISC-2."""
    bench.sight(curve, source=Source.REGISTRY, is_older=is_older)
    assert bench.agenda.next_deadline() == pytest.approx(delay_s)


def test_remembered_peers_are_not_dialled_all_at_once(bench):
    """PROTOCOL.md DISC-2."""
    for number in range(100):
        bench.sight(None, f"tcp://door-{number}:1", source=Source.REMEMBERED)
    delays: list[float] = []
    while (deadline := bench.agenda.next_deadline()) is not None:
        delays += [deadline] * len(bench.due(deadline))
    assert delays[0] == pytest.approx(limits.remembered_spacing_s * half())
    assert delays[-1] == pytest.approx(limits.remembered_delay_s_max * half())


def test_a_static_peer_is_dialled_at_its_door_without_an_expectation(bench):
    """PROTOCOL.md DISC-1."""
    bench.sight(None, "tcp://door:1", source=Source.STATIC, node=OTHER_NODE)
    assert bench.dial(b"tcp://door:1") == [Dial(LinkId(1), "tcp://door:1", None, None)]


def test_a_node_of_this_host_is_given_more_time_and_its_endpoints_are_not_raced(bench):
    """PROTOCOL.md DISC-3, LINK-6: it is slow when the host is busy; more work would not help."""
    bench.sight(LARGER, "ipc:///run/x", "tcp://x:1", source=Source.REGISTRY, is_older=True)
    bench.due(0.0)
    assert [d.endpoint for d in bench.dial()] == ["ipc:///run/x"]
    assert bench.agenda.next_deadline() == limits.local_handshake_timeout_s
    assert bench.due(limits.local_handshake_timeout_s) == [HandshakeDue(LinkId(1))]
    bench.fail(1, 10.0)
    assert bench.due(10.0) == [DialDue(LARGER)]
    assert [d.endpoint for d in bench.dial(now=10.0)] == ["tcp://x:1"]


@pytest.mark.parametrize("source", [Source.MDNS, Source.EXCHANGE, Source.REMEMBERED])
def test_nothing_but_the_registry_sights_a_node_of_this_host(bench, source):
    """PROTOCOL.md DISC-3."""
    bench.sight(LARGER, "ipc:///run/x", source=Source.REGISTRY, is_older=False)
    bench.sight(LARGER, "tcp://x:1", source=source)
    assert bench.known().endpoints == ("ipc:///run/x",)
    assert bench.known().source is Source.REGISTRY
    assert bench.agenda.next_deadline() == limits.local_dial_delay_s


def test_endpoints_are_raced_and_the_losers_given_up(bench):
    """PROTOCOL.md DISC-3."""
    bench.sight(LARGER, "one", "two", "three", node=OTHER_NODE)
    bench.due(0.0)
    assert bench.dial() == [Dial(LinkId(1), "one", LARGER, OTHER_NODE)]
    assert bench.agenda.next_deadline() == limits.race_interval_s
    assert [d.endpoint for d in bench.dial(now=0.25)] == ["two"]
    assert bench.candidates.target(LinkId(2)) == "two"
    assert bench.succeed(2) == [LinkId(1)]
    assert bench.known().endpoints == ("two", "one", "three")
    assert bench.due(100.0) == []
    assert bench.candidates.target(LinkId(1)) == ""


def test_nobody_is_dialled_who_is_unknown_linked_or_ourselves(bench):
    """PROTOCOL.md LINK-3, DISC-3."""
    bench.sight()
    assert bench.dial(SMALLER) == []
    assert bench.dial(is_linked=True) == []
    assert len(bench.dial()) == 1
    bench.candidates.is_self(LinkId(1))
    bench.candidates.is_self(LinkId(9))
    bench.fail(1, 1.0)
    assert bench.dial() == []


def test_a_round_that_failed_is_repeated_after_a_pause(bench):
    """PROTOCOL.md DISC-4."""
    bench.sight(LARGER, "one", "two")
    bench.due(0.0)
    bench.dial()
    bench.dial()
    bench.fail(1, 1.0)
    assert bench.dial(now=1.0) == []  # The other attempt is still running.
    bench.fail(2, 2.0)
    assert DialDue(LARGER) in bench.due(2.0)
    assert bench.dial(now=2.0) == []
    assert bench.agenda.next_deadline() == pytest.approx(2.0 + limits.dial_backoff_s_min)
    assert [d.endpoint for d in bench.dial(now=3.0)] == ["one"]


def test_a_link_that_was_up_is_redialled_after_a_short_pause(bench):
    """PROTOCOL.md DISC-4: who welcomes and hangs up cannot keep a node busy."""
    bench.sight()
    bench.due(0.0)
    bench.dial()
    bench.succeed(1)
    bench.fail(1, 10.0, Loss.CLOSED, was_up=True)
    assert bench.agenda.next_deadline() == 10.0 + limits.dial_delay_s


def test_what_is_not_an_attempt_of_ours_is_ignored(bench):
    bench.fail(7, 0.0)
    bench.candidates.release(LinkId(7), 0.0)
    assert bench.succeed(7) == []
    assert bench.candidates.target(LinkId(7)) == ""
    assert bench.agenda.next_deadline() is None


def test_who_refuses_our_key_is_tried_rarely_until_it_has_a_new_endpoint(bench):
    """PROTOCOL.md DISC-7."""
    bench.sight()
    bench.due(0.0)
    bench.dial()
    bench.fail(1, 1.0, Loss.REJECTED)
    bench.due(1.0)
    bench.dial(now=1.0)
    rare_s = limits.dial_backoff_s_min * 2.0**8
    assert bench.agenda.next_deadline() == pytest.approx(1.0 + rare_s)
    bench.sight(now=2.0)
    assert bench.agenda.next_deadline() == pytest.approx(1.0 + rare_s)
    bench.sight(LARGER, "tcp://new:1", now=3.0)
    assert bench.agenda.next_deadline() == 3.0
    bench.dial(now=3.0)
    bench.succeed(2)
    assert not bench.known().was_rejected


def test_a_door_that_hangs_up_is_tried_again_soon_and_then_ever_more_rarely(bench):
    """PROTOCOL.md DISC-7: there may be a proxy, and its far end only about to start."""
    bench.sight(None, "door", source=Source.STATIC)
    bench.due(0.0)
    now, pauses = 0.0, []
    for link in range(1, 10):
        bench.dial(b"door", now)
        bench.fail(link, now, Loss.REJECTED)
        bench.due(now)
        bench.dial(b"door", now)
        pauses.append(bench.agenda.next_deadline() - now)
        now += pauses[-1]
        bench.due(now)
    assert pauses == pytest.approx([limits.dial_backoff_s_min * 2.0**n for n in range(9)])


def test_who_welcomed_us_once_and_then_rejects_is_tried_like_any_other(bench):
    """PROTOCOL.md DISC-7: that is a crash in the middle of a handshake, or somebody in between."""
    bench.sight()
    bench.due(0.0)
    bench.dial()
    bench.succeed(1)
    bench.fail(1, 1.0, was_up=True)
    bench.due(2.0)
    bench.dial(now=2.0)
    bench.fail(2, 2.0, Loss.REJECTED)
    bench.due(2.0)
    bench.dial(now=2.0)
    assert bench.agenda.next_deadline() == pytest.approx(2.0 + limits.dial_backoff_s_min)


def test_a_new_sighting_does_not_disturb_a_running_attempt(bench):
    """PROTOCOL.md DISC-3."""
    bench.sight()
    bench.due(0.0)
    bench.dial()
    bench.sight(LARGER, "tcp://y:1", now=1.0)
    assert bench.known().endpoints == ("tcp://y:1", "tcp://x:1")
    assert bench.due(1.0) == []


def test_hints_add_to_what_is_known_and_replace_nothing(bench):
    """PROTOCOL.md DISC-5: members say what they like."""
    bench.sight(LARGER, "true", node=OTHER_NODE)
    hinted = [f"lie-{n}" for n in range(limits.endpoints_per_node_max)]
    bench.sight(LARGER, *hinted, source=Source.EXCHANGE, node=THIRD_NODE)
    assert bench.known().endpoints[0] == "true"
    assert len(bench.known().endpoints) == limits.endpoints_per_node_max
    assert bench.known().node == OTHER_NODE
    assert bench.known().source is Source.MDNS
    bench.sight(LARGER, "newer", node=THIRD_NODE, source=Source.REGISTRY)
    assert bench.known().endpoints[0] == "newer"
    assert bench.known().node == THIRD_NODE
    assert bench.known().source is Source.REGISTRY


def test_who_cannot_be_reached_for_a_week_is_forgotten_unless_static(bench):
    """PROTOCOL.md DISC-4."""
    bench.sight()
    bench.sight(None, "door", source=Source.STATIC)
    link = 0
    for now in (0.0, limits.peer_forget_s + 1.0):
        for id_ in (bytes(LARGER), b"door"):
            assert bench.dial(id_, now)
            link += 1
            bench.fail(link, now)
            bench.dial(id_, now)
    assert bench.candidates.candidate(LARGER) is None
    assert bench.candidates.candidate(b"door") is not None


def test_a_door_is_remembered_for_longer_than_a_node_but_not_for_ever(bench):
    """PROTOCOL.md DISC-4."""
    bench.sight(None, "door", source=Source.REMEMBERED)
    for link, now in enumerate((0.0, limits.peer_forget_s + 1.0, limits.remembered_s_max + 1.0), 1):
        assert bench.dial(b"door", now)
        bench.fail(link, now)
        bench.dial(b"door", now)
    assert bench.candidates.candidate(b"door") is None


def test_after_a_sleep_everybody_out_of_reach_is_dialled_at_once(bench):
    """PROTOCOL.md PRES-5."""
    bench.sight(LARGER)
    bench.sight(SMALLER)
    bench.due(1.0)
    bench.dial(LARGER)
    bench.dial(SMALLER)
    bench.fail(2, 0.0)
    bench.due(0.0)
    bench.dial(SMALLER)
    bench.candidates.retry_all(0.0)
    assert bench.due(0.0) == [DialDue(SMALLER)]


def test_a_node_whose_last_link_ended_is_dialled_wherever_it_may_be_met(bench):
    """PROTOCOL.md DISC-8."""
    bench.sight(LARGER, node=OTHER_NODE)
    bench.sight(None, "door", source=Source.STATIC, node=OTHER_NODE)
    bench.sight(SMALLER, node=THIRD_NODE)
    bench.due(1.0)
    bench.dial(LARGER, 1.0)
    bench.candidates.retry(OTHER_NODE, 1.0)
    due = [matter for matter in bench.due(2.0) if isinstance(matter, DialDue)]
    assert due == [DialDue(b"door")]


def test_a_node_that_ended_for_good_is_forgotten_but_a_door_is_dialled_again(bench):
    """PROTOCOL.md DISC-8."""
    bench.sight(LARGER, node=OTHER_NODE)
    bench.sight(None, "door", source=Source.STATIC, node=OTHER_NODE)
    bench.sight(None, "old door", source=Source.REMEMBERED, node=OTHER_NODE)
    bench.sight(SMALLER, node=THIRD_NODE)
    bench.due(1.0)
    bench.candidates.gone(OTHER_NODE, 1.0)
    assert bench.candidates.candidate(LARGER) is None
    assert bench.candidates.candidate(SMALLER) is not None
    assert bench.due(2.0) == [DialDue(b"door"), DialDue(b"old door")]
    assert bench.known(b"door").node is None


def test_nodes_of_this_host_that_ended_are_forgotten(bench):
    """PROTOCOL.md DISC-8."""
    bench.sight(LARGER, source=Source.REGISTRY, node=OTHER_NODE)
    bench.sight(SMALLER, source=Source.REGISTRY, node=THIRD_NODE)
    bench.sight(CurveKey(b"x" * 32), source=Source.MDNS)
    bench.dial(SMALLER)
    bench.candidates.keep_local(LocalNodes(()))
    assert bench.candidates.candidate(LARGER) is None
    assert bench.candidates.candidate(SMALLER) is not None  # While it is being dialled.
    bench.fail(1, 1.0)
    bench.candidates.keep_local(LocalNodes((THIRD_NODE,)))
    assert len(bench.candidates) == 2


def test_candidates_are_bounded_and_who_failed_longest_makes_room(bench):
    """PROTOCOL.md DISC-6."""
    for number in range(limits.peers_max):
        bench.sight(numbered(number))
    bench.sight(SMALLER)
    assert bench.candidates.candidate(SMALLER) is None
    fail_round(bench, numbered(7), 1.0)
    fail_round(bench, numbered(3), 2.0)
    bench.sight(SMALLER, now=10.0)
    assert bench.candidates.candidate(SMALLER) is not None
    assert bench.candidates.candidate(numbered(7)) is None
    assert len(bench.candidates) == limits.peers_max


def test_hints_have_a_share_of_their_own_and_drive_out_only_each_other(bench):
    """PROTOCOL.md DISC-6."""
    bench.sight(LARGER)
    fail_round(bench, LARGER, 0.0)
    for number in range(limits.hinted_candidates_max + 1):
        bench.sight(numbered(number), source=Source.EXCHANGE)
    assert len(bench.candidates) == limits.hinted_candidates_max + 1
    fail_round(bench, numbered(0), 1.0)
    bench.sight(SMALLER, source=Source.REMEMBERED)
    assert bench.candidates.candidate(SMALLER) is not None
    assert bench.candidates.candidate(numbered(0)) is None
    assert bench.candidates.candidate(LARGER) is not None


def test_others_drive_out_hints_first(bench):
    """PROTOCOL.md DISC-6."""
    hinted = CurveKey(b"h" * 32)
    bench.sight(hinted, source=Source.EXCHANGE)
    for number in range(limits.peers_max - 1):
        bench.sight(numbered(number))
    fail_round(bench, numbered(0), 1.0)
    fail_round(bench, hinted, 2.0)
    bench.sight(SMALLER)
    assert bench.candidates.candidate(hinted) is None
    assert bench.candidates.candidate(numbered(0)) is not None
