"""The node as one machine: what it does with each event, and when it wants to be woken."""

import pytest

from mesh import limits
from mesh.core.effects import Denied, Effects
from mesh.core.events import (
    Broadcast,
    MailboxReleased,
    MailboxTaken,
    ProfileChanged,
    Rename,
    Shown,
    Submit,
    Timeout,
    Token,
    Trust,
)
from mesh.core.filework import SweepFiles
from mesh.model import Kind, LinkId, Presence, Profile, parse_address
from mesh.packet import Announce
from tests.core.samples import (
    ALICE,
    BOB,
    CAROL,
    card,
    draft,
    entry,
    greeting,
    new_node,
    snapshot,
)
from tests.core.steps import accept, give

LINK = LinkId(-1)
T = Token(1)
TO = parse_address("bob")


def test_an_idle_node_is_woken_to_look_after_its_links():
    """PROTOCOL.md PRES-2, DISC-5."""
    node = new_node()
    assert node.next_deadline() == limits.sweep_interval_s
    for now in range(5, 65, 5):
        assert node.next_deadline() == now
        assert node.step(Timeout(), float(now)) == Effects()


def test_a_timeout_before_its_time_does_nothing():
    assert new_node().step(Timeout(), 1.0) == Effects()


@pytest.mark.parametrize(
    "event",
    [
        Submit(T, ALICE, TO, (draft(),)),
        Broadcast(T, ALICE, draft()),
        Shown(T, ALICE, ()),
        Rename(T, ALICE, "anna", draft(kind=Kind.RENAMED)),
        Trust(T, ALICE, TO),
    ],
    ids=lambda event: type(event).__name__,
)
def test_a_request_for_a_mailbox_that_is_not_held_is_denied(event):
    """PROTOCOL.md TEND-4."""
    text = "This mailbox is not held by this process any more."
    assert new_node().step(event, 0.0) == Effects(answers=(Denied(T, "storage", text),))


def test_whatever_is_held_is_announced_to_all():
    """PROTOCOL.md TEND-1, TEND-3, TEND-4."""
    node = new_node()
    accept(node)
    effects = node.step(MailboxTaken(snapshot(ALICE, "alice"), True, Profile()), 0.0)
    assert effects == Effects(
        packets=((LINK, Announce((card(ALICE, "alice"),))),),
        roster_changed=True,
        files=(SweepFiles(ALICE),),
    )
    tended = node.step(MailboxTaken(snapshot(BOB, "bob"), False, Profile()), 0.0)
    both = (card(ALICE, "alice"), card(BOB, "bob", is_live=False))
    assert tended.packets == ((LINK, Announce(both)),)
    assert set(node.mailboxes) == {ALICE, BOB}
    assert node.roster.presence(node.roster.agent(BOB)) is Presence.AWAY
    profile = Profile(summary="busy")
    changed = node.step(ProfileChanged(ALICE, profile), 0.0).packets[0][1]
    assert changed.cards[0].profile == profile
    released = node.step(MailboxReleased(ALICE), 0.0)
    assert released.packets == ((LINK, Announce(both[1:])),)
    assert node.roster.agent(ALICE).node is None


def test_a_mailbox_that_is_not_held_can_be_released_and_described_without_harm():
    """PROTOCOL.md TEND-4."""
    node = new_node()
    node.step(MailboxReleased(ALICE), 0.0)
    node.step(ProfileChanged(ALICE, Profile(summary="x")), 0.0)
    assert node.mailboxes == {}


def test_a_mailbox_taken_is_sent_on_at_once():
    """PROTOCOL.md TEND-4, OUT-4."""
    node = new_node()
    accept(node, LINK, None, card(BOB, "bob"))
    made = snapshot(ALICE, "alice", outbox=(entry(1, 1, was_sent=True),), next_sequences={BOB: 100})
    effects = node.step(MailboxTaken(made, False, Profile()), 0.0)
    assert [t.letters for t in effects.transmissions] == [((1, 0, 0.0),)]


def test_the_same_events_at_the_same_times_give_the_same_effects():
    def story() -> list[Effects]:
        node = new_node()
        effects = [accept(node, LINK, None, card(BOB, "bob"))]
        effects.append(node.step(MailboxTaken(snapshot(ALICE, "alice"), True, Profile()), 1.0))
        effects.append(node.step(Submit(T, ALICE, TO, (draft(),)), 2.0))
        effects.append(give(node, LINK, Announce((card(CAROL, "carol"),)), 3.0))
        effects += [node.step(Timeout(), float(now)) for now in range(5, 60, 5)]
        return effects

    assert story() == story()


def test_problems_start_empty_and_our_own_greeting_needs_no_endpoint():
    node = new_node()
    assert node.problems == {}
    assert accept(node, LINK, greeting(endpoints=())).closes == ()
