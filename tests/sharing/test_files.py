"""Files: what may be read and how it is kept on arrival."""

import errno
import hashlib
import os
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh import limits
from mesh.errors import DiskFullError, MalformedError, PolicyError, StoreError, UsageError
from mesh.sharing import beneath, files
from mesh.sharing.confine import Fence
from mesh.sharing.files import is_text, read_shared_file, safe_name, save_quarantined

posix = pytest.mark.skipif(os.name != "posix", reason="links and pipes as POSIX has them")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = Path(os.path.realpath(tmp_path)) / "project"
    (directory / "src").mkdir(parents=True)
    (directory / "src" / "main.py").write_text("print('hi')\n")
    (directory / "notes.md").write_bytes("grüße\n".encode())
    (directory / ".env").write_text("TOKEN=x\n")
    (directory.parent / "outside.txt").write_text("private\n")
    return directory


def _read(path, project, **settings):
    bound = {"bytes_max": settings.pop("bytes_max")} if "bytes_max" in settings else {}
    return read_shared_file(path, Fence(cwd=project, **settings), **bound)


def test_a_file_of_the_project_is_read_whole(project):
    shared = _read("notes.md", project)
    content = (project / "notes.md").read_bytes()
    assert (shared.name, shared.bytes, shared.content) == ("notes.md", len(content), content)
    assert shared.blake2b == hashlib.blake2b(content, digest_size=32).hexdigest()
    assert shared.is_text


def test_binary_content_is_kept_and_named_so(project):
    (project / "image.bin").write_bytes(bytes(range(256)))
    shared = _read(project / "image.bin", project)
    assert shared.content == bytes(range(256))
    assert not shared.is_text
    assert not is_text(b"a\0b")


def test_an_empty_file_is_shared(project):
    (project / "empty").touch()
    assert _read("empty", project).bytes == 0


def test_the_default_roots_are_the_working_directory_and_its_git_root(project):
    src = project / "src"
    with pytest.raises(PolicyError, match="outside"):
        _read("../notes.md", src)
    (project / ".git").mkdir()
    assert _read("../notes.md", src).name == "notes.md"


@posix
def test_a_repository_planted_by_another_user_is_no_root(project, monkeypatch):
    (project / ".git").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(PolicyError):
        _read("../notes.md", project / "src")


def test_given_roots_replace_the_default(project):
    assert _read("main.py", project / "src", roots=(project / "src",)).name == "main.py"
    with pytest.raises(PolicyError):
        _read("notes.md", project, roots=(project / "src",))
    with pytest.raises(PolicyError):
        _read("notes.md", project, roots=())


@pytest.mark.parametrize("path", ["../outside.txt", "src/../../outside.txt", "/etc/passwd", "~/x"])
def test_a_path_outside_the_roots_is_refused_whether_it_exists_or_not(path, project):
    with pytest.raises(PolicyError) as caught:
        _read(path, project)
    assert caught.value.code == "refused"
    with pytest.raises(PolicyError):
        _read(path + ".missing", project)


@posix
def test_a_link_inside_the_roots_is_followed_and_keeps_its_name(project):
    (project / "latest.txt").symlink_to("src/main.py")
    (project / "lib").symlink_to(project / "src", target_is_directory=True)
    assert _read("latest.txt", project).name == "latest.txt"
    assert _read("lib/main.py", project).content == b"print('hi')\n"


@posix
@pytest.mark.parametrize("target", ["../outside.txt", "/etc/passwd", "/proc/self/environ"])
def test_a_link_out_of_the_roots_is_refused(target, project):
    (project / "innocent.txt").symlink_to(target)
    with pytest.raises(PolicyError):
        _read("innocent.txt", project)


@posix
def test_climbing_out_of_a_links_target_is_judged_as_the_system_does_it(project):
    (project / "self").symlink_to(project, target_is_directory=True)
    (project / "outside.txt").write_text("decoy")
    with pytest.raises(PolicyError):
        _read("self/../outside.txt", project)


