"""Whose clock is off, by what their letters say."""

import pytest

from mesh.driver.skew import AUTHORS_MAX, Skews
from mesh.model import MailboxKey
from mesh.packet import Mail, MailItem
from tests.core.samples import BOB, letter

NOW_MS = 1_800_000_000_000


def mail(*, created_s: float, age_s: float = 0.0, author: MailboxKey = BOB) -> Mail:
    """A letter that its author dates `created_s` from now."""
    dated = letter(author=author, author_name="bob", created_ms=NOW_MS + int(created_s * 1000))
    return Mail(author, (MailItem(dated, 0, age_s, b""),))


@pytest.mark.parametrize(
    ("created_s", "age_s", "said"),
    [
        (0.0, 0.0, ()),
        (-20.0, 20.0, ()),
        (45.0, 0.0, ()),
        (600.0, 0.0, ("The clock of bob's machine is 10 minutes ahead of ours",)),
        (-7230.0, 30.0, ("The clock of bob's machine is 2 hours behind ours",)),
        (86400.0 * 400, 0.0, ("The clock of bob's machine is 400 days ahead of ours",)),
        (-3600.0, 3600.0, ()),
        (3600.0, 3600.0, ()),
    ],
)
def test_date_and_age_of_a_letter_tell_the_time_of_its_author(created_s, age_s, said):
    skews = Skews()
    skews.note(mail(created_s=created_s, age_s=age_s), NOW_MS)
    assert skews.problems == said


def test_a_clock_that_was_set_is_forgotten():
    skews = Skews()
    skews.note(mail(created_s=600.0), NOW_MS)
    skews.note(mail(created_s=1.0), NOW_MS)
    assert skews.problems == ()


def test_authors_are_bounded():
    skews = Skews()
    for number in range(AUTHORS_MAX + 5):
        author = MailboxKey(number.to_bytes(32, "big"))
        skews.note(mail(created_s=600.0, author=author), NOW_MS)
    assert len(skews.problems) == AUTHORS_MAX
