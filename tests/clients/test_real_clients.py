"""The real command lines of Claude Code and Codex, with the bridge, against a scripted model.

Not in the default suite: `install.py` says how to get the clients and run this. All is on loopback.
"""

import asyncio
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import mesh
from mesh.cli.install.hooks import hooks
from tests.clients.model_api import Model, serving

CLIENTS = Path(os.environ.get("MESH_CLIENTS", "/nonexistent"))
CLAUDE = CLIENTS / "node_modules/@anthropic-ai/claude-code-linux-x64/claude"
CODEX = next(CLIENTS.glob("node_modules/@openai/codex-*/vendor/*/bin/codex"), None)
API_KEY = "sk-ant-scripted-0000000000000000000000"
root = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.long,
    pytest.mark.anyio,
    pytest.mark.skipif(not CLAUDE.exists(), reason="MESH_CLIENTS has no clients: see install.py"),
]


class Desk:
    """One user's directories, mesh and model."""

    def __init__(self, directory: Path, model: Model, url: str) -> None:
        self.model = model
        self.url = url
        self.home = directory / "user"
        self.work = directory / "work"
        self.ipc_home = directory / "ipc"
        self.mesh = f"t{uuid4().hex[:12]}"
        self.home.mkdir()
        self.work.mkdir()

    def entry(self, **settings: str) -> dict[str, Any]:
        """Return the entry of the bridge in `.mcp.json`, as written for the predecessor."""
        env = {"IPC_SHARED_SECRET": "correct horse battery staple", "IPC_BIND": "127.0.0.1"}
        env |= {"IPC_HOME": str(self.ipc_home), "IPC_MESH": self.mesh, "IPC_MDNS": "off"}
        env |= {"IPC_PORT": "0", "PYTHONPATH": str(root)}
        return {"command": sys.executable, "args": ["-m", "mcp_bridge"], "env": {**env, **settings}}

    def configure(self, **settings: str) -> None:
        """Write the project's `.mcp.json`."""
        servers = {"mcpServers": {"claude-ipc": self.entry(**settings)}}
        (self.work / ".mcp.json").write_text(json.dumps(servers))

    @property
    def environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.home),
            "PATH": os.environ["PATH"],
            "TERM": "xterm-256color",
            "ANTHROPIC_BASE_URL": self.url,
            "ANTHROPIC_API_KEY": API_KEY,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            "SCRIPTED_KEY": "x",
        }

    def config(self) -> mesh.Config:
        return mesh.Config(
            home=self.ipc_home,
            mesh=self.mesh,
            secret="correct horse battery staple",
            port=0,
            mdns=False,
            bind="127.0.0.1",
        )


@pytest.fixture
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    model = Model()
    with serving(model) as url:
        yield Desk(tmp_path_factory.mktemp("c"), model, url)


def claude_command(desk: Desk, *arguments: str, is_strict: bool = True) -> list[str]:
    config = ["--mcp-config", str(desk.work / ".mcp.json")]
    config += ["--strict-mcp-config"] if is_strict else []
    allowed = ["--allowedTools", "mcp__claude-ipc"]
    return [str(CLAUDE), *arguments, *config, *allowed]


Say = Callable[[str], None]


@contextmanager
def printing(desk: Desk, *arguments: str, is_strict: bool = True) -> Iterator[Say]:
    """Run `claude -p` for as long as the block lasts; gives what says something to it."""
    streams = ["--input-format", "stream-json", "--output-format", "stream-json", "--verbose"]
    with (
        (desk.work / "out").open("w") as out,
        subprocess.Popen(
            claude_command(desk, "-p", *streams, *arguments, is_strict=is_strict),
            cwd=desk.work,
            env=desk.environment,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
            text=True,
        ) as process,
    ):
        assert process.stdin is not None

        def say(text: str) -> None:
            message = {"type": "user", "message": {"role": "user", "content": text}}
            process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()

        try:
            yield say
            process.stdin.close()
            process.wait(20)
        finally:
            process.kill()


async def until(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.1)


