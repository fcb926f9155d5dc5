"""The network of sandboxes on this machine: one of its own each, and what leads out of it.

A sandbox's daemon listens at a socket that was made outside, so the control plane reaches it as
before; its dev server, its ports and its Unix sockets are in a network that nobody else sees. Out
of it lead, by the agent's policy, slirp4netns (all that is not refused), a proxy that judges and
logs each connection, or nothing; and the ports of this machine's loopback that the operator names.
docs/decisions/0021-networks-of-sandboxes.md says why it is so.
"""

import asyncio
import contextlib
import ipaddress
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Literal, Self
from urllib.parse import urlsplit

from limpet.errors import InvalidInputError, RunnerError
from limpet.runners import netns_visit
from limpet.runners.egress import Address, EgressPolicy, HostRule, Network, Refusals
from limpet.runners.egress_proxy import EgressLog, EgressProxy, Upstream, relay_to

NetworkWish = Literal["auto", "own", "shared"]

PROXY_PORT: Final = 61080
"""On the sandbox's loopback; above the ports that the kernel gives to clients."""
SLIRP_NETWORK: Final = "198.18.73.0/24"
"""Of the range that RFC 2544 sets aside, so that it is hardly anybody's own."""
SLIRP_RESOLVER: Final = "198.18.73.3"
VISIT_WITHIN_S: Final = 20.0
_NO_PROXY: Final = "localhost,127.0.0.1,::1"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """What the operator says of sandboxes' networks.

    `denied`: networks that no sandbox reaches, beside those that none ever does. `host_ports`:
    ports of this machine's loopback that sandboxes find at the same port of theirs.
    """

    wish: NetworkWish = "auto"
    denied: tuple[Network, ...] = ()
    host_ports: tuple[int, ...] = ()


def ports_of(text: str) -> tuple[int, ...]:
    """`5432, 8443` as ports. Raises `InvalidInputError`."""
    found: list[int] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        if not part.isascii() or not part.isdigit() or not 1 <= int(part) <= 65535:
            raise InvalidInputError(f"{part[:80]!r} is no port")
        if int(part) == PROXY_PORT:
            raise InvalidInputError(f"{PROXY_PORT} is the port of the sandboxes' own proxy")
        found.append(int(part))
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class Joined:
    """A sandbox's network seen from outside: sockets that listen in it."""

    proxy: socket.socket | None
    host_ports: Mapping[int, socket.socket]

    def close(self) -> None:
        """Close the sockets that nothing serves."""
        for listener in filter(None, (self.proxy, *self.host_ports.values())):
            listener.close()


