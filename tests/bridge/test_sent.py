"""What is said of a message that was sent, to models and to people: where it went, and why not."""

import pytest

from mcp_bridge.mail import sent
from mesh.cli.render import sent_text
from mesh.driver.results import Recipient

KEY = "97b416470cd9c31894217bcc5eece760"


class OnlyReceipt:
    """A receipt of one recipient."""

    id = "ab" * 16

    def __init__(self, recipient: Recipient) -> None:
        self.recipients = [recipient]


@pytest.mark.parametrize("state", ["queued", "delivered", "shown"])
def test_another_key_under_a_known_name_is_said(state):
    recipient = Recipient("bob", state, fingerprint=KEY, is_changed=True)
    result = sent("bob", OnlyReceipt(recipient))
    assert (result["status"], result["verified"]) == ("ok", "changed")
    assert KEY[:8] in result["message"]
    assert f"mesh trust bob {KEY}" in sent_text("bob", [recipient])


def test_mail_that_waits_for_the_agent_known_says_who_may_change_that():
    recipient = Recipient("bob", "queued", "pin_conflict", fingerprint=KEY)
    result = sent("bob", OnlyReceipt(recipient))
    assert (result["state"], result["why"]) == ("queued", "pin_conflict")
    assert "mesh trust" in result["message"]
    assert "mesh trust" in sent_text("bob", [recipient])


def test_mail_to_whom_one_knows_is_just_sent():
    recipient = Recipient("bob", "delivered", fingerprint=KEY)
    result = sent("bob", OnlyReceipt(recipient))
    assert (result["message"], "verified" in result) == ("Message sent", False)
    assert sent_text("bob", [recipient]) == "Message sent"
