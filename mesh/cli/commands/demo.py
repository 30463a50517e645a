"""`mesh demo`: the whole story on this machine, with real processes, every claim checked."""

import asyncio
import hashlib
import secrets
import tempfile
import time
from argparse import Namespace
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from mesh.cli.command import Command, Exit
from mesh.cli.console import Console
from mesh.cli.peers import Peer, ended_at_last, environment_of, start_peer
from mesh.cli.session import Visit, roster_of_host, visit_as
from mesh.config import Config
from mesh.driver.results import RosterEntry
from mesh.driver.surface import ReceiptSurface
from mesh.errors import MeshError

_CLAIM_S: Final = 8.0
_STORY_S: Final = 18.0
_POLL_S: Final = 0.05
_LETTERS_WHILE_DEAD: Final = 5

Claim = Callable[[], Awaitable[str]]


class ClaimError(Exception):
    """A claim does not hold."""


def _expect(expectation: bool, text: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not expectation:
        raise ClaimError(text)


class Demo:
    """Two hosts (state directories) and their agents: ada and ben on one, cleo and dora on two."""

    def __init__(self, directory: Path, console: Console, group: asyncio.TaskGroup) -> None:
        mesh, secret = f"demo-{secrets.token_hex(4)}", secrets.token_hex(20)
        self._one = Config(home=directory / "one", mesh=mesh, secret=secret, port=0)
        self._two = Config(home=directory / "two", mesh=mesh, secret=secret, port=0)
        self._directory = directory
        self._console = console
        self._group = group
        self._peers: dict[str, Peer] = {}
        self.all_peers: list[Peer] = []
        self._deadline = time.monotonic() + _STORY_S
        self.held = 0
        self.failed = 0

    async def tell(self) -> None:
        """Go through the story; a claim that does not hold does not end it."""
        await self._claim("three agents start on two hosts", self._start)
        await self._claim("agents of one host see each other", self._same_host)
        await self._claim("the two hosts find each other by mDNS", self._found_by_mdns)
        await self._claim(
            "direct mail crosses hosts, with a receipt and a verified sender", self._direct
        )
        await self._claim("a reply finds its way back", self._reply)
        await self._claim("a broadcast reaches everybody once", self._broadcast)
        await self._claim("mail to a name that does not exist yet waits for it", self._not_yet)
        await self._claim("a killed agent is seen as away", self._kill)
        await self._claim(
            "mail sent meanwhile arrives after its restart, once, in order", self._return
        )
        await self._claim("a shared file arrives unaltered", self._file)
        await self._claim("Ctrl-C ends every agent cleanly", self._end)

    async def _claim(self, text: str, check: Claim) -> None:
        start = time.monotonic()
        why = detail = ""
        patience_s = max(0.0, min(_CLAIM_S, self._deadline - start))
        try:
            async with asyncio.timeout(patience_s):
                detail = await check()
        except TimeoutError:
            why = f"not within {patience_s:.1f} s"
        except (ClaimError, MeshError, OSError, RuntimeError, LookupError) as exc:
            why = str(exc) or type(exc).__name__
        seconds = round(time.monotonic() - start, 3)
        self.held += not why
        self.failed += bool(why)
        value = {"event": "claim", "claim": text, "held": not why, "seconds": seconds}
        value["why" if why else "detail"] = why or detail
        mark, remark = ("✗", why) if why else ("✓", detail)
        await self._console.show(value, f"{mark} {text}  [{seconds:.2f} s]  {remark}".rstrip())

    async def _begin(self, name: str, config: Config) -> None:
        peer = await start_peer(name, environment_of(config), directory=self._directory)
        self._peers[name] = peer
        self.all_peers.append(peer)
        self._group.create_task(peer.read())

    async def _ready(self, *names: str) -> None:
        for name in names:
            peer = self._peers[name]
            await peer.wait_until(lambda peer=peer: bool(peer.ready))  # type: ignore[misc]

    async def _start(self) -> str:
        for name, config in (("ada", self._one), ("ben", self._one), ("cleo", self._two)):
            await self._begin(name, config)
        await self._ready("ada", "ben", "cleo")
        return f"mesh {self._one.mesh}, a fresh secret"

    async def _seen(self, config: Config, name: str, state: str) -> RosterEntry:
        while True:
            for entry in await roster_of_host(config) or ():
                if (entry.id, entry.state) == (name, state):
                    return entry
            await asyncio.sleep(_POLL_S)

    async def _same_host(self) -> str:
        await self._seen(self._one, "ada", "live")
        await self._seen(self._one, "ben", "live")
        return "no network needed"

    async def _found_by_mdns(self) -> str:
        cleo = await self._seen(self._one, "cleo", "live")
        await self._seen(self._two, "ada", "live")
        await self._seen(self._two, "ben", "live")
        return f"nothing was configured; cleo is {cleo.fingerprint[:12]}"

    async def _send(
        self, config: Config, name: str, to: str, text: str, reply_to: str = ""
    ) -> ReceiptSurface:
        async def act(visit: Visit) -> ReceiptSurface:
            return await visit.agent.send(to, text, reply_to=reply_to or None)

        return await visit_as(config, name, act)

    async def _direct(self) -> str:
        receipt = await self._send(self._one, "ada", "cleo", "hello from ada")
        _expect(await receipt.wait("delivered", _CLAIM_S), "no acknowledgement")
        cleo = self._peers["cleo"]
        await cleo.wait_until(lambda: "hello from ada" in cleo.texts_from("ada"))
        message = cleo.messages[-1]
        _expect(message["verified"] in ("first_contact", "pinned"), message["verified"])
        _expect(await receipt.wait("shown", _CLAIM_S), "not reported as shown")
        return f"delivered, then shown; sender {message['verified']}"

    async def _reply(self) -> str:
        question = self._peers["cleo"].messages[-1]
        await self._send(self._two, "cleo", "ada", "hello back", reply_to=question["id"])
        ada = self._peers["ada"]
        await ada.wait_until(lambda: "hello back" in ada.texts_from("cleo"))
        _expect(ada.messages[-1]["reply_to"] == question["id"], "it names another message")
        return ""

    async def _broadcast(self) -> str:
        async def act(visit: Visit) -> ReceiptSurface:
            return await visit.agent.broadcast("phase 1 is done")

        receipt = await visit_as(self._one, "ada", act)
        names = sorted(recipient.to for recipient in receipt.recipients)
        _expect(names == ["ben", "cleo"], f"it went to {names}")
        _expect(await receipt.wait("shown", _CLAIM_S), "not shown to all")
        for name in names:
            texts = self._peers[name].texts_from("ada")
            _expect(texts.count("phase 1 is done") == 1, f"{name} got {texts}")
        return "to ben and cleo, not to ada herself"

    async def _not_yet(self) -> str:
        receipt = await self._send(self._one, "ada", "dora", "welcome, dora")
        first = receipt.recipients[0]
        _expect(
            (first.state, first.why) == ("queued", "unknown_name"), f"{first.state} {first.why}"
        )
        await self._begin("dora", self._two)
        dora = self._peers["dora"]
        await dora.wait_until(lambda: dora.texts_from("ada") == ["welcome, dora"])
        _expect(await receipt.wait("shown", _CLAIM_S), "not reported as shown")
        return "queued as unknown_name, then dora came"

    async def _kill(self) -> str:
        cleo = self._peers["cleo"]
        cleo.kill()
        code = await cleo.wait_for_end()
        await self._seen(self._two, "cleo", "away")
        return f"SIGKILL, exit code {code}"

    async def _return(self) -> str:
        texts = [f"while you were away {number}" for number in range(_LETTERS_WHILE_DEAD)]
        receipts = [await self._send(self._one, "ada", "cleo", text) for text in texts]
        await self._begin("cleo", self._two)
        cleo = self._peers["cleo"]
        await cleo.wait_until(lambda: texts[-1] in cleo.texts_from("ada"))
        for receipt in receipts:
            _expect(await receipt.wait("shown", _CLAIM_S), "not reported as shown")
        _expect(cleo.texts_from("ada") == texts, f"cleo got {cleo.texts_from('ada')}")
        return f"{len(texts)} messages"

    async def _file(self) -> str:
        content = secrets.token_bytes(100_000)
        path = self._directory / "measurements.bin"
        path.write_bytes(content)

        async def act(visit: Visit) -> ReceiptSurface:
            return await visit.agent.share_file("cleo", path, "what we measured")

        await visit_as(self._one, "ada", act)
        cleo = self._peers["cleo"]
        await cleo.wait_until(lambda: cleo.messages[-1]["kind"] == "file")
        data = cleo.messages[-1]["data"]
        digest = hashlib.blake2b(content, digest_size=len(data["blake2b"]) // 2).hexdigest()
        _expect(data["blake2b"] == digest, "another digest")
        _expect(data["bytes"] == len(content), "another size")
        _expect(Path(data["path"]).read_bytes() == content, "another content")
        return f"{data['name']}, {data['bytes']} bytes, BLAKE2b {digest[:12]}"

    async def _end(self) -> str:
        running = [peer for peer in self.all_peers if not peer.has_ended]
        for peer in running:
            code = await peer.interrupt()
            _expect(code == 0, f"{peer.name} returned {code}: {peer.complaint}")
        return f"{len(running)} agents"


async def _run(_: Namespace, console: Console) -> int:
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mesh-", ignore_cleanup_errors=True) as directory:
        async with asyncio.TaskGroup() as group:
            demo = Demo(Path(directory).resolve(), console, group)
            with ended_at_last(demo.all_peers):
                await demo.tell()
    seconds = round(time.monotonic() - start, 2)
    text = f"{demo.held} claims held, {demo.failed} failed, in {seconds} s"
    value = {"status": "error" if demo.failed else "ok", "message": text, "seconds": seconds}
    if demo.failed:
        value["code"] = "failed"
    await console.show({"event": "end", **value, "held": demo.held, "failed": demo.failed}, text)
    return Exit.FAILED if demo.failed else Exit.DONE


COMMAND = Command(
    name="demo",
    summary="Play the whole story on this machine and check every claim of it.",
    example="mesh demo\nmesh demo --json",
    run=_run,
)
