"""What agents ask for: answered or denied, never half done."""

from dataclasses import replace

import pytest

from mesh import limits
from mesh.core.changes import (
    BindOutbox,
    MarkSent,
    PutName,
    PutOutbox,
    PutPin,
    ReserveSequences,
)
from mesh.core.effects import (
    Accepted,
    Denied,
    Done,
    Effects,
    RecipientState,
    Transmission,
)
from mesh.core.events import Broadcast, MailboxTaken, Rename, Submit, Token, Trust
from mesh.core.node import Node
from mesh.core.snapshot import MailboxSnapshot, OutboxEntry, Pin
from mesh.model import Alias, FileRef, Kind, LinkId, Profile, State, Why, fingerprint, parse_address
from mesh.packet import Announce, Leave, Offer
from tests.core.samples import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    THIRD_NODE,
    card,
    draft,
    entry,
    greeting,
    letter,
    new_node,
    snapshot,
)
from tests.core.steps import accept, give, lose

T = Token(7)
RESERVED = 1 + limits.sequence_reserve
BOB_LINK = LinkId(-1)


def node_of_alice(made: MailboxSnapshot | None = None) -> Node:
    node = new_node()
    node.step(MailboxTaken(made or snapshot(ALICE, "alice"), True, Profile()), 0.0)
    return node


def with_bob(made: MailboxSnapshot | None = None) -> Node:
    node = node_of_alice(made)
    accept(node, BOB_LINK, None, card(BOB, "bob"))
    return node


def submit(node: Node, to: str = "bob", number: int = 1, now: float = 0.0, **changes) -> Effects:
    return node.step(Submit(T, ALICE, parse_address(to), (draft(number, **changes),)), now)


def accepted(*states: RecipientState) -> Accepted:
    return Accepted(T, ALICE, (draft().message_id,), states)


def put(*entries: OutboxEntry) -> PutOutbox:
    return PutOutbox(entries, b"body")


# Sending.


def test_a_message_to_a_live_agent_leaves_once_its_reservation_is_durable():
    """PROTOCOL.md OUT-1, OUT-8, NAME-4: and pins the name."""
    node = with_bob()
    assert submit(node) == Effects(
        changes=(
            (ALICE, ReserveSequences(BOB, RESERVED)),
            (ALICE, put(entry(1, 1, was_sent=True))),
            (ALICE, PutPin(Pin("bob", BOB))),
        ),
        transmissions_after=(Transmission(BOB_LINK, ALICE, ((1, 0, 0.0),)),),
        answers=(accepted(RecipientState("bob", BOB, State.QUEUED)),),
    )


def test_the_next_message_leaves_while_its_commit_is_running():
    """PROTOCOL.md OUT-8."""
    node = with_bob()
    submit(node)
    assert submit(node, number=2) == Effects(
        transmissions=(Transmission(BOB_LINK, ALICE, ((2, 1, 0.0),)),),
        changes=((ALICE, put(entry(2, 2, was_sent=True))),),
        answers=(
            replace(
                accepted(RecipientState("bob", BOB, State.QUEUED)),
                message_ids=(draft(2).message_id,),
            ),
        ),
    )


def test_several_messages_to_one_agent_leave_together_and_in_order():
    """PROTOCOL.md OUT-2, OUT-3."""
    node = with_bob()
    submit(node)
    drafts = tuple(draft(number) for number in (2, 3, 4))
    effects = node.step(Submit(T, ALICE, parse_address("bob"), drafts), 0.0)
    sent = ((2, 1, 0.0), (3, 2, 0.0), (4, 3, 0.0))
    state = RecipientState("bob", BOB, State.QUEUED)
    assert effects == Effects(
        transmissions=(Transmission(BOB_LINK, ALICE, sent),),
        changes=tuple((ALICE, put(entry(row, row, was_sent=True))) for row in (2, 3, 4)),
        answers=(Accepted(T, ALICE, tuple(one.message_id for one in drafts), (state,)),),
    )


