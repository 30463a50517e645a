"""A6: the secret stays in memory: not in children, files, logs, errors or reprs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mesh
from mesh.driver.rotation import Rotation
from mesh.store.home import Home
from mesh.wire.keys import MailboxSigner, curve_pair, derive
from tests.processes.hosts import REPOSITORY

SECRET = "zq9-unmistakable-team-secret"
OLD = "zq8-unmistakable-older-secret"
RUN = """
import asyncio, logging, os, subprocess, sys
logging.basicConfig(level=logging.DEBUG)
import mesh

async def main():
    config = mesh.Config.from_env(wipe=True)
    print(repr(config))
    async with mesh.join("bob", config) as bob:
        shared = await bob.share_command("bob", "env")
        print(await bob.check())
        print(subprocess.run(["env"], capture_output=True, text=True).stdout)
        print((await bob.status()).to_json(), bob.roster())

asyncio.run(main())
"""


def forms(secret: str, name: str) -> list[bytes]:
    """The secret and all keys made of it, raw and in hexadecimal."""
    keys = derive(secret, mesh=name)
    raw = [secret.encode(), keys.aead, keys.link_root, keys.client.secret, keys.door.secret]
    return [*raw, *[key.hex().encode() for key in raw], keys.door.public.hex().encode()]


def test_neither_children_nor_logs_nor_files_get_it(tmp_path: Path):
    environ = {name: text for name, text in os.environ.items() if not name.startswith("IPC_")}
    home = tmp_path / "home"
    environ |= {
        "IPC_HOME": str(home),
        "IPC_SHARED_SECRET": SECRET,
        "IPC_SHARED_SECRET_PREVIOUS": OLD,
        "IPC_SHARE_COMMAND": "any",
        "IPC_MDNS": "off",
        "IPC_PORT": "0",
        "IPC_BIND": "127.0.0.1",
        "IPC_PEERS": "127.0.0.1:9",
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONASYNCIODEBUG": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        env=environ,
        capture_output=True,
        timeout=60,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    said = done.stdout + done.stderr
    kept = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert b"PATH=" in said
    for form in (*forms(SECRET, "default"), *forms(OLD, "default")):
        assert form not in said
        assert form not in kept


def test_no_value_that_holds_it_shows_it(tmp_path: Path):
    config = mesh.Config(home=tmp_path / "h", secret=SECRET, previous_secret=OLD)
    home = Home.open(config.home, mesh="default")
    rotation = Rotation(config)
    values = [config, *rotation.derive(home), rotation, curve_pair(b"s" * 32)]
    values.append(MailboxSigner(b"s" * 32))
    shown = " ".join(f"{value!r} {value}" for value in values)
    for form in (*forms(SECRET, "default")[:5], *forms(OLD, "default")[:5], b"s" * 32):
        assert form.decode("latin-1") not in shown
        assert repr(form) not in shown


def test_errors_about_it_do_not_quote_it(tmp_path: Path):
    for text in ("hunter2", "pass\ud800word-long-enough", "x" * 5000, "${HOME}hunter2hunter2"):
        with pytest.raises(mesh.ConfigError) as caught:
            mesh.Config(home=tmp_path, secret=text)
        exc = caught.value
        assert text not in f"{exc} {exc!r} {exc.__cause__!r}"
