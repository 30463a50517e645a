"""Requests out, answers back: each future ends once, whatever happens to the node."""

import asyncio
from dataclasses import replace

import pytest

from mesh.core import effects
from mesh.core.effects import Accepted, Arrival, Denied, Done, RecipientState
from mesh.core.events import Timeout, Token
from mesh.driver.desk import Desk
from mesh.errors import (
    DiskFullError,
    NameInUseError,
    QuotaError,
    RateLimitError,
    StoreError,
    UnconfirmedError,
    UsageError,
)
from mesh.model import MessageId, State, Verified
from tests.store.samples import BOB, EVE, OWN, letter

ID = MessageId(b"i" * 16)


class Asked:
    """A desk with one request under way."""

    def __init__(self) -> None:
        self.lost = 0
        self.desk = Desk(
            on_link_lost=self._on_lost, on_host_changed=lambda: None, on_moved=lambda: None
        )
        self.tokens: list[Token] = []
        self.future = self.ask()

    def ask(self):
        def make(token: Token) -> Timeout:
            self.tokens.append(token)
            return Timeout()

        return self.desk.request(lambda _: None, make)

    def accepted(self) -> Accepted:
        state = RecipientState("bob", BOB, State.QUEUED)
        return Accepted(self.tokens[-1], OWN, (ID,), (state,))

    def _on_lost(self) -> None:
        self.lost += 1


@pytest.fixture
async def asked() -> Asked:
    return Asked()


async def test_accepted_message_gives_a_receipt_that_follows_it(asked):
    asked.desk.answered(asked.accepted(), None)
    (receipt,) = await asked.future
    assert (receipt.id, receipt.state) == (ID.hex(), "queued")
    asked.desk.receipts([effects.Receipt(OWN, ID, BOB, State.DELIVERED)])
    assert receipt.state == "delivered"
    asked.desk.receipts([effects.Receipt(EVE, ID, BOB, State.SHOWN)])
    assert receipt.state == "delivered", "another mailbox's message has that id"


async def test_messages_sent_together_have_a_receipt_each(asked):
    other = MessageId(b"j" * 16)
    answer = replace(asked.accepted(), message_ids=(ID, other))
    asked.desk.answered(answer, None)
    first, second = await asked.future
    asked.desk.receipts([effects.Receipt(OWN, other, BOB, State.DELIVERED)])
    assert [(one.id, one.state) for one in (first, second)] == [
        (ID.hex(), "queued"),
        (other.hex(), "delivered"),
    ]
    asked.future = asked.ask()
    asked.desk.uncertain(replace(answer, token=asked.tokens[-1]), StoreError("gone"))
    with pytest.raises(UnconfirmedError, match="and 1 more"):
        await asked.future


async def test_failed_commit_is_raised_as_it_is(asked):
    asked.desk.answered(asked.accepted(), DiskFullError("full"))
    with pytest.raises(DiskFullError):
        await asked.future


async def test_uncertain_commit_names_the_message(asked):
    asked.desk.uncertain(asked.accepted(), StoreError("gone"))
    with pytest.raises(UnconfirmedError) as caught:
        await asked.future
    assert caught.value.message_id == ID.hex()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("rate_limited", RateLimitError),
        ("name_in_use", NameInUseError),
        ("quota", QuotaError),
        ("storage", StoreError),
        ("usage", UsageError),
    ],
)
async def test_denial_is_the_error_of_its_code(asked, code, kind):
    asked.desk.answered(Denied(asked.tokens[0], code, "no", 5.0), None)
    with pytest.raises(kind, match="no") as caught:
        await asked.future
    assert caught.type is kind


async def test_answer_nobody_waits_for_any_more_is_dropped(asked):
    asked.future.cancel()
    asked.desk.answered(asked.accepted(), None)
    asked.desk.answered(asked.accepted(), None)
    asked.desk.uncertain(asked.accepted(), StoreError("gone"))


async def test_requests_are_answered_by_their_own_token(asked):
    second = asked.ask()
    asked.desk.answered(Done(asked.tokens[1], OWN), None)
    assert second.done()
    assert not asked.future.done()


async def test_end_of_the_node_fails_what_is_open_and_what_comes_after(asked):
    asked.desk.close(StoreError("ended"))
    for future in (asked.future,):
        with pytest.raises(StoreError, match="ended"):
            await future
    with pytest.raises(StoreError, match="ended"):
        asked.ask()


async def test_arrivals_wake_the_readers_of_that_mailbox_only(asked):
    with (
        asked.desk.arrival_bell(OWN).listen() as own,
        asked.desk.arrival_bell(BOB).listen() as other,
    ):
        asked.desk.arrived([Arrival(OWN, letter(1), b"", Verified.PINNED)])
        async with asyncio.timeout(1):
            await own.wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await other.wait()


async def test_end_of_the_node_wakes_its_readers(asked):
    with asked.desk.arrival_bell(OWN).listen() as ear:
        asked.desk.close(StoreError("ended"))
        async with asyncio.timeout(1):
            await ear.wait()


async def test_lost_link_is_passed_on(asked):
    asked.desk.link_lost()
    assert asked.lost == 1


async def test_ring_before_listening_is_not_heard_and_one_in_between_is_kept(asked):
    bell = asked.desk.roster_bell
    asked.desk.roster_changed()
    with bell.listen() as ear:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await ear.wait()
        asked.desk.roster_changed()
        asked.desk.roster_changed()
        async with asyncio.timeout(1):
            await ear.wait()
