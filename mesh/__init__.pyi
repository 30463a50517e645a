"""The types of what `mesh` exports; `__init__.py` loads each when it is first used."""

from mesh.config import Config
from mesh.driver.agent import Agent
from mesh.driver.receipt import Receipt, SharedCommand, SharedFile
from mesh.driver.results import Message, Page, Recipient, Renamed, RosterEntry, Status
from mesh.driver.session import Session, join, open_session
from mesh.driver.start import check_start
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
