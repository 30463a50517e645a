"""How long to wait before trying again."""

from collections.abc import Callable, Collection

from mesh import limits

Random = Callable[[], float]
"""Uniform in [0, 1); the only source of chance in the core."""


def jittered(delay_s: float, random: Random) -> float:
    """Spread `delay_s` by a fifth to either side, so that peers do not move in step."""
    return delay_s * (0.8 + 0.4 * random())


def dial_pause_s(failures: int, *, failing_s: float) -> float:
    """Return the pause after `failures` rounds in a row (1 or more) over `failing_s` seconds.

    It doubles, but stays below a tenth of the time the peer has been out of reach: a partition of
    a minute is noticed to have healed within seconds, while a peer long dead costs next to nothing.
    """
    # Rounds may have been few for want of a turn; the time counts as well.
    doubled = max(rejected_pause_s(failures), failing_s / 2)
    patient = max(limits.lost_backoff_s_min, failing_s * limits.lost_backoff_fraction)
    return min(doubled, patient, limits.dial_backoff_s_max)


def rejected_pause_s(failures: int) -> float:
    """Return the pause after `failures` rounds with a peer that is there and refuses our key."""
    return min(limits.dial_backoff_s_min * 2.0 ** min(failures - 1, 16), limits.dial_backoff_s_max)


def in_turn_s(pause_s: float, pauses_s: Collection[float], random: Random) -> float:
    """Return how long one of those who pause for `pauses_s` really pauses, jittered.

    Together they are redialled a few times a second, however many they are: each waits longer in
    proportion, so that those lost lately stay ahead of the long dead.
    """
    most_per_s = limits.redials_per_s_max
    wanted_per_s = sum(min(1 / pause, most_per_s) for pause in pauses_s)
    crowding = max(1.0, wanted_per_s / most_per_s)
    return jittered(min(pause_s * crowding, limits.dial_backoff_s_max), random)
