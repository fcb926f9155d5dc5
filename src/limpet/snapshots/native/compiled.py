"""The compiled floor (floor.c) through ctypes, which lets go of Python's lock in every call.

Names and bounds are checked here: what C is handed is right. `ImportError` when there is none.
"""

import ctypes
import os
import struct
import sys
from array import array
from collections.abc import Sequence
from contextlib import ExitStack
from ctypes import (
    POINTER,
    Structure,
    byref,
    c_char_p,
    c_int,
    c_uint8,
    c_uint32,
    c_uint64,
    c_void_p,
)
from pathlib import Path
from typing import Final

from blake3 import blake3

from limpet.snapshots.native.new_files import (
    NewFiles,
    WriteJobs,
    Written,
    check_names,
    no_results,
)
from limpet.snapshots.native.records import (
    HASH_BYTES,
    Listing,
    Listings,
    ReadFiles,
    folders_for,
    joined,
    room_for,
    within_bytes,
)

LIBRARY: Final = Path(__file__).with_name("_floor.so")
_FLOOR: Final = 4
"""`limpet_floor` of the floor.c that this file calls."""
_NOTHING: Final = c_uint8()
"""What C is given for an empty buffer: an address that is good for no byte."""
_ERROR: Final = struct.Struct("<iH")
_SAMPLE: Final = bytes(range(251)) * 40
_SAMPLE_PARTS: Final = array("Q", [0, 3, 77]), array("Q", [10_000, 64, 3073])
_SAMPLE_HASHES: Final = b"".join(
    blake3(_SAMPLE[at : at + length]).digest() for at, length in zip(*_SAMPLE_PARTS, strict=True)
)
"""A compiler may be wrong, and what names the contents of files must not be."""


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


class _NewFiles(Structure):
    _fields_ = [(name, c_void_p) for name in ("names", "starts", "sizes", "modes", "mtimes")]


def load(path: Path) -> ctypes.CDLL:
    """The library at a path; `ImportError` when it is none that this file can call."""
    if sys.byteorder != "little":
        raise ImportError("the compiled floor is for little-endian machines")
    try:
        library = ctypes.CDLL(os.fspath(path))
        floor = c_uint32.in_dll(library, "limpet_floor").value
    except (OSError, ValueError) as error:
        raise ImportError(f"there is no compiled floor: {error}") from error
    if floor != _FLOOR:
        raise ImportError(f"the compiled floor is number {floor}, not {_FLOOR}: install again")
    library.limpet_scan.argtypes = [c_int, POINTER(_Listing)]
    library.limpet_scan.restype = c_int
    library.limpet_free.argtypes = [POINTER(_Listing)]
    library.limpet_free.restype = None
    library.limpet_compare.argtypes = [
        c_int, c_uint64, c_char_p, c_void_p, c_uint64, c_void_p, c_uint64, c_void_p,
    ]  # fmt: skip
    library.limpet_compare.restype = None
    library.limpet_read.argtypes = [
        c_uint64, c_void_p, c_char_p, c_void_p, c_void_p, c_void_p, POINTER(_ReadColumns),
    ]  # fmt: skip
    library.limpet_read.restype = None
    library.limpet_hash.argtypes = [c_uint64, c_void_p, c_void_p, c_void_p, c_void_p]
    library.limpet_hash.restype = c_int
    library.limpet_write.argtypes = [
        c_uint64, c_void_p, c_void_p, c_void_p, POINTER(_NewFiles), c_void_p, c_void_p,
    ]  # fmt: skip
    library.limpet_write.restype = None
    if _hashes(library, c_char_p(_SAMPLE), *_SAMPLE_PARTS) != _SAMPLE_HASHES:
        raise ImportError("the compiled floor does not hash as it should")
    return library


def _hashes(
    library: ctypes.CDLL,
    address: c_char_p | int | None,
    offsets: "array[int]",
    lengths: "array[int]",
) -> bytes:
    hashes = bytearray(HASH_BYTES * len(lengths))
    out = c_uint8.from_buffer(hashes)
    error = library.limpet_hash(
        len(lengths), address, _address(offsets), _address(lengths), ctypes.addressof(out)
    )
    if error:
        raise MemoryError(os.strerror(error))
    return bytes(hashes)


