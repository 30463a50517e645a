"""A brokerless mesh through which AI coding sessions talk to each other.

    import mesh

    async with mesh.join("alice") as alice:
        receipt = await alice.send("bob", "hello", data={"k": 1})
        await receipt.wait("delivered", timeout_s=5)
        async for message in alice.messages():
            ...

What is exported here is the whole public interface; everything else may change. Each name is loaded
when it is first used: a node takes far longer to load than settings or errors, and a command that
asks a running session, or a server that has not been spoken to yet, needs no node.
"""

from collections.abc import Iterable
from importlib import import_module
from typing import Any, Final

_EXPORTS: Final[dict[str, tuple[str, ...]]] = {
    "mesh.config": ("Config",),
    "mesh.driver.agent": ("Agent",),
    "mesh.driver.receipt": ("Receipt", "SharedCommand", "SharedFile"),
    "mesh.driver.results": (
        "Message",
        "Page",
        "Recipient",
        "Renamed",
        "RosterEntry",
        "Status",
    ),
    "mesh.driver.session": ("Session", "join", "open_session"),
    "mesh.driver.start": ("check_start",),
    "mesh.errors": (
        "ConfigError",
        "DeliveryError",
        "DiskFullError",
        "ExpiredError",
        "MeshError",
        "NameInUseError",
        "PeerError",
        "PolicyError",
        "QuotaError",
        "RateLimitError",
        "RefusedError",
        "StoreError",
        "TransportError",
        "UnconfirmedError",
        "UsageError",
        "WeakSecretError",
    ),
    "mesh.model": ("Profile",),
}
_PLACES: Final = {name: place for place, names in _EXPORTS.items() for name in names}

__all__ = list(_PLACES)


def __getattr__(name: str) -> Any:  # noqa: ANN401 - see __init__.pyi
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_PLACES[name]), name)
    return value


def __dir__() -> Iterable[str]:
    return sorted({*globals(), *_PLACES})
