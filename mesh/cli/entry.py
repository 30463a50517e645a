"""What the command `mesh` starts: ends quietly when interrupted while it still loads itself."""

import signal
import sys


def main() -> int:
    """Load the command line and run it; return its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from mesh.cli.main import main as run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    return run()


if __name__ == "__main__":
    sys.exit(main())