def test_many_messages_reserve_as_they_go_and_none_overtakes_its_reservation():
    """PROTOCOL.md OUT-1, OUT-8."""
    node = with_bob()
    count = limits.sequence_reserve + 10
    drafts = tuple(draft(number) for number in range(1, count + 1))
    effects = node.step(Submit(T, ALICE, parse_address("bob"), drafts), 0.0)
    reserved = [c.up_to for _, c in effects.changes if isinstance(c, ReserveSequences)]
    assert reserved[-1] > count
    assert effects.transmissions == ()
    assert len(effects.transmissions_after[0].letters) == limits.window_letters_max


def test_of_messages_too_many_for_the_outbox_none_is_accepted():
    """PROTOCOL.md OUT-11."""
    node = with_bob()
    body = b"x" * limits.body_bytes_max
    count = limits.outbox_bytes_max // len(body) + 1
    drafts = tuple(draft(number, body=body) for number in range(1, count + 1))
    effects = node.step(Submit(T, ALICE, parse_address("bob"), drafts), 0.0)
    (answer,) = effects.answers
    assert isinstance(answer, Denied)
    assert effects == Effects(answers=(answer,))
    assert node.step(Submit(T, ALICE, parse_address("bob"), drafts[1:]), 0.0).changes


def test_a_message_to_a_name_never_seen_waits():
    """PROTOCOL.md NAME-6."""
    expected = RecipientState("bob", None, State.QUEUED, Why.UNKNOWN_NAME)
    assert submit(node_of_alice(), "bob#abcdef") == Effects(
        changes=((ALICE, put(entry(1, to_prefix="abcdef"))),),
        answers=(accepted(expected),),
    )


@pytest.mark.parametrize(
    ("event", "why"),
    [("lost", Why.UNREACHABLE), ("left", Why.AWAY)],
)
def test_a_message_to_somebody_out_of_reach_says_why(event, why):
    """PROTOCOL.md OUT-12."""
    node = with_bob()
    if event == "lost":
        lose(node, BOB_LINK)
    else:
        give(node, BOB_LINK, Leave())
    (answer,) = submit(node).answers
    assert answer == accepted(RecipientState("bob", BOB, State.QUEUED, why))


def test_a_forwarded_message_says_so():
    """PROTOCOL.md NAME-3."""
    node = node_of_alice()
    renamed = card(BOB, "robert", aliases=(Alias("bob", 0.0, limits.alias_s),))
    accept(node, BOB_LINK, None, renamed)
    (answer,) = submit(node).answers
    assert answer == accepted(RecipientState("robert", BOB, State.QUEUED, Why.NONE, "bob"))


def test_a_message_that_goes_to_another_key_than_the_pinned_one_says_so():
    """PROTOCOL.md NAME-4."""
    node = with_bob()
    submit(node)
    give(node, BOB_LINK, Leave())
    accept(node, LinkId(-9), greeting(THIRD_NODE), card(CAROL, "bob"))
    (answer,) = submit(node).answers
    assert answer == accepted(RecipientState("bob", CAROL, State.QUEUED, is_changed=True))


def test_a_full_outbox_denies_and_changes_nothing():
    """PROTOCOL.md OUT-11: no pin either."""
    large = replace(entry(1), letter=replace(entry(1).letter, body_bytes=limits.outbox_bytes_max))
    node = with_bob(snapshot(ALICE, "alice", outbox=(large,), next_row=2))
    text = "The outbox is full (100000 messages or 1024 MiB wait for their recipients)."
    denied = Effects(answers=(Denied(T, "quota", text),))
    assert submit(node, "carol") == denied
    assert submit(node, "bob") == denied
    assert node.step(Broadcast(T, ALICE, draft()), 0.0) == denied
    assert node.step(Rename(T, ALICE, "anna", draft(kind=Kind.RENAMED)), 0.0) == denied


# Broadcasts.


