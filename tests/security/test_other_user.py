"""T3: somebody else on the same machine."""

import os
import pwd
import subprocess
from pathlib import Path

import pytest

from tests.processes.hosts import Mesh
from tests.security.insider import target

pytestmark = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become somebody else"
)

SPY = """
import os, socket, sys, pathlib
home, endpoint = pathlib.Path(sys.argv[1]), sys.argv[2]
found = []
def attempt(what, act):
    try:
        act()
    except OSError as error:
        print(what, "refused", type(error).__name__)
    else:
        found.append(what)
def connect(path):
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(path)
def read(path):
    path.read_bytes()
for path in sys.argv[3:]:
    path = pathlib.Path(path)
    if path.suffix in (".sock", ".ctl"):
        attempt(f"connect {path.name}", lambda: connect(str(path)))
    else:
        attempt(f"read {path.name}", lambda: read(path))
attempt("list home", lambda: os.listdir(home))
attempt("list mail", lambda: os.listdir(home / "mail"))
attempt("plant in home", lambda: os.symlink("/etc/passwd", home / "evil"))
attempt("plant in run", lambda: os.symlink("/etc/passwd", home / "run" / ("0" * 32 + ".json")))
attempt("chmod home", lambda: os.chmod(home, 0o777))
attempt("rename home", lambda: os.rename(home, str(home) + "2"))
print("FOUND", found)
"""


def as_nobody(*command: str) -> str:
    nobody = pwd.getpwnam("nobody")
    done = subprocess.run(
        command,
        user=nobody.pw_uid,
        group=nobody.pw_gid,
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        cwd="/",
        env={"PATH": "/usr/bin:/bin"},
    )
    return done.stdout


async def test_nobody_reads_connects_or_plants_anything(mesh: Mesh):
    mesh.directory.chmod(0o755)
    await mesh.join("bob")
    await mesh.join("alice")
    home = mesh.home("h1")
    everything = [str(path) for path in home.rglob("*") if not path.is_dir()]
    assert any(path.endswith(".ctl") for path in everything)
    assert any(path.endswith("mailbox.db") for path in everything)
    assert any(path.endswith("key") for path in everything)
    to = target(home)
    said = as_nobody("/usr/bin/python3", "-c", SPY, str(home), to.endpoint, *everything)
    assert said.splitlines()[-1] == "FOUND []", said
    assert said.count("refused") == len(everything) + 6


async def test_all_that_is_kept_is_private_and_nothing_is_abstract(mesh: Mesh):
    old = os.umask(0)
    try:
        bob = await mesh.join("bob")
        alice = await mesh.join("alice")
        await alice.call("send", to="bob", content="x" * 10_000)
        await bob.call("collect", count=1, timeout_s=5)
    finally:
        os.umask(old)
    home = mesh.home("h1")
    for path in (home, *home.rglob("*")):
        assert path.lstat().st_mode & 0o077 == 0, path
    sockets = Path("/proc/net/unix").read_text().splitlines()
    assert not [line for line in sockets if "@" in line and str(home) in line]


async def test_a_planted_state_directory_is_refused(mesh: Mesh):
    home = mesh.home("h1")
    home.mkdir()
    nobody = pwd.getpwnam("nobody")
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    with pytest.raises(Exception, match="belongs to another user"):
        await mesh.open("h1")
    home.rmdir()
    real = mesh.directory / "real"
    real.mkdir(mode=0o700)
    home.symlink_to(real)
    with pytest.raises(Exception, match="symbolic link"):
        await mesh.open("h1")
    assert list(real.iterdir()) == []
