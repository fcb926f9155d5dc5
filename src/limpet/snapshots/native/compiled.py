"""The compiled floor (floor.c) through ctypes, which lets go of Python's lock in every call.

Names and bounds are checked here: what C is handed is right. `ImportError` when there is none.
"""

import ctypes
import os
import struct
import sys
from array import array
from collections.abc import Sequence
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_uint8, c_uint64, c_void_p
from pathlib import Path
from typing import Final

from limpet.snapshots.native.records import (
    Listing,
    ReadFiles,
    WriteJobs,
    Written,
    check_name,
    no_results,
    room_for,
)

LIBRARY: Final = Path(__file__).with_name("_floor.so")
_ERROR: Final = struct.Struct("<iH")


class _Listing(Structure):
    _fields_ = [
        ("records", POINTER(c_uint8)),
        ("length", c_uint64),
        ("errors", POINTER(c_uint8)),
        ("errors_length", c_uint64),
    ]


class _ReadColumns(Structure):
    _fields_ = [
        (name, c_void_p)
        for name in (
            "lengths", "errnos", "mtimes", "ctimes", "inos", "modes", "nlinks", "xattrs",
        )
    ]  # fmt: skip


def _load() -> ctypes.CDLL:
    if sys.byteorder != "little":
        raise ImportError("the compiled floor is for little-endian machines")
    try:
        library = ctypes.CDLL(os.fspath(LIBRARY))
    except OSError as error:
        raise ImportError(f"there is no compiled floor: {error}") from error
    library.limpet_scan.argtypes = [c_int, POINTER(_Listing)]
    library.limpet_scan.restype = c_int
    library.limpet_free.argtypes = [POINTER(_Listing)]
    library.limpet_free.restype = None
    library.limpet_read.argtypes = [
        c_int, c_uint64, c_char_p, c_void_p, c_void_p, c_void_p, POINTER(_ReadColumns),
    ]  # fmt: skip
    library.limpet_read.restype = None
    library.limpet_write.argtypes = [
        c_uint64, c_void_p, c_char_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p,
        c_void_p, c_void_p, c_void_p,
    ]  # fmt: skip
    library.limpet_write.restype = None
    return library


_library: Final = _load()


def scan_folder(fd: int) -> Listing:
    """As `limpet.snapshots.native.plain.scan_folder`."""
    listing = _Listing()
    error = _library.limpet_scan(fd, byref(listing))
    if error:
        raise OSError(error, os.strerror(error))
    if not listing.length and not listing.errors_length:
        _library.limpet_free(byref(listing))
        return Listing(b"", ())
    try:
        records = ctypes.string_at(listing.records, listing.length)
        told = ctypes.string_at(listing.errors, listing.errors_length)
    finally:
        _library.limpet_free(byref(listing))
    return Listing(records, _errors(told) if told else ())


def _errors(told: bytes) -> tuple[tuple[bytes, int], ...]:
    found = []
    at = 0
    while at < len(told):
        error, length = _ERROR.unpack_from(told, at)
        at += _ERROR.size
        found.append((told[at : at + length], error))
        at += length
    return tuple(found)


def read_files(folder_fd: int, names: Sequence[bytes], sizes: Sequence[int]) -> ReadFiles:
    """As `limpet.snapshots.native.plain.read_files`."""
    read = room_for(sizes)
    if len(names) != len(sizes):
        raise ValueError("there are not as many sizes as names")
    for name in names:
        check_name(name)
    wanted = array("Q", sizes)
    columns = _ReadColumns(
        *map(
            _address,
            (
                read.lengths, read.errnos, read.mtimes_ns, read.ctimes_ns, read.inos, read.modes,
                read.nlinks, read.xattrs,
            ),
        )
    )  # fmt: skip
    if names:
        buffer = (c_uint8 * len(read.data)).from_buffer(read.data) if read.data else None
        _library.limpet_read(
            folder_fd, len(names), b"\0".join(names) + b"\0", _address(wanted),
            _address(read.offsets), buffer, byref(columns),
        )  # fmt: skip
        del buffer
    return read


def write_files(data: bytes | bytearray | memoryview, jobs: WriteJobs) -> Written:
    """As `limpet.snapshots.native.plain.write_files`."""
    raw = data if isinstance(data, bytes) else bytes(data)
    jobs.check(len(raw))
    done = no_results(len(jobs))
    if len(jobs):
        _library.limpet_write(
            len(jobs), _address(jobs.folder_fds), b"\0".join(jobs.names) + b"\0",
            _address(jobs.offsets), _address(jobs.lengths), _address(jobs.modes),
            _address(jobs.mtimes_ns), ctypes.cast(c_char_p(raw), c_void_p),
            _address(done.errnos), _address(done.inos), _address(done.ctimes_ns),
        )  # fmt: skip
    return done


def _address(column: "array[int]") -> int:
    return column.buffer_info()[0]
