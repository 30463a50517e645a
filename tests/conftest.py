"""What every layer of tests shares."""

import os
from typing import Final

import pytest

MULTICAST: Final = frozenset(
    {
        "tests/net/test_mdns.py",
        "tests/net/test_mdns_strangers.py",
        "tests/processes/test_two_hosts.py",
        "tests/security/test_multicast.py",
        "tests/security/test_rotation.py",
        "tests/security/test_wiretap.py",
    }
)
"""Tests that share the multicast of the loopback and must not meet each other."""


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Let the whole suite, which waits for half of its time, run in several processes.

    A part of it, and whatever is asked for with `-m`, runs in one, as does all of it with `-n 0`.
    """
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    is_whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    is_default = config.option.markexpr == "not long"
    if (
        is_whole
        and is_default
        and not is_worker
        and getattr(config.option, "numprocesses", 0) is None
    ):
        config.option.numprocesses = max(2, min(4, os.cpu_count() or 1))
        config.option.dist = "load"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Let one process run all that share multicast; the rest goes to whoever is free.

    (The groups that pytest-xdist knows itself have no effect since pytest 9.2.)
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "multicast" if nodeid.partition("::")[0] in MULTICAST else nodeid

    return Scheduling(config, log)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
