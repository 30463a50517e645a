"""Mail between held mailboxes and links: taken, acknowledged, told."""

from dataclasses import replace

from mesh import limits
from mesh.core.changes import (
    MarkShown,
    MarkTold,
    PutPin,
    Refuse,
    SettleShown,
)
from mesh.core.effects import (
    Arrival,
    Done,
    Effects,
    Notice,
    Severity,
    Transmission,
)
from mesh.core.events import Shown, Timeout, Token
from mesh.core.node import Node
from mesh.core.snapshot import Pin, Unread
from mesh.model import Alias, LinkId, State, Verified, Why
from mesh.packet import AckItem, Announce, Gap, Noted, Verdict
from tests.core.mailing import (
    LINK,
    PINNED,
    ack,
    mail,
    of_alice,
    of_bob,
    put,
    receipt,
    settled,
    verdict,
)
from tests.core.samples import (
    ALICE,
    BOB,
    CAROL,
    LIFE,
    OTHER_LIFE,
    THIRD_NODE,
    card,
    greeting,
    item,
    letter,
    message_id,
    shown,
)
from tests.core.steps import accept, give, lose

# Receiving.


def test_letters_are_written_pinned_and_acknowledged_in_one_ack():
    """PROTOCOL.md IN-2, ACK-1, NAME-9."""
    effects = give(of_bob(), LINK, mail(item(1), item(2, 1)))
    first = Verified.FIRST_CONTACT
    assert effects == Effects(
        changes=(
            (BOB, put(1, first)),
            (BOB, PutPin(Pin("alice", ALICE))),
            (BOB, put(2)),
        ),
        acks=((LINK, BOB, ack(verdict(1), verdict(2))),),
        arrivals=(
            Arrival(BOB, letter(1), b"body", first),
            Arrival(BOB, letter(2), b"body", Verified.PINNED),
        ),
    )


def test_mail_by_an_author_that_the_link_did_not_prove_is_dropped():
    """PROTOCOL.md IN-1."""
    node = of_bob()
    notice = Notice(Severity.WARNING, "mail by an unproven author on -1")
    strange = mail(item(1, author=CAROL), author=CAROL)
    assert give(node, LINK, strange) == Effects(notices=(notice,))


def test_mail_for_a_mailbox_that_is_not_held_here_is_not_answered():
    """PROTOCOL.md IN-8."""
    node = of_bob(**PINNED)
    effects = give(node, LINK, mail(item(1, recipient=CAROL), item(1)))
    assert effects.acks == ((LINK, BOB, ack(verdict(1))),)
    assert give(node, LINK, mail(item(1, recipient=None))) == Effects()


def test_a_gap_is_reported_and_the_rest_of_that_stream_ignored():
    """PROTOCOL.md IN-5."""
    node = of_bob(**PINNED)
    other = item(1, incarnation=OTHER_LIFE)
    effects = give(node, LINK, mail(item(1), item(3, 2), item(4, 3), other))
    assert effects.packets == ((LINK, Gap(BOB, ALICE, LIFE, 1)),)
    assert effects.acks == (
        (LINK, BOB, ack(verdict(1))),
        (LINK, BOB, ack(verdict(1), life=OTHER_LIFE)),
    )


def test_behind_a_letter_that_finds_no_room_nothing_is_taken():
    """PROTOCOL.md IN-7: else the order would be lost."""
    full = {ALICE: Unread(1, limits.inbox_bytes_per_author_max)}
    node = of_bob(unread=full, **PINNED)
    later = verdict(1, Verdict.LATER, Why.RECIPIENT_FULL)
    assert give(node, LINK, mail(item(1), item(2, 1))) == Effects(acks=((LINK, BOB, ack(later)),))


def test_a_letter_that_is_not_taken_pins_nothing():
    """PROTOCOL.md NAME-9."""
    effects = give(of_bob(), LINK, mail(item(1, age_s=1000.0)))
    assert effects.changes == ((BOB, Refuse(ALICE, LIFE, 1, 1, Why.EXPIRED)),)
    assert effects.arrivals == ()


def test_a_letter_under_a_name_that_its_author_does_not_announce_is_marked_and_not_pinned():
    """PROTOCOL.md NAME-9: else an author could take a name by merely writing under it."""
    effects = give(of_bob(), LINK, mail(item(1, author_name="carol")))
    assert effects.changes == ((BOB, put(1, Verified.CHANGED, author_name="carol")),)


def test_a_letter_written_before_a_rename_is_known_by_the_former_name():
    """PROTOCOL.md NAME-9."""
    renamed = card(ALICE, "anna", aliases=(Alias("Alice", 0.0, 1.0),))
    effects = give(of_bob(alice=renamed, **PINNED), LINK, mail(item(1)))
    assert effects.arrivals[0].verified is Verified.PINNED


