"""A tar into a fresh folder: by folder descriptors, nothing followed, nothing replaced.

Files are made with exclusive create below descriptors of folders that we made ourselves; symlinks
come after all files, folder modes and times last. The parser has judged every name before it gets
here. Whoever calls swaps the folder in afterwards: an error leaves nothing behind.
"""

import contextlib
import os
import time
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from limpet.errors import InvalidInputError, TarDamagedError
from limpet.snapshots.faults import reach
from limpet.snapshots.names import TarLimits
from limpet.snapshots.receipt import Receipt
from limpet.snapshots.remarks import Remarks
from limpet.snapshots.space import full_error, is_full, require_space
from limpet.snapshots.sparse import Segments
from limpet.snapshots.tar_format import Progress
from limpet.snapshots.tar_parse import Member, TarParser
from limpet.snapshots.tree import OPEN_FOLDER, delete_tree

EXTRACT_STEPS: Final = ("extract-begun", "extract-member", "extract-links", "extract-folders")
_KEPT_OPEN: Final = 64
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def extract_tar(
    chunks: Iterable[bytes],
    into: Path,
    *,
    limits: TarLimits | None = None,
    expect_blake3: str | None = None,
    expect_size: int | None = None,
    on_progress: Progress | None = None,
) -> Receipt:
    """Extract a tar into `into`, a folder that is missing or empty; gives the receipt.

    `expect_blake3` (hex) and `expect_size` are of the tar itself. Raises `TarDamagedError`,
    `TarUnsafeError`, `NotEnoughSpaceError` or `OSError`; then `into` is gone again.
    """
    started = time.monotonic()
    if expect_size is not None:
        require_space(into.parent, expect_size)
    try:
        into.mkdir(mode=0o755, exist_ok=True)
        if any(into.iterdir()):
            raise InvalidInputError(f"The folder {into} is not empty.")
    except OSError as error:
        raise (full_error(error) if is_full(error) else error) from error
    try:
        with contextlib.closing(_Extraction(into)) as extraction:
            parser = TarParser(extraction, limits or TarLimits())
            reach("extract-begun")
            for chunk in chunks:
                parser.feed(chunk)
                if on_progress is not None:
                    on_progress(parser.size_bytes, parser.entries)
            parser.finish()
            _expect(parser, expect_blake3, expect_size)
            extraction.finish()
    except BaseException as error:
        with contextlib.suppress(OSError):
            delete_tree(into)
        if isinstance(error, OSError) and is_full(error):
            raise full_error(error) from error
        raise
    return _receipt(parser, extraction, started, vouched=expect_blake3 is not None)


def _expect(parser: TarParser, digest: str | None, size: int | None) -> None:
    if size is not None and parser.size_bytes != size:
        raise TarDamagedError(f"The tar has {parser.size_bytes:,} bytes; {size:,} were expected.")
    if digest is not None and parser.digest != digest.lower():
        raise TarDamagedError("The tar does not match the digest that was expected.")


def _receipt(
    parser: TarParser, extraction: "_Extraction", started: float, *, vouched: bool
) -> Receipt:
    remarks = extraction.remarks
    if parser.set_ids:
        remarks.dropped["setid"] = parser.set_ids
    because = []
    if not (parser.recorded or vouched):
        because.append("the tar carries no digest of ours: only its structure was checked")
    saved = (parser.receipt_of_save or {}).get("incomplete_because", ())
    because += [f"the save was incomplete: {reason}" for reason in saved]
    return Receipt(
        "restore",
        entries=parser.entries,
        files=parser.files,
        bytes=parser.bytes,
        size_bytes=parser.size_bytes,
        blake3=parser.digest,
        duration_ms=int((time.monotonic() - started) * 1000),
        complete=not because,
        incomplete_because=tuple(because),
        dropped=dict(remarks.dropped),
        counts=dict(remarks.counts),
        live=False,
    )


