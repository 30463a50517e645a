"""Power loss and I/O errors on the real store: every point at which the disk is written.

    python -m tests.powerloss --images 50000 --seed 1

A workload drawn from the seed runs on the real SQLite store, through a recorder below SQLite. At
each point where it syncs, the disk is rebuilt as a power loss may leave it: of what was written and
not synced nothing, everything, any part, or a write torn between two sectors. Each image is opened
with the real store, which must find exactly the state after the last commit that returned, or the
next one if that was under way - no other, nothing damaged.

Then the workload runs again and again, and at each write, truncation and sync in turn the disk says
that it is full or broken, once or for good. What was accepted must be there after opening again,
what failed must be there wholly or not at all, and the store must go on.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from mesh.core.changes import (
    Change,
    MarkSent,
    MarkShown,
    MarkTold,
    PutInbox,
    PutName,
    PutOutbox,
    PutPin,
    Refuse,
    ReserveSequences,
    SettleOutbox,
)
from mesh.core.snapshot import Pin, ShownLetter
from mesh.errors import DiskFullError, StoreError
from mesh.model import Alias, State, Verified, Why
from mesh.store import connection
from mesh.store.interface import InboxQuery
from mesh.store.sqlite import SqliteStore
from tests.store.samples import BOB, EVE, LIFE, OWN, FakeClocks, entry, letter
from tests.store.vfs import FULL, IOERR_FSYNC, IOERR_TRUNCATE, IOERR_WRITE, OK, Operation, watched

SECTOR: Final = 512
DAY_S: Final = 86400.0
CHECKPOINT_PAGES: Final = 25
REOPEN: Final = "reopen"
NAME: Final = "mailbox.db"
KINDS: Final = ("none", "all", "part", "torn")
BROKEN: Final = {"write": IOERR_WRITE, "truncate": IOERR_TRUNCATE, "sync": IOERR_FSYNC}

State_ = tuple[Any, ...]
Pending = dict[str, list[Operation]]
Step = list[Change] | str
File = dict[str, bytes]


@dataclass
class Finding:
    """What was tried, and what did not hold."""

    images: int = 0
    faults: int = 0
    problems: list[str] = field(default_factory=list)


def workload(seed: int, commits: int) -> list[Step]:
    """Draw what a mailbox goes through; every third of it, it is opened again a month later."""
    draw = random.Random(seed)
    steps: list[Step] = []
    row = sequence = 0
    queued: list[int] = []
    unread: list[int] = []
    for number in range(commits):
        if number and number % max(2, commits // 3) == 0:
            steps.append(REOPEN)
        changes: list[Change] = []
        for _ in range(draw.randint(1, 4)):
            what = draw.random()
            body = draw.randbytes(draw.choice([0, 40, 900, 3000, 30_000]))
            if what < 0.3:
                count = draw.choice([1, 1, 3])
                entries = tuple(entry(row + 1 + n) for n in range(count))
                changes += [ReserveSequences(BOB, row + 4096), PutOutbox(entries, body)]
                queued += range(row + 1, row + 1 + count)
                row += count
            elif what < 0.6:
                sequence += 1
                changes.append(PutInbox(letter(sequence), body, Verified.PINNED))
                unread.append(sequence)
            elif what < 0.75 and queued:
                done = queued.pop(draw.randrange(len(queued)))
                changes += [MarkSent((done,)), SettleOutbox(done, State.DELIVERED)]
            elif what < 0.9 and unread:
                seen = tuple(_shown(unread.pop(0)) for _ in range(draw.randint(1, len(unread))))
                changes += [MarkShown(seen), MarkTold(seen[:1])]
            elif what < 0.95:
                sequence += 1
                changes.append(Refuse(BOB, LIFE, sequence, sequence, Why.EXPIRED))
            else:
                name = f"name-{draw.randrange(5)}"
                changes += [PutPin(Pin(name, EVE, False)), PutName(name, Alias("alice", 0.0, 60.0))]
        steps.append(changes)
    return steps


def _shown(number: int) -> ShownLetter:
    made = letter(number)
    return ShownLetter(made.author, made.incarnation, number, made.message_id, made.body_bytes)


class Mailbox:
    """The store under test, in a directory; `open` returns it anew."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME
        self.clocks = FakeClocks()

    def open(self) -> SqliteStore:
        return SqliteStore.open(
            self.path, key=OWN, name=None, mesh="default", clocks=self.clocks, take=False
        )


