"""Becomes the browser: run by itself, as `python -I launcher.py JSON PROGRAM ARGUMENTS...`.

Goes into a network of its own, where there is nothing but listening sockets that it sends back
over `answers` (none where that cannot be had). Puts the two pipes where Chromium looks for them (3
to read, 4 to write), gives up root's rights where a user is named, sees that the kernel ends it
with the control plane and, when memory runs out, before anything else. Knows nothing of Limpet.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_ABOVE = 64


def main() -> None:
    """Never returns."""
    told = json.loads(sys.argv[1])
    with socket.socket(fileno=told["answers"]) as answers:
        listeners = _own_network(told["ports"]) if told["ports"] else []
        socket.send_fds(answers, [b"."], [one.fileno() for one in listeners])
    reads = fcntl.fcntl(told["reads"], fcntl.F_DUPFD, _ABOVE)
    writes = fcntl.fcntl(told["writes"], fcntl.F_DUPFD, _ABOVE)
    os.dup2(reads, 3)
    os.dup2(writes, 4)
    os.closerange(5, 1024)
    os.setsid()
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    os.nice(5)
    if told["user"] is not None:
        os.setgroups([])
        os.setgid(told["group"])
        os.setuid(told["user"])
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        # After the change of user, which would forget it.
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != told["parent"]:
            return  # it ended before the kernel knew
    os.execve(sys.argv[2], sys.argv[2:], told["env"])  # noqa: S606


def _own_network(ports: int) -> list[socket.socket]:
    """So many listening sockets in a network that has nothing else; none: it cannot be had."""
    libc = ctypes.CDLL(None)
    user, group = os.geteuid(), os.getegid()
    if libc.unshare(_CLONE_NEWNET | (_CLONE_NEWUSER if user else 0)):
        return []
    if user:
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")
    with socket.socket() as any_socket:
        name = b"lo".ljust(16, b"\0")
        told = fcntl.ioctl(any_socket, _SIOCGIFFLAGS, name + bytes(24))
        flags = struct.unpack_from("h", told, 16)[0] | _IFF_UP
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, name + struct.pack("h", flags) + bytes(22))
    return [socket.create_server(("127.0.0.1", 0)) for _ in range(ports)]


if __name__ == "__main__":
    main()
