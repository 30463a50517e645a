"""How a session chooses its way of being woken."""

import pytest

from mcp_bridge.config import Push, choose_push, profile, wake

INBOX = {"CLAUDE_CODE_MESSAGING_SOCKET": "/tmp/x.sock", "CLAUDE_CODE_MESSAGING_TOKEN": "t"}


@pytest.mark.parametrize(
    ("setting", "environ", "chosen"),
    [
        ("auto", INBOX, Push.INBOX),
        ("auto", {}, Push.OFF),
        ("auto", {"CLAUDE_CODE_MESSAGING_SOCKET": "/tmp/x.sock"}, Push.OFF),
        ("inbox", INBOX, Push.INBOX),
        ("inbox", {}, Push.OFF),
        ("channel", INBOX, Push.CHANNEL),
        ("off", INBOX, Push.OFF),
    ],
)
def test_one_path_is_chosen(setting: str, environ: dict[str, str], chosen: Push) -> None:
    assert choose_push(setting, environ) is chosen


def test_the_profile_says_how_the_session_is_woken() -> None:
    shown = profile(client="c" * 100, summary="s" * 300, place="p" * 99, wake="poll")
    assert (shown.client, shown.summary, shown.wake) == ("c" * 64, "s" * 200, "poll")
    assert shown.place == "p" * 64
    assert profile(client="", summary="", place="x (main)", wake="poll").summary == "x (main)"


@pytest.mark.parametrize(
    ("push", "is_hooked", "word"),
    [
        (Push.INBOX, True, "push"),
        (Push.CHANNEL, False, "channel"),
        (Push.OFF, True, "hook"),
        (Push.OFF, False, "poll"),
    ],
)
def test_wake_says_what_happens(push: Push, is_hooked: bool, word: str) -> None:
    assert wake(push, is_hooked=is_hooked) == word
