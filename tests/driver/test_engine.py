"""The loop: what leaves before a commit, what only after it, and what when it fails."""

import asyncio

import pytest

from mesh.core.events import MailboxReleased, Submit
from mesh.errors import DiskFullError, StoreError, UnconfirmedError
from mesh.model import State, parse_address
from mesh.store.memory_disk import Fault
from tests.driver.loop_nodes import draft_of, linked, running


async def test_message_is_delivered_shown_and_both_are_told():
    async with linked("alice", "bob") as (alice, bob):
        receipt = await alice.send("bob", "hello")
        assert await bob.inbox(1) == ["hello"]
        assert await receipt.wait("delivered", 5)
        await bob.show_all()
        assert await receipt.wait("shown", 5)
        await alice.stores.flush()
        assert [row.state for row in alice.disk.outbox.values()] == [State.SHOWN]


async def test_order_is_kept_over_many_messages_sent_at_once():
    async with linked("alice", "bob") as (alice, bob):
        numbers = [str(number) for number in range(1500)]
        async with asyncio.TaskGroup() as group:
            for number in numbers:
                group.create_task(alice.send("bob", number))
        assert await bob.inbox(1500) == numbers


async def test_message_to_oneself_never_touches_the_network():
    async with running("alice") as (alice,):
        receipt = await alice.send("alice", "note")
        assert await receipt.wait("delivered", 5)
        assert await alice.inbox(1) == ["note"]


async def test_broadcast_reaches_everybody_but_its_sender():
    async with linked("alice", "bob", "carol") as (alice, bob, carol):
        receipt = await alice.broadcast("to all")
        assert [r.to for r in receipt.recipients] == ["bob", "carol"]
        assert await bob.inbox(1) == await carol.inbox(1) == ["to all"]
        assert await receipt.wait("delivered", 5)
        assert await alice.read() == []


async def test_full_disk_is_said_and_nothing_was_accepted():
    async with linked("alice", "bob") as (alice, bob):
        alice.disk.fault = Fault.FULL
        with pytest.raises(DiskFullError):
            await alice.send("bob", "too much")
        assert not alice.disk.outbox
        receipt = await alice.send("bob", "fits")
        assert await receipt.wait("delivered", 5)
        # The refused one may have left before the disk said no; accepted is only the other.
        assert "fits" in await bob.inbox(1)


async def test_commit_that_failed_but_was_written_is_reported_as_accepted():
    async with linked("alice", "bob") as (alice, bob):
        alice.disk.fault = Fault.UNCERTAIN
        receipt = await alice.send("bob", "it is there")
        assert receipt.id == alice.disk.outbox[1].letter.message_id.hex()
        assert await bob.inbox(1) == ["it is there"]
        assert await receipt.wait("delivered", 5)


async def test_commit_that_failed_and_was_not_written_is_an_error():
    async with running("alice") as (alice,):
        alice.disk.fault = Fault.LOST
        with pytest.raises(StoreError):
            await alice.send("bob", "lost")
        assert not alice.disk.outbox


async def test_disk_that_cannot_be_asked_either_leaves_the_message_unconfirmed():
    async with running("alice") as (alice,):
        alice.disk.fault = Fault.UNCERTAIN
        alice.is_broken = True
        draft = draft_of("who knows")
        with pytest.raises(UnconfirmedError) as caught:
            await alice.submit(lambda t: Submit(t, alice.key, parse_address("bob"), (draft,)))
        assert caught.value.message_id == draft.message_id.hex()
        with pytest.raises(StoreError, match="not held"):
            await alice.send("bob", "and now")
        assert alice.key not in alice.core.mailboxes


@pytest.mark.parametrize("fault", [Fault.FULL, Fault.LOST, Fault.UNCERTAIN])
async def test_failed_commit_of_the_receiver_acks_nothing_and_loses_nothing(fault):
    async with linked("alice", "bob") as (alice, bob):
        bob.disk.fault = fault
        receipt = await alice.send("bob", "hello")
        assert await receipt.wait("delivered", 15)
        assert await bob.read() == ["hello"]


async def test_mailbox_released_in_the_tick_of_its_failed_commit_leaves_doubt_only():
    async with running("alice") as (alice,):
        alice.disk.fault = Fault.LOST
        draft = draft_of("last")
        waiting = alice.desk.request(
            alice.engine.post, lambda t: Submit(t, alice.key, parse_address("bob"), (draft,))
        )
        alice.engine.post(MailboxReleased(alice.key))
        alice.engine.post(MailboxReleased(alice.key))
        with pytest.raises(UnconfirmedError):
            await waiting
        await alice.engine.settle()


async def test_lost_link_is_dialled_again_and_mail_flows_on():
    async with linked("alice", "bob") as (alice, bob):
        network = alice.transport._network
        network.cut("alice", "bob")
        receipt = await alice.send("bob", "later")
        assert not await receipt.wait("delivered", 0.05)
        network.mend("alice", "bob")
        assert await receipt.wait("delivered", 10)
        assert await bob.read() == ["later"]
        assert alice.links_lost >= 1


async def test_junk_on_a_new_link_is_counted_and_the_link_closed():
    async with running("bob") as (bob,):
        stranger = bob.transport._network.transport("stranger")
        async with stranger, asyncio.timeout(5):
            stranger.dial(1, endpoint="loop://bob", curve=bob.transport.curve)
            stranger.send(1, (b"x" * 48, b"junk"))
            (lost,) = await stranger.receive()
            assert lost.link == 1
        assert bob.engine.drops == {"OversizeError": 1}


async def test_settle_returns_once_everything_posted_before_was_carried_out():
    async with running("alice") as (alice,):
        waiting = alice.desk.request(
            alice.engine.post,
            lambda t: Submit(t, alice.key, parse_address("bob"), (draft_of("x"),)),
        )
        await alice.engine.settle()
        assert waiting.done()
        await alice.engine.settle()


@pytest.mark.parametrize("fault", [Fault.FULL, Fault.LOST])
async def test_put_off_write_that_fails_under_a_reader_is_mended_without_a_restart(fault):
    async with linked("alice", "bob") as (alice, bob):
        receipt = await alice.send("bob", "hello")
        assert await receipt.wait("delivered", 5)
        alice.disk.fault = fault  # The verdict is told, but not written yet.
        with pytest.raises(StoreError):
            await alice.read()
        async with asyncio.timeout(5):
            while alice.disk.outbox[1].state is not State.DELIVERED:
                await alice.engine.settle()
                await alice.stores.flush()
                await asyncio.sleep(0.01)
        assert await alice.read() == []
        assert (await alice.send("bob", "again")).id
        assert await bob.inbox(2) == ["hello", "again"]