@posix
def test_a_link_to_a_directory_outside_is_refused(project):
    (project / "up").symlink_to("..", target_is_directory=True)
    with pytest.raises(PolicyError):
        _read("up/outside.txt", project)


@pytest.mark.parametrize(
    "path",
    [
        *(".env", ".env.local", ".ENV", "prod.env", ".envrc", "server.pem", "tls.KEY", "a.p12"),
        *("id_rsa", "id_ed25519.pub", "id_work", ".netrc", ".npmrc", ".pypirc", ".git-credentials"),
        *(".git/config", ".git/modules/x/config", "credentials.json", ".credentials.json"),
        *(".ssh/known_hosts", ".aws/config", ".gnupg/x", ".kube/config", ".config/gh/hosts.yml"),
        *("terraform.tfstate", "rclone.conf", ".codex/auth.json", ".gemini/oauth_creds.json"),
        *(".claude-ipc/secret", ".docker/config.json", ".bash_history", "store.jks", ".pgpass"),
    ],
)
def test_credential_files_are_refused_also_through_links(path, project):
    target = project / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("x")
    with pytest.raises(PolicyError, match="credentials"):
        _read(path, project)
    if os.name == "posix":
        (project / "harmless.txt").symlink_to(target)
        with pytest.raises(PolicyError, match="credentials"):
            _read("harmless.txt", project)
        (project / "harmless.d").symlink_to(target.parent, target_is_directory=True)
        with pytest.raises(PolicyError, match="credentials"):
            _read(f"harmless.d/{target.name}", project)


def test_what_the_user_has_named_is_shared_and_nothing_beside_it(project):
    (project / "key.txt").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    (project / ".env.example").write_text("TOKEN=\n")
    allowed = (project / ".env.example", project / "key.txt")
    for name in (".env.example", "key.txt"):
        assert _read(name, project, allowed=allowed).name == name
    for name in (".env", ".env.example.local"):
        with pytest.raises(PolicyError, match="IPC_SHARE_ALLOW"):
            _read(name, project, allowed=allowed)
    if os.name == "posix":
        (project / ".env.link").symlink_to(".env")
        with pytest.raises(PolicyError):
            _read(".env.link", project, allowed=allowed)
        (project / "example").symlink_to(".env.example")
        assert _read("example", project, allowed=allowed).content == b"TOKEN=\n"


def test_state_directory_is_refused_although_it_was_named(project):
    home = project / "state"
    home.mkdir()
    (home / "secret").write_text("x")
    with pytest.raises(PolicyError):
        _read("state/secret", project, home=home, allowed=(home / "secret",))


@posix
def test_a_credential_name_is_refused_although_it_links_to_a_harmless_file(project):
    (project / "deploy.pem").symlink_to("notes.md")
    with pytest.raises(PolicyError):
        _read("deploy.pem", project)


@pytest.mark.parametrize(
    "path",
    ["environment.py", "keyboard.md", "id_map.py", "src/config", "monkey", "docker/config.json"],
)
def test_a_name_that_only_resembles_a_credential_is_shared(path, project):
    (project / path).parent.mkdir(exist_ok=True)
    (project / path).write_text("x")
    assert _read(path, project).content == b"x"


def test_a_private_key_is_refused_under_any_name(project):
    (project / "notes.txt").write_text("\n-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n")
    with pytest.raises(PolicyError, match="private key"):
        _read("notes.txt", project)


def test_the_state_directory_is_refused_wherever_it_is(project):
    (project / "state").mkdir()
    (project / "state" / "x.txt").write_text("x")
    assert _read("state/x.txt", project).name == "x.txt"
    with pytest.raises(PolicyError):
        _read("state/x.txt", project, home=project / "state")


@pytest.mark.parametrize("path", ["missing.txt", "src/missing/x", "notes.md/x"])
def test_a_missing_file_is_a_usage_error(path, project):
    with pytest.raises(UsageError, match="does not exist") as caught:
        _read(path, project)
    assert caught.value.code == "usage"


