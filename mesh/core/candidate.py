"""A node worth dialling, as discovery has described it and earlier attempts have shown it."""

from dataclasses import dataclass, field
from typing import Final

from mesh.core.events import Source
from mesh.model import CurveKey, LinkId, NodeId

HINTS: Final = frozenset({Source.EXCHANGE, Source.REMEMBERED})
"""What members told, now or earlier."""


@dataclass(slots=True)
class Candidate:
    """One node to dial. `id` is its curve key, or the endpoint of a door.

    `attempts` are those under way, and the link that came of one.
    """

    id: bytes
    curve: CurveKey | None
    endpoints: tuple[str, ...]
    source: Source
    node: NodeId | None = None
    attempts: dict[LinkId, str] = field(default_factory=dict)
    next_endpoint: int = 0
    failures: int = 0
    failing_since: float | None = None
    was_rejected: bool = False
    is_linked: bool = False
    is_self: bool = False
    was_met: bool = False

    @property
    def is_local(self) -> bool:
        """Whether the registry of this host answers for it."""
        return self.source is Source.REGISTRY

    @property
    def is_doubtful(self) -> bool:
        """Whether there is reason to believe that nobody will answer."""
        return self.failures > 0 or (self.source in HINTS and not self.was_met)
