"""A power loss or an I/O error at any point costs nothing that was accepted."""

import pytest

from mesh.store import connection
from tests import powerloss
from tests.powerloss import Finding, break_disk, lose_power
from tests.store.vfs import library

pytestmark = pytest.mark.skipif(
    library() is None, reason="SQLite is not a library of its own, so nothing can be put below it"
)


@pytest.fixture(autouse=True)
def many_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "checkpoint_pages", powerloss.CHECKPOINT_PAGES)


def test_after_a_power_loss_exactly_what_was_committed_is_there() -> None:
    finding = Finding()
    lose_power(7, 25, 400, finding)
    assert finding.problems == []
    assert finding.images > 200


def test_commits_that_are_not_synced_are_seen_to_be_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    configure = connection.configure

    def hasty(db: object) -> None:
        configure(db)  # type: ignore[arg-type]
        db.execute("PRAGMA synchronous = NORMAL")  # type: ignore[attr-defined]

    monkeypatch.setattr(connection, "configure", hasty)
    finding = Finding()
    lose_power(7, 25, 400, finding)
    assert finding.problems


def test_each_write_that_fails_loses_nothing_and_the_store_goes_on() -> None:
    finding = Finding()
    break_disk(3, 4, finding, every=5)
    assert finding.problems == []
    assert finding.faults > 40


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 110))
def test_after_many_power_losses_exactly_what_was_committed_is_there(seed: int) -> None:
    finding = Finding()
    lose_power(seed, 60, 5000, finding)
    break_disk(seed, 6, finding)
    assert finding.problems == []
