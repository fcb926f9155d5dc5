"""Which ports our own processes listen on, and what a dev server prints of its port.

Linux: /proc/net/tcp names each listening socket's inode, /proc/<pid>/fd the sockets that a process
holds. So a neighbour's server, or one that was quicker on a port, is never mistaken for ours.
Blocking, but quick.
"""

import contextlib
import os
import re
import socket
import struct
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final, NamedTuple

from limpet.daemon.capabilities import has
from limpet.daemon.processes import descendants, process_table

_LISTEN: Final = "0A"
_ANSI: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-_]")
_URL: Final = re.compile(
    r"https?://(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1?\])[:](\d{1,5})(?!\d)", re.IGNORECASE
)
_ANNOUNCES: Final = re.compile(
    r"\b(local|listening|running|ready|started|serving|available|server|url)\b", re.IGNORECASE
)
_TAKEN: Final = re.compile(
    r"EADDRINUSE|address already in use|port \d+ is (already )?(in use|taken|occupied)",
    re.IGNORECASE,
)
_GOES_ON: Final = re.compile(r"trying|instead|using another|available port", re.IGNORECASE)
CARRY_CHARACTERS: Final = 400


class Listening(NamedTuple):
    """A port and the address at which it is reached from here."""

    host: str
    port: int


def of_descendants(root: int, *, and_root: bool = True) -> list[Listening] | None:
    """What the processes below `root` (a pid) listen on, its session's among them.

    None where that cannot be told.
    """
    table = process_table()
    if not table:
        return None
    pids = {process.pid for process in descendants(table, root)}
    if and_root:
        pids.add(root)
        pids |= {process.pid for process in table.values() if process.session == root}
    return _of_pids(pids)


def listeners_of_descendants(root: int) -> dict[int, int]:
    """Each port that a process below `root` listens on, and which; empty where that is not told."""
    sockets = _listening_sockets() or {}
    found: dict[int, int] = {}
    for process in descendants(process_table(), root):
        for port in sorted(one.port for one in _held(process.pid, sockets)):
            found.setdefault(port, process.pid)
    return found


def free_port(host: str, wanted: int | None = None) -> int:
    """`wanted` if it can be had on `host`, else one that nobody has (until somebody takes it)."""
    for port in (wanted, 0):
        if port is None:
            continue
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            chosen: int = probe.getsockname()[1]
            return chosen
    raise OSError(f"no port can be had on {host}")


class Sniffer:
    """Reads a dev server's output for the port it says it listens on."""

    def __init__(self) -> None:
        self.port: int | None = None
        self.taken = False
        self._carried = ""

    def feed(self, text: str) -> None:
        """Take in a chunk; a line may come in pieces."""
        self._carried = (self._carried + text)[-(CARRY_CHARACTERS + len(text)) :]
        plain = _ANSI.sub("", self._carried)
        if any(_TAKEN.search(line) and not _GOES_ON.search(line) for line in plain.splitlines()):
            self.taken = True
        if self.port is None:
            self.port = _announced(plain)
        self._carried = self._carried[-CARRY_CHARACTERS:]


def _announced(text: str) -> int | None:
    lines = text.splitlines(keepends=True)
    for line in lines:
        found = _URL.search(line)
        if found is None or not _ANNOUNCES.search(line.replace(found[0], " ")):
            continue
        at_the_end = found.end() == len(line)
        port = int(found[1])
        if 0 < port < 65536 and not (at_the_end and line is lines[-1]):
            return port
    return None


def _of_pids(pids: Iterable[int]) -> list[Listening] | None:
    sockets = _listening_sockets()
    if sockets is None:
        return None
    found: dict[int, Listening] = {}
    readable = denied = False
    for pid in pids:
        try:
            with os.scandir(f"/proc/{pid}/fd") as entries:
                for entry in entries:
                    readable = True
                    with contextlib.suppress(OSError):
                        link = os.readlink(entry.path)  # noqa: PTH115
                        if link.startswith("socket:[") and (one := sockets.get(int(link[8:-1]))):
                            found.setdefault(one.port, one)
        except PermissionError:  # it runs as another user
            denied = True
        except OSError:  # it ended meanwhile
            continue
    return None if denied and not readable else sorted(found.values(), key=lambda one: one.port)


def _held(pid: int, sockets: Mapping[int, Listening]) -> list[Listening]:
    """Those of the sockets that a process holds; none when it ended, or is not ours to look at."""
    held: list[Listening] = []
    with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                link = os.readlink(entry.path)  # noqa: PTH115
                if link.startswith("socket:[") and (one := sockets.get(int(link[8:-1]))):
                    held.append(one)
    return held


def _listening_sockets() -> dict[int, Listening] | None:
    if not has("proc"):
        return None
    sockets: dict[int, Listening] = {}
    known = False
    for name in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/net/{name}").read_text().splitlines()[1:]
        except OSError:
            continue
        known = True
        for line in lines:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _LISTEN:
                address, _, port = fields[1].rpartition(":")
                sockets[int(fields[9])] = Listening(_reached_at(address), int(port, 16))
    return sockets if known else None


def _reached_at(address: str) -> str:
    """The kernel's way to write an address, as one to connect to."""
    words = [int(address[i : i + 8], 16) for i in range(0, len(address), 8)]
    packed = b"".join(struct.pack("=I", word) for word in words)
    if len(packed) == 4:
        v4 = IPv4Address(packed)
        return "127.0.0.1" if v4.is_unspecified else str(v4)
    v6 = IPv6Address(packed)
    if v6.is_unspecified:
        return "::1"
    return str(v6.ipv4_mapped) if v6.ipv4_mapped else str(v6)
