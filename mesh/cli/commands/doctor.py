"""`mesh doctor`: what works, what is blocked, and what to do about it.

It looks at everything even when the first thing is broken, within six seconds, and disturbs no
session: it reads, binds for an instant, probes multicast in a group of its own, and is a node
without a name for a moment.
"""

import asyncio
import logging
import os
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mesh.cli.command import Command, Exit
from mesh.cli.console import Console
from mesh.cli.doctor.agreement import disagreeing, examine_agreement
from mesh.cli.doctor.finding import Finding, examine, fail, in_time
from mesh.cli.doctor.multicast import examine_multicast
from mesh.cli.doctor.nodes import (
    Asked,
    View,
    ask_nodes,
    examine_known,
    examine_nodes,
    examine_peers,
)
from mesh.cli.doctor.ports import examine_ports
from mesh.cli.doctor.reach import examine_mdns, examine_static, resolve_peers, visit
from mesh.cli.doctor.settings import examine_settings, home_of
from mesh.cli.doctor.state import check_mode, examine_clock, examine_home
from mesh.cli.doctor.versions import examine_limits, examine_versions
from mesh.cli.render import sanitise
from mesh.config import Config
from mesh.net.addresses import tcp_endpoint
from mesh.store.home import Home

# Together below six seconds, however much is broken.
_HOME_S: Final = 0.9
_NODES_S: Final = 1.2
_NETWORK_S: Final = 3.4
_START_S: Final = 2.5


async def _run(options: Namespace, console: Console) -> int:
    path = home_of(dict(os.environ))
    found, config = examine_settings(options)
    with _quiet(is_verbose=options.verbose):
        home_found, home = await _open_home(config, path)
        found += home_found
        can_start = not any(finding.status == "fail" for finding in found)
        asked: list[Asked] = []
        found += await examine("nodes", _nodes(config, path, asked), timeout_s=_NODES_S)
        found += await _examine_rest(config, path, asked, can_start=can_start and home is not None)
    await _show(found, console)
    return Exit.FAILED if any(finding.status == "fail" for finding in found) else Exit.DONE


@contextmanager
def _quiet(*, is_verbose: bool) -> Iterator[None]:
    """Keep warnings out of the log: what they would say is found and said here."""
    if is_verbose:
        yield
        return
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


async def _open_home(config: Config | None, path: Path) -> tuple[list[Finding], Home | None]:
    mesh = "default" if config is None else config.mesh
    try:
        found, home = await in_time(lambda: examine_home(path, mesh), timeout_s=_HOME_S)
    except (OSError, ValueError) as exc:  # A TimeoutError, too.
        text = f"The state directory {path} does not answer: {exc or 'it takes too long'}."
        mend = "See whether its disk is there and its file `lock` is held by a stopped process."
        return [fail("state", text, mend)], None
    if config is not None and home is not None:
        found += check_mode(home, config.mode, is_open_allowed=config.is_open_allowed)
    return found, home


async def _nodes(config: Config | None, path: Path, asked: list[Asked]) -> list[Finding]:
    asked += await ask_nodes(path)
    return examine_nodes(config, asked)


async def _examine_rest(
    config: Config | None, path: Path, asked: Sequence[Asked], *, can_start: bool
) -> list[Finding]:
    """Examine all that takes its time at the same time; the order of the findings is fixed."""
    works = [("multicast", examine_multicast(config))]
    if config is not None:
        own = {a.node.curve for a in asked if a.status and a.status.mode == config.mode}
        works += [
            ("ports", _ports(config, asked)),
            ("mdns", examine_mdns(config, own)),
            ("peers", _peers(config, asked, can_start=can_start)),
        ]
    works += [("clock", _clock(path)), ("versions", _versions())]
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(examine(check, work, timeout_s=_NETWORK_S)) for check, work in works
        ]
    return [finding for task in tasks for finding in task.result()]


async def _ports(config: Config, asked: Sequence[Asked]) -> list[Finding]:
    pids = {each.node.pid for each in asked}
    return await in_time(lambda: examine_ports(config, pids), timeout_s=_NETWORK_S)


async def _peers(config: Config, asked: Sequence[Asked], *, can_start: bool) -> list[Finding]:
    addresses = await resolve_peers(config)
    views: list[View] = []
    async with asyncio.TaskGroup() as group:
        dials = group.create_task(examine_static(addresses))
        if can_start:
            visiting = visit(config, addresses, views)
            started = group.create_task(examine("start", visiting, timeout_s=_START_S))
    found = dials.result()
    if can_start:
        found += started.result()
    apart = disagreeing(config, views[0] if views else None, asked)
    views += [View(a.status, a.roster, a.reached) for a in asked if a.status and a not in apart]
    views = [view for view in views if view.is_of(config)]
    if not views:
        return found
    found += examine_agreement(config, views, asked, apart=apart)
    said = {endpoint for each in asked for endpoint in each.node.endpoints}
    said |= {tcp_endpoint(*address) for found in addresses.values() for address in found}
    return [*found, *examine_known(views, said=said), *examine_peers(views)]


async def _clock(path: Path) -> list[Finding]:
    return await in_time(lambda: examine_clock(path), timeout_s=_NETWORK_S)


async def _versions() -> list[Finding]:
    return [*examine_versions(), *examine_limits()]


async def _show(found: Sequence[Finding], console: Console) -> None:
    width = max(len(finding.check) for finding in found)
    for finding in found:
        lines = [f"{finding.status:<4}  {finding.check:<{width}}  {sanitise(finding.finding)}"]
        if finding.mend:
            lines.append(f"{'':<{width + 8}}-> {sanitise(finding.mend)}")
        await console.show(finding.to_json(), "\n".join(lines))
    failed = sum(finding.status == "fail" for finding in found)
    warned = sum(finding.status == "warn" for finding in found)
    await console.note(f"{len(found)} findings: {failed} failed, {warned} to look at.")


COMMAND = Command(
    name="doctor",
    summary="Say what works and what is blocked, each with the mend; 1 if something fails.",
    example="mesh doctor\nmesh doctor --json",
    run=_run,
)
