"""The floor in Python: what runs where there is no compiled one, with the same results."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from typing import Final

from blake3 import blake3

from limpet.snapshots.native.new_files import (
    NewFiles,
    WriteJobs,
    Written,
    check_names,
    may_name,
    no_results,
)
from limpet.snapshots.native.records import (
    CHANGED,
    EntryStat,
    Listing,
    Listings,
    ReadFiles,
    folders_for,
    joined,
    pack_records,
    room_for,
    within,
    within_bytes,
)

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NO_ATIME: Final = getattr(os, "O_NOATIME", 0)
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LOOKS: Final = 0o1777
MAX_CHAIN: Final = 64
"""Folders on the way down to one whose listing is compared."""


def scan_folder(fd: int) -> Listing:
    """Every entry of the open folder, looked at without following links, packed and by name.

    What vanishes meanwhile is left out. Raises `OSError` when the folder cannot be read. Where the
    descriptor stands does not matter, nor is it moved.
    """
    found = []
    errors = []
    own = os.open(b".", _FOLDER, dir_fd=fd)
    try:
        names = [os.fsencode(text) for text in os.listdir(own)]
    finally:
        os.close(own)
    for name in names:
        try:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            continue
        except OSError as error:
            errors.append((name, error.errno or errno.EIO))
            continue
        found.append(
            EntryStat(
                status.st_mode,
                status.st_nlink,
                status.st_dev,
                status.st_ino,
                status.st_size,
                within(status.st_mtime_ns),
                within(status.st_ctime_ns),
                status.st_blocks,
                name,
            )
        )
    found.sort(key=lambda entry: entry.name)
    return Listing(pack_records(found), tuple(sorted(errors)))


def compare_listings(fd: int, paths: Sequence[bytes], data: Listings, first: int) -> bytes:
    """Which folders below an open one are listed as they were: 1 for those, 0 for all others.

    The listings are those of the rows from `first` on. Paths are relative; no link is followed to a
    folder, and one that lies more than 64 deep is not looked at. Raises `ValueError` for rows that
    there are none of.
    """
    data.rows_from(first, len(paths))
    joined(paths)
    same = bytearray(len(paths))
    for number, path in enumerate(paths):
        with contextlib.suppress(OSError), _opened(fd, path) as folder:
            found = scan_folder(folder)
            same[number] = not found.errors and found.records == data.listing(first + number)
    return bytes(same)


@contextlib.contextmanager
def _opened(fd: int, path: bytes) -> Iterator[int]:
    parts = path.split(b"/") if path else []
    if len(parts) > MAX_CHAIN or not all(may_name(part) for part in parts):
        raise OSError(errno.EINVAL, "no such folder is looked at")
    opened = os.dup(fd)
    try:
        for part in parts:
            deeper = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=opened)
            os.close(opened)
            opened = deeper
        yield opened
    finally:
        os.close(opened)


def read_files(
    folders: int | Sequence[int], names: Sequence[bytes], sizes: Sequence[int]
) -> ReadFiles:
    """Read and hash whole files that should have these sizes; nothing blocks on a FIFO.

    `folders` are the open folders in which they lie, one for each file, or one for all. The caller
    bounds the sum of the sizes. Raises `ValueError` for a name or size that cannot be.
    """
    read = room_for(sizes)
    check_names(names, len(sizes))
    folder_fds = folders_for(folders, len(sizes))
    for job, (name, size) in enumerate(zip(names, sizes, strict=True)):
        try:
            read.errnos[job] = _read_one(read, job, folder_fds[job], name, size)
        except OSError as error:
            read.errnos[job] = error.errno or errno.EIO
        if read.errnos[job] == 0:
            read.lengths[job] = size
    read.hashes = hash_blobs(read.data, read.offsets, read.lengths)
    return read


def hash_blobs(
    data: bytes | bytearray | memoryview, offsets: Sequence[int], lengths: Sequence[int]
) -> bytes:
    """The hashes of parts of a buffer, 32 bytes each.

    Raises `ValueError` for a part that is not in it.
    """
    view = memoryview(data).cast("B")
    within_bytes(offsets, lengths, len(view))
    return b"".join(
        blake3(view[at : at + length]).digest() for at, length in zip(offsets, lengths, strict=True)
    )


def _read_one(read: ReadFiles, job: int, folder_fd: int, name: bytes, size: int) -> int:
    fd = _open(folder_fd, name)
    try:
        before = os.fstat(fd)
        if not stat.S_ISREG(before.st_mode) or before.st_size != size:
            return CHANGED
        at = read.offsets[job]
        got = 0
        with memoryview(read.data) as view:
            while got < size:
                count = os.readv(fd, [view[at + got : at + size]])
                if count == 0:
                    return CHANGED
                got += count
        after = os.fstat(fd)
        read.mtimes_ns[job] = within(after.st_mtime_ns)
        read.ctimes_ns[job] = within(after.st_ctime_ns)
        read.inos[job] = after.st_ino
        read.modes[job] = after.st_mode
        read.nlinks[job] = after.st_nlink
        read.xattrs[job] = _has_xattrs(fd)
        same = (
            before.st_mtime_ns == after.st_mtime_ns
            and before.st_ctime_ns == after.st_ctime_ns
            and after.st_size == size
        )
        return 0 if same else CHANGED
    finally:
        os.close(fd)


def _open(folder_fd: int, name: bytes) -> int:
    if _NO_ATIME:
        with contextlib.suppress(PermissionError):
            return os.open(name, _READ | _NO_ATIME, dir_fd=folder_fd)
    return os.open(name, _READ, dir_fd=folder_fd)


def _has_xattrs(fd: int) -> bool:
    # Python lists them on Linux alone; elsewhere this twin sees none.
    try:
        return bool(os.listxattr(fd)) if hasattr(os, "listxattr") else False
    except OSError:
        return False


def write_files(data: bytes | bytearray | memoryview, jobs: WriteJobs, of: NewFiles) -> Written:
    """Make each file with exclusive create, its bytes, its time and mode; stop at the first error.

    `data` is contiguous; `of` says what the files that `jobs` number look like, and is not added to
    meanwhile. Of a mode, the permission bits and the sticky bit are taken, whatever the umask is. A
    file that fails is removed again. Raises `ValueError` for a job that cannot be.
    """
    view = memoryview(data).cast("B")
    jobs = jobs.checked(of, len(view))
    done = no_results(len(jobs))
    for job, file in enumerate(jobs.files):
        data_of_file = view[jobs.offsets[job] :][: of.sizes[file]]
        try:
            _write_one(data_of_file, jobs.folder_fds[job], of, file)
        except OSError as error:
            done.errnos[job] = error.errno or errno.EIO
            for later in range(job + 1, len(jobs)):
                done.errnos[later] = errno.ECANCELED
            break
    return done


def _write_one(data: memoryview, folder_fd: int, of: NewFiles, file: int) -> None:
    name, mode, mtime_ns = of.names[file], of.modes[file] & _LOOKS, of.mtimes[file]
    fd = os.open(name, _CREATE, mode & 0o777, dir_fd=folder_fd)
    try:
        try:
            while data:
                count = os.write(fd, data)
                if count == 0:
                    raise OSError(errno.EIO, "a write of some bytes wrote none")
                data = data[count:]
            os.utime(fd, ns=(mtime_ns, mtime_ns))
            if os.fstat(fd).st_mode & 0o7777 != mode:
                os.fchmod(fd, mode)
        finally:
            os.close(fd)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=folder_fd)
        raise
