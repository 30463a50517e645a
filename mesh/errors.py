"""Every error this package raises, as one tree under `MeshError`.

Each carries a `code`: the word that the contract promises to programs (`name_in_use`, `disk_full`).
"""

from typing import ClassVar


class MeshError(Exception):
    """Base of all errors; `code` is stable, the text is for people."""

    code: ClassVar[str] = "failed"


class ConfigError(MeshError):
    """A setting is wrong; nothing was started."""

    code = "config"


class WeakSecretError(ConfigError):
    """The shared secret is empty, too short or a placeholder."""

    code = "weak_secret"


class UsageError(MeshError):
    """The caller broke the contract: a bad name, a text over its limit."""

    code = "usage"


class PolicyError(UsageError):
    """What was asked for is forbidden by policy, not by form."""

    code = "refused"


class NameInUseError(UsageError):
    """A live process holds the mailbox of that name."""

    code = "name_in_use"


class RateLimitError(UsageError):
    """Allowed again after `retry_after_s` seconds."""

    code = "rate_limited"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QuotaError(UsageError):
    """The outbox or the inbox is full; nothing was accepted."""

    code = "quota"


class PeerError(MeshError):
    """A peer sent invalid bytes; the envelope is dropped and counted."""

    code = "peer"


class OversizeError(PeerError):
    """Larger than the protocol allows."""


class SignatureError(PeerError):
    """Not sealed or signed by the key it claims."""


class MalformedError(PeerError):
    """Authenticated, but not in the form the protocol prescribes."""


class StoreError(MeshError):
    """The disk refused, or what it holds cannot be used."""

    code = "storage"


class DiskFullError(StoreError):
    """No space is left; nothing was accepted."""

    code = "disk_full"


class CorruptError(StoreError):
    """A database failed its checks."""


class SchemaError(StoreError):
    """The database was written by a newer version."""


class TransportError(MeshError):
    """Cannot bind or cannot reach."""

    code = "transport"


class DeliveryError(MeshError):
    """A message ended without being delivered."""

    code = "delivery"


class ExpiredError(DeliveryError):
    """Its deadline passed without an answer."""

    code = "expired"


class RefusedError(DeliveryError):
    """The recipient signed a refusal: it is certainly not in the inbox."""

    code = "refused"


class UnconfirmedError(DeliveryError):
    """It may have been accepted; look it up by `message_id` (hex)."""

    code = "unknown"

    def __init__(self, message: str, *, message_id: str) -> None:
        super().__init__(message)
        self.message_id = message_id
