"""What the imagined network can do beyond the contract."""

from net_support import connect, receive_frames, receive_loss

from mesh.core.events import Loss
from mesh.net.interface import FramesReceived
from mesh.net.loopback import LoopbackNetwork


async def test_a_cut_loses_links_at_both_ends_until_it_is_mended():
    network = LoopbackNetwork()
    async with network.transport("a") as a, network.transport("b") as b:
        await connect(b, a)
        network.cut("a", "b")
        assert (await receive_loss(a)).loss is Loss.CLOSED
        assert (await receive_loss(b)).loss is Loss.CLOSED
        b.dial(2, endpoint=a.endpoints[0], curve=a.curve)
        assert (await receive_loss(b)).loss is Loss.UNREACHABLE
        network.mend("a", "b")
        await connect(b, a, 3)


async def test_the_door_is_taken_once_and_carries_links():
    network = LoopbackNetwork()
    async with network.transport("a") as a, network.transport("b") as b:
        assert a.open_door(47600, "host")
        assert not b.open_door(47600, "host")
        b.dial(1, endpoint="loop://host:47600", curve=None)
        b.send(1, [b"head", b"knock"])
        assert await receive_frames(a) == FramesReceived(-1, (b"head", b"knock"), is_door=True)
        a.close_door()
        assert b.open_door(47600, "host")


async def test_another_mesh_is_rejected():
    network = LoopbackNetwork()
    async with network.transport("a") as a, network.transport("b", door=b"other") as b:
        b.dial(1, endpoint=a.endpoints[0], curve=a.curve)
        assert (await receive_loss(b)).loss is Loss.REJECTED
        assert a.refusals() == {"loop://b": 1}