def dump(store: SqliteStore) -> State_:
    """Return everything in a store that a commit may change, read and verified."""
    it = store.snapshot()
    page = store.read(InboxQuery(limit=1_000_000, unread_only=False, body_bytes_max=1 << 40))
    rows = [one.row for one in it.outbox]
    return (
        it.name,
        it.next_row,
        tuple(replace(one, remaining_s=0.0) for one in it.outbox),
        tuple((one.row, one.body) for one in store.letters(rows)),
        tuple((one.letter, one.body, one.is_shown) for one in page.messages),
        tuple(sorted(it.next_sequences.items())),
        tuple(sorted(it.streams_in.items())),
        tuple(sorted((name, pin.key) for name, pin in it.pins.items())),
        it.renamed_s is None,
        tuple(sorted(it.unread.items(), key=repr)),
        tuple(one.message_id for one in it.untold),
        tuple(sorted((one.message_id, one.state, one.why) for one in store.receipts(limit=10**6))),
    )


# Power loss.


@dataclass
class Recording:
    """What was written, and from which operation on each state holds: (operations, state, time)."""

    operations: list[Operation]
    states: list[tuple[int, State_, float]]


def record(steps: Sequence[Step], directory: Path) -> Recording:
    """Run a workload and note the state after each commit."""
    mailbox = Mailbox(directory)
    with watched() as disk:
        store = mailbox.open()
        states = [(len(disk.operations), dump(store), 0.0)]
        passed_s = 0.0
        for step in steps:
            if isinstance(step, str):
                store.close()
                mailbox.clocks.pass_s(31 * DAY_S)
                passed_s += 31 * DAY_S
                store = mailbox.open()
            else:
                store.commit(step)
            states.append((len(disk.operations), dump(store), passed_s))
        store.close()
    return Recording(disk.operations, states)


def images(operations: Sequence[Operation], draw: random.Random) -> Iterator[tuple[int, str, File]]:
    """Yield (operations done, kind, files) for what may be left at each sync and deletion."""
    synced: dict[str, bytearray] = {}
    pending: Pending = {}
    for done, operation in enumerate(operations):
        name = Path(operation.path).name
        if operation.kind in {"sync", "delete"} or done == len(operations) - 1:
            for kind in KINDS:
                yield done, kind, _image(synced, pending, kind, draw)
        if operation.kind in {"write", "truncate"}:
            pending.setdefault(name, []).append(operation)
        elif operation.kind == "sync":
            content = synced.setdefault(name, bytearray())
            for one in pending.pop(name, []):
                _apply(content, one)
        else:
            synced.pop(name, None)
            pending.pop(name, None)


def _image(
    synced: dict[str, bytearray],
    pending: dict[str, list[Operation]],
    kind: str,
    draw: random.Random,
) -> File:
    files: File = {}
    for name in sorted(synced.keys() | pending.keys()):
        content = bytearray(synced.get(name, b""))
        waiting = pending.get(name, [])
        if kind in {"part", "torn"}:
            share = draw.choice([0.3, 0.7, 0.95])
            chosen = [one for one in waiting if draw.random() < share]
        else:
            chosen = list(waiting) if kind == "all" else []
        torn = draw.randrange(len(chosen)) if chosen and kind == "torn" else -1
        for number, one in enumerate(chosen):
            _apply(content, _torn(one, draw) if number == torn else one)
        files[name] = bytes(content)
    return files


def _torn(operation: Operation, draw: random.Random) -> Operation:
    """Let a write end at the border of a sector."""
    size = len(operation.data)
    first = SECTOR - operation.offset % SECTOR
    borders = range(first, size, SECTOR)
    return replace(operation, data=operation.data[: draw.choice(borders)]) if borders else operation


def _apply(content: bytearray, operation: Operation) -> None:
    if operation.kind == "truncate":
        del content[operation.offset :]
        return
    end = operation.offset + len(operation.data)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    content[operation.offset : end] = operation.data


def look_at(recording: Recording, done: int, files: File, directory: Path) -> str:
    """Open an image; return what is wrong with it."""
    for old in directory.iterdir():
        old.unlink()
    for name, content in files.items():
        (directory / name).write_bytes(content)
        (directory / name).chmod(0o600)
    last = max((n for n, (at, _, _) in enumerate(recording.states) if at <= done), default=-1)
    near = recording.states[max(0, last) : last + 2]  # The second may have been under way.
    mailbox = Mailbox(directory)
    mailbox.clocks.pass_s(near[-1][2])
    try:
        store = mailbox.open()
        found, reports = dump(store), store.reports
        store.close()
    except StoreError as exc:
        return f"cannot be opened: {exc}"
    if reports or list(directory.glob("*.damaged*")):
        return f"taken for damaged: {reports}"
    is_right = any(found == state for _, state, _ in near)
    return "" if is_right else "another state than after the last commit or the next"


