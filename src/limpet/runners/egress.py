"""Where a sandbox may connect to: an agent's egress policy, and who asks it. Pure.

Some addresses are never given to a sandbox, whatever its policy says: this machine's own, loopback
and link-local ones, and those at which clouds hand out credentials.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Self, get_args

from limpet.errors import InvalidInputError

EgressMode = Literal["open", "listed", "closed"]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_HOSTS: Final = 200
WEB_PORTS: Final = frozenset({80, 443})
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_MAX_NAME: Final = 253

NEVER: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "192.0.0.192/32",
        "100.100.100.200/32",
        "168.63.129.16/32",
        "::/128",
        "::1/128",
        "fe80::/10",
        "fd00:ec2::254/128",
    )
)
"""Loopback, link-local, and the metadata addresses of clouds that lie elsewhere (Oracle, Alibaba,
Azure's wire server, AWS over IPv6)."""


@dataclass(frozen=True, slots=True)
class HostRule:
    """A host that may be reached: exactly `name`, or with `*.` before it all below it.

    `port` None: the web's ports, 80 and 443.
    """

    name: str
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """`example.com`, `*.example.com`, `db.example.com:5432`, `192.0.2.7:8080`, `[2001:db8::1]`.

        Raises `InvalidInputError`.
        """
        said = text.strip().lower()
        name, port = _split_port(said)
        address = _address(name)
        if address is not None:
            name = str(address)
        elif len(name) > _MAX_NAME or not _NAME.fullmatch(name):
            raise InvalidInputError(
                f"{text[:80]!r} is no host that a sandbox could be allowed",
                hint="Write a name, *.name for all below it, or an address; :port after it.",
            )
        return cls(name, port)

    def allows(self, host: str, port: int) -> bool:
        """Whether `host` (lower case, without a final dot) may be reached at `port`."""
        if port != self.port and (self.port is not None or port not in WEB_PORTS):
            return False
        if self.name.startswith("*."):
            return host.endswith(self.name[1:])
        return host == self.name

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.port is None else f"{name}:{self.port}"


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """`open`: everything but what is never given. `listed`: `hosts`, and with `registries` those
    that package managers install from. `closed`: nothing.
    """

    mode: EgressMode = "open"
    hosts: tuple[HostRule, ...] = ()
    registries: bool = True

    @classmethod
    def of(cls, mode: EgressMode, hosts: Iterable[str] = (), *, registries: bool = True) -> Self:
        """The policy with its hosts parsed; `InvalidInputError` names the one that is wrong."""
        rules = tuple(dict.fromkeys(HostRule.parse(host) for host in hosts))
        if len(rules) > MAX_HOSTS:
            raise InvalidInputError(f"An agent may list {MAX_HOSTS} hosts, and this is more")
        return cls(mode, rules, registries)

    def as_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        hosts = [str(rule) for rule in self.hosts]
        return {"mode": self.mode, "hosts": hosts, "registries": self.registries}

    @classmethod
    def from_dict(cls, value: Mapping[str, object]) -> Self:
        """The policy whose `as_dict` gave `value`; what is not sound is a closed one."""
        modes: dict[object, EgressMode] = {mode: mode for mode in get_args(EgressMode)}
        mode, hosts = modes.get(value.get("mode")), value.get("hosts")
        if mode is None or not isinstance(hosts, list):
            return cls("closed")
        rules = tuple(HostRule.parse(str(host)) for host in hosts)
        return cls(mode, rules, bool(value.get("registries")))

    def with_hosts(self, more: Iterable[HostRule]) -> "EgressPolicy":
        """The same policy with further hosts."""
        return EgressPolicy(self.mode, (*self.hosts, *more), self.registries)

    def allows(self, host: str, port: int, registries: Iterable[HostRule] = ()) -> bool:
        """Whether a connection to `host` at `port` may be tried."""
        if self.mode == "open":
            return True
        if self.mode == "closed":
            return False
        host = host.lower().rstrip(".")
        rules = (*self.hosts, *registries) if self.registries else self.hosts
        return any(rule.allows(host, port) for rule in rules)


@dataclass(frozen=True, slots=True)
class Refusals:
    """Addresses that no sandbox reaches: `NEVER`, this machine's own, and the operator's list."""

    own: frozenset[Address] = frozenset()
    denied: tuple[Network, ...] = field(default=())

    def why(self, address: Address) -> str | None:
        """Why the address is refused, in words; None when it is not."""
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if address in self.own:
            return "it is this machine's own address"
        if any(address in network for network in NEVER):
            return "loopback, link-local and metadata addresses are never given to sandboxes"
        if any(address in network for network in self.denied):
            return "the operator denies this network to sandboxes"
        return None

    @property
    def networks(self) -> tuple[Network, ...]:
        """All of it as networks, for routes that lead nowhere. Loopback is not among them."""
        own = [ipaddress.ip_network(address) for address in self.own]
        routed = [one for one in NEVER if not one.is_loopback and not _unroutable(one)]
        return (*routed, *own, *self.denied)


def networks_of(text: str) -> tuple[Network, ...]:
    """`10.0.0.0/8, 2001:db8::/32` as networks. Raises `InvalidInputError`."""
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            found.append(ipaddress.ip_network(part, strict=False))
        except ValueError:
            raise InvalidInputError(f"{part[:80]!r} is no address or network") from None
    return tuple(found)


def _unroutable(network: Network) -> bool:
    """What needs no route to nowhere: it never leaves, or the link itself needs it (fe80::/10)."""
    return network.network_address.is_unspecified or network == ipaddress.ip_network("fe80::/10")


def _split_port(text: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"\[([^\]]*)\](?::(\d{1,5}))?", text)
    if match is None and text.count(":") == 1:
        match = re.fullmatch(r"([^:]*):(\d{1,5})", text)
    if match is None:
        return text, None
    port = None if match[2] is None else int(match[2])
    if port is not None and not 1 <= port <= 65535:
        raise InvalidInputError(f"{port} is no port")
    return match[1], port


def _address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
