"""A seccomp filter for sandboxes: calls into the kernel that namespaces do not keep apart.

Key rings are shared with whoever started the sandbox; sockets of the machine's hypervisor (vsock)
pass by network namespaces; the rest is attack surface that programs at work do not need. It is
assembled here, byte by byte, since it is small and the same for everyone (seccomp(2)).
"""

import errno
import platform
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

FAMILIES: Final = {"unix": 1, "inet": 2, "inet6": 10, "netlink": 16}
"""The only kinds of sockets that a sandbox makes."""

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_X32_BIT = 0x40000000


@dataclass(frozen=True, slots=True)
class _Machine:
    """A kind of processor: how the kernel names it, its number of socket(2), and what is denied."""

    audit: int
    socket: int
    denied: Mapping[str, int]


_COMMON: Final = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "quotactl_fd": 443,
}  # fmt: skip
_MACHINES: Final = {
    "x86_64": _Machine(0xC000003E, 41, {
        **_COMMON, "syslog": 103, "modify_ldt": 154, "acct": 163, "swapon": 167, "swapoff": 168,
        "reboot": 169, "iopl": 172, "ioperm": 173, "init_module": 175, "delete_module": 176,
        "quotactl": 179, "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250,
        "perf_event_open": 298, "open_by_handle_at": 304, "finit_module": 313,
        "kexec_file_load": 320, "bpf": 321, "userfaultfd": 323,
    }),
    "aarch64": _Machine(0xC00000B7, 198, {
        **_COMMON, "quotactl": 60, "acct": 89, "kexec_load": 104, "init_module": 105,
        "delete_module": 106, "syslog": 116, "reboot": 142, "add_key": 217, "request_key": 218,
        "keyctl": 219, "swapon": 224, "swapoff": 225, "perf_event_open": 241,
        "open_by_handle_at": 265, "finit_module": 273, "bpf": 280, "userfaultfd": 282,
        "kexec_file_load": 294,
    }),
}  # fmt: skip


def filter_program(machine: str | None = None) -> bytes | None:
    """The filter as the kernel takes it; None for a processor that it is not known for.

    What is denied fails as if the kernel had none of it (`ENOSYS`), so that programs go on without.
    """
    known = _MACHINES.get(machine or platform.machine())
    if known is None:
        return None
    absent = _ERRNO | errno.ENOSYS
    program = [
        _statement(_LOAD, _ARCHITECTURE_AT),
        _jump(_JUMP_EQUAL, known.audit, 1, 0),
        _statement(_RETURN, absent),  # another processor's calls, of which we know no number
        _statement(_LOAD, _NUMBER_AT),
        _jump(_JUMP_AT_LEAST, _X32_BIT, 0, 1),
        _statement(_RETURN, absent),
    ]
    for number in sorted(known.denied.values()):
        program += [_jump(_JUMP_EQUAL, number, 0, 1), _statement(_RETURN, absent)]
    program += [
        _jump(_JUMP_EQUAL, known.socket, 1, 0),
        _statement(_RETURN, _ALLOW),
        _statement(_LOAD, _FIRST_ARGUMENT_AT),
    ]
    for family in FAMILIES.values():
        program += [_jump(_JUMP_EQUAL, family, 0, 1), _statement(_RETURN, _ALLOW)]
    program.append(_statement(_RETURN, _ERRNO | errno.EAFNOSUPPORT))
    return b"".join(program)


def _statement(code: int, value: int) -> bytes:
    return struct.pack("HBBI", code, 0, 0, value)


def _jump(code: int, value: int, if_true: int, if_false: int) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)
