"""Short ways to bring a node into a state by its own events."""

from mesh.core.effects import Effects
from mesh.core.events import (
    LinkLost,
    Loss,
    PacketReceived,
    Sighted,
    Source,
    Timeout,
)
from mesh.core.node import Node
from mesh.model import Card, LinkId, NodeId
from mesh.packet import (
    Announce,
    Greeting,
    Hello,
    Packet,
    Welcome,
)
from tests.core.samples import (
    OTHER_NODE,
    curve_of,
    greeting,
)

IN = LinkId(-1)


def give(node: Node, link: int, packet: Packet, now: float = 0.0) -> Effects:
    return node.step(PacketReceived(LinkId(link), packet), now)


def lose(node: Node, link: int, loss: Loss = Loss.CLOSED, now: float = 0.0) -> Effects:
    return node.step(LinkLost(LinkId(link), loss), now)


def wait(node: Node, until: float) -> Effects:
    """Wake the node whenever it wants to be; return what it did the last time, at `until`."""
    while (deadline := node.next_deadline()) is not None and deadline < until:
        node.step(Timeout(), deadline)
    return node.step(Timeout(), until)


def sight(node: Node, other: NodeId = OTHER_NODE, now: float = 0.0) -> LinkId:
    """Let discovery show a node; return the link by which it is dialled."""
    node.step(Sighted(Source.STATIC, curve_of(other), (f"tcp://{chr(other[0])}:1",), other), now)
    (dial,) = node.step(Timeout(), now).dials
    return dial.link


def accept(
    node: Node, link: int = IN, other: Greeting | None = None, *cards: Card, now: float = 0.0
) -> Effects:
    give(node, link, Hello(other or greeting()), now)
    return give(node, link, Announce(cards), now)


def dialled(node: Node, other: NodeId = OTHER_NODE, *cards: Card, now: float = 0.0) -> LinkId:
    link = sight(node, other, now)
    give(node, link, Welcome(greeting(other)), now)
    give(node, link, Announce(cards), now)
    return link


def up(node: Node) -> dict[NodeId, LinkId | None]:
    return {id_: peer.link for id_, peer in node.roster.peers.items()}
