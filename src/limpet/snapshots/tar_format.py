"""The bytes of a tar: ustar headers, pax records, numbers and check sums. Pure functions.

An archive of ours is a POSIX pax archive:

    global record   LIMPET.version=1                       (says that the record below must come)
    member*         [pax header] ustar header, data        (repo/, repo/a, ...)
    global record   LIMPET.receipt=<JSON of the save>
    global record   LIMPET.blake3, LIMPET.size, LIMPET.count, LIMPET.root
    member          ./                                     (the workspace folder's mode and mtime)
    two zero blocks

`LIMPET.blake3` and `LIMPET.size` are the digest and length of every byte before the record
itself (`head -c $size x.tar | b3sum`), `LIMPET.count` the number of members with `./`, and
`LIMPET.root` the digest of the closing member. That member is there because Python's tarfile
refuses an archive whose last header is a global one; being last also lets every tar set the
folder's times after its content.
"""

import re
import struct
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from limpet.errors import TarDamagedError

BLOCK: Final = 512
END_MARK: Final = bytes(2 * BLOCK)

FILE: Final = b"0"
HARD_LINK: Final = b"1"
SYMLINK: Final = b"2"
FOLDER: Final = b"5"
PAX: Final = b"x"
PAX_GLOBAL: Final = b"g"
GNU_LONG_NAME: Final = b"L"
GNU_LONG_LINK: Final = b"K"
GNU_SPARSE: Final = b"S"

VERSION: Final = b"1"
KEY_VERSION: Final = b"LIMPET.version"
KEY_RECEIPT: Final = b"LIMPET.receipt"
KEY_BLAKE3: Final = b"LIMPET.blake3"
KEY_SIZE: Final = b"LIMPET.size"
KEY_COUNT: Final = b"LIMPET.count"
KEY_ROOT: Final = b"LIMPET.root"
RECORD_KEYS: Final = frozenset({KEY_BLAKE3, KEY_SIZE, KEY_COUNT, KEY_ROOT})

MAX_PART_BYTES: Final = 255
MAX_PATH_BYTES: Final = 1 << 19
MAX_DEPTH: Final = 10_000
MAX_PAX_BYTES: Final = 1 << 20

_NAME_BYTES: Final = 100
_PREFIX_BYTES: Final = 155
_OWNER: Final = b"0000000\x000000000\x00"
_MAX_OCTAL: Final = 8**11
_TAIL_BEFORE_PREFIX: Final = b"ustar\x0000" + bytes(64) + b"0000000\x000000000\x00"
_TAIL_PLAIN: Final = _TAIL_BEFORE_PREFIX + bytes(167)
_NO_LINK: Final = bytes(_NAME_BYTES)


def _byte_sum(data: bytes) -> int:
    """The sum of the bytes; exact up to 256 bytes, and 20 times quicker than `sum`."""
    return (zlib.adler32(data) - 1) & 0xFFFF


_TAIL_SUM: Final = sum(_TAIL_PLAIN) + 8 * ord(" ")


def split_name(name: bytes) -> tuple[bytes, bytes] | None:
    """`(prefix, name)` for a ustar header, or None when the name needs a pax record."""
    if len(name) <= _NAME_BYTES:
        return b"", name
    if len(name) > _NAME_BYTES + 1 + _PREFIX_BYTES:
        return None
    slash = name.find(b"/", len(name) - _NAME_BYTES - 1, -1)
    if not 0 < slash <= _PREFIX_BYTES:
        return None
    return name[:slash], name[slash + 1 :]


def header(
    name: bytes,
    mode: int,
    size: int,
    mtime_s: int,
    kind: bytes,
    link: bytes = b"",
    prefix: bytes = b"",
) -> bytes:
    """One ustar header block. The caller sees to it that every value fits its field."""
    fields = b"%b%07o\x00%b%011o\x00%011o\x00" % (
        name.ljust(_NAME_BYTES, b"\0"), mode, _OWNER, size, mtime_s,
    )  # fmt: skip
    total = _TAIL_SUM + _byte_sum(fields) + kind[0]
    tail = _TAIL_PLAIN
    if prefix:
        total += _byte_sum(prefix)
        tail = _TAIL_BEFORE_PREFIX + prefix.ljust(167, b"\0")
    if link:
        total += _byte_sum(link)
        return b"%b%06o\x00 %b%b%b" % (fields, total, kind, link.ljust(_NAME_BYTES, b"\0"), tail)
    return b"%b%06o\x00 %b%b%b" % (fields, total, kind, _NO_LINK, tail)


def fits_octal(value: int) -> bool:
    """Whether a size or time in seconds fits the eleven octal digits of its field."""
    return 0 <= value < _MAX_OCTAL


