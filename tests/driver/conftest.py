"""Fixtures for tests of whole sessions in this process."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import mesh


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path, as sockets lie in it."""
    with tempfile.TemporaryDirectory(prefix="m") as path:
        yield Path(path)


@pytest.fixture
def config(home: Path) -> Callable[..., mesh.Config]:
    """Makes settings of one host of an open mesh that nobody else can meet."""

    def make(host: str = "h1", **changes) -> mesh.Config:
        settings = {"home": home / host, "mesh": f"test-{home.name}"[:32], "port": 0}
        return mesh.Config(**({"mdns": False, "bind": "127.0.0.1"} | settings | changes))

    return make
