"""What a sender knows of a message: states only ever as told, waiting ends when it can."""

import asyncio

import pytest

from mesh.core.effects import RecipientState
from mesh.driver.receipt import Receipt
from mesh.model import State, Why
from tests.store.samples import BOB, EVE


def receipt(*states: RecipientState) -> Receipt:
    return Receipt("ab" * 16, states or (RecipientState("bob", BOB, State.QUEUED, Why.AWAY),))


async def test_state_is_that_of_the_only_recipient_with_reason_and_time():
    made = receipt()
    assert (made.state, made.recipients[0].why, made.recipients[0].at) == ("queued", "away", None)
    made.update(BOB, State.DELIVERED, Why.NONE)
    assert (made.state, made.recipients[0].why) == ("delivered", "")
    assert made.recipients[0].at is not None


async def test_state_of_many_is_the_least_advanced():
    made = receipt(
        RecipientState("bob", BOB, State.QUEUED), RecipientState("eve", EVE, State.QUEUED)
    )
    made.update(EVE, State.SHOWN, Why.NONE)
    assert made.state == "queued"
    made.update(BOB, State.DELIVERED, Why.NONE)
    assert made.state == "delivered"
    assert await made.wait("delivered", 1)


async def test_recipient_that_was_unknown_is_filled_in():
    made = receipt(RecipientState("bob", None, State.QUEUED, Why.UNKNOWN_NAME))
    made.update(BOB, State.DELIVERED, Why.NONE)
    (recipient,) = made.recipients
    assert (recipient.to, recipient.state) == ("bob", "delivered")
    assert recipient.fingerprint
    made.update(BOB, State.SHOWN, Why.NONE)
    assert made.state == "shown"


async def test_news_of_a_stranger_is_ignored():
    made = receipt()
    made.update(EVE, State.DELIVERED, Why.NONE)
    assert made.state == "queued"


async def test_wait_ends_when_the_state_is_reached_or_passed():
    made = receipt()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(made.wait("delivered", 5))
        await asyncio.sleep(0)
        made.update(BOB, State.SHOWN, Why.NONE)
    assert waiting.result()


@pytest.mark.parametrize("state", [State.REFUSED, State.EXPIRED])
async def test_wait_ends_at_once_when_it_will_never_be(state):
    made = receipt()
    made.update(BOB, state, Why.NONE)
    async with asyncio.timeout(1):
        assert not await made.wait("delivered", 60)


async def test_wait_gives_up_when_time_is_up():
    assert not await receipt().wait("delivered", 0.01)


async def test_message_to_nobody_has_arrived_everywhere():
    made = Receipt("ab" * 16, ())
    assert await made.wait("shown", 0.01)
