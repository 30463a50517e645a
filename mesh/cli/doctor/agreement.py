"""Examines whether peers and we hold the same secret, from what nodes report as their problems."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from mesh.cli.doctor.finding import Finding, ok, warn
from mesh.cli.doctor.nodes import Asked, View
from mesh.cli.render import one_line
from mesh.config import Config

_REFUSES: Final = re.compile(r"(\S+) refuses our secret")
_REFUSED: Final = re.compile(r"(\S+) was refused \d+ times")
_CLOCK: Final = re.compile(r"The clock of ")
_SHOWN_MAX: Final = 12
_HERE: Final = ("local", "127.0.0.1", "::1", "unknown")
_AGREE: Final = (
    "Give both the same secret (`mesh secret new` once, then copy the file) and IPC_MESH; "
    "another team's machines can be ignored."
)


def disagreeing(config: Config, own: View | None, asked: Sequence[Asked]) -> list[Asked]:
    """Return the nodes of this host that should be in our mesh but refuse the node we were."""
    if own is None:
        return []
    refusing = {found[1] for p in own.status.problems if (found := _REFUSES.match(p))}
    return [
        each
        for each in asked
        if each.status is not None
        and View(each.status, ()).is_of(config)
        and refusing & set(each.node.endpoints)
    ]


def examine_agreement(
    config: Config, views: Iterable[View], asked: Sequence[Asked], *, apart: Sequence[Asked]
) -> list[Finding]:
    """Name those who refuse our secret, and whom we refuse, by address; each once.

    `views` are those of nodes that hold our secret, `apart` the nodes of this host that do not.
    """
    refusing: dict[str, None] = {}
    refused: dict[str, None] = {}
    others: dict[str, None] = {}
    clocks: list[str] = []
    for problem in _problems(config, views):
        if found := _REFUSES.match(problem):
            refusing[found[1]] = None
        elif found := _REFUSED.match(problem):
            refused[found[1]] = None
        elif _CLOCK.match(problem):
            clocks.append(problem)
        else:
            others[problem] = None
    findings = [_apart(each) for each in apart]
    far = [e.removeprefix("tcp://") for e in refusing if not _is_here(e, asked)]
    if far:
        text = f"Our secret (or mesh) is refused by {_list(far)}."
        findings.append(warn("agreement", text, _AGREE))
    if strangers := _strangers(config, refused, asked, apart):
        text = f"We refused {_list(strangers)}: another secret or mesh."
        findings.append(warn("agreement", text, _AGREE))
    mend = "Run the same version of claude-ipc-mesh on all machines if it names versions."
    findings += [
        warn("agreement", f"{one_line(problem, 300).removesuffix('.')}.", mend)
        for problem in list(others)[:_SHOWN_MAX]
    ]
    if not findings and config.mode == "secret":
        findings.append(ok("agreement", "No peer refuses our secret, and we refused none."))
    mend = "Let both clocks be set by the network (NTP): mail shows the wrong time, nothing more."
    return findings + [warn("clock", f"{one_line(text, 200)}.", mend) for text in clocks]


def _problems(config: Config, views: Iterable[View]) -> dict[str, None]:
    found: dict[str, None] = {}
    for view in views:
        found |= dict.fromkeys(view.status.problems)
    return {problem: None for problem in found if problem not in config.warnings}


def _apart(asked: Asked) -> Finding:
    names = ", ".join(map(one_line, asked.node.names)) or "no mailbox"
    text = f"Process {asked.node.pid} ({names}) of this host holds another secret than this shell."
    return warn("agreement", text, "Start it again, so that it reads the secret used now.")


def _strangers(
    config: Config, refused: Iterable[str], asked: Sequence[Asked], apart: Sequence[Asked]
) -> list[str]:
    """Return whom we refused; sessions of this host that are named already are left out."""
    has_named = bool(apart) or any(
        each.status is not None and not View(each.status, ()).is_of(config) for each in asked
    )
    near = "another session of this machine"
    names = [near if address in _HERE else address for address in refused]
    return [name for name in names if name != near or not has_named]


def _is_here(endpoint: str, asked: Sequence[Asked]) -> bool:
    """Whether it belongs to a node of this host, perhaps one that has ended."""
    return endpoint.startswith("ipc://") or any(endpoint in each.node.endpoints for each in asked)


def _list(addresses: Iterable[str]) -> str:
    names = list(dict.fromkeys(one_line(address) for address in addresses))
    more = f" and {len(names) - _SHOWN_MAX} more" if len(names) > _SHOWN_MAX else ""
    return ", ".join(names[:_SHOWN_MAX]) + more
