"""The filter of calls: what it says of each, by a reading of its own, and in a real sandbox."""

import errno
import struct
from pathlib import Path

import pytest

from limpet.runners import seccomp
from limpet.runners.base import EnsureOptions
from limpet.runners.seccomp import filter_program
from tests.runners.support import SANDBOX, client_of, run, standin_runner

ALLOW, ABSENT, NO_FAMILY = 0x7FFF0000, 0x50000 | errno.ENOSYS, 0x50000 | errno.EAFNOSUPPORT
TRY = """
import ctypes, errno, socket
libc = ctypes.CDLL(None, use_errno=True)
for name, number in (("keyctl", 250), ("bpf", 321), ("io_uring_setup", 425)):
    libc.syscall(number, 0, 0, 0, 0, 0)
    print(name, errno.errorcode.get(ctypes.get_errno()))
for family in (1, 2, 10, 16, 17, 38, 40):
    try:
        socket.socket(family, socket.SOCK_DGRAM if family == 16 else socket.SOCK_STREAM).close()
        print(family, "made")
    except OSError as error:
        print(family, errno.errorcode[error.errno])
"""


def said(program: bytes, audit: int, number: int, argument: int = 0) -> int:
    """What the program returns for a call: the machine of bpf(4), as far as it is used."""
    data = struct.pack("IIQ6Q", number, audit, 0, argument, 0, 0, 0, 0, 0)
    at = accumulator = 0
    while True:
        code, true, false, value = struct.unpack_from("HBBI", program, 8 * at)
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("I", data, value)
            case 0x15:
                at += true if accumulator == value else false
            case 0x35:
                at += true if accumulator >= value else false
            case 0x06:
                return int(value)
            case _:
                raise AssertionError(f"unknown: {code:#x}")


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_what_is_denied_is_absent_and_the_rest_is_allowed(machine: str) -> None:
    program = filter_program(machine)
    assert program is not None
    known = seccomp._MACHINES[machine]
    denied = set(known.denied.values())
    for number in range(600):
        if number != known.socket:
            wanted = ABSENT if number in denied else ALLOW
            assert said(program, known.audit, number) == wanted, number
    for family in range(50):
        wanted = ALLOW if family in seccomp.FAMILIES.values() else NO_FAMILY
        assert said(program, known.audit, known.socket, family) == wanted, family
    assert said(program, known.audit ^ 1, 0) == ABSENT, "another processor's calls"
    assert said(program, known.audit, 0x40000000) == ABSENT, "x32's"


def test_a_processor_that_is_not_known_gets_none() -> None:
    assert filter_program("m68k") is None


@pytest.mark.anyio
async def test_the_kernel_keeps_it(data_dir: Path, can_bubblewrap: bool) -> None:
    if not can_bubblewrap or filter_program("x86_64") != filter_program():
        pytest.skip("needs bubblewrap on x86-64")
    runner = standin_runner(data_dir, "bubblewrap")
    found = await runner.ensure(SANDBOX, EnsureOptions())
    try:
        async with client_of(found) as client:
            shown = await run(client, "python3", "-c", TRY)
    finally:
        await runner.delete(SANDBOX.handle)
        await runner.close()
    assert shown.splitlines() == [
        "keyctl ENOSYS", "bpf ENOSYS", "io_uring_setup ENOSYS",
        "1 made", "2 made", "10 made", "16 made",
        "17 EAFNOSUPPORT", "38 EAFNOSUPPORT", "40 EAFNOSUPPORT",
    ]  # fmt: skip
