"""One agent as a process that tests may kill: shares a file or waits for one.

    python -m tests.driver.transfer_worker send PLACE WAY PATH     (PATH `-`: only go on)
    python -m tests.driver.transfer_worker receive PLACE WAY -

WAY is `near`, `copy` to behave as if the disk could not give a file a second name, or `link` as if
the other one ran on another machine. The receiver prints the path of the file it got. Both stay
until they are killed or stdin ends.
"""

import asyncio
import json
import sys
from pathlib import Path

import mesh
from mesh.sharing import linked, near


async def main(role: str, place: Path, way: str, path: str) -> None:
    if way == "link":
        near.own_machine_key = lambda: None
    elif way == "copy":
        linked.link = lambda *_: None
    config = mesh.Config(home=place / "host", port=0, mdns=False, share_roots=(place / "shared",))
    async with mesh.join("alice" if role == "send" else "bob", config) as agent:
        print(json.dumps({"event": "ready"}), flush=True)
        if path != "-":
            shared = await agent.share_file("bob", path)
            print(json.dumps({"event": "accepted", "id": shared.id}), flush=True)
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(read(agent))
            await asyncio.to_thread(sys.stdin.read)
            reading.cancel()


async def read(agent: mesh.Agent) -> None:
    async for message in agent.messages():
        print(json.dumps({"event": "message", "path": message.path}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]))
