"""Sharing a file or the output of a command: what is read or run here, and sent as a message."""

import asyncio
from pathlib import Path

from mesh import limits
from mesh.config import Config
from mesh.driver import contents
from mesh.driver.contents import Options
from mesh.driver.handle import MailboxHandle
from mesh.driver.receipt import SharedCommand, SharedFile
from mesh.driver.transfers import Progress
from mesh.model import Kind, parse_address
from mesh.sharing.command import run_shared_command
from mesh.sharing.confine import Fence
from mesh.sharing.files import read_shared_file
from mesh.sharing.spool import shared_size


async def share_file(
    box: MailboxHandle,
    to: str,
    path: Path | str,
    description: str,
    on_progress: Progress | None,
) -> SharedFile:
    """Send a file; small ones inside the message, larger ones streamed beside the mail."""
    contents.check_description(description)
    parse_address(to)
    fence = _fence(box.node.config, Path.cwd())
    size = await asyncio.to_thread(shared_size, path, fence)
    if size > limits.file_bytes_max:
        return await _stream(box, to, path, description, fence, on_progress)
    shared = await asyncio.to_thread(read_shared_file, path, fence)
    made = contents.file_draft(
        shared.name,
        size=shared.bytes,
        blake2b=shared.blake2b,
        description=description,
        attachment=shared.content,
    )
    receipt = await box.submit(box.request(box.direct(to, made)))
    return SharedFile(receipt, name=shared.name, size=shared.bytes, blake2b=shared.blake2b)


async def share_command(
    box: MailboxHandle, to: str, command: str, description: str, cwd: Path
) -> SharedCommand:
    """Run a command as policy allows and send what it printed."""
    contents.check_description(description)
    parse_address(to)
    config = box.node.config
    result = await run_shared_command(
        command,
        _fence(config, cwd),
        policy=config.share_command,
        secrets=[s for s in (config.secret, config.previous_secret) if s],
    )
    data = {
        "type": "command",
        "command": command,
        "stdout": result.stdout,
        "stderr": result.stderr,
        "returncode": result.returncode,
        "truncated": result.truncated,
        "timed_out": result.timed_out,
        "description": description,
    }
    content = description or f"Output of: {command[:200]}"
    made = contents.draft(content, data, Options(), kind=Kind.COMMAND)
    receipt = await box.submit(box.request(box.direct(to, made)))
    return SharedCommand(receipt, returncode=result.returncode, truncated=result.truncated)


def _fence(config: Config, cwd: Path) -> Fence:
    return Fence(cwd=cwd, roots=config.share_roots, home=config.home, allowed=config.share_allow)


async def _stream(
    box: MailboxHandle,
    to: str,
    path: Path | str,
    description: str,
    fence: Fence,
    on_progress: Progress | None,
) -> SharedFile:
    transfers = box.node.transfers
    pinned: list[bytes] = []
    try:
        spooled = await transfers.spool(box.key, parse_address(to), path, fence, pinned=pinned)
        blake2b = spooled.digest.hex()
        made = contents.file_draft(
            spooled.name, size=spooled.size, blake2b=blake2b, description=description
        )
        if on_progress is not None:
            transfers.watch(box.key, spooled.digest, on_progress)
        receipt = await box.submit(box.request(box.direct(to, made)))
    finally:
        for digest in pinned:
            transfers.unpin(box.key, digest)
    return SharedFile(receipt, name=spooled.name, size=spooled.size, blake2b=blake2b)
