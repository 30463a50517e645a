"""Machines on a switch: network namespaces joined by a bridge in a namespace of its own.

Nothing outside the namespaces made here is touched; all have unique names and are always removed.
"""

import secrets
import subprocess
import time


class NotPermittedError(Exception):
    """This user may not make network namespaces here."""


def run(*command: str) -> str:
    """Run a command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    if done.returncode != 0:
        raise NotPermittedError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


class Switch:
    """A bridge with a port for each machine."""

    def __init__(self) -> None:
        self.id = secrets.token_hex(3)
        self.switch = f"mt{self.id}-sw"
        self._spaces: list[str] = []

    def open(self) -> None:
        self._add_space(self.switch)
        self._at(
            self.switch,
            "ip",
            "link",
            "add",
            "br0",
            "type",
            "bridge",
            "stp_state",
            "0",
            "forward_delay",
            "0",
            "mcast_snooping",
            "0",
        )
        self._at(self.switch, "ip", "link", "set", "br0", "up")

    def add(self, name: str, *, ipv4: str | None, ipv6: str | None = None) -> None:
        """Plug in a machine."""
        space = self._space(name)
        self._add_space(space)
        self._at(space, "ip", "link", "set", "lo", "up")
        run(
            "ip",
            "link",
            "add",
            "eth0",
            "netns",
            space,
            "type",
            "veth",
            "peer",
            "name",
            f"port-{name}",
            "netns",
            self.switch,
        )
        self._at(self.switch, "ip", "link", "set", "dev", f"port-{name}", "master", "br0", "up")
        if ipv6 is None:
            self._at(space, "sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=1")
        if ipv4 is not None:
            self._at(space, "ip", "addr", "add", f"{ipv4}/24", "dev", "eth0")
        self._at(space, "ip", "link", "set", "eth0", "up")
        if ipv6:
            self._at(space, "ip", "addr", "add", f"{ipv6}/64", "dev", "eth0", "nodad")
            self._await_link_local(space)

    def prefix(self, name: str) -> tuple[str, ...]:
        """What to put before a command so that it runs on the machine."""
        return ("ip", "netns", "exec", self._space(name))

    def block_multicast(self, name: str) -> None:
        """Let no multicast out of the switch to that machine."""
        self._at(self.switch, "bridge", "link", "set", "dev", f"port-{name}", "mcast_flood", "off")

    def unplug(self, name: str) -> None:
        """Cut a machine off; its own end of the cable stays up."""
        self._at(self.switch, "ip", "link", "set", "dev", f"port-{name}", "nomaster")

    def plug(self, name: str) -> None:
        """Mend what `unplug` did."""
        self._at(self.switch, "ip", "link", "set", "dev", f"port-{name}", "master", "br0")

    def change_address(self, name: str, old: str, new: str) -> None:
        """Give a machine another address."""
        self._at(self._space(name), "ip", "addr", "del", f"{old}/24", "dev", "eth0")
        self._at(self._space(name), "ip", "addr", "add", f"{new}/24", "dev", "eth0")

    def close(self) -> None:
        for space in reversed(self._spaces):
            subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)

    def _space(self, name: str) -> str:
        return f"mt{self.id}-{name}"

    def _add_space(self, space: str) -> None:
        run("ip", "netns", "add", space)
        self._spaces.append(space)

    def _at(self, space: str, *command: str) -> str:
        return run("ip", "netns", "exec", space, *command)

    def _await_link_local(self, space: str) -> None:
        """Duplicate address detection of the link-local address takes a second or two."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            shown = self._at(space, "ip", "-6", "addr", "show", "dev", "eth0", "scope", "link")
            if "inet6" in shown and "tentative" not in shown:
                return
            time.sleep(0.05)
