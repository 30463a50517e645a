"""What the control endpoint can do: each operation turns JSON into one call of the session."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from mesh import limits
from mesh.driver.control import Answer
from mesh.driver.results import JsonObject, Message
from mesh.driver.surface import AgentSurface, ReceiptSurface, SessionSurface, read_bytes_max
from mesh.errors import UsageError


class Arguments:
    """The arguments of one request, checked as they are taken."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def text(self, name: str) -> str:
        """Return a text that must be there."""
        value = self._values.get(name)
        if not isinstance(value, str):
            raise UsageError(f"{name} must be a text.")
        return value

    def text_or_none(self, name: str) -> str | None:
        """Return a text, or None if there is none."""
        return None if self._values.get(name) is None else self.text(name)

    def texts(self, name: str) -> list[str]:
        """Return a list of texts, empty if there is none."""
        values = self._values.get(name, [])
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise UsageError(f"{name} must be a list of texts.")
        return values

    def number(self, name: str) -> float:
        """Return a number that must be there."""
        value = self._values.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UsageError(f"{name} must be a number.")
        return value

    def number_or_none(self, name: str) -> float | None:
        """Return a number, or None if there is none."""
        return None if self._values.get(name) is None else self.number(name)

    def flag(self, name: str) -> bool:
        """Return whether a flag is set."""
        return self._values.get(name) is True

    def value(self, name: str) -> Any:  # noqa: ANN401 - any JSON value
        """Return whatever it is."""
        return self._values.get(name)

    def message(self, value: Any) -> Message:  # noqa: ANN401 - any JSON value
        """Read a message.

        Raises:
            UsageError: it is none.
        """
        try:
            return Message.from_json(value)
        except (TypeError, KeyError, ValueError) as exc:
            raise UsageError("message must be a message.") from exc


def _receipt_json(receipt: ReceiptSurface) -> JsonObject:
    return {"id": receipt.id, "recipients": [r.to_json() for r in receipt.recipients]}


