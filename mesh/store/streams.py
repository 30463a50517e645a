"""How an incoming stream changes; both stores apply these rules, so they remember the same."""

from mesh import limits
from mesh.core.snapshot import RefusedRange, StreamIn
from mesh.model import Why

EMPTY = StreamIn(watermark=0)


def with_received(stream: StreamIn, sequence: int, skipped_from: int) -> StreamIn:
    """Return the stream after a letter was put; skipped sequences before it count as refused."""
    assert sequence > stream.watermark, "a letter may be put only once"
    if skipped_from and skipped_from < sequence:
        stream = with_refused(stream, RefusedRange(skipped_from, sequence - 1, Why.SKIPPED))
    return StreamIn(sequence, stream.refused, stream.known_from)


def with_refused(stream: StreamIn, new: RefusedRange) -> StreamIn:
    """Return the stream after a range was refused; over the bound, the oldest are forgotten."""
    ranges = stream.refused
    if ranges and ranges[-1].why is new.why and ranges[-1].last + 1 == new.first:
        ranges = (*ranges[:-1], RefusedRange(ranges[-1].first, new.last, new.why))
    else:
        ranges = (*ranges, new)
    known_from = stream.known_from
    if len(ranges) > limits.refused_ranges_max:
        known_from = ranges[-limits.refused_ranges_max - 1].last + 1
        ranges = ranges[-limits.refused_ranges_max :]
    return StreamIn(max(stream.watermark, new.last), ranges, known_from)