def test_in_an_open_mesh_every_origin_is_open():
    """PROTOCOL.md NAME-9."""
    effects = give(of_bob(is_open=True), LINK, mail(item(1)))
    assert effects.arrivals[0].verified is Verified.OPEN
    assert (BOB, PutPin(Pin("alice", ALICE))) in effects.changes


# Acknowledgements.


def test_verdicts_end_letters_and_are_reported():
    """PROTOCOL.md ACK-2."""
    loop = (State.REFUSED, Why.LOOP)
    effects = give(of_alice(1, 2), LINK, ack(verdict(1), verdict(2, Verdict.REFUSED, Why.LOOP)))
    assert effects == Effects(
        changes=((ALICE, settled(1)), (ALICE, settled(2, *loop))),
        receipts=(receipt(1), receipt(2, *loop)),
    )


def test_a_verdict_counts_only_for_the_very_letter_that_is_owed():
    """PROTOCOL.md ACK-2."""
    node = of_alice(1)
    assert give(node, LINK, ack(AckItem(1, message_id(9), Verdict.DELIVERED))) == Effects()
    assert give(node, LINK, ack(verdict(2))) == Effects()
    give(node, LINK, ack(verdict(1)))
    assert give(node, LINK, ack(verdict(1))) == Effects()


def test_an_ack_for_nobody_here_or_of_an_unknown_stream_is_ignored():
    """PROTOCOL.md ACK-2."""
    node = of_alice(1)
    assert give(node, LINK, replace(ack(verdict(1)), author=CAROL)) == Effects()
    assert give(node, LINK, replace(ack(verdict(1)), recipient=CAROL)) == Effects()


def test_an_ack_of_another_life_settles_nothing_but_is_noted():
    """PROTOCOL.md ACK-5."""
    node = of_alice(1)
    assert give(node, LINK, ack(verdict(1), life=OTHER_LIFE)) == Effects()
    told = ack(verdict(1, Verdict.SHOWN), life=OTHER_LIFE)
    noted = Noted(ALICE, BOB, (message_id(1),))
    assert give(node, LINK, told) == Effects(acks=((LINK, ALICE, noted),))


def test_that_a_letter_was_shown_also_says_that_it_was_delivered():
    """PROTOCOL.md ACK-3, ACK-4."""
    noted = Noted(ALICE, BOB, (message_id(1),))
    assert give(of_alice(1), LINK, ack(verdict(1, Verdict.SHOWN))) == Effects(
        changes=((ALICE, settled(1)), (ALICE, SettleShown(BOB, message_id(1), row=1))),
        acks=((LINK, ALICE, noted),),
        receipts=(receipt(1), receipt(1, State.SHOWN)),
    )


def test_a_letter_delivered_before_is_found_by_its_row_once_then_by_its_id():
    """PROTOCOL.md ACK-3."""
    node = of_alice(1, 2)
    give(node, LINK, ack(verdict(1), verdict(2)))
    for row in (2, 0):
        told = give(node, LINK, ack(verdict(2, Verdict.SHOWN)))
        assert told.changes == ((ALICE, SettleShown(BOB, message_id(2), row)),)


def test_only_the_rows_of_the_newest_delivered_letters_are_remembered():
    rows = range(1, limits.delivered_rows_max + 2)
    node = of_alice(*rows, next_sequences={BOB: rows[-1] + 1})
    for row in rows:
        give(node, LINK, ack(verdict(row)))
    for row, known in ((rows[0], 0), (rows[1], rows[1])):
        told = give(node, LINK, ack(verdict(row, Verdict.SHOWN)))
        assert told.changes == ((ALICE, SettleShown(BOB, message_id(row), known)),)


def test_a_letter_put_off_is_sent_again_after_a_pause():
    """PROTOCOL.md OUT-7."""
    node = of_alice(1, 2)
    assert give(node, LINK, ack(verdict(1, Verdict.LATER, Why.RECIPIENT_FULL)), 1.0) == Effects()
    assert node.why(ALICE, message_id(1), "bob", 1.0) is Why.RECIPIENT_FULL
    again = Transmission(LINK, ALICE, ((1, 0, 6.0), (2, 1, 6.0)))
    assert node.step(Timeout(), 1.0 + limits.later_delay_s).transmissions == (again,)
    assert node.why(ALICE, message_id(1), "bob", 6.0) is Why.NONE


