"""Where previews are to be had: whose a host is, and what is believed of a request. Pure.

Every sandbox has `<handle>.localhost`; with `LIMPET_PREVIEW_URL` also a host in that domain, under
the scheme and port that browsers know. What a request says of its own way here (`X-Forwarded-*`)
counts only when the peer that sent it is one of `LIMPET_TRUSTED_PROXIES`.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

LOCAL: Final = "localhost"
_HANDLE: Final = re.compile(r"(?P<handle>[a-z0-9-]{1,48}?)(?:--(?P<port>[1-9][0-9]{0,4}))?")
_HOST: Final = re.compile(
    r"(?P<label>[a-z0-9-]{1,63})\.(?P<domain>[a-z0-9.-]+?)(?::(?P<at>[0-9]{1,5}))?"
)
_DOMAIN: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]")
_LOOPBACK: Final = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?")
_MAX_DOMAIN: Final = 180
MAX_PORT: Final = 65535
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9.-]{1,253})(?::(?P<at>[1-9][0-9]{0,4}))?"
    r"(?P<rest>[/?#][\x21-\x7e]*)?",
    re.IGNORECASE,
)
MAX_URL: Final = 16_384

PreviewAccess = Literal["link", "private"]
"""Who sees a preview: whoever has its address; or who is signed in, and who was given a link."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Site:
    """One family of preview hosts: `<scheme>://<handle>.<domain>[:<port>]`."""

    scheme: str
    domain: str
    port: int | None

    @classmethod
    def parse(cls, url: str) -> "Site":
        """`https://preview.example.com` or the like; `ValueError` says what is wrong with it."""
        parts = urlsplit(url)
        domain = (parts.hostname or "").lower()
        if parts.scheme not in _DEFAULT_PORTS:
            raise ValueError("it must begin with https:// or http://")
        if parts.username is not None or parts.path not in {"", "/"} or parts.query or "#" in url:
            raise ValueError("it must be a scheme, a domain and perhaps a port, nothing else")
        if not _DOMAIN.fullmatch(domain) or len(domain) > _MAX_DOMAIN:
            raise ValueError(f"{domain or 'nothing'!r} is no domain that previews can lie in")
        if domain.endswith(f".{LOCAL}"):
            raise ValueError("names in localhost are this machine's own and need no setting")
        return cls(parts.scheme, domain, parts.port)

    def host(self, handle: str, port: int | str | None = None) -> str:
        """The host, with its port where browsers name it, of a sandbox or of one of its ports."""
        label = handle if port is None else f"{handle}--{port}"
        shown = self.port if self.port != _DEFAULT_PORTS[self.scheme] else None
        return f"{label}.{self.domain}" + (f":{shown}" if shown is not None else "")

    def url(self, handle: str, port: int | str | None = None) -> str:
        """The address of a sandbox's app, or of another of its ports."""
        return f"{self.scheme}://{self.host(handle, port)}/"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request for a preview is for: a sandbox, perhaps one of its ports, under a site.

    `scheme` and `host` are those that the browser sees. `watched` is whether anybody looks: only
    then it is an activity.
    """

    handle: str
    port: int | None
    site: Site
    host: str
    watched: bool = True

    @property
    def scheme(self) -> str:
        """`http` or `https`."""
        return self.site.scheme

    @property
    def is_local(self) -> bool:
        """Whether browsers find it on their own machine, and so trust it without TLS."""
        return self.site.domain == LOCAL

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"{self.scheme}://{self.host}"


@dataclass(frozen=True, slots=True)
class PreviewAddresses:
    """Every site of this control plane; `named` is the one of `LIMPET_PREVIEW_URL`."""

    local: Site
    named: Site | None = None
    proxies: Sequence[Network] = ()

    @property
    def shown(self) -> Site:
        """The site that people are sent to."""
        return self.named or self.local

    def asked(self, connection: HTTPConnection) -> Asked | None:
        """Which preview a request is for, or None when its host is none of ours."""
        host = self._host(connection)
        match = _HOST.fullmatch(host.lower())
        if match is None:
            return None
        label = _HANDLE.fullmatch(match["label"])
        site = next(
            (s for s in (self.named, self.local) if s and s.domain == match["domain"]), None
        )
        if label is None or site is None:
            return None
        if site is self.local:  # by whatever tunnel: the browser knows its end's port
            site = replace(site, port=int(match["at"]) if match["at"] else None)
        port = int(label["port"]) if label["port"] else None
        if port is not None and port > MAX_PORT:
            return None
        return Asked(label["handle"], port, site, site.host(label["handle"], port))

    def asked_on_loopback(self, connection: HTTPConnection, handle: str) -> Asked | None:
        """The same on the loopback port of one sandbox; None for a name of somebody else's.

        A page whose own name was pointed at this machine must not read what is served here.
        """
        host = ",".join(connection.headers.getlist("host")).lower()
        return Asked(handle, None, self.local, host) if _LOOPBACK.fullmatch(host) else None

    def of_url(
        self, url: str, *, local_port: int | None, loopback: Mapping[str, str]
    ) -> tuple[Asked, str] | None:
        """Which preview an address is of, and its path, query and fragment; None when of none.

        A name in localhost counts with `local_port` alone: on this machine's other ports listens
        who knows who. `loopback` are the sandboxes' loopback ports, by handle.
        """
        match = _URL.fullmatch(url) if len(url) <= MAX_URL else None
        if match is None:
            return None
        scheme, host, rest = match["scheme"].lower(), match["host"].lower(), match["rest"] or "/"
        at = int(match["at"]) if match["at"] else _DEFAULT_PORTS[scheme]
        rest = rest if rest.startswith("/") else f"/{rest}"
        if host == LOCAL:
            found = [h for h, own in loopback.items() if own == f"{scheme}://{host}:{at}/"]
            return (Asked(found[0], None, self.local, f"{host}:{at}"), rest) if found else None
        label, _, domain = host.partition(".")
        split = _HANDLE.fullmatch(label)
        own = replace(self.local, port=local_port or self.local.port)
        site = next((s for s in (self.named, own) if s and s.domain == domain), None)
        if split is None or site is None:
            return None
        port = int(split["port"]) if split["port"] else None
        expected = (site.scheme, site.port or _DEFAULT_PORTS[site.scheme])
        if (scheme, at) != expected or (port or 0) > MAX_PORT:
            return None
        return Asked(split["handle"], port, site, site.host(split["handle"], port)), rest

    def forwarded_for(self, connection: HTTPConnection) -> str:
        """Whom the request came from, through which proxies of ours."""
        peer = connection.client.host if connection.client else ""
        told = (
            ", ".join(connection.headers.getlist("x-forwarded-for")) if self._by_proxy(peer) else ""
        )
        return ", ".join(part for part in (told, peer) if part)

    def _host(self, connection: HTTPConnection) -> str:
        """The host that the browser asked for; '' when the request names more than one."""
        peer = connection.client.host if connection.client else ""
        hosts = connection.headers.getlist("host")
        if self._by_proxy(peer):
            told = ",".join(connection.headers.getlist("x-forwarded-host"))
            if told:
                hosts = [told.rpartition(",")[2].strip()]  # what the nearest proxy says
        return hosts[0] if len(hosts) == 1 else ""

    def _by_proxy(self, peer: str) -> bool:
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self.proxies)


def proxies_of(listed: str) -> tuple[Network, ...]:
    """Addresses and networks, separated by commas; `ValueError` names one that is none."""
    return tuple(
        ipaddress.ip_network(part.strip(), strict=True)
        for part in listed.split(",")
        if part.strip()
    )