class Operations:
    """Performs requests on one session. `release` gives up a mailbox this node tends."""

    def __init__(
        self, session: SessionSurface, *, release: Callable[[str], Awaitable[bool]]
    ) -> None:
        self._session = session
        self._release_mailbox = release
        self._receipts: OrderedDict[str, ReceiptSurface] = OrderedDict()
        self._table: dict[str, Callable[[Arguments], Awaitable[Answer]]] = {
            "identify": self._identify,
            "send": self._send,
            "broadcast": self._broadcast,
            "wait": self._wait,
            "read": self._read,
            "mark_shown": self._mark_shown,
            "ask": self._ask,
            "roster": self._roster,
            "reached": self._reached,
            "status": self._status,
            "receipt": self._receipt,
            "rename": self._rename,
            "share_file": self._share_file,
            "share_command": self._share_command,
            "trust": self._trust,
            "save_text": self._save_text,
            "release": self._release,
        }

    async def __call__(self, op: str, args: JsonObject) -> Answer:
        """Perform one request.

        Raises:
            UsageError: unknown operation, bad arguments, or no name registered yet.
            MeshError: whatever the session raises.
        """
        operation = self._table.get(op)
        if operation is None:
            raise UsageError(f"The running session does not know {op}; is it an older version?")
        return await operation(Arguments(args))

    @property
    def _agent(self) -> AgentSurface:
        if self._session.agent is None:
            raise UsageError("This session has not registered a name yet.")
        return self._session.agent

    def _keep(self, receipt: ReceiptSurface) -> JsonObject:
        """Keep a receipt so that the sender can wait on it; the oldest are forgotten."""
        self._receipts[receipt.id] = receipt
        if len(self._receipts) > limits.control_receipts_max:
            self._receipts.popitem(last=False)
        return _receipt_json(receipt)

    async def _identify(self, _: Arguments) -> Answer:
        agent = self._session.agent
        return Answer(
            {
                "instance_id": agent.name if agent else None,
                "fingerprint": agent.fingerprint if agent else None,
                "mode": self._session.mode,
                "mesh": self._session.config.mesh,
                "is_passing": not self._session.config.advertises,
                "unread": agent.unread if agent else 0,
            }
        )

    async def _send(self, args: Arguments) -> Answer:
        receipt = await self._agent.send(
            args.text("to"),
            args.text("content"),
            data=args.value("data"),
            reply_to=args.text_or_none("reply_to"),
            ttl_s=args.number_or_none("ttl_s"),
            urgent=args.flag("urgent"),
            caused_by=args.texts("caused_by"),
        )
        return Answer(self._keep(receipt))

    async def _broadcast(self, args: Arguments) -> Answer:
        receipt = await self._agent.broadcast(
            args.text("content"),
            data=args.value("data"),
            ttl_s=args.number_or_none("ttl_s"),
            caused_by=args.texts("caused_by"),
        )
        return Answer(self._keep(receipt))

    async def _wait(self, args: Arguments) -> Answer:
        receipt = self._receipts.get(args.text("id"))
        if receipt is None:
            raise UsageError("This session did not send a message with that id lately.")
        reached = await receipt.wait(args.text("state"), timeout_s=args.number("timeout_s"))
        return Answer({"reached": reached, **_receipt_json(receipt)})

    async def _read(self, args: Arguments) -> Answer:
        """Read without marking: the other side marks what it has really shown."""
        limit = args.number_or_none("limit")
        page = await self._agent.read(
            sender=args.text_or_none("sender"),
            since=args.text_or_none("since"),
            limit=None if limit is None else int(limit),
            wait_s=args.number_or_none("wait_s") or 0,
            peek=True,
            history=args.flag("history"),
            search=args.text_or_none("search"),
            body_bytes_max=int(args.number_or_none("body_bytes_max") or read_bytes_max),
        )
        items = [message.to_json() for message in page.messages]
        return Answer({"remaining": page.remaining}, items)

    async def _mark_shown(self, args: Arguments) -> Answer:
        values = args.value("messages")
        if not isinstance(values, list):
            raise UsageError("messages must be a list.")
        await self._agent.mark_shown([args.message(value) for value in values])
        return Answer(None)

    async def _ask(self, args: Arguments) -> Answer:
        try:
            reply = await self._agent.ask(
                args.text("to"),
                args.text("content"),
                data=args.value("data"),
                timeout_s=args.number("timeout_s"),
            )
        except TimeoutError:
            return Answer(None)
        return Answer(reply.to_json())

    async def _roster(self, _: Arguments) -> Answer:
        return Answer(None, [entry.to_json() for entry in self._session.roster()])

    async def _reached(self, _: Arguments) -> Answer:
        return Answer(None, [reached.to_json() for reached in self._session.reached()])

    async def _status(self, _: Arguments) -> Answer:
        return Answer((await self._session.status()).to_json())

    async def _receipt(self, args: Arguments) -> Answer:
        recipients = await self._agent.receipt(args.text("id"))
        return Answer(None, [recipient.to_json() for recipient in recipients])

    async def _rename(self, args: Arguments) -> Answer:
        return Answer((await self._agent.rename(args.text("new"))).to_json())

    async def _share_file(self, args: Arguments) -> Answer:
        shared = await self._agent.share_file(
            args.text("to"), Path(args.text("path")), args.text_or_none("description") or ""
        )
        facts = {"name": shared.name, "bytes": shared.bytes, "blake2b": shared.blake2b}
        return Answer({**self._keep(shared), **facts})

    async def _share_command(self, args: Arguments) -> Answer:
        shared = await self._agent.share_command(
            args.text("to"),
            args.text("command"),
            args.text_or_none("description") or "",
            cwd=args.text_or_none("cwd"),
        )
        facts = {"returncode": shared.returncode, "truncated": shared.truncated}
        return Answer({**self._keep(shared), **facts})

    async def _trust(self, args: Arguments) -> Answer:
        await self._agent.trust(args.text("name"), args.text("fingerprint"))
        return Answer(None)

    async def _save_text(self, args: Arguments) -> Answer:
        path = await self._agent.save_text(args.message(args.value("message")))
        return Answer({"path": str(path)})

    async def _release(self, args: Arguments) -> Answer:
        return Answer({"released": await self._release_mailbox(args.text("name"))})
