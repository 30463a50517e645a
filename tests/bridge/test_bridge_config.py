"""How a session chooses its way of being woken."""

import pytest

from mcp_bridge.config import Push, choose_push, profile

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
    shown = profile(client="c" * 100, summary="s", push=Push.OFF)
    assert (shown.client, shown.summary, shown.wake) == ("c" * 64, "s", "poll")
    assert profile(client="", summary="", push=Push.INBOX).wake == "push"
