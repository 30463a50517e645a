"""Settings: the contract's variables, their defaults, and one sentence for each refusal."""

import dataclasses
import os
from pathlib import Path

import pytest

from mesh import limits
from mesh.config import PORT, Config
from mesh.errors import ConfigError, WeakSecretError
from mesh.secret import check_secret
from mesh.settings import parse_peer

STRONG = "correct-horse-battery-staple"

WEAK = [
    "",
    "   ",
    "short",
    "1234567",
    "changeme",
    "ChangeMe",
    "secret",
    "PASSWORD",
    "your-secret-key-here",
    "your-team-secret-here",
    "your-secret-here",
    "Change-Me-To-Something-Secure",
    "${IPC_SHARED_SECRET}",
    "${IPC_SHARED_SECRET:-}",
    "${env:TEAM_SECRET}",
    "prefix-${IPC_SHARED_SECRET}",
    "$IPC_SHARED_SECRET",
    "$ipc_shared_secret",
    "$env:IPC_SHARED_SECRET",
    "{env:IPC_SHARED_SECRET}",
    "%IPC_SHARED_SECRET%",
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    made.mkdir(mode=0o700)
    return made


def _write(path: Path, text: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(text)
    path.chmod(mode)
    return path


def test_defaults_are_those_of_the_contract(monkeypatch):
    monkeypatch.setenv("IPC_MESH", "not-read")
    config = Config()
    assert config.home == Path.home() / ".claude-ipc"
    assert (config.mode, config.secret, config.mesh, config.port) == ("open", None, "default", PORT)
    assert (config.listen_host, config.mdns, config.push) == ("127.0.0.1", True, "auto")
    assert (config.share_command, config.share_roots, config.peers) == ("allowlist", None, ())
    assert (config.instance_id, config.is_open_allowed, config.bind) == (None, False, None)
    assert (config.tends, config.advertises, config.warnings) == (True, True, ())
    assert config.is_strict is False


def test_an_empty_environment_gives_the_defaults(home):
    assert Config.from_env({"IPC_HOME": str(home)}) == Config(home=home)


def test_without_a_mapping_the_process_environment_is_read(home, monkeypatch):
    monkeypatch.setenv("IPC_HOME", str(home))
    monkeypatch.setenv("IPC_MESH", "from-process")
    monkeypatch.setenv("IPC_SHARED_SECRET", STRONG)
    assert Config.from_env().mesh == "from-process"


def test_every_variable_reaches_its_field(home, tmp_path):
    config = Config.from_env(
        {
            "IPC_HOME": str(home),
            "IPC_SHARED_SECRET": f"  {STRONG}\n",
            "IPC_SHARED_SECRET_PREVIOUS": "the-older-secret",
            "IPC_MESH": "team_1",
            "IPC_INSTANCE_ID": "alice",
            "IPC_PEERS": "10.0.0.5:47601, box , [fe80::1%eth0]:5,,box",
            "IPC_PORT": "0",
            "IPC_BIND": "192.168.1.7",
            "IPC_OPEN": "1",
            "IPC_STRICT": "on",
            "IPC_MDNS": "OFF",
            "IPC_PUSH": "Channel",
            "IPC_SHARE_COMMAND": "any",
            "IPC_SHARE_ROOTS": os.pathsep.join([str(tmp_path), "relative"]),
            "IPC_SHARE_ALLOW": f"{tmp_path}/.env.example",
        }
    )
    assert config == Config(
        home=home,
        secret=STRONG,
        previous_secret="the-older-secret",
        mesh="team_1",
        instance_id="alice",
        peers=("10.0.0.5:47601", "box", "[fe80::1%eth0]:5"),
        port=0,
        bind="192.168.1.7",
        is_open_allowed=True,
        is_strict=True,
        mdns=False,
        push="channel",
        share_command="any",
        share_roots=(tmp_path, Path.cwd() / "relative"),
        share_allow=(tmp_path / ".env.example",),
    )
    assert config.peer_addresses == (("10.0.0.5", 47601), ("box", PORT), ("fe80::1%eth0", 5))


def test_empty_values_mean_unset_except_for_the_secret(home):
    names = (
        "SHARED_SECRET_FILE SHARED_SECRET_PREVIOUS MESH INSTANCE_ID PEERS PORT BIND OPEN MDNS PUSH "
        "SHARE_COMMAND SHARE_ROOTS SHARE_ALLOW"
    )
    environ = {f"IPC_{name}": " " for name in names.split()} | {"IPC_HOME": str(home)}
    assert Config.from_env(environ) == Config(home=home)
    assert Config.from_env({"IPC_HOME": ""}).home == Path.home() / ".claude-ipc"


@pytest.mark.parametrize("text", WEAK)
def test_a_weak_secret_is_refused_from_every_source(text, home, tmp_path):
    base = {"IPC_HOME": str(home)}
    with pytest.raises(WeakSecretError, match="IPC_SHARED_SECRET") as caught:
        Config.from_env(base | {"IPC_SHARED_SECRET": text})
    assert caught.value.code == "weak_secret"
    with pytest.raises(WeakSecretError):
        Config(home=home, secret=text)
    named = _write(tmp_path / "named", text.encode())
    with pytest.raises(WeakSecretError, match="IPC_SHARED_SECRET_FILE"):
        Config.from_env(base | {"IPC_SHARED_SECRET_FILE": str(named)})
    _write(home / "secret", text.encode())
    with pytest.raises(WeakSecretError, match="IPC_HOME"):
        Config.from_env(base)


@pytest.mark.parametrize(
    "text", ["$ecret-Pa$$w0rd", "100%-certain", "passw0rd", "a{b}c-defg", "ünïcödé"]
)
def test_a_secret_that_only_resembles_a_placeholder_is_accepted(text):
    assert check_secret(text + "!", "X") == text + "!"


def test_a_weak_previous_secret_is_refused():
    with pytest.raises(WeakSecretError, match="IPC_SHARED_SECRET_PREVIOUS"):
        Config(secret=STRONG, previous_secret="changeme")


def test_a_previous_secret_without_a_present_one_is_refused():
    with pytest.raises(ConfigError, match="IPC_SHARED_SECRET_PREVIOUS"):
        Config(previous_secret="the-older-secret")


def test_a_previous_secret_equal_to_the_present_one_is_none():
    assert Config(secret=STRONG, previous_secret=STRONG).previous_secret is None


def test_a_secret_that_is_too_long_or_no_text_is_refused():
    with pytest.raises(ConfigError, match="longer"):
        check_secret("x" * (limits.secret_bytes_max + 1), "IPC_SHARED_SECRET")
    with pytest.raises(ConfigError, match="UTF-8"):
        check_secret("12345678\udcff", "IPC_SHARED_SECRET")


def test_secrets_come_by_precedence(home, tmp_path):
    environ = {"IPC_HOME": str(home)}
    _write(home / "secret", b"from-the-home-dir\n")
    assert Config.from_env(environ).secret == "from-the-home-dir"
    environ["IPC_SHARED_SECRET_FILE"] = str(
        _write(tmp_path / "s", b"\xef\xbb\xbffrom-the-file\r\n")
    )
    assert Config.from_env(environ).secret == "from-the-file"
    environ["IPC_SHARED_SECRET"] = "from-the-variable"
    assert Config.from_env(environ).secret == "from-the-variable"


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_secret_file_others_can_touch_is_refused_with_the_mend(mode, home):
    path = _write(home / "secret", STRONG.encode(), mode)
    with pytest.raises(ConfigError, match=f"chmod 600 {path}") as caught:
        Config.from_env({"IPC_HOME": str(home)})
    assert STRONG not in str(caught.value)


@pytest.mark.skipif(os.name != "posix", reason="owners are POSIX")
def test_a_secret_file_of_another_user_is_refused(home, monkeypatch):
    _write(home / "secret", STRONG.encode())
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(ConfigError, match="another user"):
        Config.from_env({"IPC_HOME": str(home)})


def test_a_named_secret_file_must_exist_and_be_a_text_file(home, tmp_path):
    def read(path: Path) -> None:
        with pytest.raises(ConfigError, match="IPC_SHARED_SECRET_FILE"):
            Config.from_env({"IPC_HOME": str(home), "IPC_SHARED_SECRET_FILE": str(path)})

    read(tmp_path / "missing")
    read(tmp_path)
    read(_write(tmp_path / "plain", STRONG.encode()) / "below")
    read(_write(tmp_path / "binary", b"\xff\xfe" * 20))
    read(_write(tmp_path / "huge", b"x" * 10_000))
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe", 0o600)
        read(tmp_path / "pipe")


def test_repr_and_warnings_do_not_show_secrets():
    config = Config(secret="short-secret", previous_secret="the-older-secret")
    assert "short-secret" not in repr(config) + "".join(config.warnings)
    assert "the-older-secret" not in repr(config)
    assert len(config.warnings) == 1
    assert Config(secret="x" * limits.secret_chars_strong).warnings == ()


def test_wiping_takes_the_secrets_and_nothing_else(home):
    environ = {
        "IPC_HOME": str(home),
        "IPC_SHARED_SECRET": STRONG,
        "IPC_SHARED_SECRET_PREVIOUS": "the-older-secret",
    }
    kept = dict(environ)
    config = Config.from_env(environ)
    assert environ == kept
    assert Config.from_env(environ, wipe=True) == config
    assert environ == {"IPC_HOME": str(home)}


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("IPC_MESH", "a b"),
        ("IPC_MESH", "x" * 33),
        ("IPC_MESH", "${IPC_MESH}"),
        ("IPC_INSTANCE_ID", "no/slash"),
        ("IPC_INSTANCE_ID", "all"),
        ("IPC_PORT", "65536"),
        ("IPC_PORT", "-1"),
        ("IPC_PORT", "4_7"),
        ("IPC_PORT", "http"),
        ("IPC_BIND", "not-an-address"),
        ("IPC_BIND", "300.1.1.1"),
        ("IPC_BIND", "224.0.0.251"),
        ("IPC_BIND", "127.0.0.1:47600"),
        ("IPC_OPEN", "maybe"),
        ("IPC_MDNS", "banana"),
        ("IPC_PUSH", "bell"),
        ("IPC_SHARE_COMMAND", "all"),
        ("IPC_SHARE_ROOTS", "~no-such-user-here/x"),
        ("IPC_SHARE_ALLOW", "~no-such-user-here/x"),
        ("IPC_HOME", "~no-such-user-here/x"),
        ("IPC_PEERS", "bad host"),
        ("IPC_PEERS", ",".join(f"h{n}" for n in range(limits.static_peers_max + 1))),
        ("IPC_SHARE_ROOTS", os.pathsep.join("/x" for _ in range(limits.share_roots_max + 1))),
    ],
)
def test_a_wrong_variable_is_refused_in_one_sentence_that_names_it(variable, text, home):
    with pytest.raises(ConfigError, match=variable) as caught:
        Config.from_env({"IPC_HOME": str(home)} | {variable: text})
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_values_given_directly_are_validated_too():
    wrong = ({"port": 70000}, {"mesh": ""}, {"peers": "host"}, {"push": ""}, {"home": Path("a\0b")})
    for settings in wrong:
        with pytest.raises(ConfigError):
            Config(**settings)


