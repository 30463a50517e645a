"""T5: a link put in the place of a directory while a file is being read, thousands of times."""

import os
import threading
import time
from pathlib import Path

import pytest

from mesh.errors import MeshError
from mesh.sharing import beneath
from mesh.sharing.confine import Fence
from mesh.sharing.files import read_shared_file
from tests.security.measure import report

SECRET = b"the private key"
PUBLIC = b"nothing to hide"


@pytest.mark.skipif(os.name != "posix", reason="links as POSIX has them")
@pytest.mark.parametrize("seconds", [1, pytest.param(30, marks=pytest.mark.long)])
@pytest.mark.parametrize("what", ["directory", "file"])
@pytest.mark.parametrize("way", ["as the system can", "name by name"])
def test_no_swapped_link_is_ever_followed(
    tmp_path: Path, seconds, what, way, record_property, capsys, monkeypatch
):
    if way == "name by name":
        monkeypatch.setattr(beneath, "enter", beneath.walk)
    root, outside = tmp_path / "root", tmp_path / "outside"
    for place, content in ((root / "d", PUBLIC), (outside, SECRET)):
        place.mkdir(parents=True)
        (place / "f.txt").write_bytes(content)
    good, bad = tmp_path / "good", tmp_path / "bad"
    path = root / "d" if what == "directory" else root / "d" / "f.txt"
    over = threading.Event()

    def swap() -> None:
        """Exchange the true thing for a link and back, as fast as can be."""
        bad.symlink_to(outside if what == "directory" else outside / "f.txt")
        while not over.is_set():
            path.rename(good)
            bad.rename(path)
            path.rename(bad)
            good.rename(path)

    swapper = threading.Thread(target=swap)
    swapper.start()
    counts = {"public": 0, "refused": 0, "leaked": 0, "naive": 0}
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            try:
                shared = read_shared_file("d/f.txt", Fence(cwd=root, roots=(root,)))
            except (MeshError, OSError):
                counts["refused"] += 1
            else:
                counts["leaked" if shared.content == SECRET else "public"] += 1
            counts["naive"] += _naive(root) == SECRET
    finally:
        over.set()
        swapper.join()
    report(record_property, capsys, what=what, way=way, **counts)
    assert counts["leaked"] == 0
    assert counts["public"] > 0


def _naive(root: Path) -> bytes:
    """Judge the resolved path, then open it by name: what must not be done."""
    path = root / "d" / "f.txt"
    try:
        if path.resolve().is_relative_to(root):
            return path.read_bytes()
    except OSError:
        return b""
    return b""
