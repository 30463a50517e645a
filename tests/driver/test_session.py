"""Sessions and names: beginning, ending, and whose mailbox it is."""

import asyncio

import pytest

import mesh
from mesh.model import INVALID_NAME
from tests.driver.test_agent import contents, sees


@pytest.fixture
async def alice(config):
    async with mesh.join("alice", config()) as agent:
        yield agent


@pytest.fixture
async def bob(config):
    async with mesh.join("bob", config()) as agent:
        yield agent


async def test_status_counts_mail_and_peers(alice, bob):
    await sees(alice, "bob")
    await alice.send("nobody", "x")
    await (await bob.send("alice", "y")).wait("delivered", 5)
    status = await alice.status()
    assert (status.instance_id, status.fingerprint) == ("alice", alice.fingerprint)
    assert (status.mode, status.mesh) == (alice.mode, alice.mesh)
    assert (status.outbox, status.inbox) == ({"queued": 1}, {"unread": 1, "history": 0})
    assert status.peers == {"live": 1, "suspect": 0}
    assert any(endpoint.startswith("tcp://127.0.0.1:") for endpoint in status.endpoints)
    assert mesh.Status.from_json(status.to_json()) == status


async def test_trust_wants_a_fingerprint_that_one_agent_has(alice, bob):
    await sees(alice, "bob")
    await alice.trust("bob", bob.fingerprint[:6])
    with pytest.raises(mesh.UsageError):
        await alice.trust("bob", alice.fingerprint)
    with pytest.raises(mesh.UsageError):
        await alice.trust("bob", "xyz")


async def test_bad_names_are_refused_in_the_words_of_the_contract(config):
    async with mesh.open_session(config()) as session:
        for bad in ("", "has space", "x" * 33, "ünïcode"):
            with pytest.raises(mesh.UsageError) as caught:
                await session.register(bad)
            assert str(caught.value) == INVALID_NAME
        for reserved in ("system", "All", "EVERYONE"):
            with pytest.raises(mesh.UsageError, match="reserved"):
                await session.register(reserved)
        assert session.agent is None
        status = await session.status()
        assert (status.instance_id, status.inbox) == (None, {"unread": 0, "history": 0})


async def test_session_keeps_the_one_name_it_has(config):
    async with mesh.open_session(config()) as session:
        agent = await session.register("alice")
        assert await session.register("ALICE") is agent
        assert session.agent is agent
        with pytest.raises(mesh.UsageError, match="rename"):
            await session.register("bob")


async def test_name_of_a_live_session_is_refused(alice, config):
    with pytest.raises(mesh.NameInUseError) as caught:
        async with mesh.join("alice", config()):
            pytest.fail("two sessions hold one mailbox")
    assert caught.value.code == "name_in_use"


async def test_agent_whose_session_has_ended_says_so(config):
    async with mesh.join("alice", config()) as alice:
        pass
    for call in (alice.send("bob", "x"), alice.check(), alice.receipt("0" * 32)):
        with pytest.raises(mesh.MeshError):
            async with asyncio.timeout(5):
                await call


async def test_error_in_the_block_is_raised_as_it_is_and_the_name_is_free_again(config):
    with pytest.raises(ZeroDivisionError):
        async with mesh.join("alice", config()):
            raise ZeroDivisionError
    async with mesh.join("alice", config()) as alice:
        assert alice.unread == 0


async def test_session_registers_a_name_that_it_tends(config):
    async with mesh.join("bob", config()) as bob:
        async with mesh.join("alice", config()) as alice:
            key = alice.fingerprint
            await sees(bob, "alice")
        async with mesh.open_session(config()) as session:
            await sees(bob, "alice", state="away")
            await bob.send("alice", "while you were out")
            alice = await session.register("alice")
            assert alice.fingerprint == key
            assert await contents(alice, wait_s=5) == ["while you were out"]


async def test_cancelled_session_leaves_nothing_open_and_its_name_free(config):
    settings = config()
    has_joined = asyncio.Event()

    async def stay() -> None:
        async with mesh.join("alice", settings):
            has_joined.set()
            await asyncio.Event().wait()

    staying = asyncio.ensure_future(stay())
    await has_joined.wait()
    assert list((settings.home / "run").iterdir())
    staying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await staying
    assert not list((settings.home / "run").iterdir())
    async with mesh.join("alice", settings) as again:
        assert await again.check() == []


async def test_mailbox_given_up_to_a_session_is_left_to_it_for_a_while(config):
    """However long a newcomer on a busy machine takes to open it."""
    async with mesh.open_session(config()) as tender:
        for name in ("alice", "bob"):
            async with mesh.join(name, config()):
                pass
            await until_held(tender, name)
            if name == "alice":
                assert await tender._release("ALICE")
        assert tender._node.holding.names == ["bob"]
        async with mesh.join("alice", config()) as alice:
            assert alice.name == "alice"


async def until_held(session, name):
    async with asyncio.timeout(10):
        while name not in session._node.holding.names:
            await asyncio.sleep(0.01)