def test_a_user_without_home_directory_is_told_to_set_one(monkeypatch):
    def homeless() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(ConfigError, match="IPC_HOME"):
        Config.from_env({})


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "*", "192.168.1.7"])
def test_open_mode_beyond_loopback_needs_to_be_meant_and_warns(bind):
    with pytest.raises(ConfigError, match="IPC_BIND"):
        Config(bind=bind)
    config = Config(bind=bind, is_open_allowed=True)
    assert config.listen_host == bind
    assert not config.is_loopback_only
    assert len(config.warnings) == 1
    assert Config(bind=bind, secret=STRONG).warnings == ()


@pytest.mark.parametrize(
    ("bind", "host"),
    [("localhost", "127.0.0.1"), ("127.0.0.2", "127.0.0.2"), ("[::1]", "::1"), ("::1", "::1")],
)
def test_open_mode_listens_on_any_loopback_address(bind, host):
    config = Config(bind=bind)
    assert config.listen_host == host
    assert config.is_loopback_only
    assert config.warnings == ()


def test_presets_fit_their_use(tmp_path):
    lan = Config.lan(secret=STRONG, home=tmp_path, peers=("box",))
    assert (lan.mode, lan.listen_host, lan.mdns) == ("secret", "*", True)
    assert not lan.is_loopback_only
    local = Config.local(home=tmp_path)
    assert (local.mode, local.listen_host, local.mdns) == ("open", "127.0.0.1", False)
    assert Config.local().home == Config().home
    assert Config.local(secret=STRONG).is_loopback_only


