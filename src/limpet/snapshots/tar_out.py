"""The bytes of a tar going out: members and their data gathered into chunks, hashed on the way.

Knows the archive's layout (limpet.snapshots.tar_format) and nothing of where members come from.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from blake3 import blake3

from limpet.snapshots import tar_format as tf
from limpet.snapshots.tar_format import Progress

CHUNK_BYTES: Final = 1 << 20


class TarOut:
    """Put members in, take chunks out with `flush` whenever `pending` is large; `ending` is last.

    `entries` counts members, `written` the bytes flushed so far.
    """

    def __init__(self, on_progress: Progress | None) -> None:
        self._on_progress = on_progress
        self._hasher = blake3()
        self.entries = 0
        self.written = 0
        version = tf.pax_member(tf.PAX_GLOBAL, tf.pax_record(tf.KEY_VERSION, tf.VERSION))
        self.parts: list[bytes] = [version]
        self.pending = len(version)

    @property
    def digest(self) -> str:
        """Hex BLAKE3 of everything flushed so far."""
        return self._hasher.hexdigest()

    def put(self, data: bytes) -> None:
        """Bytes that belong to the member whose header was last."""
        self.parts.append(data)
        self.pending += len(data)

    def flush(self) -> Iterator[bytes]:
        """What was put in, as chunks of about 1 MiB."""
        parts, pending = self.parts, self.pending
        self.parts = []
        self.pending = 0
        for chunk in [b"".join(parts)] if pending <= 2 * CHUNK_BYTES else _grouped(parts):
            self._hasher.update(chunk)
            self.written += len(chunk)
            if self._on_progress is not None:
                self._on_progress(self.written, self.entries)
            yield chunk

    def member(
        self, name: bytes, mode: int, size: int, mtime_ns: int, kind: bytes,
        link: bytes = b"", records: bytes = b"", real_name: bytes | None = None,
    ) -> None:  # fmt: skip
        """Write the headers of one member. `real_name` is what a sparse member is really called."""
        self.entries += 1
        mtime_s, fraction = divmod(mtime_ns, 1_000_000_000)
        if fraction or not tf.fits_octal(mtime_s):
            records += tf.pax_record(b"mtime", tf.pax_time(mtime_ns))
            mtime_s = max(0, mtime_s) if tf.fits_octal(max(0, mtime_s)) else 0
        prefix = b""
        binary = False
        if len(name) > 100:
            split = tf.split_name(name)
            if split is None:
                if real_name is None:
                    binary = not _is_utf8(name)
                    records += tf.pax_record(b"path", name)
                name = name[-100:].lstrip(b"/")
            else:
                prefix, name = split
        if len(link) > 100:
            binary = binary or not _is_utf8(link)
            records += tf.pax_record(b"linkpath", link)
            link = link[:100]
        if not tf.fits_octal(size):
            records += tf.pax_record(b"size", b"%d" % size)
            size = 0
        if binary or (real_name is not None and not _is_utf8(real_name)):
            records = tf.pax_record(b"hdrcharset", b"BINARY") + records
        if records:
            self.put(tf.pax_member(tf.PAX, records))
        self.put(tf.header(name, mode, size, mtime_s, kind, link, prefix))

    def file(
        self, path: bytes, mode: int, mtime_ns: int, size: int, segments: Sequence[tuple[int, int]]
    ) -> int:
        """Write the headers of a file whose data lies in `segments`; gives how many bytes follow.

        `[(0, size)]` is a plain file, anything else a sparse one. Put the bytes, then
        `tf.padding` of that many.
        """
        total = sum(length for _, length in segments)
        if size == 0 or list(segments) == [(0, size)]:
            self.member(path, mode, total, mtime_ns, tf.FILE)
            return total
        numbers = [len(segments), *(number for segment in segments for number in segment)]
        table = b"".join(b"%d\n" % number for number in numbers)
        table += tf.padding(len(table))
        records = (
            tf.pax_record(b"GNU.sparse.major", b"1")
            + tf.pax_record(b"GNU.sparse.minor", b"0")
            + tf.pax_record(b"GNU.sparse.name", path)
            + tf.pax_record(b"GNU.sparse.realsize", b"%d" % size)
        )
        folder, _, name = path.rpartition(b"/")
        stand_in = (folder + b"/" if folder else b"") + b"GNUSparseFile.0/" + name
        self.member(
            stand_in, mode, len(table) + total, mtime_ns, tf.FILE, records=records, real_name=path
        )
        self.put(table)
        return total

    def ending(self, receipt: Mapping[str, object], mode: int, mtime_ns: int) -> Iterator[bytes]:
        """The receipt, the closing record, the workspace folder itself, the end mark."""
        as_json = json.dumps(receipt, separators=(",", ":"), ensure_ascii=False).encode()
        self.put(tf.pax_member(tf.PAX_GLOBAL, tf.pax_record(tf.KEY_RECEIPT, as_json)))
        yield from self.flush()
        self.member(b"./", mode & 0o1777, 0, mtime_ns, tf.FOLDER)
        closing = b"".join(self.parts)
        record = (
            tf.pax_record(tf.KEY_BLAKE3, self.digest.encode())
            + tf.pax_record(tf.KEY_SIZE, b"%d" % self.written)
            + tf.pax_record(tf.KEY_COUNT, b"%d" % self.entries)
            + tf.pax_record(tf.KEY_ROOT, blake3(closing).hexdigest().encode())
        )
        self.parts = [tf.pax_member(tf.PAX_GLOBAL, record), closing, tf.END_MARK]
        self.pending = 0
        yield from self.flush()


def _grouped(parts: list[bytes]) -> Iterator[bytes]:
    group: list[bytes] = []
    size = 0
    for part in parts:
        group.append(part)
        size += len(part)
        if size >= CHUNK_BYTES:
            yield b"".join(group)
            group, size = [], 0
    if size:
        yield b"".join(group)


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True
