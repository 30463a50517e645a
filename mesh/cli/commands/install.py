"""`mesh install`: the MCP server in the configuration of an AI client."""

import json
import os
import re
import shutil
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from typing import Any, Final

from mesh.cli.command import Command, Exit
from mesh.cli.console import Console
from mesh.cli.install.clients import (
    CLIENTS,
    Client,
    Entry,
    holds_secret,
    merge,
    secret_advice,
    without_secrets,
)
from mesh.cli.install.files import ConfigFile
from mesh.cli.install.plugin import plugin_files, write_plugin
from mesh.cli.install.source import source
from mesh.cli.install.toml_text import dump_table
from mesh.errors import ConfigError, UsageError

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


def _configure(parser: ArgumentParser) -> None:
    names = [client.name for client in CLIENTS]
    parser.add_argument("client", metavar="CLIENT", choices=names, help=", ".join(names))
    parser.add_argument(
        "--write", action="store_true", help="enter it into the client's file, keeping the rest"
    )
    parser.add_argument(
        "--scope",
        choices=["user", "project"],
        default="user",
        help="for all projects (default), or for the one in the working directory",
    )
    parser.add_argument(
        "--name",
        type=_server_name,
        default="claude-ipc",
        metavar="NAME",
        help="what the client calls the server (default: claude-ipc)",
    )
    parser.add_argument(
        "--from",
        dest="source",
        metavar="WHERE",
        help="what uvx runs: a directory, an address or a package (default: where this is from)",
    )
    parser.add_argument(
        "--plugin", type=Path, metavar="DIR", help="make a plugin there instead (claude only)"
    )


def _server_name(text: str) -> str:
    if not _NAME.match(text):
        raise ArgumentTypeError(f"1-64 letters, digits, - or _, not {text!r}")
    return text


async def _run(options: Namespace, console: Console) -> int:
    client = next(client for client in CLIENTS if client.name == options.client)
    origin = _origin(options.source)
    if options.plugin is not None:
        return await _make_plugin(options, client, origin, console)
    path = client.path(options.scope, os.environ)
    file = ConfigFile.read(path)
    try:
        known = client.read(file.text, options.name)
        entry = merge(known, client.entry(origin, os.environ), name=options.name)
        edited = client.put(file.text, options.name, entry)
    except ConfigError as exc:
        raise ConfigError(f"{path}: {exc}; nothing was changed.") from exc
    is_new = entry != known
    kept = file.replace(edited) if options.write and is_new else None
    value = {
        "status": "ok",
        "message": _message(path, is_written=options.write, is_new=is_new),
        "client": client.name,
        "path": str(path),
        "written": options.write and is_new,
        "config": {client.section: {options.name: without_secrets(entry)}},
        "backup": None if kept is None else str(kept),
        "advice": _advice(client, entry),
    }
    await console.show(value, _text(value, client, options.name, is_shown=not options.write))
    return Exit.DONE


def _origin(given: str | None) -> str:
    """Return what uvx is to run; clients start it elsewhere, so a directory must be absolute."""
    if given is None:
        return source()
    path = Path(given).expanduser()
    return str(path.resolve()) if path.exists() else given


def _message(path: Path, *, is_written: bool, is_new: bool) -> str:
    if not is_new:
        return f"{path} has it already."
    if is_written:
        return f"Written to {path}"
    return f"This belongs into {path} (--write puts it there)"


def _text(value: dict[str, Any], client: Client, name: str, *, is_shown: bool) -> str:
    lines = [value["message"]]
    if is_shown:
        lines += ["", _snippet(client, name, value["config"]), ""]
    if value["backup"]:
        lines.append(f"The old content is in {value['backup']}")
    return "\n".join([*lines, *value["advice"]])


def _snippet(client: Client, name: str, config: dict[str, Any]) -> str:
    if client.is_toml:
        return dump_table(client.section, name, config[client.section][name]).rstrip()
    return json.dumps(config, indent=2, ensure_ascii=False)


def _advice(client: Client, entry: Entry) -> list[str]:
    advice = [*client.advice, *secret_advice(os.environ)]
    if holds_secret(entry):
        advice.append("A secret stands in that file in plain text; see `mesh secret new`.")
    if shutil.which("uvx") is None:
        advice.append("uvx is not on the PATH: install uv, so that the client can run it.")
    return advice


async def _make_plugin(options: Namespace, client: Client, origin: str, console: Console) -> int:
    if client.name != "claude":
        raise UsageError(f"{client.title} has no such plugins; leave --plugin out.")
    directory = options.plugin.expanduser().absolute()
    entry: Entry = client.entry(origin, os.environ)
    files = plugin_files(directory, name=options.name, server=entry, source=origin)
    write_plugin(directory, files)
    text = f"A plugin, and a marketplace for it, are in {directory}. Take it in with"
    steps = [
        f"claude plugin marketplace add {directory}",
        f"claude plugin install {options.name}@{options.name}",
    ]
    value = {
        "status": "ok",
        "message": text,
        "client": client.name,
        "path": str(directory),
        "written": True,
        "config": {client.section: {options.name: entry}},
        "backup": None,
        "advice": steps,
    }
    await console.show(value, "\n".join([text, *(f"    {step}" for step in steps)]))
    return Exit.DONE


COMMAND = Command(
    name="install",
    summary="Print the MCP server's configuration for an AI client, or with --write make it.",
    example="mesh install codex\nmesh install claude --scope project --write",
    configure=_configure,
    run=_run,
)