def test_a_broadcast_goes_to_everybody_seen_within_a_day():
    """PROTOCOL.md OUT-10: those away too, the sender not; equal names are told apart."""
    node = with_bob()
    accept(node, -2, greeting(THIRD_NODE), card(CAROL, "carol"), card(DAVE, "Bob"))
    give(node, -2, Leave(), 10.0)
    effects = node.step(Broadcast(T, ALICE, draft()), 20.0)
    twins = (f"bob#{fingerprint(BOB)[:6]}", f"Bob#{fingerprint(DAVE)[:6]}")
    assert effects.answers == (
        accepted(
            RecipientState(twins[0], BOB, State.QUEUED),
            RecipientState(twins[1], DAVE, State.QUEUED, Why.PIN_CONFLICT),
            RecipientState("carol", CAROL, State.QUEUED, Why.AWAY),
        ),
    )
    puts = [change for _, change in effects.changes if isinstance(change, PutOutbox)]
    assert [e.letter.recipient for e in puts[0].entries] == [BOB, DAVE, CAROL]
    assert len(puts) == 1
    effects = node.step(Broadcast(T, ALICE, draft(2)), 11.0 + limits.broadcast_horizon_s)
    assert [state.key for state in effects.answers[0].recipients] == [BOB]


def test_a_broadcast_to_nobody_writes_nothing():
    """PROTOCOL.md OUT-10."""
    effects = node_of_alice().step(Broadcast(T, ALICE, draft()), 0.0)
    assert effects == Effects(answers=(accepted(),))


# Renaming.


def rename(node: Node, name: str = "anna", now: float = 0.0) -> Effects:
    return node.step(Rename(T, ALICE, name, draft(kind=Kind.RENAMED)), now)


def test_a_rename_is_announced_and_told_to_everybody_once():
    """PROTOCOL.md NAME-7."""
    node = with_bob()
    alias = Alias("alice", 0.0, limits.alias_s)
    told = entry(1, 1, was_sent=True)
    told = replace(told, letter=replace(told.letter, author_name="anna", kind=Kind.RENAMED))
    assert rename(node) == Effects(
        packets=((BOB_LINK, Announce((card(ALICE, "anna", aliases=(alias,)),))),),
        changes=(
            (ALICE, PutName("anna", alias)),
            (ALICE, ReserveSequences(BOB, RESERVED)),
            (ALICE, put(told)),
        ),
        transmissions_after=(Transmission(BOB_LINK, ALICE, ((1, 0, 0.0),)),),
        answers=(Done(T, ALICE),),
        roster_changed=True,
    )


def test_a_second_rename_within_the_hour_is_denied():
    """PROTOCOL.md NAME-7."""
    node = node_of_alice()
    rename(node)
    text = "Rate limit: can rename again in 42 minutes"
    now = limits.rename_interval_s - 42 * 60.0
    assert rename(node, "abba", now) == Effects(
        answers=(Denied(T, "rate_limited", text, 42 * 60.0),)
    )
    assert rename(node, "abba", limits.rename_interval_s).answers == (Done(T, ALICE),)


def test_a_name_in_use_or_still_forwarded_cannot_be_taken():
    """PROTOCOL.md NAME-7."""
    node = node_of_alice()
    alias = (Alias("former", 0.0, limits.alias_s),)
    accept(node, BOB_LINK, None, card(BOB, "bob", aliases=alias))
    accept(node, -2, greeting(THIRD_NODE), card(CAROL, "carol", is_live=False))
    for name in ("BOB", "former"):
        text = f"The name {name} is in use by another live agent."
        assert rename(node, name) == Effects(answers=(Denied(T, "name_in_use", text),))
    assert rename(node, "carol").answers == (Done(T, ALICE),)  # Away: it does not hold the name.


# Trust.


def trust(node: Node, key: bytes = CAROL) -> Effects:
    return node.step(Trust(T, ALICE, parse_address(f"bob#{fingerprint(key)[:8]}")), 1.0)


