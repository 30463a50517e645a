"""One tick's effects: the order within a mailbox and link survives, acks travel together."""

import dataclasses

import pytest

from mesh import limits
from mesh.core.changes import MarkSent, PutOutbox
from mesh.core.effects import Dial, Done, Effects, Notice, Severity, Transmission
from mesh.core.events import Token
from mesh.driver.merge import Merged
from mesh.model import Incarnation, LinkId, MailboxKey, MessageId, Why
from mesh.packet import Ack, AckItem, Noted, Ping, Verdict
from tests.store.samples import BOB, EVE, LIFE, OWN, entry

LINK, OTHER = LinkId(1), LinkId(-2)


def transmission(*rows: int, link: LinkId = LINK, mailbox: MailboxKey = OWN) -> Transmission:
    return Transmission(link, mailbox, tuple((row, row - 1, 0.0) for row in rows))


def ack(*sequences: int, author: MailboxKey = BOB, life: Incarnation = LIFE) -> Ack:
    items = (AckItem(s, MessageId(bytes(16)), Verdict.DELIVERED, Why.NONE) for s in sequences)
    return Ack(OWN, author, life, tuple(items))


def merged(*effects: Effects) -> Merged:
    result = Merged()
    for each in effects:
        result.add(each)
    return result


def test_effects_of_all_steps_follow_each_other():
    dial = Dial(LINK, "loop://b", None, None)
    one = Effects(dials=(dial,), packets=((LINK, Ping(1)),), answers=(Done(Token(1), OWN),))
    two = Effects(closes=(OTHER,), packets=((LINK, Ping(2)),), roster_changed=True)
    three = Effects(notices=(Notice(Severity.INFO, "x"),), changes=((OWN, MarkSent((1,))),))
    found = merged(one, two, three)
    assert found.dials == [dial]
    assert found.closes == [OTHER]
    assert found.packets == [(LINK, Ping(1)), (LINK, Ping(2))]
    assert found.roster_changed
    assert found.changes == {OWN: [MarkSent((1,))]}
    assert len(found.answers) == len(found.notices) == 1


def test_letters_behind_one_that_waits_for_the_commit_wait_too():
    waiting = Effects(transmissions_after=(transmission(1),))
    found = merged(waiting, Effects(transmissions=(transmission(2),)))
    assert found.transmissions == []
    assert found.transmissions_after == [transmission(1), transmission(2)]


def test_letters_on_another_link_wait_but_those_of_another_mailbox_do_not():
    waiting = Effects(transmissions_after=(transmission(1),))
    on_other_link, of_other = transmission(2, link=OTHER), transmission(3, mailbox=EVE)
    found = merged(waiting, Effects(transmissions=(on_other_link, of_other)))
    assert found.transmissions == [of_other]
    assert found.transmissions_after == [transmission(1), on_other_link]


def test_letters_before_the_one_that_waits_leave_at_once():
    step = Effects(transmissions=(transmission(1),), transmissions_after=(transmission(2),))
    found = merged(step)
    assert (found.transmissions, found.transmissions_after) == (
        [transmission(1)],
        [transmission(2)],
    )


def test_fresh_letters_are_known_by_mailbox_and_row_with_their_body():
    put = PutOutbox((entry(1), entry(2)), b"hello")
    found = merged(Effects(changes=((OWN, put),)))
    assert {key: letter.body for key, letter in found.fresh.items()} == {
        (OWN, 1): b"hello",
        (OWN, 2): b"hello",
    }


def test_acks_of_one_stream_are_joined_in_order():
    first, second = (Effects(acks=((LINK, OWN, ack(n)),)) for n in (1, 2))
    assert merged(first, second).acks == [(LINK, OWN, ack(1, 2))]


@pytest.mark.parametrize(
    "other",
    [
        (OTHER, ack(2)),
        (LINK, ack(2, author=EVE)),
        (LINK, ack(2, life=Incarnation(b"n" * 8))),
    ],
)
def test_acks_of_other_streams_stay_apart(other):
    link, packet = other
    found = merged(Effects(acks=((LINK, OWN, ack(1)), (link, OWN, packet))))
    assert found.acks == [(LINK, OWN, ack(1)), (link, OWN, packet)]


def test_joined_acks_stay_within_the_limit_of_a_packet():
    full = ack(*range(1, limits.ack_items_max + 1))
    rest = [ack(limits.ack_items_max + 1), ack(limits.ack_items_max + 2)]
    found = merged(*(Effects(acks=((LINK, OWN, each),)) for each in (full, *rest)))
    sizes = [len(packet.items) for _, _, packet in found.acks]
    assert sizes == [limits.ack_items_max, 2]


def test_verdicts_put_off_share_the_packet_of_fresh_ones_or_are_left():
    found = merged(Effects(acks=((LINK, OWN, ack(5)),)))
    noted = (LINK, OWN, Noted(OWN, BOB, ()))
    other = (OTHER, OWN, ack(2))
    assert found.join([noted, (LINK, OWN, ack(3, 4)), other]) == [noted, other]
    assert found.acks == [(LINK, OWN, ack(5, 3, 4))]


def test_other_packets_among_the_acks_are_left_alone():
    noted = Noted(OWN, BOB, (MessageId(bytes(16)),))
    found = merged(Effects(acks=((LINK, OWN, noted), (LINK, OWN, ack(1)), (LINK, OWN, noted))))
    assert found.acks == [(LINK, OWN, noted), (LINK, OWN, ack(1)), (LINK, OWN, noted)]


def test_every_field_of_the_effects_is_carried_over():
    """A new kind of effect must not be forgotten here."""
    names = {field.name for field in dataclasses.fields(Effects)}
    assert names <= {field.name for field in dataclasses.fields(Merged)}
