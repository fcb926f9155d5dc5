"""A short visit to a sandbox's network namespace, by a process of its own.

Run as `python -I -S netns_visit.py`, with a JSON object on stdin: `pid` of a process in the
namespace, `prohibited` networks, `ports` to listen at on its loopback, and `answer_fd`, a Unix
socket that is sent one line and, with it, descriptors: the user namespace that owns the network,
the network, and the listening sockets. A socket belongs to the namespace that it was made in:
whoever gets it serves the sandbox and stays outside. It runs alone since a process with threads
cannot enter a user namespace (setns(2)), and imports the standard library alone since it is on the
way of every start.
"""

import array
import ctypes
import errno
import fcntl
import ipaddress
import json
import os
import socket
import struct
import sys
import time

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
NS_GET_USERNS = 0xB701
SIOCGIFFLAGS = 0x8913
IFF_UP = 1
LOOPBACK_WITHIN_S = 10.0
BACKLOG = 512

RTM_NEWROUTE = 24
NLM_F_REQUEST, NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE = 1, 4, 0x400, 0x100
RT_TABLE_MAIN, RTPROT_STATIC, RT_SCOPE_UNIVERSE, RTN_PROHIBIT = 254, 4, 0, 8
RTA_DST = 1
NLMSG_ERROR = 2


def main() -> None:
    """Enter, do all, answer."""
    wanted = json.load(sys.stdin)
    answer = socket.socket(fileno=int(wanted["answer_fd"]))
    descriptors: list[int] = []
    listeners: list[socket.socket] = []
    try:
        descriptors += enter(int(wanted["pid"]))
        await_loopback()
        prohibit([ipaddress.ip_network(network) for network in wanted["prohibited"]])
        listeners += [listening(int(port)) for port in wanted["ports"]]
        descriptors += [one.fileno() for one in listeners]
        said: dict[str, object] = {"ok": True}
    except OSError as error:
        said, descriptors = {"ok": False, "why": str(error)}, []
    socket.send_fds(answer, [json.dumps(said).encode() + b"\n"], descriptors)


def enter(pid: int) -> list[int]:
    """Enter the network namespace of `pid` with all rights over it; its owner's descriptor and its.

    The owner is the namespace that bubblewrap made first, not one that the process went on to. A
    container's may be our own, which cannot be entered again.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    owner = fcntl.ioctl(network, NS_GET_USERNS)
    steps = [(network, CLONE_NEWNET)]
    if not os.path.sameopenfile(owner, os.open("/proc/self/ns/user", os.O_RDONLY | os.O_CLOEXEC)):
        steps.insert(0, (owner, CLONE_NEWUSER))
    for descriptor, kind in steps:
        if libc.setns(descriptor, kind) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"setns: {os.strerror(number)}")
    return [owner, network]


def await_loopback() -> None:
    """Until bubblewrap has set up `lo`: what is done before may make it fail."""
    deadline = time.monotonic() + LOOPBACK_WITHIN_S
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        while True:
            request = array.array("B", struct.pack("16sH14x", b"lo", 0))
            fcntl.ioctl(asking, SIOCGIFFLAGS, request)
            if struct.unpack_from("H", request, 16)[0] & IFF_UP:
                return
            if time.monotonic() > deadline:
                raise OSError(errno.ETIMEDOUT, "the sandbox's loopback does not come up")
            time.sleep(0.001)


def prohibit(networks: "list[ipaddress.IPv4Network | ipaddress.IPv6Network]") -> None:
    """Routes that refuse: `EACCES` for whoever connects there. rtnetlink(7)."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.bind((0, 0))
        for number, network in enumerate(networks, 1):
            family = socket.AF_INET if network.version == 4 else socket.AF_INET6
            packed = network.network_address.packed
            body = struct.pack(
                "BBBBBBBBI", family, network.prefixlen, 0, 0,
                RT_TABLE_MAIN, RTPROT_STATIC, RT_SCOPE_UNIVERSE, RTN_PROHIBIT, 0,
            )  # fmt: skip
            body += struct.pack("HH", 4 + len(packed), RTA_DST) + packed
            flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE
            head = struct.pack("IHHII", 16 + len(body), RTM_NEWROUTE, flags, number, 0)
            netlink.send(head + body)
            reply = netlink.recv(65536)
            kind = struct.unpack_from("IHHII", reply)[1]
            code = -struct.unpack_from("i", reply, 16)[0] if kind == NLMSG_ERROR else 0
            no_ipv6 = network.version == 6 and code in (errno.EAFNOSUPPORT, errno.EOPNOTSUPP)
            if code and not no_ipv6:
                raise OSError(code, f"a route for {network}: {os.strerror(code)}")


def listening(port: int) -> socket.socket:
    """A listening socket on the namespace's loopback."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(BACKLOG)
    return listener


if __name__ == "__main__":
    main()
