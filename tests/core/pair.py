"""A few nodes joined by hand: packets wait until a test lets them through, time stands still.

`World.step` gives one event to one node and carries out its effects in the order they demand.
`World.run` moves packets until nothing is left to move. Crashes and disks are the simulator's part.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from mesh.core.bounds import BOUNDS, Bounds
from mesh.core.changes import BindOutbox, Change, PutOutbox
from mesh.core.effects import Answer, Arrival, Effects, Notice, Receipt, Transmission
from mesh.core.events import (
    Event,
    LinkLost,
    Loss,
    MailboxTaken,
    PacketReceived,
    Sighted,
    Source,
    Submit,
    Timeout,
    Token,
)
from mesh.core.link import SELF_LINK
from mesh.core.node import Node
from mesh.core.snapshot import MailboxSnapshot
from mesh.model import Letter, LinkId, MailboxKey, NodeId, Profile, parse_address
from mesh.packet import Greeting, Hello, Mail, MailItem, Packet
from tests.core.samples import HOST, curve_of, draft, greeting, half

End = tuple[str, LinkId]


@dataclass(slots=True)
class Party:
    """One node with what it was told, what it wrote and what it said."""

    name: str
    node: Node
    greeting: Greeting
    letters: dict[tuple[MailboxKey, int], tuple[Letter, bytes]] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    next_inbound: int = -1

    @property
    def id(self) -> NodeId:
        """The node's own id."""
        return self.greeting.node

    def commit(self, effects: Effects) -> None:
        """Write, then let the application know."""
        for key, change in effects.changes:
            self.changes.append(change)
            if isinstance(change, PutOutbox):
                for entry in change.entries:
                    self.letters[key, entry.row] = (entry.letter, change.body)
            elif isinstance(change, BindOutbox):
                self.letters[key, change.row] = (change.letter, self.letters[key, change.row][1])
        self.answers += effects.answers
        self.arrivals += effects.arrivals
        self.receipts += effects.receipts
        self.notices += effects.notices

    def mail(self, transmission: Transmission) -> Packet:
        """Turn rows into the packet that carries them."""
        items = []
        for row, previous, age_s in transmission.letters:
            letter, body = self.letters[transmission.mailbox, row]
            items.append(MailItem(letter, previous, age_s, body))
        return Mail(transmission.mailbox, tuple(items))

    def bodies(self) -> list[bytes]:
        """Return what has arrived, in order."""
        return [arrival.body for arrival in self.arrivals]

    def states(self) -> list[str]:
        """Return what has become known of the messages sent."""
        return [receipt.state.value for receipt in self.receipts]