@dataclass(frozen=True, slots=True)
class OwnNetworks:
    """Gives each sandbox a network of its own. `slirp` None: only the proxy leads out."""

    settings: NetworkSettings
    slirp: str | None
    environ: Mapping[str, str] = field(repr=False)
    registries: Callable[[], Sequence[HostRule]]

    @classmethod
    def here(
        cls,
        settings: NetworkSettings,
        environ: Mapping[str, str],
        registries: Callable[[], Sequence[HostRule]],
    ) -> Self:
        """With what is installed on this machine."""
        slirp = shutil.which("slirp4netns", path=environ.get("PATH", os.defpath))
        if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
            slirp = None
        return cls(settings, slirp, environ, registries)

    @property
    def missing(self) -> tuple[str, ...]:
        """What would be better with more installed, a line each."""
        if self.slirp is not None:
            return ()
        return (
            "a way out for what knows no proxy: slirp4netns or /dev/net/tun is missing,"
            " so that sandboxes reach the network through http_proxy alone",
        )

    def routed(self, policy: EgressPolicy) -> bool:
        """Whether such a sandbox has routes out, and not the proxy alone."""
        return policy.mode == "open" and self.slirp is not None

    def variables(self, policy: EgressPolicy) -> dict[str, str]:
        """What programs in the sandbox must be told. Empty values take a variable away."""
        upstream = _loopback_upstream(self.environ)
        if self.routed(policy) and upstream is None:
            return {}
        gone = dict.fromkeys(("all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"), "")
        names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "YARN_HTTP_PROXY",
                 "YARN_HTTPS_PROXY", "npm_config_proxy", "npm_config_https_proxy")  # fmt: skip
        if not self._proxied(policy):
            return gone | dict.fromkeys(names, "")
        url = f"http://127.0.0.1:{PROXY_PORT}"
        told = dict.fromkeys(names, url)
        return gone | told | {
            "no_proxy": _NO_PROXY, "NO_PROXY": _NO_PROXY, "NODE_USE_ENV_PROXY": "1",
        }  # fmt: skip

    def resolv_conf(self, policy: EgressPolicy) -> str:
        """The sandbox's `/etc/resolv.conf`."""
        if self.routed(policy):
            return f"nameserver {SLIRP_RESOLVER}\n"
        return "# Names are resolved by the proxy that http_proxy names.\n"

    def attach(self, name: str, init_pid: int, policy: EgressPolicy, exit_fd: int) -> Joined:
        """Furnish the network of a sandbox that waits to begin; process lists show its `name`.

        `exit_fd` is the end of a pipe whose other end the sandbox holds for as long as it lives.
        Blocks for some 50 ms. Raises `RunnerError`.
        """
        owner, network, joined = self._visit(init_pid, policy)
        try:
            if self.routed(policy):
                assert self.slirp is not None
                _start_slirp(self.slirp, name, owner, network, exit_fd)
        except BaseException:
            joined.close()
            raise
        finally:
            os.close(owner)
            os.close(network)
        return joined

    def rejoin(self, init_pid: int, policy: EgressPolicy) -> Joined:
        """Sockets again for a sandbox that an earlier control plane started. Blocks."""
        owner, network, joined = self._visit(init_pid, policy)
        os.close(owner)
        os.close(network)
        return joined

    def refusals(self) -> Refusals:
        """What no sandbox reaches, by this machine's addresses as they are now."""
        return Refusals(frozenset(own_addresses()), self.settings.denied)

    def _proxied(self, policy: EgressPolicy) -> bool:
        if policy.mode == "closed":
            return False
        return not self.routed(policy) or _loopback_upstream(self.environ) is not None

    def _host_ports(self, policy: EgressPolicy) -> tuple[int, ...]:
        return () if policy.mode == "closed" else self.settings.host_ports

    def _visit(self, init_pid: int, policy: EgressPolicy) -> tuple[int, int, Joined]:
        ports = [*self._host_ports(policy), *([PROXY_PORT] if self._proxied(policy) else [])]
        wanted: dict[str, object] = {
            "pid": init_pid,
            "prohibited": [str(network) for network in self.refusals().networks],
            "ports": ports,
        }
        owner, network, *rest = visit(wanted)
        listeners = dict(zip(ports, (socket.socket(fileno=fd) for fd in rest), strict=True))
        return owner, network, Joined(listeners.pop(PROXY_PORT, None), listeners)


class Serving:
    """What is served to one sandbox from outside: its proxy, and the operator's host ports."""

    def __init__(self) -> None:
        self._open = contextlib.AsyncExitStack()

    async def begin(
        self, joined: Joined, networks: OwnNetworks, policy: EgressPolicy, log: Path
    ) -> None:
        """Serve the sockets until `close`."""
        if joined.proxy is not None:
            proxy = EgressProxy(
                policy,
                networks.refusals(),
                EgressLog(log),
                registries=networks.registries,
                upstream=_upstream(networks.environ),
            )
            await self._open.enter_async_context(proxy.serving(joined.proxy))
        for port, listener in joined.host_ports.items():
            server = await asyncio.start_server(partial(relay_to, "127.0.0.1", port), sock=listener)
            self._open.callback(server.close)

    async def close(self) -> None:
        """End every connection."""
        await self._open.aclose()


