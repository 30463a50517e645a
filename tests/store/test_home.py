"""The state directory: made privately, verified, refused when somebody else could read it."""

import os
import stat
from pathlib import Path

import pytest

from mesh.errors import ConfigError
from mesh.store.home import Home
from mesh.store.mounts import network_file_system


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_home_is_private_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        home = Home.open(tmp_path / "a" / "home", mesh="default")
    finally:
        os.umask(old)
    assert home.reports == ()
    assert {mode(path) for path in (home.path, home.run, home.mail)} == {0o700}
    assert mode(home.path / "host.id") == 0o600
    assert len(home.host_id) == 16


def test_a_home_keeps_its_id_and_makes_its_run_directory_anew(tmp_path: Path) -> None:
    first = Home.open(tmp_path / "home", mesh="default")
    first.run.rmdir()
    assert first.ensure_run().is_dir()
    first.run.rmdir()
    second = Home.open(tmp_path / "home", mesh="default")
    assert second.host_id == first.host_id
    assert second.run.is_dir()


def test_loose_permissions_are_tightened_and_reported(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home", mesh="default")
    home.path.chmod(0o755)
    home.mail.chmod(0o777)
    (home.path / "host.id").chmod(0o644)
    again = Home.open(home.path, mesh="default")
    assert len(again.reports) == 3
    assert {mode(again.path), mode(again.mail)} == {0o700}
    assert mode(home.path / "host.id") == 0o600
    assert Home.open(home.path, mesh="default").reports == ()


def test_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "home").symlink_to(tmp_path / "real")
    with pytest.raises(ConfigError, match="symbolic link"):
        Home.open(tmp_path / "home", mesh="default")
    (tmp_path / "real" / "mail").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="symbolic link"):
        Home.open(tmp_path / "real", mesh="default")


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    with pytest.raises(ConfigError, match="not a directory"):
        Home.open(tmp_path / "home", mesh="default")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives away")
def test_the_directory_of_another_user_is_refused_even_for_root(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o700)
    os.chown(tmp_path / "home", 12345, 12345)
    with pytest.raises(ConfigError, match="another user"):
        Home.open(tmp_path / "home", mesh="default")


def test_the_clone_of_a_machine_gets_a_new_id(tmp_path: Path) -> None:
    first = Home.open(tmp_path / "home", mesh="default", machine_id="one")
    assert Home.open(tmp_path / "home", mesh="default", machine_id="one") == first
    assert Home.open(tmp_path / "home", mesh="default", machine_id="").host_id == first.host_id
    clone = Home.open(tmp_path / "home", mesh="default", machine_id="two")
    assert clone.host_id != first.host_id
    assert "another machine" in clone.reports[0]
    assert Home.open(tmp_path / "home", mesh="default", machine_id="two").host_id == clone.host_id


def test_a_damaged_id_is_replaced_and_reported(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home", mesh="default")
    (home.path / "host.id").write_bytes(b"\xff\xfe")
    assert "damaged" in Home.open(home.path, mesh="default").reports[0]


def test_the_use_of_a_secret_is_remembered(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home", mesh="default")
    assert not home.was_secret
    home.mark_secret_mode()
    home.mark_secret_mode()
    assert Home.open(home.path, mesh="default").was_secret


MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
40 22 0:30 / /net/a\\040b rw shared:5 - nfs4 server:/x rw
41 22 0:31 / /mnt/c rw - 9p drvfs rw
42 41 0:32 / /mnt/c/local rw - xfs /dev/vdb rw
43 22 0:33 / /ssh rw - fuse.sshfs host: rw
44 43 0:34 / /ssh rw - ext4 /dev/vdc rw
broken line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me", None),
        ("/net/a b/home", "nfs4"),
        ("/mnt/c/home", "9p"),
        ("/mnt/c/local/home", None),
        ("/ssh/home", None),
    ],
)
def test_network_file_systems_are_recognised(tmp_path: Path, path: str, kind: str | None) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(MOUNTS)
    assert network_file_system(Path(path), mountinfo=table) == kind


def test_without_a_table_of_mounts_nothing_is_refused(tmp_path: Path) -> None:
    assert network_file_system(tmp_path, mountinfo=tmp_path / "missing") is None