async def test_claude_code_registers_sends_and_checks(desk: Desk) -> None:
    desk.configure()
    with printing(desk) as say:
        say(
            'CALL register {"instance_id": "claude", "summary": "tests"}\n'
            'CALL send {"to_id": "claude", "content": "to myself"}\n'
            'CALL check {"wait_s": 5}'
        )
        desk.model.wait_for("Registered claude")
        desk.model.wait_for("Message sent")
        await until(lambda: any(text.count("to myself") >= 3 for text in desk.model.texts()))


async def test_claude_code_is_woken_and_answers(desk: Desk) -> None:
    desk.configure(IPC_INSTANCE_ID="claude")
    async with mesh.join("ci", desk.config()) as ci:
        with printing(desk) as say:
            say("CALL status {}")
            desk.model.wait_for("claude on mesh")
            await until(lambda: any(e.id == "claude" and e.wake == "push" for e in ci.roster()))
            await asyncio.sleep(1)
            sent = await ci.send("claude", "the build is <b>red</b>")
            async with asyncio.timeout(20):
                (answer,) = await ci.check(wait_s=20)
            assert (answer.content, answer.reply_to) == ("seen", sent.id)
            assert await sent.wait("shown", timeout_s=5)
            shown = desk.model.wait_for("From ci (verified")
            assert "<b>" not in shown


@pytest.mark.parametrize("rest_s", [0, 6], ids=["idle", "busy"])
async def test_a_burst_of_40_is_shown_to_claude_code_whole_and_once(
    desk: Desk, rest_s: int
) -> None:
    desk.configure(IPC_INSTANCE_ID="claude")
    async with mesh.join("ci", desk.config()) as ci:
        with printing(desk) as say:
            say("CALL status {}")
            desk.model.wait_for("claude on mesh")
            await until(lambda: any(e.id == "claude" and e.wake == "push" for e in ci.roster()))
            if rest_s:
                say(f"REST {rest_s}")
                await asyncio.sleep(1)
            receipts = await ci.send_many(
                ("claude", f"work item {number:02} " + "x" * 700) for number in range(40)
            )
            for receipt in receipts:
                assert await receipt.wait("shown", timeout_s=60)
            whole = re.compile(r"work item (\d\d) x{700}")
            numbers = [f"{number:02}" for number in range(40)]
            await until(lambda: sorted(whole.findall(desk.model.texts()[-1])) == numbers)


async def test_hooks_of_claude_code_tell_of_mail(desk: Desk) -> None:
    desk.configure(IPC_INSTANCE_ID="claude", IPC_PUSH="off")
    async with mesh.join("ci", desk.config()) as ci:
        with printing(desk, "--settings", json.dumps({"hooks": hooks("claude-ipc")})) as say:
            say("CALL status {}")
            desk.model.wait_for("claude on mesh")
            await until(lambda: any(e.id == "claude" and e.wake == "hook" for e in ci.roster()))
            await (await ci.send("claude", "secret plan")).wait("delivered", timeout_s=5)
            say("What is new?")
            shown = desk.model.wait_for("UserPromptSubmit hook additional context")
            assert "1 unread message on the claude-ipc mesh (new: ci)" in shown
            assert "secret plan" not in shown


async def test_an_idle_interactive_claude_code_is_woken(desk: Desk) -> None:
    desk.configure(IPC_INSTANCE_ID="claude")
    project = {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}
    (desk.home / ".claude.json").write_text(
        json.dumps(
            {
                "hasCompletedOnboarding": True,
                "theme": "dark",
                "customApiKeyResponses": {"approved": [API_KEY[-20:]], "rejected": []},
                "projects": {str(desk.work): project},
            }
        )
    )
    async with mesh.join("ci", desk.config()) as ci:
        child, terminal = pty.fork()
        if not child:
            os.chdir(desk.work)
            os.execve(CLAUDE, claude_command(desk), desk.environment)
        screen: list[bytes] = []
        reading = threading.Thread(target=_read_all, args=(terminal, screen), daemon=True)
        reading.start()
        try:
            await until(lambda: any(e.id == "claude" and e.wake == "push" for e in ci.roster()))
            await asyncio.sleep(2)
            sent = await ci.send("claude", "wake up")
            (answer,) = await ci.check(wait_s=20)
            assert (answer.content, answer.reply_to) == ("seen", sent.id)
        except (TimeoutError, ValueError):
            sys.stderr.write(b"".join(screen)[-4000:].decode(errors="replace"))
            raise
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            reading.join()
            os.close(terminal)


