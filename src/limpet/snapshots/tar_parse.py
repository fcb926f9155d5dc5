"""A push parser for tars: bytes in, members and their data out, every rule checked on the way.

It accepts plain, GNU and pax archives. What could reach outside, or is not whole, raises at once:
`TarUnsafeError` for names, links and limits, `TarDamagedError` for broken structure. It touches no
disk and holds the names only, so a tar can be judged without being extracted.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from blake3 import blake3

from limpet.errors import TarDamagedError, TarUnsafeError
from limpet.snapshots import sparse
from limpet.snapshots import tar_format as tf
from limpet.snapshots.names import Kind, Names, TarLimits, clean_name
from limpet.snapshots.sparse import Segments
from limpet.snapshots.tar_format import BLOCK

_MAX_ZEROS_AFTER_END: Final = 1 << 20
_MAX_LINK_BYTES: Final = 4095
_MAX_TIME_NS: Final = (1 << 56) * 1_000_000_000
_ZERO_BLOCK: Final = bytes(BLOCK)
_NOT_FOR_ALL: Final = (b"path", b"linkpath", b"size")
_META: Final = frozenset({b"x", b"X", b"g", b"L", b"K"})
_REFUSED: Final = {b"3": "a character device", b"4": "a block device", b"6": "a fifo"}
_KINDS: Final[dict[bytes, Kind]] = {
    b"0": "file", b"\0": "file", b"7": "file", b"S": "file",
    b"1": "hard-link", b"2": "symlink", b"5": "folder",
}  # fmt: skip


@dataclass(slots=True)
class Member:
    """One entry of a tar, already judged safe. `name` is relative, without slashes at its ends."""

    name: bytes
    kind: Kind
    mode: int
    mtime_ns: int | None
    """None for a folder that the tar only implies."""
    size: int = 0
    """Bytes of data that follow in the tar."""
    target: bytes = b""
    """Of a hard link: the clean name of an earlier entry; of a symlink: its text."""
    to_symlink: bool = False
    """Whether a hard link's target is a symlink."""
    segments: Segments | None = None
    """Where the data of a sparse file goes: (offset, length)."""
    real_size: int = 0
    """The size of a sparse file, holes counted."""


class Sink(Protocol):
    """Takes what the parser finds; the root folder comes with an empty name."""

    def begin(self, member: Member) -> None:
        """A member begins."""

    def data(self, piece: memoryview) -> None:
        """The next bytes of the member's data."""

    def end(self) -> None:
        """The member is whole."""


class Nowhere:
    """A sink for a tar that is only judged."""

    def begin(self, member: Member) -> None:
        """Nothing to do."""

    def data(self, piece: memoryview) -> None:
        """Nothing to do."""

    def end(self) -> None:
        """Nothing to do."""


@dataclass(slots=True)
class _Pending:
    """What extension headers said about the next member."""

    name: bytes | None = None
    link: bytes | None = None
    records: dict[bytes, bytes] = field(default_factory=dict)
    pairs: list[int] = field(default_factory=list)


_NOTHING_PENDING: Final = _Pending()