@pytest.mark.parametrize("path", ["", "  ", "a\0b", "~no-such-user-here/x"])
def test_what_is_no_path_is_a_usage_error(path, project):
    with pytest.raises(UsageError) as caught:
        _read(path, project)
    assert caught.value.code == "usage"


@pytest.mark.parametrize("path", ["src", "."])
def test_a_directory_is_a_usage_error(path, project):
    with pytest.raises(UsageError, match="directory"):
        _read(path, project)


@posix
def test_a_pipe_is_refused_without_waiting_for_a_writer(project):
    os.mkfifo(project / "pipe")
    with pytest.raises(UsageError, match="a pipe"):
        _read("pipe", project)


@posix
def test_links_that_never_end_are_refused(project):
    (project / "a").symlink_to("b")
    (project / "b").symlink_to("a")
    with pytest.raises(UsageError):
        _read("a", project)


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_a_usage_error(project):
    (project / "notes.md").chmod(0)
    with pytest.raises(UsageError, match="cannot be read"):
        _read("notes.md", project)


def test_the_size_limit_is_exact_and_named(project):
    (project / "big").write_bytes(b"x" * 1000)
    assert _read("big", project, bytes_max=1000).bytes == 1000
    with pytest.raises(UsageError, match=r"1000 bytes.*999 bytes"):
        _read("big", project, bytes_max=999)


