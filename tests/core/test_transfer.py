"""What is accepted and asked for of files that are streamed."""

from dataclasses import replace

import pytest

from mesh import limits
from mesh.core.filework import FetchKey
from mesh.core.transfer import Fetch, FileQuota, judge, next_wants
from mesh.model import FileRef, LinkId, Why
from tests.core.disks import CHUNK, DIGEST, FILE, SIZE, file_found
from tests.core.samples import ALICE, BOB

ONE, TWO = LinkId(1), LinkId(2)


@pytest.mark.parametrize(
    ("facts", "file", "why"),
    [
        ({}, FILE, Why.NONE),
        ({}, replace(FILE, bytes=limits.streamed_file_bytes_max + 1), Why.TOO_LARGE),
        ({"author_bytes": limits.files_bytes_per_author_max - SIZE + 1}, FILE, Why.QUOTA),
        ({"author_bytes": limits.files_bytes_per_author_max - SIZE}, FILE, Why.NONE),
        ({"author_partials": limits.partials_per_author_max}, FILE, Why.QUOTA),
        ({"free_bytes": limits.files_free_bytes_min + SIZE - 1}, FILE, Why.RECIPIENT_FULL),
        ({"free_bytes": limits.files_free_bytes_min + 5, "kept": SIZE - 5}, FILE, Why.NONE),
    ],
)
def test_an_offer_is_judged_by_what_the_disk_says(facts, file, why):
    assert judge(file, file_found(**facts), FileQuota()) is why


def started(digest: bytes = DIGEST, link: LinkId = ONE, size: int = SIZE) -> Fetch:
    fetch = Fetch(FetchKey(BOB, ALICE, digest), 0, FileRef(digest, size, "f"), link, 0.0)
    fetch.start(0)
    return fetch


def test_no_more_is_asked_for_than_the_window_of_a_link_holds():
    """PROTOCOL.md FILE-5."""
    fetches = [started(), started(b"g" * 32), started(b"h" * 32, link=TWO)]
    wants = next_wants(fetches)
    for link in (ONE, TWO):
        asked = sum(want.length for over, want in wants if over == link)
        assert limits.fetch_window_bytes - CHUNK < asked <= limits.fetch_window_bytes
    assert fetches[0].outstanding == fetches[1].outstanding
    assert next_wants(fetches) == []


def test_the_last_piece_is_as_long_as_what_is_left():
    fetch = started(size=CHUNK + 5)
    assert [want.length for _, want in next_wants([fetch])] == [CHUNK, 5]
    assert next_wants([fetch]) == []


def test_only_the_next_piece_in_the_size_asked_for_is_accepted():
    fetch = started()
    assert not fetch.accepts(offset=0, length=CHUNK), "not asked for yet"
    next_wants([fetch])
    assert fetch.accepts(offset=0, length=CHUNK)
    assert not fetch.accepts(offset=0, length=CHUNK - 1)
    assert not fetch.accepts(offset=CHUNK, length=CHUNK)