def lose_power(seed: int, commits: int, images_max: int, finding: Finding) -> None:
    """Run one workload and look at up to so many of its images."""
    with tempfile.TemporaryDirectory(prefix="pl") as place:
        directory, image = Path(place) / "run" / "alice", Path(place) / "image" / "alice"
        directory.mkdir(parents=True)
        image.mkdir(parents=True)
        recording = record(workload(seed, commits), directory)
        draw = random.Random(f"images {seed}")
        for done, kind, files in images(recording.operations, draw):
            if images_max <= 0:
                return
            images_max -= 1
            finding.images += 1
            problem = look_at(recording, done, files, image)
            if problem:
                where = f"seed {seed}, operation {done}, {kind}"
                finding.problems.append(f"{where}: {problem}")


# I/O errors.


@dataclass
class Fault:
    """The disk says no to operation `at` and, if it lasts, to all after it until `mend`."""

    at: int
    is_full: bool
    lasts: bool
    seen: int = 0
    struck: bool = False
    is_mended: bool = False

    def __call__(self, kind: str) -> int:
        self.seen += 1
        is_hit = self.seen == self.at or (self.lasts and self.seen > self.at)
        if not is_hit or self.is_mended:
            return OK
        self.struck = True
        return FULL if self.is_full and kind != "sync" else BROKEN[kind]


def suffer(steps: Sequence[Step], fault: Fault, directory: Path) -> str:
    """Run a workload under a fault, recovering as the driver does; return what is wrong."""
    mailbox = Mailbox(directory)
    expected = dump_or_none = None
    with watched(fault) as disk:
        disk.is_recording = False
        store = _open_at_last(mailbox, fault)
        expected = dump(store)
        for step in steps:
            if isinstance(step, str):
                store.close()
                store = _open_at_last(mailbox, fault)
                continue
            try:
                store.commit(step)
            except StoreError as exc:
                store.close()
                store = _open_at_last(mailbox, fault)
                found = dump(store)
                if found == expected:
                    store.commit(step)
                elif isinstance(exc, DiskFullError):
                    return "said to be full, but written"
                dump_or_none = found if found != expected else None
            after = dump(store)
            if dump_or_none is not None and dump_or_none != after:
                return "half a commit was found"
            expected, dump_or_none = after, None
            if store.reports:
                return f"taken for damaged: {store.reports}"
        store.close()
    store = mailbox.open()
    problem = "" if dump(store) == expected and not store.reports else "something is lost"
    store.close()
    return problem


def _open_at_last(mailbox: Mailbox, fault: Fault) -> SqliteStore:
    """Open, as soon as the disk lets us."""
    with suppress(StoreError):
        return mailbox.open()
    fault.is_mended = True
    return mailbox.open()


def break_disk(seed: int, commits: int, finding: Finding, *, every: int = 1) -> None:
    """Let each operation of a workload fail in each way; `every` takes only some of them."""
    steps = workload(seed, commits)
    at = 1
    while True:
        struck = False
        for is_full in (True, False):
            for lasts in (False, True):
                fault = Fault(at, is_full, lasts)
                with tempfile.TemporaryDirectory(prefix="pl") as place:
                    problem = suffer(steps, fault, Path(place))
                struck = struck or fault.struck
                finding.faults += fault.struck
                if problem:
                    how = f"{'full' if is_full else 'broken'}{' for good' if lasts else ''}"
                    finding.problems.append(f"seed {seed}, operation {at}, {how}: {problem}")
        if not struck:
            return
        at += every


def main(print_: Callable[[str], None] = print) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.powerloss", description=__doc__)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--faults", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--commits", type=int, default=40, help="of one workload")
    args = parser.parse_args()
    finding, begun, seed = Finding(), time.monotonic(), args.seed
    while finding.images < args.images or finding.faults < args.faults:
        if finding.images < args.images:
            lose_power(seed, args.commits, args.images - finding.images, finding)
        if finding.faults < args.faults:
            break_disk(seed, min(args.commits, 8), finding)
        seed += 1
    print_(
        f"{finding.images} images after a power loss, {finding.faults} runs with an I/O error, "
        f"seeds {args.seed} to {seed - 1}, {time.monotonic() - begun:.0f} s: "
        + ("all held" if not finding.problems else f"{len(finding.problems)} did not hold")
    )
    for problem in finding.problems[:20]:
        print_(problem)
    return 1 if finding.problems else 0


if __name__ == "__main__":
    connection.checkpoint_pages = CHECKPOINT_PAGES  # type: ignore[misc]  # So that there are many.
    sys.exit(main())
