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
    """Bridges with a port for each interface of each machine."""

    def __init__(self) -> None:
        self.id = secrets.token_hex(3)
        self.switch = f"mt{self.id}-sw"
        self._spaces: list[str] = []

    def open(self) -> None:
        self._add_space(self.switch)
        self.add_network("br0")

    def add_network(self, bridge: str) -> None:
        """Make another network, joined to the first one by nothing but machines in both."""
        options = ["stp_state", "0", "forward_delay", "0", "mcast_snooping", "0"]
        self._at(self.switch, "ip", "link", "add", bridge, "type", "bridge", *options)
        self._at(self.switch, "ip", "link", "set", bridge, "up")

    def add_machine(self, name: str) -> None:
        """Set up a machine that is not plugged in anywhere."""
        self._add_space(self._space(name))
        self._at(self._space(name), "ip", "link", "set", "lo", "up")

    def add(
        self,
        name: str,
        *,
        ipv4: str | None,
        ipv6: str | None = None,
        interface: str = "eth0",
        bridge: str = "br0",
        bits: int = 24,
    ) -> None:
        """Plug a machine in, a new one or by one more interface. `ipv6` may be `link`."""
        space = self._space(name)
        if space not in self._spaces:
            self.add_machine(name)
        port = f"{interface}-{name}"
        ends = ["netns", space, "type", "veth", "peer", "name", port, "netns", self.switch]
        run("ip", "link", "add", interface, *ends)
        self._at(self.switch, "ip", "link", "set", "dev", port, "master", bridge, "up")
        if ipv6 is None:
            self._at(space, "sysctl", "-qw", f"net.ipv6.conf.{interface}.disable_ipv6=1")
        if ipv4 is not None:
            self._at(space, "ip", "addr", "add", f"{ipv4}/{bits}", "dev", interface)
        self._at(space, "ip", "link", "set", interface, "up")
        if ipv6 and ipv6 != "link":
            self._at(space, "ip", "addr", "add", f"{ipv6}/64", "dev", interface, "nodad")
        if ipv6:
            self._await_link_local(space, interface)

    def add_docker(self, name: str, host: str = "172.17.0.1", interface: str = "docker0") -> None:
        """Give a machine a bridge for its own containers, as many machines have it."""
        space = self._space(name)
        self._at(space, "ip", "link", "add", interface, "type", "bridge")
        self._at(space, "ip", "addr", "add", f"{host}/24", "dev", interface)
        self._at(space, "ip", "link", "set", interface, "up")

    def add_address(self, name: str, host: str, *, interface: str = "eth0", bits: int = 24) -> None:
        """Give a machine one more address."""
        self._at(self._space(name), "ip", "addr", "add", f"{host}/{bits}", "dev", interface)

    def drop_address(self, name: str, host: str, *, interface: str = "eth0") -> None:
        """Take an address away."""
        self._at(self._space(name), "ip", "addr", "del", f"{host}/24", "dev", interface)

    def set_link(self, name: str, state: str, *, interface: str = "eth0") -> None:
        """Switch an interface `up` or `down`."""
        self._at(self._space(name), "ip", "link", "set", interface, state)

    def set_sysctl(self, name: str, setting: str) -> None:
        """Change a setting of the machine's kernel, `name=value`."""
        self._at(self._space(name), "sysctl", "-qw", setting)

    def add_void(self, name: str, network: str, *, gateway: str = "10.77.0.254") -> None:
        """Let a machine reach a network from which nothing ever answers."""
        space, mac = self._space(name), "02:00:00:00:00:fe"
        self._at(space, "ip", "route", "add", network, "via", gateway, "dev", "eth0")
        neighbour = ["lladdr", mac, "dev", "eth0", "nud", "permanent"]
        self._at(space, "ip", "neigh", "add", gateway, *neighbour)

    def prefix(self, name: str) -> tuple[str, ...]:
        """What to put before a command so that it runs on the machine."""
        return ("ip", "netns", "exec", self._space(name))

    def block_multicast(self, name: str) -> None:
        """Let no multicast out of the switch to that machine."""
        self._at(self.switch, "bridge", "link", "set", "dev", f"eth0-{name}", "mcast_flood", "off")

    def unplug(self, name: str) -> None:
        """Cut a machine off; its own end of the cable stays up."""
        self._at(self.switch, "ip", "link", "set", "dev", f"eth0-{name}", "nomaster")

    def plug(self, name: str) -> None:
        """Mend what `unplug` did."""
        self._at(self.switch, "ip", "link", "set", "dev", f"eth0-{name}", "master", "br0")

    def change_address(self, name: str, old: str, new: str) -> None:
        """Give a machine another address."""
        self.drop_address(name, old)
        self.add_address(name, new)

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

    def _await_link_local(self, space: str, interface: str) -> None:
        """Duplicate address detection of the link-local address takes a second or two."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            shown = self._at(space, "ip", "-6", "addr", "show", "dev", interface, "scope", "link")
            if "inet6" in shown and "tentative" not in shown:
                return
            time.sleep(0.05)
