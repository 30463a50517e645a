"""What an attack costs the attacked process, and whether a member is still served."""

import time

from tests.processes.hosts import Session, contents


async def delivery_s(sender: Session, recipient: Session, name: str, content: str) -> float:
    """Send one message and return how long it took to arrive."""
    begun = time.monotonic()
    await sender.call("send", to=name, content=content)
    found = contents(await recipient.call("collect", count=1, timeout_s=10))
    assert found == [content]
    return time.monotonic() - begun


def report(record_property, capsys, **figures: object) -> None:
    """Put figures into the test report, and on the screen with `-s`."""
    for name, value in figures.items():
        record_property(name, value)
    text = ", ".join(
        f"{k}={v:.3f}" if isinstance(v, float) else f"{k}={v}" for k, v in figures.items()
    )
    with capsys.disabled():
        print(f"  [{text}]", end="")
