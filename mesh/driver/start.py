"""What can be said about a start before anything of a node has been loaded."""

from mesh.config import Config
from mesh.store.home import Home


def check_start(config: Config) -> None:
    """Say early what would stop a node from starting; makes and changes nothing.

    Raises:
        ConfigError: the state directory must not be used, or not in this mode.
    """
    is_open = config.mode == "open" and not config.is_open_allowed
    Home.inspect(config.home, is_open=is_open)
