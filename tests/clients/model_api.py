"""A scripted model on loopback: what Claude Code and Codex take for their provider.

It does what its user's texts say, each demand once: `CALL tool {json}` becomes a call of that tool
of the bridge, `REST seconds` keeps it busy so long, a pushed message is answered with `seen`, and
word of waiting messages makes it call check. Else it says `ok`. Each request is kept, so that a
test can see what the model was shown. The endpoints are Messages and Responses, both streaming.
"""

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]
REST = re.compile(r"REST (\S+)")
CALL = re.compile(r"CALL (\S+) (\{.*\})")
WAITING = re.compile(r"messages? waits?; read them")
PUSHED = re.compile(r'To answer: the claude-ipc tool send with to_id="([^"]+)", reply_to="(\w+)"')


class Model:
    """What the endpoint was asked, and how it answers."""

    def __init__(self) -> None:
        self.requests: list[Json] = []
        self.changed = threading.Condition()
        self._met: set[tuple[str, int]] = set()

    def texts(self) -> list[str]:
        """Return each request as text, as a test searches it."""
        with self.changed:
            return [json.dumps(request, ensure_ascii=False) for request in self.requests]

    def wait_for(self, text: str, timeout_s: float = 30) -> str:
        """Wait for a request that holds `text`; return it."""
        with self.changed:
            found = self.changed.wait_for(lambda: self._find(text), timeout_s)
            assert found, f"the model was never shown {text!r}"
            return found

    def _find(self, text: str) -> str:
        for request in self.requests:
            shown = json.dumps(request, ensure_ascii=False)
            if text in shown:
                return shown
        return ""

    def note(self, request: Json) -> None:
        with self.changed:
            self.requests.append(request)
            self.changed.notify_all()

    def next_call(self, texts: str) -> tuple[str, str, Json] | None:
        """Return id, tool and arguments of the first demand that was not met yet."""
        seen: Counter[str] = Counter()
        for pattern in (REST, CALL, PUSHED, WAITING):
            for found in pattern.finditer(texts):
                seen[found[0]] += 1
                demand = (found[0], seen[found[0]])
                if demand in self._met:
                    continue
                self._met.add(demand)
                if pattern is REST:
                    time.sleep(float(found[1]))
                    continue
                return (f"call_{len(self._met)}", *_call(pattern, found))
        return None


def _call(pattern: re.Pattern[str], found: re.Match[str]) -> tuple[str, Json]:
    if pattern is CALL:
        return (found[1], json.loads(found[2]))
    if pattern is PUSHED:
        return ("send", {"to_id": found[1], "reply_to": found[2], "content": "seen"})
    return ("check", {})


@contextmanager
def serving(model: Model) -> Iterator[str]:
    """Serve on a free loopback port; gives the address."""

    class Endpoint(_Endpoint):
        pass

    Endpoint.model = model
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Endpoint(BaseHTTPRequestHandler):
    model: Model
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def do_HEAD(self) -> None:
        self._answer_json({})

    def do_GET(self) -> None:
        self._answer_json({"data": [], "models": []})

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        try:
            request = json.loads(self.rfile.read(size) or b"{}")
        except ValueError:
            request = {}
        path = self.path.partition("?")[0]
        if path.endswith("/count_tokens"):
            self._answer_json({"input_tokens": 10})
        elif path.endswith("/v1/messages"):
            self.model.note(request)
            self._stream(_claude_events(self.model, request))
        elif path.endswith("/responses"):
            self.model.note(request)
            self._stream(_responses_events(self.model, request))
        else:
            self._answer_json({})

    def _answer_json(self, value: Json) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, events: Iterator[Json]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for event in events:
            self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
        self.wfile.flush()
        self.close_connection = True


def _text(content: Any) -> str:
    """Return the text of one message, results of tools left out."""
    if isinstance(content, str):
        return content
    return "\n".join(block.get("text", "") for block in content)


def _claude_events(model: Model, request: Json) -> Iterator[Json]:
    messages = request.get("messages") or [{"content": ""}]
    # Side requests (titles and the like) come without tools.
    texts = "\n".join(_text(m["content"]) for m in messages if m["role"] != "assistant")
    call = model.next_call(texts) if request.get("tools") else None
    usage = {"input_tokens": 10, "output_tokens": 5}
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": request.get("model", "scripted"),
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    yield {"type": "message_start", "message": message}
    if call is None:
        block: Json = {"type": "text", "text": ""}
        delta: Json = {"type": "text_delta", "text": "ok"}
    else:
        block = {
            "type": "tool_use",
            "id": f"toolu_{call[0]}",
            "name": f"mcp__claude-ipc__{call[1]}",
        }
        block["input"] = {}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(call[2])}
    yield {"type": "content_block_start", "index": 0, "content_block": block}
    yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}
    reason = "end_turn" if call is None else "tool_use"
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": reason, "stop_sequence": None},
        "usage": usage,
    }
    yield {"type": "message_stop"}


def _responses_events(model: Model, request: Json) -> Iterator[Json]:
    items = [item for item in request.get("input") or [] if item.get("role") == "user"]
    call = model.next_call("\n".join(_text(item.get("content") or "") for item in items))
    yield {"type": "response.created", "response": {"id": "resp_1"}}
    if call is None:
        item: Json = {
            "type": "message",
            "role": "assistant",
            "id": "msg_1",
            "content": [{"type": "output_text", "text": "ok"}],
        }
    else:
        item = {
            "type": "function_call",
            "call_id": call[0],
            "namespace": "mcp__claude_ipc",
            "name": call[1],
            "arguments": json.dumps(call[2]),
        }
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    usage = {
        "input_tokens": 10,
        "input_tokens_details": None,
        "output_tokens": 5,
        "output_tokens_details": None,
        "total_tokens": 15,
    }
    yield {"type": "response.completed", "response": {"id": "resp_1", "usage": usage}}
