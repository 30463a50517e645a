"""One mailbox: its card, its former names, its pins, and whom it owes the news of being read."""

from mesh import limits
from mesh.core.mailbox import Mailbox
from mesh.core.snapshot import Pin
from mesh.model import Alias, Card, MailboxKey, MessageId, Profile, Verified
from tests.core.samples import ALICE, BOB, CAROL, LIFE, message_id, shown, snapshot

PROFILE = Profile(client="c", summary="s")


def mailbox(now: float = 10.0, **changes) -> Mailbox:
    made = snapshot(ALICE, "alice", registered_ms=7, **changes)
    return Mailbox(made, is_live=True, profile=PROFILE, now=now)


def test_the_card_tells_what_is_held_and_for_how_long():
    """PROTOCOL.md TEND-1."""
    alias = Alias("anna", 50.0, 70.0)
    expected = Card(ALICE, "alice", LIFE, 1, True, 5.0, 7, PROFILE, (Alias("anna", 55.0, 65.0),))
    assert mailbox(aliases=(alias,)).card(15.0) == expected


def test_former_names_end_but_are_told_for_a_month():
    """PROTOCOL.md NAME-3."""
    box = mailbox(aliases=(Alias("anna", 0.0, 100.0),))
    month_s = limits.alias_tombstone_s
    assert box.aliases(10.0 + month_s - 1.0) == (Alias("anna", month_s - 1.0, 101.0 - month_s),)
    assert box.aliases(10.0 + month_s) == ()


def test_a_rename_leaves_an_alias_and_keeps_the_newest_few():
    """PROTOCOL.md NAME-7."""
    box = mailbox()
    assert box.renamed_at is None
    assert box.rename("b0", 20.0) == Alias("alice", 0.0, limits.alias_s)
    assert (box.name, box.renamed_at) == ("b0", 20.0)
    for n in range(1, 10):
        box.rename(f"b{n}", 20.0 + n)
    assert [a.name for a in box.aliases(30.0)] == [f"b{n}" for n in range(1, 9)]


def test_a_name_taken_back_is_no_former_name_any_more():
    """PROTOCOL.md NAME-7."""
    box = mailbox()
    box.rename("anna", 20.0)
    box.rename("ALICE", 21.0)
    assert box.aliases(21.0) == (Alias("anna", 0.0, limits.alias_s),)


def test_the_time_of_the_last_rename_survives_a_restart():
    """PROTOCOL.md NAME-7."""
    assert mailbox(now=100.0, renamed_s=30.0).renamed_at == 70.0


def test_an_origin_is_met_first_then_pinned_or_changed():
    """PROTOCOL.md NAME-9."""
    box = mailbox(pins={"bob": Pin("Bob", BOB)})
    assert box.verify(BOB, "BOB") is Verified.PINNED
    assert box.verify(CAROL, "bob") is Verified.CHANGED
    assert box.verify(CAROL, "carol") is Verified.FIRST_CONTACT
    assert box.pin_new("Carol", CAROL) == Pin("Carol", CAROL)
    assert box.pin_new("carol", BOB) is None
    assert box.verify(CAROL, "carol") is Verified.PINNED


def test_one_key_cannot_have_any_number_of_names_remembered():
    """PROTOCOL.md NAME-9."""
    box = mailbox()
    for n in range(limits.pins_per_key_max):
        assert box.pin_new(f"name-{n}", BOB) is not None
    assert box.pin_new("one-more", BOB) is None
    assert box.pin_new("one-more", CAROL) is not None
    box.pin("name-0", CAROL)  # A person says so: that is one less for the key.
    assert box.pin_new("two-more", BOB) is not None


def test_pins_are_bounded():
    """PROTOCOL.md NAME-9."""
    keys = (MailboxKey(n.to_bytes(32, "big")) for n in range(limits.pins_max))
    box = mailbox(pins={f"n{i}": Pin(f"n{i}", key) for i, key in enumerate(keys)})
    assert box.pin_new("one-more", BOB) is None


def test_what_was_shown_is_owed_to_its_author_until_it_says_so():
    """PROTOCOL.md ACK-3, ACK-4."""
    box = mailbox(untold=(shown(1, BOB), shown(2, BOB), shown(3, CAROL)))
    assert box.untold(BOB) == (shown(1, BOB), shown(2, BOB))
    box.told(BOB, (message_id(1), message_id(9)))
    assert box.untold(BOB) == (shown(2, BOB),)
    box.told(BOB, (message_id(2),))
    box.told(BOB, (message_id(2),))
    assert box.untold(BOB) == ()
    assert box.untold(CAROL) == (shown(3, CAROL),)


def test_what_is_owed_to_one_author_is_bounded_and_the_oldest_goes():
    """PROTOCOL.md ACK-3."""
    box = mailbox()
    box.owe_shown(tuple(shown(n, BOB) for n in range(limits.untold_per_author_max + 1)))
    owed = box.untold(BOB)
    assert len(owed) == limits.untold_per_author_max
    assert MessageId(owed[0].message_id) == message_id(1)
