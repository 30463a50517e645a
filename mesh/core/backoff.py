"""How long to wait before trying again."""

from collections.abc import Callable

from mesh import limits

Random = Callable[[], float]
"""Uniform in [0, 1); the only source of chance in the core."""


def jittered(delay_s: float, random: Random) -> float:
    """Spread `delay_s` by a fifth to either side, so that peers do not move in step."""
    return delay_s * (0.8 + 0.4 * random())


def dial_delay_s(failures: int, *, failing_s: float, failing: int, random: Random) -> float:
    """Return the pause after `failures` rounds in a row (1 or more) over `failing_s` seconds.

    It doubles, but stays below a tenth of the time the peer has been out of reach: a partition of
    a minute is noticed to have healed within seconds, while a peer long dead costs next to nothing.
    `failing` peers out of reach take turns, so that a thousand cost no more than a few.
    """
    doubled = limits.dial_backoff_s_min * 2.0 ** min(failures - 1, 16)
    patient = max(limits.lost_backoff_s_min, failing_s * limits.lost_backoff_fraction)
    in_turn = failing * limits.redial_spacing_s
    return jittered(min(max(min(doubled, patient), in_turn), limits.dial_backoff_s_max), random)