def test_a_config_is_frozen_and_can_be_varied():
    config = Config.local()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.port = 1
    assert dataclasses.replace(config, tends=False).tends is False


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("box", ("box", 47600)),
        ("box.local.", ("box.local.", 47600)),
        ("my_box-2.lan:9", ("my_box-2.lan", 9)),
        (" tcp://10.0.0.5:65535 ", ("10.0.0.5", 65535)),
        ("10.0.0.5", ("10.0.0.5", 47600)),
        ("::1", ("::1", 47600)),
        ("fe80::1%eth0", ("fe80::1%eth0", 47600)),
        ("[fe80::1%eth0]:5", ("fe80::1%eth0", 5)),
        ("[2001:db8::1]", ("2001:db8::1", 47600)),
    ],
)
def test_a_peer_is_read(text, address):
    assert parse_peer(text, 47600) == address


MALFORMED_PEERS = (
    ":5 box: box:0 box:65536 box:x box:5:5 -box a..b 300.1.1.1 1.2.3 0.0.0.0 [::]:5 224.0.0.1 "
    "[ff02::1]:5 [10.0.0.5]:5 [::1 [::1]5 [::1]: http://box box/path user@box böx"
)


@pytest.mark.parametrize("text", ["", "a b", "a" * 64, "x" * 254, *MALFORMED_PEERS.split(" ")])
def test_a_malformed_peer_is_refused(text):
    with pytest.raises(ConfigError, match="IPC_PEERS"):
        parse_peer(text, 47600)
