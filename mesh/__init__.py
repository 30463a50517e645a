"""A brokerless mesh through which AI coding sessions talk to each other.

    import mesh

    async with mesh.join("alice") as alice:
        receipt = await alice.send("bob", "hello", data={"k": 1})
        await receipt.wait("delivered", timeout_s=5)
        async for message in alice.messages():
            ...

What is exported here is the whole public interface; everything else may change.
"""

from mesh.config import Config
from mesh.driver.agent import Agent
from mesh.driver.node import check_start
from mesh.driver.receipt import Receipt, SharedCommand, SharedFile
from mesh.driver.results import Message, Page, Recipient, Renamed, RosterEntry, Status
from mesh.driver.session import Session, join, open_session
from mesh.errors import (
    ConfigError,
    DeliveryError,
    DiskFullError,
    ExpiredError,
    MeshError,
    NameInUseError,
    PeerError,
    PolicyError,
    QuotaError,
    RateLimitError,
    RefusedError,
    StoreError,
    TransportError,
    UnconfirmedError,
    UsageError,
    WeakSecretError,
)
from mesh.model import Profile

__all__ = [
    "Agent",
    "Config",
    "ConfigError",
    "DeliveryError",
    "DiskFullError",
    "ExpiredError",
    "MeshError",
    "Message",
    "NameInUseError",
    "Page",
    "PeerError",
    "PolicyError",
    "Profile",
    "QuotaError",
    "RateLimitError",
    "Receipt",
    "Recipient",
    "RefusedError",
    "Renamed",
    "RosterEntry",
    "Session",
    "SharedCommand",
    "SharedFile",
    "Status",
    "StoreError",
    "TransportError",
    "UnconfirmedError",
    "UsageError",
    "WeakSecretError",
    "check_start",
    "join",
    "open_session",
]
