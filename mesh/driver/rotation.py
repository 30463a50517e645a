"""The keys of a node, and the end of those that a previous secret made."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from mesh.config import Config
from mesh.driver.clock import wall_ms
from mesh.store.home import Home
from mesh.store.rotation import previous_deadline_ms
from mesh.wire.keys import MeshKeys, derive, open_keys

_log = logging.getLogger(__name__)
_CHECK_S: Final = 60.0
IS_OVER: Final = (
    "IPC_SHARED_SECRET_PREVIOUS has ended, 7 days after it was first seen: nodes that still use "
    "that secret are refused; give them the new one and unset the variable."
)


class Rotation:
    """Derives the keys once, and tells when the previous ones have ended."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._deadline_ms = 0
        self.is_over = False
        self.keys: list[MeshKeys] = []

    @property
    def problems(self) -> list[str]:
        """What a person has to mend."""
        return [IS_OVER] if self.is_over else []

    def derive(self, home: Home) -> list[MeshKeys]:
        """Return the current keys, then the previous ones while they are accepted. Takes 0.1 s.

        Raises:
            StoreError: the disk refused to remember the deadline.
        """
        config = self._config
        if config.secret is None:
            self.keys = [open_keys(config.mesh)]
            return self.keys
        self.keys = [derive(config.secret, mesh=config.mesh)]
        if config.previous_secret is not None:
            previous = derive(config.previous_secret, mesh=config.mesh)
            now_ms = wall_ms()
            self._deadline_ms = previous_deadline_ms(home, key_id=previous.key_id, now_ms=now_ms)
            if now_ms < self._deadline_ms:
                self.keys.append(previous)
            else:
                self._end()
        return self.keys

    async def watch(self, retire: Callable[[], None]) -> None:
        """Wait until the previous keys end, however long this node runs, and `retire` them."""
        if len(self.keys) == 1:
            return
        while (left_ms := self._deadline_ms - wall_ms()) > 0:
            await asyncio.sleep(min(left_ms / 1000, _CHECK_S))
        del self.keys[1:]
        retire()
        self._end()

    def _end(self) -> None:
        self.is_over = True
        _log.warning("%s", IS_OVER)
