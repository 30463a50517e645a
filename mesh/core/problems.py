"""Addresses that cannot be linked to until a person mends something."""

from mesh import limits
from mesh.core.effects import EffectsDraft, Notice, Severity
from mesh.core.link import Link


def add_problem(problems: dict[str, str], link: Link, text: str, out: EffectsDraft) -> None:
    """Remember what a dialled link ended of; at the bound nothing is added."""
    is_known = link.target in problems or len(problems) >= limits.problems_max
    if link.is_dialled and not is_known:
        problems[link.target] = text
        out.notices.append(Notice(Severity.WARNING, f"{link.target} {text}"))
