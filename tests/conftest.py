"""What every layer of tests shares."""

import os

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Let the whole suite, which waits for half of its time, run in several processes.

    A part of it, and whatever is asked for with `-m`, runs in one, as does all of it with `-n 0`.
    Tests of one `xdist_group` share something of the machine, as the multicast of its loopback is,
    and run in one process, one after the other.
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
        config.option.dist = "loadgroup"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