def visit(wanted: Mapping[str, object]) -> list[int]:
    """Descriptors from a sandbox's network: its owner, itself, then one for each of the `ports`.

    See `limpet.runners.netns_visit`. Blocks. Raises `RunnerError`.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", netns_visit.__file__],
                input=json.dumps({**wanted, "answer_fd": theirs.fileno()}).encode(),
                pass_fds=[theirs.fileno()],
                capture_output=True,
                timeout=VISIT_WITHIN_S,
                check=False,
                env={},
            )
            theirs.close()
            said, descriptors, _, _ = socket.recv_fds(ours, 65536, 253)
            answer = json.loads(said or b"{}")
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            raise RunnerError(f"The sandbox's network cannot be made ready: {error}") from error
    if not answer.get("ok"):
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        why = answer.get("why") or (lines[-1] if lines else f"exit {done.returncode}")
        raise RunnerError(f"The sandbox's network cannot be made ready: {why}")
    return descriptors


def own_addresses() -> Iterable[Address]:
    """This machine's addresses, loopback ones left out. Linux alone tells them; else none."""
    with contextlib.suppress(OSError):
        yield from _own_ipv4(Path("/proc/net/fib_trie").read_text())
    with contextlib.suppress(OSError):
        for line in Path("/proc/net/if_inet6").read_text().splitlines():
            address = ipaddress.IPv6Address(bytes.fromhex(line.split()[0]))
            if not address.is_loopback and not address.is_link_local:
                yield address


def _own_ipv4(fib_trie: str) -> Iterable[Address]:
    """The leaves of the routing table that are marked as local hosts."""
    leaf = ""
    for line in fib_trie.splitlines():
        words = line.split()
        if words[:1] == ["|--"]:
            leaf = words[1]
        elif words[:3] == ["/32", "host", "LOCAL"]:
            address = ipaddress.IPv4Address(leaf)
            if not address.is_loopback:
                yield address


def _start_slirp(program: str, name: str, owner: int, network: int, exit_fd: int) -> None:
    """Start slirp4netns, which ends with the sandbox. Raises `RunnerError`."""
    ready, told = os.pipe()
    try:
        try:
            # Not waited for: it ends when the sandbox does, under whichever control plane.
            slirp = subprocess.Popen(
                [f"slirp4netns of {name}", "--configure", "--mtu=65520", f"--cidr={SLIRP_NETWORK}",
                 "--disable-host-loopback", "--enable-sandbox", "--enable-seccomp",
                 f"--ready-fd={told}", f"--exit-fd={exit_fd}",
                 f"--userns-path=/proc/self/fd/{owner}", "--netns-type=path",
                 f"/proc/self/fd/{network}", "tap0"],
                executable=program,
                pass_fds=[owner, network, told, exit_fd],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                start_new_session=True, env={},
            )  # fmt: skip
        except OSError as error:
            raise RunnerError(f"slirp4netns cannot be started: {error}") from error
        finally:
            os.close(told)
        if os.read(ready, 1) != b"1":
            _, said = slirp.communicate()
            lines = said.decode(errors="replace").strip().splitlines()
            raise RunnerError(
                f"slirp4netns does not work here: {lines[-1] if lines else 'it said nothing'}"
            )
        assert slirp.stderr is not None
        slirp.stderr.close()
        _children.append(slirp)
    finally:
        os.close(ready)


def reap() -> None:
    """Collect what ended with its sandbox."""
    _children[:] = [child for child in _children if child.poll() is None]


_children: list["subprocess.Popen[bytes]"] = []


def _upstream(environ: Mapping[str, str]) -> Upstream | None:
    for name in ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"):
        with contextlib.suppress(ValueError):
            parts = urlsplit(environ.get(name, ""))
            if parts.scheme == "http" and parts.hostname:
                return Upstream(parts.hostname, parts.port or 80)
    return None


def _loopback_upstream(environ: Mapping[str, str]) -> Upstream | None:
    """The operator's proxy if only this machine itself can reach it."""
    upstream = _upstream(environ)
    if upstream is None:
        return None
    try:
        loopback = ipaddress.ip_address(upstream.host).is_loopback
    except ValueError:
        loopback = upstream.host == "localhost"
    return upstream if loopback else None
