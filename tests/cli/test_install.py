"""`mesh install`: what is printed, what is written, and that nothing else is touched."""

import io
import json
import os
import re
import stat
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mesh
from mesh.cli.console import Console
from mesh.cli.install.clients import CLIENTS, VARIABLES, merge
from mesh.cli.install.json_text import JsonTextError, put_member, read_object
from mesh.cli.install.source import PACKAGE, from_origin, source
from mesh.cli.install.toml_text import TomlTextError, dump_table, put_table
from mesh.cli.main import perform
from mesh.errors import ConfigError

ENTRY = {"command": "uvx", "args": ["--from", "/x", "claude-ipc-mcp"]}
JSON_PATHS = {
    "claude": ".claude.json",
    "gemini": ".gemini/settings.json",
    "cursor": ".cursor/mcp.json",
    "windsurf": ".codeium/windsurf/mcp_config.json",
}


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory of nobody, and a project as the working directory."""
    for name in [*os.environ]:
        if name.startswith(("IPC_", "XDG_", "CLAUDE_", "CODEX_")):
            monkeypatch.delenv(name)
    home, project = tmp_path / "user", tmp_path / "project"
    home.mkdir()
    project.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.setenv("APPDATA", str(home / "appdata"))
    monkeypatch.chdir(project)
    return home


async def install(*words: str) -> tuple[int, dict[str, object]]:
    output = io.StringIO()
    code = await perform(["install", *words, "--json"], Console(is_json=True, stream=output))
    (line,) = output.getvalue().splitlines()
    return code, json.loads(line)


async def install_text(*words: str) -> str:
    output = io.StringIO()
    assert await perform(["install", *words], Console(is_json=False, stream=output)) == 0
    return output.getvalue()


@pytest.mark.parametrize("client", [client.name for client in CLIENTS])
async def test_without_write_nothing_is_made(client, user):
    code, value = await install(client)
    assert (code, value["client"], value["written"]) == (0, client, False)
    assert list(user.iterdir()) == []
    assert Path(str(value["path"])).is_relative_to(user)


@pytest.mark.parametrize("client", [client.name for client in CLIENTS])
async def test_written_configuration_is_what_was_printed(client, user):
    _, shown = await install(client)
    code, value = await install(client, "--write")
    assert (code, value["written"], value["config"]) == (0, True, shown["config"])
    text = Path(str(value["path"])).read_text("utf-8")
    parsed = tomllib.loads(text) if client == "codex" else json.loads(text)
    assert parsed == value["config"]


@pytest.mark.parametrize("client", [client.name for client in CLIENTS])
async def test_second_write_changes_nothing_and_keeps_no_backup(client, user):
    _, first = await install(client, "--write")
    before = Path(str(first["path"])).read_bytes()
    code, value = await install(client, "--write")
    assert (code, value["written"], value["backup"]) == (0, False, None)
    assert Path(str(value["path"])).read_bytes() == before


@pytest.mark.parametrize(("client", "place"), JSON_PATHS.items())
async def test_each_json_client_has_its_place_and_its_section(client, place, user):
    _, value = await install(client)
    assert value["path"] == str(user / place)
    entry = value["config"]["mcpServers"]["claude-ipc"]
    assert entry["command"] == "uvx"
    assert entry["args"][0] == "--from"
    assert entry["args"][2] == "claude-ipc-mcp"


async def test_project_scope_is_below_the_working_directory(user):
    _, value = await install("claude", "--scope", "project", "--write")
    assert value["path"] == str(Path.cwd() / ".mcp.json")
    assert read_object(Path(".mcp.json").read_text()) == value["config"]


async def test_client_without_project_scope_says_so(user):
    code, value = await install("windsurf", "--scope", "project")
    assert (code, value["code"]) == (2, "usage")


async def test_codex_is_told_to_pass_the_environment_and_to_wait(user):
    _, value = await install("codex")
    entry = value["config"]["mcp_servers"]["claude-ipc"]
    assert {"IPC_SHARED_SECRET", "IPC_HOME", "IPC_INSTANCE_ID"} <= set(entry["env_vars"])
    assert entry["tool_timeout_sec"] == 3600


def test_codex_passes_on_every_variable_that_there_is():
    known = set()
    for path in (Path(mesh.__file__).parent).glob("*.py"):
        known |= set(re.findall(r'"(IPC_[A-Z_]+)"', path.read_text()))
    assert known == set(VARIABLES)


async def test_gemini_gets_only_the_secrets_that_are_set_and_never_their_values(user, monkeypatch):
    monkeypatch.setenv("IPC_SHARED_SECRET", "a-very-secret-secret-of-ours")
    _, value = await install("gemini", "--write")
    entry = value["config"]["mcpServers"]["claude-ipc"]
    assert entry["env"] == {"IPC_SHARED_SECRET": "$IPC_SHARED_SECRET"}
    assert entry["timeout"] == 3_600_000
    assert "a-very-secret" not in Path(str(value["path"])).read_text()


async def test_the_rest_of_a_file_and_its_permissions_stay(user):
    path = user / ".gemini" / "settings.json"
    path.parent.mkdir()
    before = '{\n    // mine\n    "theme": "Dark", /* yes */\n    "mcpServers": {\n    }\n}\n'
    path.write_text(before)
    path.chmod(0o600)
    _, value = await install("gemini", "--write")
    after = path.read_text()
    assert after.startswith('{\n    // mine\n    "theme": "Dark", /* yes */\n    "mcpServers": {\n')
    assert read_object(after)["theme"] == "Dark"
    assert Path(str(value["backup"])).read_text() == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(p.name for p in path.parent.iterdir() if p != path) == [
        Path(str(value["backup"])).name
    ]


async def test_what_a_person_added_to_the_entry_stays(user):
    path = Path(".mcp.json")
    old = {"command": "old", "args": ["x"], "env": {"IPC_INSTANCE_ID": "alice"}, "note": 1}
    path.write_text(json.dumps({"mcpServers": {"claude-ipc": old, "other": {"command": "o"}}}))
    await install("claude", "--scope", "project", "--write")
    servers = json.loads(path.read_text())["mcpServers"]
    entry = servers["claude-ipc"]
    assert (entry["command"], entry["env"], entry["note"]) == ("uvx", old["env"], 1)
    assert servers["other"] == {"command": "o"}


@pytest.mark.parametrize(
    "text", ['{"mcpServers": ', "[]", '{"mcpServers": []}', '{"a": 1, "a": 2}']
)
async def test_malformed_file_is_refused_and_left_alone(text, user):
    path = Path(".mcp.json")
    path.write_text(text)
    code, value = await install("claude", "--scope", "project", "--write")
    assert (code, value["status"]) == (1, "error")
    assert path.read_text() == text
    assert list(path.parent.resolve().iterdir()) == [path.resolve()]


async def test_a_secret_in_an_old_entry_stays_there_and_is_not_printed(user):
    path = Path(".mcp.json")
    old = {"command": "old", "args": [], "env": {"IPC_SHARED_SECRET": "hunter2hunter2"}}
    path.write_text(json.dumps({"mcpServers": {"claude-ipc": old}}))
    _, value = await install("claude", "--scope", "project", "--write")
    assert "hunter2" not in json.dumps(value)
    assert any("plain text" in line for line in value["advice"])
    assert json.loads(path.read_text())["mcpServers"]["claude-ipc"]["env"] == old["env"]


async def test_malformed_toml_is_refused_and_left_alone(user):
    path = user / ".codex" / "config.toml"
    path.parent.mkdir()
    path.write_text("model = \n")
    code, value = await install("codex", "--write")
    assert (code, value["code"]) == (1, "config")
    assert path.read_text() == "model = \n"


async def test_server_on_the_network_is_not_replaced(user):
    path = Path(".mcp.json")
    path.write_text('{"mcpServers": {"claude-ipc": {"url": "https://example.invalid"}}}')
    code, value = await install("claude", "--scope", "project", "--write")
    assert (code, value["code"]) == (1, "config")
    code, _ = await install("claude", "--scope", "project", "--write", "--name", "mesh")
    assert code == 0


async def test_linked_file_stays_a_link(user):
    real = user / "dotfiles.json"
    real.write_text("{}")
    path = user / ".claude.json"
    path.symlink_to(real)
    await install("claude", "--write")
    assert path.is_symlink()
    assert "claude-ipc" in json.loads(real.read_text())["mcpServers"]


async def test_directories_of_clients_follow_their_variables(user, monkeypatch):
    monkeypatch.setenv("CODEX_HOME", str(user / "c"))
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(user / "d"))
    _, codex = await install("codex")
    _, claude = await install("claude")
    assert codex["path"] == str(user / "c" / "config.toml")
    assert claude["path"] == str(user / "d" / ".claude.json")


async def test_people_see_what_to_paste(user):
    text = await install_text("codex")
    assert "[mcp_servers.claude-ipc]" in text
    text = await install_text("vscode", "--from", "some-package")
    assert '"servers"' in text
    assert '"some-package"' in text


async def test_plugin_is_made_in_an_empty_directory_only(user):
    code, value = await install("claude", "--plugin", "made")
    assert code == 0
    root = Path(str(value["path"]))
    market = json.loads((root / ".claude-plugin" / "marketplace.json").read_text())
    place = root / market["plugins"][0]["source"]
    plugin = json.loads((place / ".claude-plugin" / "plugin.json").read_text())
    assert plugin["mcpServers"]["claude-ipc"]["command"] == "uvx"
    hooks = json.loads((place / "hooks" / "hooks.json").read_text())["hooks"]
    (stop,) = hooks["Stop"][0]["hooks"]
    assert (stop["server"], stop["tool"]) == ("plugin:ipc-mesh:claude-ipc", "inbox_hook")
    assert stop["input"]["stop_hook_active"] == "${stop_hook_active}"
    assert (place / "skills" / "mesh" / "SKILL.md").read_text().startswith("---\nname: mesh\n")
    code, value = await install("claude", "--plugin", "made")
    assert (code, value["code"]) == (5, "refused")
    code, _ = await install("codex", "--plugin", "other")
    assert code == 2


async def test_hooks_join_those_that_a_person_has(user):
    settings = user / ".claude" / "settings.json"
    settings.parent.mkdir()
    own = {"matcher": "Bash", "hooks": [{"type": "command", "command": "lint"}]}
    settings.write_text(json.dumps({"model": "x", "hooks": {"Stop": [own], "Setup": []}}))
    code, value = await install("claude", "--hooks", "--write")
    assert (code, value["hooks"]["path"], value["hooks"]["written"]) == (0, str(settings), True)
    found = json.loads(settings.read_text())
    assert (found["model"], found["hooks"]["Setup"]) == ("x", [])
    assert found["hooks"]["Stop"][0] == own
    assert found["hooks"]["Stop"][1:] == value["hooks"]["config"]["hooks"]["Stop"]
    assert set(found["hooks"]) == {"Setup", "UserPromptSubmit", "PostToolBatch", "Stop"}
    assert Path(value["hooks"]["backup"]).read_text().startswith('{"model": "x"')
    before = settings.read_text()
    code, value = await install("claude", "--hooks", "--write")
    assert (code, value["hooks"]["written"], value["written"]) == (0, False, False)
    assert settings.read_text() == before


async def test_hooks_of_an_earlier_installation_are_replaced_where_they_are(user):
    old = {"type": "mcp_tool", "server": "claude-ipc", "tool": "inbox_hook", "timeout": 60}
    own = {"type": "command", "command": "lint"}
    settings = Path(".claude/settings.json")
    settings.parent.mkdir()
    groups = [{"hooks": [own, old]}, {"hooks": [old]}, "odd", {"hooks": []}]
    settings.write_text(json.dumps({"hooks": {"Stop": groups}}))
    code, _ = await install("claude", "--hooks", "--scope", "project", "--write")
    assert code == 0
    stop = json.loads(settings.read_text())["hooks"]["Stop"]
    assert stop[:3] == [{"hooks": [own]}, "odd", {"hooks": []}]
    (ours,) = stop[3]["hooks"]
    assert (ours["server"], ours["timeout"]) == ("claude-ipc", 5)


@pytest.mark.parametrize("text", ['{"hooks": []}', '{"hooks": {"Stop": {}}}', '{"hooks"'])
async def test_settings_that_are_malformed_change_nothing_at_all(text, user):
    settings = user / ".claude" / "settings.json"
    settings.parent.mkdir()
    settings.write_text(text)
    code, value = await install("claude", "--hooks", "--write")
    assert (code, value["status"]) == (1, "error")
    assert str(settings) in value["message"]
    assert settings.read_text() == text
    assert not (user / ".claude.json").exists()


async def test_hooks_are_shown_without_write_and_refused_where_there_are_none(user):
    text = await install_text("claude", "--hooks")
    assert '"mcpServers"' in text
    assert '"PostToolBatch"' in text
    assert not (user / ".claude").exists()
    code, value = await install("cursor", "--hooks")
    assert (code, value["code"]) == (2, "usage")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", '{\n  "s": {\n    "n": {\n      "k": 1\n    }\n  }\n}\n'),
        ("{}", '{\n  "s": {\n    "n": {\n      "k": 1\n    }\n  }\n}'),
        ('{"a": 1}', '{"a": 1,\n  "s": {\n    "n": {\n      "k": 1\n    }\n  }\n}'),
        (
            '{\n\t"s": {\n\t\t"o": 2, // two\n\t},\n}\n',
            '{\n\t"s": {\n\t\t"o": 2, // two\n\t\t"n": {\n\t\t\t"k": 1\n\t\t},\n\t},\n}\n',
        ),
        (
            '{\r\n "s": {\r\n  "o": 2 // two\r\n }\r\n}',
            '{\r\n "s": {\r\n  "o": 2, // two\r\n  "n": {\r\n   "k": 1\r\n  }\r\n }\r\n}',
        ),
        (
            '{\n  "s": {\n    "n": {"k": 0}, "o": 2\n  }\n}',
            '{\n  "s": {\n    "n": {\n      "k": 1\n    }, "o": 2\n  }\n}',
        ),
    ],
)
def test_member_is_put_where_it_belongs(text, expected):
    assert put_member(text, "s", "n", {"k": 1}) == expected


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(
    value=st.dictionaries(st.text(), _json, max_size=4),
    servers=st.none() | st.dictionaries(st.text(), _json, max_size=3),
    indent=st.none() | st.integers(0, 4) | st.just("\t"),
    is_ascii=st.booleans(),
)
def test_only_that_member_differs_whatever_the_file_holds(value, servers, indent, is_ascii):
    before = value if servers is None else {**value, "s": servers}
    if not isinstance(before.get("s", {}), dict):
        return
    text = json.dumps(before, indent=indent, ensure_ascii=is_ascii)
    after = json.loads(put_member(text, "s", "name", ENTRY))
    assert after == {**before, "s": {**before.get("s", {}), "name": ENTRY}}


@given(st.text(alphabet='{}[]:,"/*\\a1 \n', max_size=30))
def test_any_text_is_read_or_refused(text):
    try:
        read_object(text)
    except JsonTextError:
        return
    assert read_object(put_member(text, "s", "n", ENTRY))["s"]["n"] == ENTRY


def test_table_is_added_at_the_end():
    assert put_table('model = "x" # mine\n', "s", "n", {"k": [1]}) == (
        'model = "x" # mine\n\n[s.n]\nk = [1]\n'
    )


def test_keys_of_a_table_are_exchanged_where_they_are():
    text = "[s.n]\n# why\nk = [\n  1,\n]\nold = true # yes\n\n[other]\nk = 3\n"
    assert put_table(text, "s", "n", {"k": [2], "old": True, "new": "x"}) == (
        '[s.n]\nnew = "x"\n# why\nk = [2]\nold = true # yes\n\n[other]\nk = 3\n'
    )


@pytest.mark.parametrize("text", ["s = {n = {k = 1}}\n", "s.n.k = 1\n", "s = 1\n", "s = {}\n"])
def test_table_in_a_form_that_cannot_be_edited_is_refused(text):
    with pytest.raises(TomlTextError):
        put_table(text, "s", "n", {"k": 2})


def test_tables_within_a_table_are_written_below_it():
    text = dump_table("s", "n", {"env": {"A": "b"}, "k": 1})
    assert tomllib.loads(text) == {"s": {"n": {"k": 1, "env": {"A": "b"}}}}


def test_lists_of_passed_variables_are_united():
    merged = merge({**ENTRY, "env_vars": ["MINE"]}, {**ENTRY, "env_vars": ["OURS"]}, name="n")
    assert merged["env_vars"] == ["MINE", "OURS"]
    with pytest.raises(ConfigError):
        merge({"httpUrl": "x"}, ENTRY, name="n")


def test_origin_tells_from_where_the_package_can_be_run(tmp_path):
    git = {"vcs": "git", "commit_id": "abc", "requested_revision": "main"}
    assert from_origin({"url": "https://h/r", "vcs_info": git}) == "git+https://h/r@main"
    assert from_origin({"url": tmp_path.as_uri(), "dir_info": {}}) == str(tmp_path)
    assert from_origin({"url": (tmp_path / "gone").as_uri()}) == PACKAGE
    assert from_origin({"url": "https://h/p.whl"}) == "https://h/p.whl"
    assert Path(source()).is_dir() or source() == PACKAGE