def _read_all(terminal: int, screen: list[bytes]) -> None:
    while True:
        try:
            found = os.read(terminal, 65536)
        except OSError:
            return
        if not found:
            return
        screen.append(found)


async def test_a_health_check_of_claude_code_takes_no_name(desk: Desk) -> None:
    desk.configure(IPC_INSTANCE_ID="claude")
    settings = desk.work / ".claude" / "settings.local.json"
    settings.parent.mkdir()
    settings.write_text(json.dumps({"enableAllProjectMcpServers": True}))
    listing = await asyncio.to_thread(
        subprocess.run,
        [str(CLAUDE), "mcp", "list"],
        cwd=desk.work,
        env=desk.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "claude-ipc" in listing.stdout
    assert not desk.ipc_home.exists()


async def test_the_plugin_is_valid_and_its_hooks_tell_of_mail(desk: Desk) -> None:
    made = desk.work / "made"

    def run(*command: str) -> None:
        done = subprocess.run(
            command,
            cwd=desk.work,
            env=desk.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def claude(*arguments: str) -> None:
        run(str(CLAUDE), "plugin", *arguments)

    run(sys.executable, "-m", "mesh.cli.main", "install", "claude", "--plugin", str(made))
    plugin = made / "plugins" / "ipc-mesh"
    claude("validate", "--strict", str(made))
    claude("validate", "--strict", str(plugin))
    claude("validate", "--profile", "directory", str(plugin))
    # The server as the test has it; the rest of the plugin is as it was made.
    manifest = plugin / ".claude-plugin" / "plugin.json"
    value = json.loads(manifest.read_text())
    value["mcpServers"]["claude-ipc"] = desk.entry(IPC_INSTANCE_ID="claude", IPC_PUSH="off")
    manifest.write_text(json.dumps(value))
    claude("marketplace", "add", str(made))
    claude("install", "ipc-mesh@ipc-mesh")
    async with mesh.join("ci", desk.config()) as ci:
        (desk.work / ".mcp.json").write_text('{"mcpServers": {}}')
        with printing(desk, is_strict=False) as say:
            say("hello")
            desk.model.wait_for("mcp__plugin_ipc-mesh_claude-ipc__check")
            await until(lambda: any(e.id == "claude" and e.wake == "hook" for e in ci.roster()))
            await (await ci.send("claude", "secret plan")).wait("delivered", timeout_s=5)
            say("What is new?")
            shown = desk.model.wait_for("1 unread message on the claude-ipc mesh (new: ci)")
            assert "secret plan" not in shown


@pytest.mark.skipif(CODEX is None, reason="MESH_CLIENTS has no Codex")
async def test_codex_registers_sends_and_checks(desk: Desk) -> None:
    entry = desk.entry()
    env = ", ".join(f"{name} = {json.dumps(value)}" for name, value in entry["env"].items())
    directory = desk.home / ".codex"
    directory.mkdir()
    (directory / "config.toml").write_text(f"""
model = "scripted"
model_provider = "scripted"
approval_policy = "never"
sandbox_mode = "danger-full-access"
[model_providers.scripted]
name = "scripted"
base_url = "{desk.url}/v1"
wire_api = "responses"
env_key = "SCRIPTED_KEY"
[mcp_servers.claude-ipc]
command = {json.dumps(entry["command"])}
args = {json.dumps(entry["args"])}
env = {{ {env} }}
default_tools_approval_mode = "approve"
required = true  # else the first turn may begin before the bridge has started
""")
    prompt = (
        'CALL register {"instance_id": "codex"}\n'
        'CALL send {"to_id": "ci", "content": "from codex"}\n'
        'CALL check {"wait_s": 10}'
    )
    async with mesh.join("ci", desk.config()) as ci, asyncio.TaskGroup() as group:
        running = group.create_task(
            asyncio.to_thread(
                subprocess.run,
                [str(CODEX), "exec", "--skip-git-repo-check", prompt],
                cwd=desk.work,
                env=desk.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        )
        (question,) = await ci.check(wait_s=30)
        assert question.content == "from codex"
        await ci.send("codex", "to codex", reply_to=question.id)
        assert (await running).returncode == 0
    assert "to codex" in desk.model.texts()[-1]
