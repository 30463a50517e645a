"""The links that peers opened, by their negative numbers, over all listening sockets."""

from collections.abc import Iterator
from typing import Generic, TypeVar

from mesh import limits
from mesh.model import LinkId

L = TypeVar("L")


class LinkTable(Generic[L]):
    """Hands out numbers that are never used again and holds at most `limits.links_max` links."""

    def __init__(self) -> None:
        self._links: dict[LinkId, L] = {}
        self._last = 0

    def __iter__(self) -> Iterator[L]:
        return iter(tuple(self._links.values()))

    def next_link(self) -> LinkId | None:
        """Return a fresh number, or None when the table is full."""
        if len(self._links) >= limits.links_max:
            return None
        self._last -= 1
        return LinkId(self._last)

    def get(self, link: LinkId) -> L | None:
        return self._links.get(link)

    def put(self, link: LinkId, inbound: L) -> None:
        self._links[link] = inbound

    def drop(self, link: LinkId) -> None:
        self._links.pop(link, None)