def _address(column: "array[int]") -> int:
    return column.buffer_info()[0]


_library: Final = load(LIBRARY)


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


def compare_listings(fd: int, paths: Sequence[bytes], data: Listings, first: int) -> bytes:
    """As `limpet.snapshots.native.plain.compare_listings`."""
    rows = data.rows_from(first, len(paths))
    text = joined(paths)
    same = bytearray(len(paths))
    if not same:
        return b""
    out = c_uint8.from_buffer(same)
    whole = c_uint8.from_buffer(data.data)
    address = ctypes.addressof(whole)
    try:
        _library.limpet_compare(
            fd, len(paths), text, address + rows, data.stride, address, len(data.data),
            ctypes.addressof(out),
        )  # fmt: skip
    finally:
        del whole, out  # the mapping may be closed again
    return bytes(same)


def read_files(
    folders: int | Sequence[int], names: Sequence[bytes], sizes: Sequence[int]
) -> ReadFiles:
    """As `limpet.snapshots.native.plain.read_files`."""
    wanted = list(sizes)
    read = room_for(wanted)
    text = check_names(names, len(wanted))
    folder_fds = folders_for(folders, len(wanted))
    if not wanted:
        return read
    columns = _ReadColumns(
        *map(
            _address,
            (
                read.lengths, read.errnos, read.mtimes_ns, read.ctimes_ns, read.inos, read.modes,
                read.nlinks, read.xattrs,
            ),
        )
    )  # fmt: skip
    size_column = array("Q", wanted)
    buffer = c_uint8.from_buffer(read.data) if read.data else _NOTHING
    _library.limpet_read(
        len(wanted), _address(folder_fds), text, _address(size_column), _address(read.offsets),
        ctypes.addressof(buffer), byref(columns),
    )  # fmt: skip
    read.hashes = _hashes(_library, ctypes.addressof(buffer), read.offsets, read.lengths)
    return read


def hash_blobs(
    data: bytes | bytearray | memoryview, offsets: Sequence[int], lengths: Sequence[int]
) -> bytes:
    """As `limpet.snapshots.native.plain.hash_blobs`. A read-only memoryview is copied first."""
    view = memoryview(data).cast("B")
    within_bytes(offsets, lengths, len(view))
    if not lengths:
        return b""
    buffer, address = _held(data, view)
    hashes = _hashes(_library, address, array("Q", offsets), array("Q", lengths))
    del buffer
    return hashes


def write_files(data: bytes | bytearray | memoryview, jobs: WriteJobs, of: NewFiles) -> Written:
    """As `limpet.snapshots.native.plain.write_files`. A read-only memoryview is copied first."""
    view = memoryview(data).cast("B")
    columns = of.names.starts, of.sizes, of.modes, of.mtimes
    with ExitStack() as held:
        for column in columns:
            held.enter_context(memoryview(column))  # it stays where it is, whatever others do
        names = c_uint8.from_buffer(of.names.text) if of.names.text else _NOTHING
        jobs = jobs.checked(of, len(view))
        done = no_results(len(jobs))
        if not len(jobs):
            return done
        buffer, address = _held(data, view)
        new_files = _NewFiles(ctypes.addressof(names), *map(_address, columns))
        _library.limpet_write(
            len(jobs), _address(jobs.files), _address(jobs.folder_fds), _address(jobs.offsets),
            byref(new_files), address, _address(done.errnos),
        )  # fmt: skip
        del buffer
    return done


def _held(
    data: bytes | bytearray | memoryview, view: memoryview
) -> tuple[c_char_p | c_uint8, int | None]:
    """What keeps the bytes where they are while it lives, and where that is."""
    if isinstance(data, bytes) or view.readonly:
        text = c_char_p(data if isinstance(data, bytes) else bytes(view))
        return text, ctypes.cast(text, c_void_p).value
    buffer = c_uint8.from_buffer(view) if len(view) else _NOTHING
    return buffer, ctypes.addressof(buffer)