class TarParser:
    """Feed it the whole tar, then `finish()`. Any error is final.

    Afterwards `entries`, `files` and `bytes` count (holes too), `digest` is the BLAKE3 of all bytes
    fed, `recorded` tells whether the archive carried our record (and matched it), and
    `receipt_of_save` is the receipt it carried.
    """

    def __init__(self, sink: Sink, limits: TarLimits) -> None:
        self._sink = sink
        self._limits = limits
        self.names = Names(limits)
        self.entries = 0
        self.files = 0
        self.bytes = 0
        self.size_bytes = 0
        self.set_ids = 0
        self.recorded = False
        self.receipt_of_save: dict[str, Any] | None = None
        self._hasher = blake3()
        self._chunk = memoryview(b"")
        self._chunk_at = 0
        self._hashed = 0
        self._leftover = b""
        self._need = BLOCK
        self._take: Callable[[bytes], None] = self._header
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._block_end = 0
        self._data_left = 0
        self._padding_left = 0
        self._data_bytes = 0
        self._sparse_bytes = 0
        self._pending = _NOTHING_PENDING
        self._global_mtime_ns: int | None = None
        self._meta_kind = b""
        self._meta_size = 0
        self._meta_at = 0
        self._meta_block = b""
        self._digest_before_meta = ""
        self._zero_blocks = 0
        self._version_seen = False
        self._record: dict[bytes, bytes] | None = None
        self._closing = blake3()
        self._sparse: Member | None = None
        self._table = sparse.Table()

    @property
    def digest(self) -> str:
        """Hex BLAKE3 of everything fed so far."""
        return self._hasher.hexdigest()

    def feed(self, chunk: bytes) -> None:
        """The next bytes of the tar, in pieces of any size."""
        self._chunk_at = self.size_bytes - len(self._leftover)
        self.size_bytes += len(chunk)
        if self.size_bytes > self._limits.max_tar_bytes:
            raise TarUnsafeError(
                f"The tar is larger than the limit of {self._limits.max_tar_bytes:,} bytes."
            )
        if self._leftover:
            chunk = self._leftover + chunk
        self._chunk = memoryview(chunk)
        self._hashed = 0
        rest = self._consume(chunk)
        self._hash_to(rest)
        self._leftover = chunk[rest:]

    def finish(self) -> None:
        """The tar has ended: `TarDamagedError` unless it is whole and matches its own record."""
        if self._zero_blocks < 2 or self._leftover:
            raise TarDamagedError(
                "The tar is cut off: it has no end mark.", hint="Send it again from the start."
            )
        if self._record is None:
            if self._version_seen or self.receipt_of_save is not None:
                raise TarDamagedError("The tar is cut off: its closing record is missing.")
            return
        if tf.parse_decimal(self._record[tf.KEY_COUNT]) != self.entries:
            raise TarDamagedError("The tar holds another number of entries than it says.")
        if self._closing.hexdigest().encode() != self._record[tf.KEY_ROOT]:
            raise TarDamagedError("The closing member of the tar is damaged.")
        self.recorded = True

    # -- bytes ------------------------------------------------------------------------------------

    def _consume(self, chunk: bytes) -> int:
        """Take in the chunk; gives where an incomplete header begins, to be seen again."""
        view = self._chunk
        end = len(chunk)
        position = 0
        while position < end:
            if self._data_left:
                taken = min(self._data_left, end - position)
                self._sink.data(view[position : position + taken])
                self._data_left -= taken
                if not self._data_left:
                    self._sink.end()
            elif self._padding_left:
                taken = min(self._padding_left, end - position)
                self._padding_left -= taken
            elif self._held_bytes or self._need > BLOCK:
                taken = min(self._need - self._held_bytes, end - position)
                self._held.append(chunk[position : position + taken])
                self._held_bytes += taken
                if self._held_bytes == self._need:
                    whole = b"".join(self._held)
                    self._held.clear()
                    self._held_bytes = 0
                    self._block_end = self._chunk_at + position + taken
                    self._take(whole)
            elif end - position < BLOCK:
                return position
            else:
                taken = BLOCK
                self._block_end = self._chunk_at + position + BLOCK
                self._take(chunk[position : position + BLOCK])
            position += taken
        return end

    def _hash_to(self, position: int) -> None:
        if position > self._hashed:
            self._hasher.update(self._chunk[self._hashed : position])
            self._hashed = position

    def _header(self, block: bytes) -> None:
        if self._zero_blocks:
            self._after_end(block)
            return
        if block == _ZERO_BLOCK:
            if self._pending is not _NOTHING_PENDING:
                raise TarDamagedError("The tar ends inside an extension header.")
            self._zero_blocks = 1
            return
        if not tf.checksum_matches(block):
            raise TarDamagedError(
                f"A header of the tar is damaged, at byte {self._block_end - BLOCK:,}."
            )
        if self._record is not None:
            self._closing.update(block)
        kind = block[156:157]
        if kind in _META:
            self._begin_meta(kind, block)
        else:
            self._member(kind, block)

    def _after_end(self, block: bytes) -> None:
        self._zero_blocks += 1
        if block != _ZERO_BLOCK or self._zero_blocks * BLOCK > _MAX_ZEROS_AFTER_END:
            raise TarDamagedError("The tar goes on after its end mark.")

    # -- extension headers ------------------------------------------------------------------------

    def _begin_meta(self, kind: bytes, block: bytes) -> None:
        size = tf.parse_number(block[124:136])
        if not 0 <= size <= tf.MAX_PAX_BYTES:
            raise TarUnsafeError(f"An extension header of the tar says it has {size:,} bytes.")
        self._meta_kind = kind
        self._meta_size = size
        self._meta_at = self._block_end - BLOCK
        if kind == tf.PAX_GLOBAL:
            self._hash_to(self._meta_at - self._chunk_at)
            self._digest_before_meta = self.digest
            self._meta_block = block
        if size == 0:
            self._meta(b"")
            return
        self._need = size + (-size % BLOCK)
        self._take = self._meta

    def _meta(self, padded: bytes) -> None:
        self._need = BLOCK
        self._take = self._header
        payload = padded[: self._meta_size]
        if padded[self._meta_size :].strip(b"\0"):
            raise TarDamagedError("The padding of an extension header is not zero.")
        if self._meta_kind == tf.PAX_GLOBAL:
            self._global(dict(tf.parse_pax(payload)))
            return
        if self._record is not None:
            self._closing.update(padded)
        if self._pending is _NOTHING_PENDING:
            self._pending = _Pending()
        if self._meta_kind == tf.GNU_LONG_NAME:
            self._pending.name = payload.removesuffix(b"\0")
        elif self._meta_kind == tf.GNU_LONG_LINK:
            self._pending.link = payload.removesuffix(b"\0")
        else:
            self._records(tf.parse_pax(payload))

    def _records(self, records: list[tuple[bytes, bytes]]) -> None:
        for key, value in records:
            if key in {b"GNU.sparse.offset", b"GNU.sparse.numbytes"}:
                self._pending.pairs.append(tf.parse_decimal(value))
            elif key.startswith(b"LIMPET."):
                raise TarDamagedError("The tar has a record of ours where none belongs.")
            else:
                self._pending.records[key] = value

    def _global(self, values: dict[bytes, bytes]) -> None:
        if self._record is not None or self._pending is not _NOTHING_PENDING:
            raise TarDamagedError("The tar has a global header where none belongs.")
        ours = {key for key in values if key.startswith(b"LIMPET.")}
        if any(key in _NOT_FOR_ALL or key.startswith(b"GNU.sparse.") for key in values):
            raise TarUnsafeError("The tar sets one name or size for all its entries.")
        if b"mtime" in values:
            self._global_mtime_ns = tf.parse_pax_time(values[b"mtime"])
        if not ours:
            return
        if ours == {tf.KEY_VERSION} and self._meta_at == 0:
            if values[tf.KEY_VERSION] != tf.VERSION:
                raise TarDamagedError("The tar was written by another version of Limpet.")
            self._version_seen = True
        elif ours == {tf.KEY_RECEIPT} and self.receipt_of_save is None:
            self.receipt_of_save = _parse_receipt(values[tf.KEY_RECEIPT])
        elif ours == tf.RECORD_KEYS and self._meta_block == tf.pax_header(
            tf.PAX_GLOBAL, self._meta_size
        ):
            if tf.parse_decimal(values[tf.KEY_SIZE]) != self._meta_at:
                raise TarDamagedError("The tar has another length than its record says.")
            if values[tf.KEY_BLAKE3] != self._digest_before_meta.encode():
                raise TarDamagedError("The tar does not match the digest that it carries.")
            self._record = values
        else:
            raise TarDamagedError("The closing record of the tar is damaged.")

    # -- members ----------------------------------------------------------------------------------

    def _member(self, flag: bytes, block: bytes) -> None:
        pending, self._pending = self._pending, _NOTHING_PENDING
        records = pending.records
        kind = _KINDS.get(flag)
        raw = records.get(b"path") if records else None
        if raw is None:
            raw = pending.name if pending.name is not None else _name_in(block)
        if kind is None:
            what = _REFUSED.get(flag, f"an entry of an unknown kind {flag!r}")
            raise TarUnsafeError(f"The tar holds {what}: {tf.show(raw)!r}.")
        if kind == "file" and flag == b"\0" and raw.endswith(b"/"):
            kind = "folder"
        size = tf.parse_number(block[124:136])
        if b"size" in records:
            size = tf.parse_decimal(records[b"size"])
        mode = tf.parse_number(block[100:108])
        if mode & 0o6000:
            self.set_ids += 1
        member = Member(b"", kind, mode & 0o1777, self._mtime_ns(block, records), size)
        if kind == "file":
            self._sparse_member(member, flag, block, pending)
        elif size:
            raise TarDamagedError(f"The tar holds a link or folder with content: {tf.show(raw)!r}.")
        raw = records.get(b"GNU.sparse.name", raw)
        if kind != "folder" and (raw.endswith(b"/") or raw in {b".", b"./"}):
            raise TarUnsafeError(
                f"The tar holds a {kind} that is named as a folder: {tf.show(raw)!r}."
            )
        member.name = clean_name(raw)
        if kind in {"hard-link", "symlink"}:
            self._link(member, records.get(b"linkpath", pending.link), block)
        self._count(member)
        if self._sparse is None:
            self._begin(member)

    def _mtime_ns(self, block: bytes, records: dict[bytes, bytes]) -> int:
        if b"mtime" in records:
            mtime_ns = tf.parse_pax_time(records[b"mtime"])
        elif self._global_mtime_ns is not None:
            mtime_ns = self._global_mtime_ns
        else:
            mtime_ns = tf.parse_number(block[136:148]) * 1_000_000_000
        if abs(mtime_ns) > _MAX_TIME_NS:
            raise TarDamagedError("The tar holds a time that is no time.")
        return mtime_ns

    def _link(self, member: Member, target: bytes | None, block: bytes) -> None:
        if target is None:
            target = block[157:257].partition(b"\0")[0]
        if member.kind == "symlink":
            if not target or b"\0" in target or len(target) > _MAX_LINK_BYTES:
                raise TarUnsafeError(f"The tar holds a bad symlink: {tf.show(member.name)!r}.")
            member.target = target
            return
        member.target = clean_name(target)
        earlier = self.names.kind_of(member.target)
        if earlier not in {"file", "symlink"}:
            raise TarUnsafeError(
                f"The tar holds a hard link to what is no file of it: {tf.show(target)!r}."
            )
        member.to_symlink = earlier == "symlink"

    def _count(self, member: Member) -> None:
        limits = self._limits
        if self._record is not None and member.name:
            raise TarDamagedError("The tar goes on after its closing record.")
        self.entries += 1
        if self.entries > limits.max_entries:
            raise TarUnsafeError(f"The tar holds more than {limits.max_entries:,} entries.")
        if member.kind == "file":
            self.files += 1
        self._data_bytes += member.size
        if not 0 <= member.size <= limits.max_bytes or self._data_bytes > limits.max_bytes:
            raise TarUnsafeError(f"The tar holds more than {limits.max_bytes:,} bytes of data.")
        plain = "symlink" if member.to_symlink else "file"
        kind = plain if member.kind == "hard-link" else member.kind
        for folder in self.names.add(member.name, kind):  # type: ignore[arg-type]
            self._sink.begin(Member(folder, "folder", 0o755, None))
            self._sink.end()

    def _begin(self, member: Member) -> None:
        self.bytes += member.size if member.segments is None else member.real_size
        self._sink.begin(member)
        self._data_left = member.size
        self._padding_left = -member.size % BLOCK
        if not member.size:
            self._sink.end()

    # -- sparse files -----------------------------------------------------------------------------

    def _sparse_member(self, member: Member, flag: bytes, block: bytes, pending: _Pending) -> None:
        records = pending.records
        if flag == tf.GNU_SPARSE:
            member.real_size = tf.parse_number(block[483:495])
            member.segments = sparse.old_gnu_pairs(block[386:482], 4)
            if block[482]:
                self._sparse = member
                self._take = self._more_old_gnu
                return
        elif not any(key.startswith(b"GNU.sparse.") for key in records) and not pending.pairs:
            return
        elif records.get(b"GNU.sparse.major") == b"1":
            member.real_size = tf.parse_decimal(records.get(b"GNU.sparse.realsize", b""))
            self._sparse = member
            self._table = sparse.Table()
            self._take = self._table_block
            return
        else:
            size = records.get(b"GNU.sparse.size", records.get(b"GNU.sparse.realsize", b""))
            member.real_size = tf.parse_decimal(size)
            numbers = pending.pairs
            if b"GNU.sparse.map" in records:
                numbers = [tf.parse_decimal(n) for n in records[b"GNU.sparse.map"].split(b",")]
            member.segments = sparse.in_pairs(numbers)
        self._check_sparse(member)

    def _table_block(self, block: bytes) -> None:
        member = self._sparse
        assert member is not None
        if self._record is not None or member.size < BLOCK:
            raise TarDamagedError(f"A sparse file is damaged: {tf.show(member.name)!r}.")
        member.size -= BLOCK
        member.segments = self._table.take(block)
        if member.segments is not None:
            self._sparse_complete(member)

    def _more_old_gnu(self, block: bytes) -> None:
        member = self._sparse
        assert member is not None
        assert member.segments is not None
        member.segments += sparse.old_gnu_pairs(block[:504], 21)
        if len(member.segments) > sparse.MAX_SEGMENTS:
            raise TarUnsafeError("A sparse file in the tar has too many pieces.")
        if not block[504]:
            self._sparse_complete(member)

    def _sparse_complete(self, member: Member) -> None:
        self._sparse = None
        self._take = self._header
        self._check_sparse(member)
        self._begin(member)

    def _check_sparse(self, member: Member) -> None:
        assert member.segments is not None
        sparse.check(member.segments, member.size, member.real_size)
        self._sparse_bytes += member.real_size
        if self._sparse_bytes > self._limits.max_sparse_bytes:
            raise TarUnsafeError(
                f"The tar's sparse files hold more than {self._limits.max_sparse_bytes:,} bytes."
            )


def _name_in(block: bytes) -> bytes:
    name = block[:100].partition(b"\0")[0]
    if block[257:263] == b"ustar\0":
        prefix = block[345:500].partition(b"\0")[0]
        if prefix:
            return prefix + b"/" + name
    return name


def _parse_receipt(text: bytes) -> dict[str, Any]:
    try:
        receipt = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TarDamagedError("The receipt in the tar is damaged.") from error
    if not isinstance(receipt, dict):
        raise TarDamagedError("The receipt in the tar is damaged.")
    return receipt
