"""`mesh secret new`: make a team secret."""

import base64
import os
import secrets
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Final

from mesh.cli.command import Command, Exit
from mesh.cli.console import Console
from mesh.errors import PolicyError, StoreError
from mesh.store.files import create_private, write_private
from mesh.store.home import Home

_SECRET_BYTES: Final = 20
"""160 bits, 32 characters of base32; nobody guesses that from recorded traffic."""


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("action", metavar="new", choices=["new"])
    parser.add_argument("--force", action="store_true", help="replace the secret that is there")
    parser.add_argument("--show", action="store_true", help="print the secret, too")


async def _run(options: Namespace, console: Console) -> int:
    # The settings are not read: a wrong secret among them is what this command mends.
    home = Path(os.environ.get("IPC_HOME") or Path.home() / ".claude-ipc").expanduser().absolute()
    path = home / "secret"
    secret = base64.b32encode(secrets.token_bytes(_SECRET_BYTES)).decode("ascii")
    _write(path, f"{secret}\n".encode("ascii"), is_forced=options.force)
    text = f"A new team secret is in {path}"
    value = {"status": "ok", "message": text, "path": str(path), "bits": 8 * _SECRET_BYTES}
    lines = [text, *_advice(path, is_forced=options.force)]
    if options.show:
        value["secret"] = secret
        lines.append(f"The secret is {secret}")
    await console.show(value, "\n".join(lines))
    return Exit.DONE


def _write(path: Path, content: bytes, *, is_forced: bool) -> None:
    """Write the secret.

    Raises:
        ConfigError: the state directory is not safe.
        PolicyError: there is one already.
        StoreError: the disk refused.
    """
    try:
        Home.open(path.parent, mesh=os.environ.get("IPC_MESH") or "default")
        if is_forced:
            write_private(path, content)
        else:
            create_private(path, content)
    except FileExistsError as exc:
        raise PolicyError(f"{path} exists; --force replaces it, and locks others out.") from exc
    except OSError as exc:
        raise StoreError(f"Cannot write {path}: {exc.strerror}") from exc


def _advice(path: Path, *, is_forced: bool) -> list[str]:
    lines = [
        "Sessions of this host that start from now on use it. Carry it to another machine with",
        f"    scp {path} OTHER:.claude-ipc/secret",
        "    ssh OTHER chmod 600 .claude-ipc/secret",
        "or set IPC_SHARED_SECRET there to its content. Never send it through the mesh or a chat.",
    ]
    if is_forced:
        lines.append(
            "Set IPC_SHARED_SECRET_PREVIOUS to the old one to be understood by the others for "
            "seven more days."
        )
    return lines


COMMAND = Command(
    name="secret",
    summary="Make a strong team secret and write it to $IPC_HOME/secret.",
    example="mesh secret new",
    configure=_configure,
    run=_run,
)