@posix
@pytest.mark.parametrize("swapped", ["src", "src/main.py"])
@pytest.mark.parametrize("has_path_descriptors", [True, False])
def test_a_link_put_in_place_after_the_judgement_is_not_followed(
    swapped, has_path_descriptors, project, monkeypatch
):
    """The race that resolving and then opening by path would lose; macOS has no O_PATH."""
    if not has_path_descriptors:
        monkeypatch.setattr(beneath, "_ENTER", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        assert _read("src/main.py", project).name == "main.py"
    secret = project.parent / "elsewhere"
    secret.mkdir()
    (secret / "main.py").write_text("private\n")
    true_locate = files.locate

    def locate_then_swap(*args, **settings):
        place = true_locate(*args, **settings)
        (project / swapped).rename(project / "aside")
        (project / swapped).symlink_to(secret if swapped == "src" else secret / "main.py")
        return place

    monkeypatch.setattr(files, "locate", locate_then_swap)
    with pytest.raises(UsageError):
        _read("src/main.py", project)


def test_without_directory_descriptors_the_path_is_checked_after_opening(project, monkeypatch):
    monkeypatch.setattr(files, "_HAS_DIR_FD", False)
    assert _read("src/main.py", project).name == "main.py"
    monkeypatch.setattr(os.path, "realpath", lambda path: f"{path}-moved")
    place = files.Place(project, ("src", "main.py"))
    with pytest.raises(OSError, match="symbolic links"):
        files._open_checked(place)


HOSTILE_NAMES = {
    "": "file",
    ".": "file",
    "..": "file",
    "/": "file",
    "../../etc/passwd": "passwd",
    "..\\..\\boot.ini": "boot.ini",
    "C:\\x\\evil.txt": "evil.txt",
    "dir/": "dir",
    ".bashrc": "bashrc",
    "...": "file",
    "-rf": "rf",
    "a\0b.txt": "ab.txt",
    "a\nb\x1b[31m.txt": "ab_31m.txt",
    "invoice\u202etxt.exe": "invoicetxt.exe",
    "CON": "file-CON",
    "nul.txt": "file-nul.txt",
    "LPT1.log": "file-LPT1.log",
    "com\u00b9": "file-com\u00b9",
    "trailing. . ": "trailing._._",
    "a;b`c$(d)|e.txt": "a_b_c_d_e.txt",
    "my file.txt": "my_file.txt",
    "u\u0308ber.md": "über.md",
    "x.txt:stream": "x.txt_stream",
    "\udcff\udcfe.txt": "txt",
}


@pytest.mark.parametrize(("name", "safe"), HOSTILE_NAMES.items())
def test_a_hostile_name_becomes_harmless(name, safe):
    assert safe_name(name) == safe


@given(st.text(max_size=400))
def test_any_name_whatever_becomes_one_harmless_component(name):
    safe = safe_name(name)
    assert 0 < len(safe.encode()) <= limits.quarantine_name_bytes_max
    assert not set(safe) & set("/\\:\0\n\r\t <>|\"'`$;&*?~!#%^()[]{}")
    assert safe[0] not in ".-"
    assert safe[-1] != "."
    assert safe.isprintable()


def test_a_long_name_keeps_its_extension():
    assert safe_name("ä" * 300 + ".tar.gz").endswith("ä.gz")
    assert safe_name("x" * 300 + "." + "y" * 300).startswith("xxx")


def _save(directory, name="notes.txt", content=b"hello"):
    return save_quarantined(
        directory,
        name=name,
        content=content,
        digest=hashlib.blake2b(content, digest_size=32).hexdigest(),
    )


def test_a_received_file_is_kept_under_its_digest_without_rights_to_run_it(tmp_path):
    path = _save(tmp_path / "files", name="../run me.sh")
    digest = hashlib.blake2b(b"hello", digest_size=32).hexdigest()
    assert path == tmp_path / "files" / f"{digest[:12]}-run_me.sh"
    assert path.read_bytes() == b"hello"
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_same_content_is_kept_once(tmp_path):
    first = _save(tmp_path)
    assert _save(tmp_path) == first
    assert list(tmp_path.iterdir()) == [first]


def test_a_copy_that_was_changed_is_not_overwritten(tmp_path):
    first = _save(tmp_path)
    first.write_bytes(b"edited")
    second = _save(tmp_path)
    assert (first.read_bytes(), second.read_bytes()) == (b"edited", b"hello")
    assert _save(tmp_path) == second


@posix
def test_a_planted_link_is_not_written_through(tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"hello")
    directory = tmp_path / "files"
    directory.mkdir()
    digest = hashlib.blake2b(b"hello", digest_size=32).hexdigest()
    (directory / f"{digest[:12]}-notes.txt").symlink_to(victim)
    path = _save(directory)
    assert path.name.startswith("1-")
    (tmp_path / "linked").symlink_to(directory, target_is_directory=True)
    with pytest.raises(StoreError, match="link"):
        _save(tmp_path / "linked")


def test_what_a_crash_left_is_replaced(tmp_path):
    digest = hashlib.blake2b(b"hello", digest_size=32).hexdigest()
    (tmp_path / f".{digest[:12]}-notes.txt.part").write_bytes(b"hel")
    path = _save(tmp_path)
    assert path.read_bytes() == b"hello"
    assert list(tmp_path.iterdir()) == [path]


def test_a_wrong_digest_is_the_senders_fault(tmp_path):
    with pytest.raises(MalformedError):
        save_quarantined(tmp_path / "files", name="x", content=b"hello", digest="0" * 128)
    assert not (tmp_path / "files").exists()


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, DiskFullError), (errno.EIO, StoreError)]
)
def test_a_disk_that_refuses_leaves_nothing_behind(number, kind, tmp_path, monkeypatch):
    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(kind):
        _save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_too_many_changed_copies_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "quarantine_versions_max", 1)
    _save(tmp_path).write_bytes(b"edited")
    with pytest.raises(StoreError, match="too many"):
        _save(tmp_path)


@posix
def test_a_hard_link_and_a_worktree_are_shared_like_any_file(project):
    os.link(project / "notes.md", project / "hard.md")
    assert _read("hard.md", project).is_text
    (project / ".git").write_text("gitdir: /elsewhere\n")
    assert _read("../notes.md", project / "src").is_text


def test_git_itself_agrees_on_the_root(project):
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    shown = subprocess.run(
        ["git", "rev-parse", "--show-toplevel"],
        cwd=project / "src",
        check=True,
        capture_output=True,
    )
    assert files.locate("../notes.md", Fence(cwd=project / "src")).root == Path(
        shown.stdout.decode().strip()
    )
