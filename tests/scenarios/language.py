"""Stories about the protocol: a few words a line, and under each what happened because of it.

    node a alice            a node that holds a mailbox of that name; `node b` holds none; it may be
                            `strict=yes`, or keep no more than `room=2` letters unread
    hold b alice away       another mailbox for a node, tended if `away`; a new `life=2` if its
                            database was lost
    release a alice         the node gives a mailbox up
    meet a b                a dials b; all packets are delivered
    send a alice bob hi     alice, on a, sends `hi` to bob; `ttl=3`, `hops=17` may follow
                            (`bob#two` means the fingerprint of the key `two`)
    share a alice bob 3     alice shares a file of three pieces with bob
    disk full               there is no room for files any more; `disk roomy`: there is again;
                            `disk near`: what authors have of them can be read by everybody
    broadcast a alice hi    to everybody
    show b bob              all that bob has received is shown to him
    rename a alice anna     alice calls herself anna
    trust a alice bob two   alice trusts the key `two` (`node b bob key=two`) under the name bob
    block b, unblock b      nobody can dial b, or can again
    drop mail 1             the next packet of that kind is lost, or the third (`after=2`)
    cut a b                 the links between the two end
    leave a                 a says goodbye
    sleep a                 a was asleep
    wait 5                  time passes, nodes are woken, packets delivered

A packet is shown as it is delivered: `a > b mail 1(0) "hi"` is sequence 1 after 0. Greetings, hints
and what keeps links alive are left out unless the story says `verbose`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from mesh import limits
from mesh.core.bounds import BOUNDS
from mesh.core.effects import Accepted, Denied
from mesh.core.events import (
    Broadcast,
    LinkLost,
    Loss,
    MailboxReleased,
    Rename,
    Resumed,
    Shown,
    Stopping,
    Token,
    Trust,
)
from mesh.core.snapshot import ShownLetter
from mesh.model import Address, FileRef, Incarnation, Kind, MailboxKey, fingerprint
from mesh.packet import (
    Ack,
    Announce,
    Chunk,
    Decline,
    Gap,
    Have,
    Hello,
    Mail,
    Noted,
    Offer,
    Packet,
    Peers,
    Ping,
    Pong,
    Want,
    Welcome,
)
from tests.core.disks import Disks
from tests.core.pair import Party, World
from tests.core.samples import LIFE, draft, snapshot

_QUIET = (Hello, Welcome, Peers, Ping, Pong)
_KINDS: dict[str, type[Packet]] = {
    "mail": Mail,
    "ack": Ack,
    "gap": Gap,
    "noted": Noted,
    "announce": Announce,
    "pong": Pong,
    "welcome": Welcome,
    "chunk": Chunk,
    "have": Have,
}


@dataclass
class _Said:
    answers: int = 0
    arrivals: int = 0
    receipts: int = 0


class Story:
    """Plays the lines of one story."""

    def __init__(self) -> None:
        self._world = World()
        self._world.filter = self._deliver
        self._disks = Disks(self._world)
        self._said: dict[str, _Said] = {}
        self._texts: dict[bytes, str] = {}
        self._fates: dict[type[Packet], list[bool]] = {}
        self._trace: list[str] = []
        self._numbers = 0
        self._is_verbose = False

    def play(self, line: str) -> list[str]:
        """Do what a line says; return what happened."""
        word, *rest = line.split()
        words = [w for w in rest if "=" not in w]
        options = dict(w.split("=", 1) for w in rest if "=" in w)
        command: Callable[..., None] = getattr(self, f"_do_{word}")
        command(*words, **options)
        if word != "wait":
            self._world.deliver()
        trace = [*self._trace, *self._news()]
        self._trace.clear()
        return trace

    # Commands.

    def _do_verbose(self) -> None:
        self._is_verbose = True

    def _do_node(self, name: str, mailbox: str = "", **options: str) -> None:
        room = int(options.get("room", BOUNDS.inbox_letters))
        party = self._world.add(
            name,
            host=options.get("host", name).encode().ljust(16, b"-"),
            is_strict=options.get("strict") == "yes",
            bounds=replace(BOUNDS, inbox_letters=room),
        )
        self._said[name] = _Said()
        if mailbox:
            self._hold(party, mailbox, options.get("key", mailbox), is_live=True)

    def _do_hold(self, name: str, mailbox: str, state: str = "live", **options: str) -> None:
        party, key = self._world.parties[name], options.get("key", mailbox)
        life = Incarnation(options["life"].encode().ljust(8, b"-")) if "life" in options else LIFE
        claim = int(options.get("claim", 1))
        self._hold(party, mailbox, key, is_live=state == "live", claim=claim, incarnation=life)

    def _do_release(self, name: str, mailbox: str) -> None:
        self._world.step(self._world.parties[name], MailboxReleased(_key(mailbox)))

    def _do_meet(self, one: str, other: str) -> None:
        self._world.meet(self._world.parties[one], self._world.parties[other])

    def _do_send(self, name: str, author: str, to: str, text: str, **options: str) -> None:
        self._numbers += 1
        hops = tuple(bytes([n]) for n in range(int(options.get("hops", 0))))
        self._world.send(
            self._world.parties[name],
            _key(author),
            _address(to),
            self._numbers,
            body=text.encode(),
            ttl_s=float(options.get("ttl", 3600)),
            chain=hops,
        )

    def _do_share(self, name: str, author: str, to: str, pieces: str) -> None:
        self._numbers += 1
        digest = bytes([self._numbers]) * 32
        file = FileRef(digest, int(pieces) * limits.chunk_bytes_max, "file")
        party = self._world.parties[name]
        self._world.send(party, _key(author), to, self._numbers, body=b"file", file=file)

    def _do_disk(self, state: str) -> None:
        self._disks.facts = {"free_bytes": 0} if state == "full" else {}
        self._disks.near_to = limits.streamed_file_bytes_max if state == "near" else None

    def _do_broadcast(self, name: str, author: str, text: str) -> None:
        made = self._draft(text, Kind.BROADCAST)
        self._world.step(self._world.parties[name], Broadcast(Token(0), _key(author), made))

    def _do_show(self, name: str, owner: str) -> None:
        party = self._world.parties[name]
        letters = tuple(
            ShownLetter(
                *(a.letter.author, a.letter.incarnation, a.letter.sequence, a.letter.message_id),
                a.letter.body_bytes,
            )
            for a in party.arrivals
            if a.mailbox == _key(owner)
        )
        self._world.step(party, Shown(None, _key(owner), letters))

    def _do_rename(self, name: str, owner: str, new: str) -> None:
        made = self._draft("renamed", Kind.RENAMED)
        self._world.step(self._world.parties[name], Rename(Token(0), _key(owner), new, made))

    def _do_trust(self, name: str, owner: str, whom: str, key: str) -> None:
        address = Address(whom, fingerprint(_key(key))[:8])
        self._world.step(self._world.parties[name], Trust(Token(0), _key(owner), address))

    def _do_drop(self, kind: str, count: str, after: str = "0") -> None:
        self._fates[_KINDS[kind]] = [True] * int(after) + [False] * int(count)

    def _do_cut(self, one: str, other: str) -> None:
        party = self._world.parties[one]
        for link in self._world.links(party):
            if self._world.far(one, link) == other:
                self._world.cut(party, link)
                self._world.step(party, LinkLost(link, Loss.CLOSED))

    def _do_block(self, name: str) -> None:
        self._world.unreachable.add(name)

    def _do_unblock(self, name: str) -> None:
        self._world.unreachable.discard(name)

    def _do_leave(self, name: str) -> None:
        self._world.step(self._world.parties[name], Stopping())

    def _do_sleep(self, name: str) -> None:
        self._world.step(self._world.parties[name], Resumed())

    def _do_wait(self, seconds: str) -> None:
        self._world.run(float(seconds))

    # What is seen.

    def _deliver(self, to: str, packet: Packet) -> bool:
        fates = self._fates.get(type(packet))
        comes = fates.pop(0) if fates else True
        if self._is_verbose or not isinstance(packet, _QUIET):
            self._trace.append(f"> {to} {_told(packet)}{'' if comes else ' (lost)'}")
        return comes

    def _news(self) -> Iterator[str]:
        for name, party in self._world.parties.items():
            said = self._said[name]
            for answer in party.answers[said.answers :]:
                if isinstance(answer, Denied):
                    yield f"{name} denies: {answer.code}"
                elif isinstance(answer, Accepted):
                    states = [_state(r.to, r.state.value, r.why.value) for r in answer.recipients]
                    yield f"{name} accepts: {', '.join(states) or 'nobody'}"
                else:
                    yield f"{name} does it"
            for arrival in party.arrivals[said.arrivals :]:
                text, origin = arrival.body.decode(), arrival.verified.value
                yield f'{name} has received "{text}" from {arrival.letter.author_name} ({origin})'
            for receipt in party.receipts[said.receipts :]:
                why = f" ({receipt.why.value})" if receipt.why.value else ""
                yield f"{name} knows: {receipt.state.value}{why}"
            said.answers, said.arrivals = len(party.answers), len(party.arrivals)
            said.receipts = len(party.receipts)

    def _draft(self, text: str, kind: Kind):
        self._numbers += 1
        return replace(draft(self._numbers, body=text.encode()), kind=kind)

    def _hold(self, party: Party, name: str, key: str, *, is_live: bool, **facts: object) -> None:
        self._world.hold(party, snapshot(_key(key), name, **facts), is_live=is_live)


def _key(name: str) -> MailboxKey:
    return MailboxKey(name.encode().ljust(32, b"-"))


def _address(to: str) -> str:
    name, _, key = to.partition("#")
    return f"{name}#{fingerprint(_key(key))[:8]}" if key else name


def _state(to: str, state: str, why: str) -> str:
    return f"{to} {state}" + (f" ({why})" if why else "")


def _told(packet: Packet) -> str:
    match packet:
        case Mail():
            items = [f'{i.letter.sequence}({i.previous}) "{i.body.decode()}"' for i in packet.items]
            return f"mail {', '.join(items)}"
        case Ack():
            items = [
                f"{i.sequence} {i.verdict.name.lower()}"
                + (f" ({i.why.value})" if i.why.value else "")
                for i in packet.items
            ]
            return f"ack {', '.join(items)}"
        case Gap():
            return f"gap after {packet.watermark}"
        case Noted():
            return f"noted {len(packet.message_ids)}"
        case Announce():
            cards = [c.name + ("" if c.is_live else " (away)") for c in packet.cards]
            return f"announce {', '.join(cards) or 'nothing'}"
        case _:
            return _told_of_file(packet)


def _told_of_file(packet: Packet) -> str:
    word = type(packet).__name__.lower()
    match packet:
        case Offer():
            return f"{word} of {packet.file.bytes // limits.chunk_bytes_max}"
        case Want(length=0):
            return f"has copied {packet.offset // limits.chunk_bytes_max}"
        case Want() | Chunk():
            return f"{word} {packet.offset // limits.chunk_bytes_max}"
        case Decline():
            return f"{word} ({packet.why.value})"
        case _:
            return word


def play(text: str) -> str:
    """Play a story and return it with the trace that belongs to it."""
    story, told = Story(), []
    for line in text.splitlines():
        if line.startswith("    "):
            continue
        told.append(line)
        if line and not line.startswith("#"):
            told += [f"    {happened}" for happened in story.play(line)]
    return "\n".join(told) + "\n"