def padding(size: int) -> bytes:
    """The zeros that fill `size` bytes up to the next block."""
    return bytes(-size % BLOCK)


def pax_record(key: bytes, value: bytes) -> bytes:
    """`<length> <key>=<value>\\n`, the length counting its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) != len(str(rest)):
        length += 1
    return b"%d %b=%b\n" % (length, key, value)


@lru_cache(maxsize=1024)
def pax_header(kind: bytes, size: int) -> bytes:
    """The header block before `size` bytes of pax records."""
    return header(b"PaxHeaders/limpet", 0o644, size, 0, kind)


def pax_member(kind: bytes, records: bytes) -> bytes:
    """A pax header (`PAX` for the next member, `PAX_GLOBAL` for all) holding `records`."""
    size = len(records)
    return pax_header(kind, size) + records + padding(size)


def pax_time(time_ns: int) -> bytes:
    """Nanoseconds since the epoch as pax's decimal seconds."""
    seconds, fraction = divmod(abs(time_ns), 1_000_000_000)
    sign = b"-" if time_ns < 0 else b""
    return b"%b%d.%09d" % (sign, seconds, fraction) if fraction else b"%b%d" % (sign, seconds)


_PAX_TIME: Final = re.compile(rb"(-?)(\d{1,18})(?:\.(\d*))?\Z")


def parse_pax_time(value: bytes) -> int:
    """Nanoseconds since the epoch; digits beyond the ninth are dropped."""
    found = _PAX_TIME.match(value)
    if found is None:
        raise TarDamagedError(f"A time in the tar is not a number: {value[:40]!r}.")
    sign, seconds, fraction = found.groups()
    time_ns = int(seconds) * 1_000_000_000 + int((fraction or b"")[:9].ljust(9, b"0"))
    return -time_ns if sign else time_ns


_DIGITS: Final = re.compile(rb"\d{1,20}\Z")


def parse_decimal(value: bytes) -> int:
    """A number of at most 20 decimal digits, as pax has sizes and offsets."""
    if _DIGITS.match(value) is None:
        raise TarDamagedError(f"A number in the tar is malformed: {value[:40]!r}.")
    return int(value)


_OCTAL: Final = re.compile(rb"[ \0]*([0-7]*)[ \0]*\Z")


def parse_number(field: bytes) -> int:
    """A header's number: octal digits, or GNU's base 256 (which may be negative)."""
    digits = field[:-1]
    if digits.isdigit() and field[-1] == 0 and b"8" not in digits and b"9" not in digits:
        return int(digits, 8)
    first = field[0]
    if first & 0x80:
        value = int.from_bytes(field, "big") - (first << (8 * (len(field) - 1)))
        if first == 0xFF:
            return value - (1 << (8 * (len(field) - 1)))
        if first == 0x80:
            return value
        raise TarDamagedError("A number in a tar header is malformed.")
    found = _OCTAL.match(field)
    if found is None:
        raise TarDamagedError("A number in a tar header is malformed.")
    return int(found[1] or b"0", 8)


def checksum_matches(block: bytes) -> bool:
    """Whether the header's check sum is that of its bytes (some old tars sum them signed)."""
    try:
        said = parse_number(block[148:156])
    except TarDamagedError:
        return False
    total = (
        _byte_sum(block[:148]) + 8 * ord(" ") + _byte_sum(block[156:400]) + _byte_sum(block[400:])
    )
    if said == total:
        return True
    signed: tuple[int, ...] = struct.unpack("148b8x356b", block)
    return bool(said == sum(signed) + 8 * ord(" "))


def parse_pax(payload: bytes) -> list[tuple[bytes, bytes]]:
    """The records of a pax header, in their order; `TarDamagedError` when malformed."""
    records = []
    position = 0
    end = len(payload)
    while position < end:
        space = payload.find(b" ", position, position + 21)
        if space < 0:
            raise TarDamagedError("A pax record in the tar has no length.")
        length = parse_decimal(payload[position:space])
        stop = position + length
        if stop > end or stop - 1 <= space or payload[stop - 1] != 0x0A:
            raise TarDamagedError("A pax record in the tar has a wrong length.")
        key, equals, value = payload[space + 1 : stop - 1].partition(b"=")
        if not equals or not key:
            raise TarDamagedError("A pax record in the tar has no name.")
        records.append((key, value))
        position = stop
    return records


def show(path: bytes) -> str:
    """A path for people and JSON: undecodable bytes as `\\xNN`, cut at 400 characters."""
    text = path.decode("utf-8", "backslashreplace")
    return text if len(text) <= 400 else f"{text[:199]}…{text[-200:]}"


Progress = Callable[[int, int], None]
"""Called now and then with (bytes so far, entries so far)."""