def test_letters_without_an_ack_are_sent_again_ever_more_rarely():
    """PROTOCOL.md OUT-6."""
    node = of_alice(1)
    again: list[float] = []
    now = 0.0
    while len(again) < 5:
        now = node.next_deadline()
        if node.step(Timeout(), now).transmissions:
            again.append(now)
        give(node, LINK, Gap(CAROL, ALICE, LIFE, 0), now)  # A sign of life, no more.
    waits = [b - a for a, b in zip([0.0, *again], again, strict=False)]
    assert waits == [5.0, 10.0, 20.0, limits.ack_timeout_s_max, limits.ack_timeout_s_max]


def test_an_ack_makes_the_next_one_expected_soon():
    """PROTOCOL.md OUT-6."""
    node = of_alice(1, 2)
    node.step(Timeout(), 5.0)
    give(node, LINK, ack(verdict(1)), 6.0)
    assert node.step(Timeout(), 10.9).transmissions == ()
    assert node.step(Timeout(), 11.0).transmissions != ()


def test_a_gap_sends_again_from_the_oldest_but_only_once_at_a_time():
    """PROTOCOL.md OUT-5."""
    node = of_alice(1, 2)
    gap = Gap(BOB, ALICE, LIFE, 0)
    again = (Transmission(LINK, ALICE, ((1, 0, 1.0), (2, 1, 1.0))),)
    assert give(node, LINK, gap, 1.0) == Effects(transmissions=again)
    assert give(node, LINK, gap, 1.1) == Effects()
    assert give(node, LINK, gap, 1.0 + limits.gap_pause_s).transmissions != ()


def test_a_gap_that_is_not_the_recipients_own_is_ignored():
    """PROTOCOL.md OUT-5: else any member could make us send for ever."""
    node = of_alice(1)
    accept(node, -2, greeting(THIRD_NODE), card(CAROL, "carol"))
    notice = Notice(Severity.DEBUG, "gap of an unproven agent on -2")
    assert give(node, -2, Gap(BOB, ALICE, LIFE, 0), 1.0) == Effects(notices=(notice,))
    assert give(node, LINK, Gap(BOB, ALICE, OTHER_LIFE, 0), 1.0) == Effects()
    assert give(node, LINK, Gap(BOB, CAROL, LIFE, 0), 1.0) == Effects()


# Shown and noted.


def tell(node: Node, *letters) -> Effects:
    return node.step(Shown(Token(1), BOB, letters), 1.0)


def test_reading_makes_room_and_tells_the_author():
    """PROTOCOL.md ACK-3."""
    told = ack(verdict(1, Verdict.SHOWN), verdict(2, Verdict.SHOWN))
    assert tell(of_bob(), shown(1), shown(2)) == Effects(
        changes=((BOB, MarkShown((shown(1), shown(2)))),),
        acks=((LINK, BOB, told),),
        answers=(Done(Token(1), BOB),),
    )


def test_an_author_out_of_reach_is_told_when_it_comes_back():
    """PROTOCOL.md ACK-3: as often as needed, until it has noted it."""
    node = of_bob()
    lose(node, LINK)
    assert tell(node, shown(1), shown(1, life=OTHER_LIFE), shown(2)).acks == ()
    effects = accept(node, -2, None, card(ALICE, "alice"))
    told = ack(verdict(2, Verdict.SHOWN))
    other = ack(verdict(1, Verdict.SHOWN), life=OTHER_LIFE)
    assert effects.acks == ((LinkId(-2), BOB, other), (LinkId(-2), BOB, told))
    change = MarkTold((shown(1, life=OTHER_LIFE), shown(2)))
    noted = Noted(ALICE, BOB, (message_id(1), message_id(2)))
    assert give(node, -2, noted) == Effects(changes=((BOB, change),))
    assert give(node, -2, noted) == Effects()
    lose(node, -2)
    assert accept(node, -3, None, card(ALICE, "alice")).acks == ()


def test_much_that_was_shown_is_told_in_several_acks():
    """PROTOCOL.md ACK-3."""
    number = limits.ack_items_max + 1
    node = of_bob(untold=tuple(shown(n) for n in range(1, number + 1)))
    effects = give(node, LINK, Announce((card(ALICE, "alice"),)), 1.0)
    assert [len(packet.items) for _, _, packet in effects.acks] == [limits.ack_items_max, 1]


def test_only_the_author_can_say_that_it_has_noted():
    """PROTOCOL.md ACK-4."""
    node = of_bob(untold=(shown(1),))
    accept(node, -2, greeting(THIRD_NODE), card(CAROL, "carol"))
    notice = Notice(Severity.DEBUG, "note of an unproven author on -2")
    noted = Noted(ALICE, BOB, (message_id(1),))
    assert give(node, -2, noted) == Effects(notices=(notice,))
    assert give(node, LINK, replace(noted, recipient=CAROL)) == Effects()
