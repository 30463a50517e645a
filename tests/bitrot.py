"""Bit rot on the real store: flipped bits, zeroed and swapped pages, lost ends of the file.

    python -m tests.bitrot --images 10000 --seed 1

A mailbox that was closed in peace is damaged in one place and opened with the real store. Whatever
it shows must be what was written; whatever it does not show any more must be named in its reports.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from mesh.errors import StoreError
from mesh.store.interface import InboxQuery
from mesh.store.sqlite import SqliteStore
from tests.powerloss import Finding, Mailbox, workload

PAGE: Final = 4096


def shown(store: SqliteStore) -> tuple[Counter[Any], Counter[Any]]:
    """Return all mail that a store shows: received and owed."""
    page = store.read(InboxQuery(limit=1_000_000, unread_only=False, body_bytes_max=1 << 40))
    inbox = Counter((one.letter, one.body) for one in page.messages)
    rows = [one.row for one in store.snapshot().outbox]
    # A mailbox that has lost its streams begins new ones, so a letter is known by its id.
    return inbox, Counter((one.letter.message_id, one.body) for one in store.letters(rows))


def damaged(whole: bytes, draw: random.Random) -> bytes:
    """Damage a file in one place."""
    content = bytearray(whole)
    pages = len(content) // PAGE
    what = draw.choice(["bit", "bit", "bits", "zero", "swap", "cut", "junk"])
    start = draw.randrange(pages) * PAGE
    if what in {"bit", "bits"}:
        for _ in range(1 if what == "bit" else draw.randint(2, 40)):
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    elif what == "zero":
        content[start : start + PAGE] = bytes(PAGE)
    elif what == "swap":
        other = draw.randrange(pages) * PAGE
        one, two = content[start : start + PAGE], content[other : other + PAGE]
        content[start : start + PAGE], content[other : other + PAGE] = two, one
    elif what == "cut":
        del content[start or PAGE :]
    else:
        size = draw.choice([16, 512, PAGE])
        content[start : start + size] = draw.randbytes(size)
    return bytes(content)


def rot(seed: int, images: int, finding: Finding) -> None:
    """Damage one mailbox so many times."""
    draw = random.Random(f"rot {seed}")
    with tempfile.TemporaryDirectory(prefix="br") as place:
        mailbox = Mailbox(Path(place))
        store = mailbox.open()
        for step in workload(seed, 40):
            if not isinstance(step, str):
                store.commit(step)
        inbox, outbox = shown(store)
        store.close()
        whole = mailbox.path.read_bytes()
        for number in range(images):
            for old in Path(place).iterdir():
                old.unlink()
            mailbox.path.write_bytes(damaged(whole, draw))
            mailbox.path.chmod(0o600)
            finding.images += 1
            problem = _look_at(mailbox, inbox, outbox)
            if problem:
                finding.problems.append(f"seed {seed}, image {number}: {problem}")


def _read(mailbox: Mailbox) -> tuple[Counter[Any], Counter[Any], list[str]]:
    store = mailbox.open()
    try:
        return *shown(store), store.reports
    finally:
        store.close()


def _look_at(mailbox: Mailbox, inbox: Counter[Any], outbox: Counter[Any]) -> str:
    try:
        found_in, found_out, reports = _read(mailbox)
    except StoreError:
        try:  # As the driver does: what shows only in use is mended by opening again.
            found_in, found_out, reports = _read(mailbox)
        except StoreError as exc:
            return f"cannot be opened: {exc}"
    if found_in - inbox or found_out - outbox:
        return "something is shown that was never written"
    is_less = bool(inbox - found_in or outbox - found_out)
    return "something is gone and nobody says so" if is_less and not reports else ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bitrot", description=__doc__)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    finding, begun, seed = Finding(), time.monotonic(), args.seed
    while finding.images < args.images:
        rot(seed, min(500, args.images - finding.images), finding)
        seed += 1
    print(
        f"{finding.images} damaged files, {time.monotonic() - begun:.0f} s: "
        + ("all held" if not finding.problems else f"{len(finding.problems)} did not hold")
    )
    for problem in finding.problems[:20]:
        print(problem)
    return 1 if finding.problems else 0


if __name__ == "__main__":
    sys.exit(main())
