"""The gate: which CURVE client keys may talk to this node (ZAP, RFC 27).

Served from the event loop through the same context as the listening sockets. A client is let in
when its public key is one of those derived from our secrets. Everybody else gets silence; we count
refusals by address for `status` and the doctor, and log each address at most once a minute, so
that a flood costs a stranger more than it costs us.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Final

import zmq

from mesh import limits
from mesh.net.addresses import plain_address
from mesh.net.sockets import NOBLOCK, ZAP_DOMAIN, Context, Watch

ENDPOINT: Final = "inproc://zeromq.zap.01"
LOG_INTERVAL_S: Final = 60.0
OTHERS: Final = "others"
_log = logging.getLogger(__name__)


class Gate:
    """Answers ZAP requests and remembers whom it refused."""

    def __init__(self, context: Context, watch: Watch, accepted: Iterable[bytes]) -> None:
        self._watch = watch
        self._accepted = frozenset(accepted)
        self._refusals: dict[str, int] = {}
        self._logged_at: dict[str, float] = {}
        self.stranger = b""
        self._socket = context.socket(zmq.REP)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(ENDPOINT)
        watch.add(self._socket, self._serve)

    @property
    def refusals(self) -> Mapping[str, int]:
        """How often each address was refused; addresses beyond the bound count as `others`."""
        return dict(self._refusals)

    def accept(self, keys: Iterable[bytes]) -> None:
        """Replace the accepted keys; links that are already up are not touched."""
        self._accepted = frozenset(keys)

    def note_refusal(self, address: str) -> None:
        """Count a refusal and log it, the latter within bounds."""
        if address not in self._refusals and len(self._refusals) >= limits.refusal_addresses_max:
            address = OTHERS
        self._refusals[address] = self._refusals.get(address, 0) + 1
        now = self._watch.loop.time()
        if now - self._logged_at.get(address, -LOG_INTERVAL_S) >= LOG_INTERVAL_S:
            self._logged_at[address] = now
            _log.warning("Refused %s: it does not hold our secret.", address)

    def close(self) -> None:
        """Stop answering; listening sockets must be closed before."""
        self._watch.remove(self._socket)
        self._socket.close()

    def _serve(self) -> None:
        for _ in range(limits.zap_turn_max):
            if self._socket.closed:
                return
            try:
                request = self._socket.recv_multipart(NOBLOCK)
            except zmq.Again:
                return
            is_member = self._is_member(request)
            code, text = (b"200", b"OK") if is_member else (b"400", b"refused")
            number = request[1] if len(request) > 1 else b""
            self._socket.send_multipart([b"1.0", number, code, text, b"", b""], NOBLOCK)
        self._watch.loop.call_soon(self._serve)

    def _is_member(self, request: list[bytes]) -> bool:
        if len(request) != 7 or request[0] != b"1.0":
            return False
        _version, _number, domain, address, _routing_id, mechanism, key = request
        if domain == ZAP_DOMAIN and mechanism == b"CURVE" and key in self._accepted:
            return True
        if key != self.stranger:
            self.note_refusal(plain_address(address.decode("ascii", "replace")))
        return False
