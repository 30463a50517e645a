"""`mesh install`: the MCP server in the configuration of an AI client."""

import json
import os
import re
import shutil
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from dataclasses import dataclass
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
from mesh.cli.install.hooks import SECTION as HOOKS
from mesh.cli.install.hooks import hooks, put_hooks
from mesh.cli.install.plugin import NAME as PLUGIN
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
        "--hooks",
        action="store_true",
        help="also enter hooks that tell the session of unread mail (claude only)",
    )
    parser.add_argument(
        "--plugin", type=Path, metavar="DIR", help="make a plugin there instead (claude only)"
    )


def _server_name(text: str) -> str:
    if not _NAME.match(text):
        raise ArgumentTypeError(f"1-64 letters, digits, - or _, not {text!r}")
    return text


@dataclass(frozen=True, slots=True)
class _Edit:
    """A file, and what it is to hold. `shown` is our part of it, fit for being printed."""

    path: Path
    file: ConfigFile
    text: str
    shown: dict[str, Any]

    @property
    def is_new(self) -> bool:
        return self.text != self.file.text

    def carry_out(self, *, is_written: bool) -> dict[str, Any]:
        """Write the file if that is asked for and needed; return what is told of it."""
        is_due = is_written and self.is_new
        kept = self.file.replace(self.text) if is_due else None
        return {
            "path": str(self.path),
            "written": is_due,
            "config": self.shown,
            "backup": None if kept is None else str(kept),
        }


async def _run(options: Namespace, console: Console) -> int:
    client = next(client for client in CLIENTS if client.name == options.client)
    origin = _origin(options.source)
    if options.plugin is not None:
        return await _make_plugin(options, client, origin, console)
    entry, server = _edit_server(options, client, origin)
    # All edits are made before the first is written: what is malformed changes nothing.
    edits = [server, *([_edit_hooks(options, client)] if options.hooks else [])]
    done = [edit.carry_out(is_written=options.write) for edit in edits]
    messages = [_message(edit, is_written=options.write) for edit in edits]
    value = {
        "status": "ok",
        "message": "; ".join(messages),
        "client": client.name,
        **done[0],
        **({"hooks": done[1]} if options.hooks else {}),
        "advice": _advice(client, entry),
    }
    lines: list[str] = []
    for message, edit, one in zip(messages, edits, done, strict=True):
        lines += [message]
        if not options.write:
            lines += ["", _snippet(client, edit), ""]
        if one["backup"]:
            lines.append(f"The old content is in {one['backup']}")
    await console.show(value, "\n".join([*lines, *value["advice"]]))
    return Exit.DONE


def _edit_server(options: Namespace, client: Client, origin: str) -> tuple[Entry, _Edit]:
    path = client.path(options.scope, os.environ)
    file = ConfigFile.read(path)
    try:
        known = client.read(file.text, options.name)
        entry = merge(known, client.entry(origin, os.environ), name=options.name)
        text = file.text if entry == known else client.put(file.text, options.name, entry)
    except ConfigError as exc:
        raise ConfigError(f"{path}: {exc}; nothing was changed.") from exc
    shown = {client.section: {options.name: without_secrets(entry)}}
    return entry, _Edit(path, file, text, shown)


def _edit_hooks(options: Namespace, client: Client) -> _Edit:
    if client.hooks_path is None:
        raise UsageError(f"{client.title} has no hooks that could ask the server; drop --hooks.")
    path = client.hooks_path(options.scope, os.environ)
    file = ConfigFile.read(path)
    try:
        text = put_hooks(file.text, options.name)
    except ConfigError as exc:
        raise ConfigError(f"{path}: {exc}; nothing was changed.") from exc
    return _Edit(path, file, text, {HOOKS: hooks(options.name)})


def _origin(given: str | None) -> str:
    """Return what uvx is to run; clients start it elsewhere, so a directory must be absolute."""
    if given is None:
        return source()
    path = Path(given).expanduser()
    return str(path.resolve()) if path.exists() else given


def _message(edit: _Edit, *, is_written: bool) -> str:
    if not edit.is_new:
        return f"{edit.path} has it already."
    if is_written:
        return f"Written to {edit.path}"
    return f"This belongs into {edit.path} (--write puts it there)"


def _snippet(client: Client, edit: _Edit) -> str:
    if client.is_toml:
        ((section, tables),) = edit.shown.items()
        ((name, table),) = tables.items()
        return dump_table(section, name, table).rstrip()
    return json.dumps(edit.shown, indent=2, ensure_ascii=False)


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
        f"claude plugin install {PLUGIN}@{PLUGIN}",
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
    example="mesh install codex\nmesh install claude --scope project --hooks --write",
    configure=_configure,
    run=_run,
)
