"""The server's sockets: on both loopbacks, listening from the moment a port is chosen."""

import contextlib
import errno
import ipaddress
import socket
from dataclasses import dataclass

from limpet.control.settings import DEFAULT_PORT, SettingsError
from limpet.errors import ConflictError

PORTS_TRIED = 100
_BACKLOG = 2048


class PortTakenError(ConflictError):
    """The port that was asked for is in use."""

    code = "port_taken"


@dataclass(frozen=True, slots=True)
class Listening:
    """The sockets, all on `port`. `moved_from` is the port that was wanted but taken."""

    sockets: tuple[socket.socket, ...]
    port: int
    moved_from: int | None = None

    def close(self) -> None:
        """Close the sockets."""
        for one in self.sockets:
            one.close()


def listen(host: str, port: int | None, *, insist: bool) -> Listening:
    """Listen on `host` and, when that is 127.0.0.1, on ::1 too where there is IPv6.

    `port` None is 7070; a taken port gives the next free one, or, with `insist`,
    `PortTakenError`. 0 is any free one. `SettingsError` for a host that is no loopback address.
    """
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise SettingsError(f"LIMPET_HOST: {host!r} is no IP address") from None
    if not address.is_loopback:
        raise SettingsError(
            f"LIMPET_HOST: {host} is reachable by others, and this version serves one user",
            hint="Leave it at 127.0.0.1; reach it from elsewhere through an SSH tunnel.",
        )
    hosts = ["127.0.0.1", "::1"] if str(address) == "127.0.0.1" else [str(address)]
    wanted = DEFAULT_PORT if port is None else port
    if wanted == 0:
        candidates = [0] * PORTS_TRIED  # the same port must be free on both
    else:
        candidates = list(range(wanted, min(wanted + (1 if insist else PORTS_TRIED), 65536)))
    for candidate in candidates:
        sockets = _listen_on(hosts, candidate)
        if sockets:
            actual = int(sockets[0].getsockname()[1])
            moved = wanted if wanted not in {0, actual} else None
            return Listening(sockets, actual, moved)
    raise PortTakenError(
        f"Port {wanted} is taken" if insist else f"Ports {wanted} to {candidates[-1]} are taken",
        hint="Give another one with --port, or leave it out to get a free one.",
    )


def _listen_on(hosts: list[str], port: int) -> tuple[socket.socket, ...]:
    """Listening sockets on every host at one port, or none at all when one is taken."""
    with contextlib.ExitStack() as undo:
        sockets: list[socket.socket] = []
        for host in hosts:
            try:
                one = undo.enter_context(_listening(host, port))
            except OSError as error:
                no_ipv6 = host == "::1" and error.errno in {
                    errno.EADDRNOTAVAIL,
                    errno.EAFNOSUPPORT,
                }
                if no_ipv6 and sockets:
                    continue
                if error.errno == errno.EADDRINUSE:
                    return ()
                raise SettingsError(f"Cannot listen on {host}:{port}: {error.strerror}") from error
            port = int(one.getsockname()[1])
            sockets.append(one)
        undo.pop_all()
        return tuple(sockets)


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind((host, port))
        one.listen(_BACKLOG)
        one.setblocking(False)
    except BaseException:
        one.close()
        raise
    return one