def test_trust_in_somebody_unknown_is_denied():
    """PROTOCOL.md NAME-8."""
    text = "0 agents called bob have that fingerprint."
    assert trust(with_bob()) == Effects(answers=(Denied(T, "usage", text),))


def test_trust_moves_mail_that_never_left_and_only_that():
    """PROTOCOL.md NAME-8."""
    made = snapshot(
        ALICE,
        "alice",
        outbox=(entry(1, 1, was_sent=True), entry(2, 2), entry(3), entry(4, 3)),
        next_row=5,
        next_sequences={BOB: 100},
        pins={"bob": Pin("bob", BOB)},
    )
    node = node_of_alice(made)
    effects = accept(node, -2, greeting(THIRD_NODE), card(CAROL, "bob"))
    bound = letter(1, message_id=entry(3).letter.message_id, recipient=CAROL)
    assert (ALICE, BindOutbox(3, bound)) in effects.changes  # New mail goes to the newcomer.
    effects = trust(node)
    rows = [
        (change.row, change.letter.recipient, change.letter.sequence)
        for _, change in effects.changes
        if isinstance(change, BindOutbox)
    ]
    assert rows == [(2, CAROL, 2), (4, CAROL, 3)]
    assert effects.changes[0] == (ALICE, PutPin(Pin("bob", CAROL, is_trusted=True)))
    assert effects.changes[-1] == (ALICE, MarkSent((2, 4)))
    sending = Transmission(LinkId(-2), ALICE, ((2, 1, 1.0), (4, 2, 1.0)))
    assert effects.transmissions_after == (sending,)
    assert effects.answers == (Done(T, ALICE),)


def test_trust_in_the_newcomer_lets_a_waiting_file_go_to_it_and_is_remembered():
    """PROTOCOL.md FILE-2: the letter is not narrowed to the old key any more, on the disk too."""
    file = FileRef(b"f" * 32, 5 * limits.MIB, "big.bin")
    waiting = entry(1, to_prefix=fingerprint(BOB))
    letter = replace(waiting.letter, to="bob", kind=Kind.FILE, file=file)
    made = snapshot(
        ALICE,
        "alice",
        outbox=(replace(waiting, letter=letter),),
        next_row=2,
        pins={"bob": Pin("bob", BOB)},
    )
    node = node_of_alice(made)
    accept(node, -2, greeting(THIRD_NODE), card(CAROL, "bob"))
    effects = trust(node)
    assert [c for _, c in effects.changes if isinstance(c, BindOutbox)] == [BindOutbox(1, letter)]
    offers = [packet for _, packet in effects.packets if isinstance(packet, Offer)]
    assert offers == [Offer(ALICE, CAROL, file)]


def test_trust_lets_a_file_go_to_the_newcomer_before_its_letter():
    """PROTOCOL.md FILE-2: that the old key has the file helps the new one nothing (seed 59837)."""
    file = FileRef(b"f" * 32, 5 * limits.MIB, "big.bin")
    waiting = entry(1, 1)
    made = snapshot(
        ALICE,
        "alice",
        outbox=(replace(waiting, letter=replace(waiting.letter, kind=Kind.FILE, file=file)),),
        next_row=2,
        next_sequences={BOB: 100},
        pins={"bob": Pin("bob", BOB)},
    )
    node = node_of_alice(made)
    accept(node, -2, greeting(THIRD_NODE), card(CAROL, "bob"))
    effects = trust(node)
    (bound,) = [change for _, change in effects.changes if isinstance(change, BindOutbox)]
    assert (bound.letter.recipient, bound.letter.sequence, bound.letter.to) == (None, 0, "bob")
    assert effects.transmissions_after == ()
    offers = [packet for _, packet in effects.packets if isinstance(packet, Offer)]
    assert offers == [Offer(ALICE, CAROL, file)]
    assert node.offers.needs_file(ALICE, file.digest)
