"""Which writes and answers may wait for the next commit."""

import pytest

from mesh.core.changes import MarkSent, MarkShown, MarkTold, SettleOutbox, SettleShown
from mesh.core.patience import is_patient, is_repeatable
from mesh.model import State
from mesh.packet import Ack, AckItem, Noted, Ping, Verdict
from tests.core.samples import ALICE, BOB, LIFE, message_id


@pytest.mark.parametrize(
    "change",
    [
        SettleOutbox(1, State.DELIVERED),
        SettleOutbox(1, State.REFUSED),
        SettleShown(BOB, message_id(1)),
        MarkShown(()),
        MarkTold(()),
    ],
)
def test_what_comes_again_may_be_lost(change):
    assert is_repeatable(change)


@pytest.mark.parametrize("change", [SettleOutbox(1, State.EXPIRED), MarkSent((1,))])
def test_what_only_we_know_may_not(change):
    assert not is_repeatable(change)


def test_only_answers_that_mail_does_not_wait_for_are_patient():
    shown, delivered = (
        Ack(BOB, ALICE, LIFE, (AckItem(1, message_id(1), verdict),))
        for verdict in (Verdict.SHOWN, Verdict.DELIVERED)
    )
    assert is_patient(shown)
    assert not is_patient(delivered)
    assert is_patient(Noted(ALICE, BOB, (message_id(1),)))
    assert not is_patient(Ping(1))
