"""The only way from a pictured page to any network: a proxy of its picture's own.

The page's preview is served by the control plane itself, over a socket in the file system. All else
goes by the agent's egress policy, and to public addresses alone: not to this machine, nor to what
it has around it, nor to addresses at which clouds hand out credentials.
"""

import ipaddress
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from limpet.control.preview_address import Site
from limpet.runners.egress import Address, EgressPolicy, Network, Refusals
from limpet.runners.egress_proxy import EgressProxy, Target
from limpet.runners.network import own_addresses

_TRANSLATED: Final = tuple(
    ipaddress.IPv6Network(network)
    for network in ("64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16")
)
"""IPv6 addresses that stand for IPv4 ones, private ones too (RFC 6052, 8215, 4380, 3056)."""


@dataclass(frozen=True, slots=True)
class PublicOnly(Refusals):
    """Refuses whatever is no public address, beside what is never given to a sandbox."""

    def why(self, address: Address) -> str | None:
        """Why the address is refused, in words; None when it is not."""
        if isinstance(address, ipaddress.IPv6Address):
            if address.ipv4_mapped is not None:
                address = address.ipv4_mapped
            elif any(address in network for network in _TRANSLATED):
                return "pages that are pictured reach no translated addresses"
        if not address.is_global or address.is_multicast or address.is_reserved:
            return "pages that are pictured reach public addresses alone"
        return Refusals.why(self, address)


@dataclass(frozen=True, slots=True)
class Own:
    """The hosts that are the preview's own, and the socket at which they are served."""

    handle: str
    site: Site
    served_at: Path

    @property
    def url(self) -> str:
        """The address of the sandbox's app."""
        return self.site.url(self.handle)

    def includes(self, host: str, port: int) -> bool:
        """Whether it is the preview's host, or that of another of its ports."""
        label, _, domain = host.partition(".")
        handle, dashes, own_port = label.rpartition("--")
        ours = label == self.handle or bool(
            dashes and handle == self.handle and own_port.isdecimal()
        )
        return ours and (domain, port) == (self.site.domain, self.site.port)

    def place(self, target: Target) -> Path | None:
        """Where `target` is served when it is the preview's own."""
        return self.served_at if self.includes(target.host, target.port) else None


@asynccontextmanager
async def gate(
    own: Own, policy: EgressPolicy, denied: tuple[Network, ...], listener: socket.socket
) -> AsyncGenerator[str]:
    """Serve the browser that connects to `listener`; gives the proxy's URL, for the block."""
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    refusals = PublicOnly(frozenset(own_addresses()), denied)
    proxy = EgressProxy(policy, refusals, None, served=own.place)
    async with proxy.serving(listener):
        yield url
