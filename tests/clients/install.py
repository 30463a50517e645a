"""Install Claude Code, Codex and a counter of tokens from npm into a directory of their own.

    python tests/clients/install.py DIR
    MESH_CLIENTS=DIR uv run pytest -m long tests/clients

The packages bring native programs; nothing is run while installing. Node
is needed later for the counter only.
"""

import json
import subprocess
import sys
from pathlib import Path

PACKAGES = (
    "@anthropic-ai/claude-code-linux-x64@2.1.330",
    "@openai/codex@0.169.0",
    "js-tiktoken@1.0.21",
)


def main() -> int:
    """Install into the directory named on the command line; return npm's exit code."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "package.json").write_text(json.dumps({"private": True}))
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", *PACKAGES]
    return subprocess.run(command, cwd=directory, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