class _Extraction:
    """The sink that makes what the parser finds."""

    def __init__(self, into: Path) -> None:
        self.remarks = Remarks()
        self._root_fd = os.open(into, OPEN_FOLDER)
        self._open: OrderedDict[bytes, int] = OrderedDict()
        self._folders: dict[bytes, tuple[int, int | None]] = {}
        self._links: list[Member] = []
        self._umask = _umask(self._root_fd)
        self._fd = -1
        self._mtime_ns = 0
        self._segments: Segments | None = None
        self._segment = 0
        self._in_segment = 0

    def close(self) -> None:
        """Close every descriptor."""
        for fd in (self._fd, self._root_fd, *self._open.values()):
            if fd >= 0:
                os.close(fd)
        self._open.clear()
        self._fd = self._root_fd = -1

    def begin(self, member: Member) -> None:
        """Make the file or folder; remember the link."""
        name = member.name
        kind = member.kind
        if not name:
            self._folders[name] = (member.mode, member.mtime_ns)
            return
        parent, _, base = name.rpartition(b"/")
        folder_fd = self._folder(parent)
        if kind == "file":
            self._fd = os.open(base, _CREATE, member.mode & 0o777, dir_fd=folder_fd)
            if member.mode & self._umask:
                os.fchmod(self._fd, member.mode)
            self._mtime_ns = member.mtime_ns or 0
            self._segments = member.segments
            if member.segments is not None:
                self._segment = self._in_segment = 0
                os.ftruncate(self._fd, member.real_size)
        elif kind == "folder":
            if name not in self._folders:
                os.mkdir(base, 0o700, dir_fd=folder_fd)
            self._folders[name] = (member.mode, member.mtime_ns)
        elif kind == "symlink" or member.to_symlink:
            self._links.append(member)
        else:
            self._hard_link(member)
        reach("extract-member")

    def data(self, piece: memoryview) -> None:
        """Write the next bytes of the file."""
        if self._segments is not None:
            self._sparse_data(piece)
            return
        written = os.write(self._fd, piece)
        while written < len(piece):
            written += os.write(self._fd, piece[written:])

    def end(self) -> None:
        """The file is whole: its time, then close."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            try:
                os.utime(fd, ns=(self._mtime_ns, self._mtime_ns))
            finally:
                os.close(fd)

    def finish(self) -> None:
        """Links, then modes and times of the folders, innermost first."""
        reach("extract-links")
        for member in self._links:
            if member.kind == "symlink":
                self._symlink(member)
            else:
                self._hard_link(member)
        reach("extract-folders")
        for name, (mode, mtime_ns) in reversed(self._folders.items()):
            if name:
                self._finish_folder(self._folder(name), mode, mtime_ns)
        if b"" in self._folders:
            self._finish_folder(self._root_fd, *self._folders[b""])

    def _finish_folder(self, fd: int, mode: int, mtime_ns: int | None) -> None:
        os.fchmod(fd, mode)
        if mtime_ns is not None:
            os.utime(fd, ns=(mtime_ns, mtime_ns))

    def _symlink(self, member: Member) -> None:
        parent, _, base = member.name.rpartition(b"/")
        folder_fd = self._folder(parent)
        os.symlink(member.target, base, dir_fd=folder_fd)
        mtime_ns = member.mtime_ns or 0
        os.utime(base, ns=(mtime_ns, mtime_ns), dir_fd=folder_fd, follow_symlinks=False)
        self.remarks.count("symlinks")

    def _hard_link(self, member: Member) -> None:
        from_parent, _, from_base = member.target.rpartition(b"/")
        parent, _, base = member.name.rpartition(b"/")
        from_fd = os.dup(self._folder(from_parent))
        try:
            os.link(
                from_base, base, src_dir_fd=from_fd, dst_dir_fd=self._folder(parent),
                follow_symlinks=False,
            )  # fmt: skip
        finally:
            os.close(from_fd)
        self.remarks.count("hard_links")

    def _sparse_data(self, piece: memoryview) -> None:
        assert self._segments is not None
        while piece:
            offset, length = self._segments[self._segment]
            room = length - self._in_segment
            if not room:
                self._segment += 1
                self._in_segment = 0
                continue
            written = os.pwrite(self._fd, piece[:room], offset + self._in_segment)
            self._in_segment += written
            piece = piece[written:]

    def _folder(self, path: bytes) -> int:
        """A descriptor of a folder that we made; open until 64 others were asked for."""
        if not path:
            return self._root_fd
        known = self._open.get(path)
        if known is not None:
            self._open.move_to_end(path)
            return known
        fd = -1
        ancestor = path
        while fd < 0 and ancestor:
            ancestor = ancestor.rpartition(b"/")[0]
            fd = self._open.get(ancestor, -1) if ancestor else self._root_fd
        here = ancestor
        for part in path[len(ancestor) + bool(ancestor) :].split(b"/"):
            fd = os.open(part, OPEN_FOLDER, dir_fd=fd)
            here = here + b"/" + part if here else part
            self._open[here] = fd
            if len(self._open) > _KEPT_OPEN:
                os.close(self._open.popitem(last=False)[1])
        return fd


def _umask(fd: int) -> int:
    """Which bits a new file's mode may lack; all of them when the folder has a default ACL."""
    with contextlib.suppress(OSError):
        if "system.posix_acl_default" in os.listxattr(fd):
            return 0o1777
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8) | 0o1000
    return 0o1777