class World:
    """Nodes, the links between them, and the packets on their way."""

    def __init__(self) -> None:
        self.now = 100.0
        self.parties: dict[str, Party] = {}
        self.flying: deque[tuple[str, LinkId, Packet]] = deque()
        self.filter: Callable[[str, Packet], bool] = lambda _to, _packet: True
        self.unreachable: set[str] = set()
        self.file_tasks: Callable[[Party, Effects], None] = lambda _party, _effects: None
        self._ends: dict[End, End] = {}
        self._tokens = 0

    def add(
        self, name: str, *, host: bytes = HOST, is_strict: bool = False, bounds: Bounds = BOUNDS
    ) -> Party:
        """Start a node; its endpoint is its name."""
        id_ = NodeId(name.encode().ljust(16, b"-"))
        own = greeting(id_, host=host, endpoints=(f"tcp://{name}",))
        node = Node(
            own, is_open=False, is_strict=is_strict, random=half, now=self.now, bounds=bounds
        )
        self.parties[name] = Party(name, node, own)
        return self.parties[name]

    def hold(self, party: Party, snapshot: MailboxSnapshot, *, is_live: bool = True) -> None:
        """Let a node take a mailbox."""
        self.step(party, MailboxTaken(snapshot, is_live, Profile()))

    def meet(self, one: Party, other: Party) -> None:
        """Let one node dial the other, and wait until they are linked."""
        self.sight(one, other)
        self.run()

    def sight(self, one: Party, other: Party) -> None:
        """Let discovery show one node the other."""
        endpoint = f"tcp://{other.name}"
        self.step(one, Sighted(Source.STATIC, curve_of(other.id), (endpoint,), other.id))

    def send(self, party: Party, author: MailboxKey, to: str, number: int, **changes) -> Effects:
        """Let an agent send the message `number`, whose body is its number."""
        self._tokens += 1
        body = str(number).encode()
        made = draft(number, **{"body": body, **changes})
        return self.step(party, Submit(Token(self._tokens), author, parse_address(to), (made,)))

    def step(self, party: Party, event: Event) -> Effects:
        """Give a node one event and carry out what it asks for."""
        effects = party.node.step(event, self.now)
        for link in effects.closes:
            self.cut(party, link)
        for dial in effects.dials:
            self._dial(party, dial.link, dial.endpoint, dial.expected)
        party.commit(effects)
        mail = (*effects.transmissions, *effects.transmissions_after)
        outgoing = [
            *effects.packets,
            *((transmission.link, party.mail(transmission)) for transmission in mail),
            *((link, packet) for link, _, packet in effects.acks),
        ]
        for link, packet in outgoing:
            self.post(party, link, packet)
        self.file_tasks(party, effects)
        return effects

    def run(self, seconds: float = 0.0) -> None:
        """Deliver everything, waking the nodes when they are due within the next `seconds`."""
        end = self.now + seconds
        while True:
            self.deliver()
            due = [(p.node.next_deadline() or end + 1, p.name) for p in self.parties.values()]
            at, name = min(due)
            if at > end:
                self.now = end
                return
            self.now = max(self.now, at)
            self.step(self.parties[name], Timeout())

    def deliver(self, most: int = 10_000) -> None:
        """Deliver packets in the order they were sent."""
        while self.flying and most:
            most -= 1
            self.deliver_next()
        assert most, "the nodes do not stop talking"

    def deliver_next(self) -> None:
        """Deliver the packet that was sent first."""
        name, link, packet = self.flying.popleft()
        if self.filter(name, packet):
            self.step(self.parties[name], PacketReceived(link, packet))

    def drop(self, kind: type[Packet], times: int) -> None:
        """Lose the first packets of a kind from now on."""
        left = [times]

        def keeps(_to: str, packet: Packet) -> bool:
            if isinstance(packet, kind) and left[0]:
                left[0] -= 1
                return False
            return True

        self.filter = keeps

    def deliver_until(self, is_next: Callable[[Packet], bool]) -> None:
        """Deliver packets until one of a kind would be the next."""
        while self.flying and not is_next(self.flying[0][2]):
            name, link, packet = self.flying.popleft()
            self.step(self.parties[name], PacketReceived(link, packet))

    def cut(self, party: Party, link: LinkId) -> None:
        """End a link; the far end hears of it."""
        far = self._ends.pop((party.name, link), None)
        if far is None:
            return
        del self._ends[far]
        lost = {(party.name, link), far}
        self.flying = deque(p for p in self.flying if (p[0], p[1]) not in lost)
        self.step(self.parties[far[0]], LinkLost(far[1], Loss.CLOSED))

    def links(self, party: Party) -> list[LinkId]:
        """Return the links of a node that the transport has open."""
        return [link for name, link in self._ends if name == party.name]

    def far(self, name: str, link: LinkId) -> str:
        """Return the name of the node at the other end of a link."""
        return self._ends[name, link][0]

    def _dial(self, party: Party, link: LinkId, endpoint: str, expected: NodeId | None) -> None:
        name = endpoint.removeprefix("tcp://")
        if name not in self.parties or name in self.unreachable:
            self.step(party, LinkLost(link, Loss.UNREACHABLE))
            return
        other = self.parties[name]
        far = (name, LinkId(other.next_inbound))
        other.next_inbound -= 1
        self._ends[party.name, link] = far
        self._ends[far] = (party.name, link)
        self.post(party, link, Hello(replace(party.greeting, expected=expected)))

    def post(self, party: Party, link: LinkId, packet: Packet) -> None:
        """Put a packet on its way."""
        if link == SELF_LINK:
            self.flying.append((party.name, link, packet))
            return
        far = self._ends.get((party.name, link))
        if far is not None:
            self.flying.append((*far, packet))
