"""The entry of `claude-ipc-mcp`: reads the settings, then serves one MCP client over stdio."""

import logging
import os
import signal
import sys
from types import FrameType
from typing import Final

_SIGNALS: Final = ("SIGINT", "SIGTERM", "SIGHUP")


def main() -> int:
    """Serve until the client is gone; return 1 if a setting is wrong, saying which on stderr."""
    for name in _SIGNALS if os.name == "posix" else ():
        signal.signal(getattr(signal, name), _leave)
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )
    # Imported late: signals are obeyed and wrong settings told before the SDK has been loaded.
    import mesh

    try:
        config = mesh.Config.from_env(wipe=True)
        mesh.check_start(config)
    except mesh.ConfigError as exc:
        sys.stderr.write(f"claude-ipc-mcp: {exc}\n")
        return 1
    for warning in config.warnings:
        logging.getLogger(__name__).warning("%s", warning)

    import asyncio

    from mcp_bridge.server import serve

    asyncio.run(serve(config))
    return 0


def _leave(_: int, __: FrameType | None) -> None:
    """End at once: there is nothing yet to say goodbye to."""
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
