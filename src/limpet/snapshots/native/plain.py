"""The floor in Python: what runs where there is no compiled one, with the same results."""

import errno
import os
import stat
from collections.abc import Sequence

from limpet.snapshots.native.records import (
    CHANGED,
    EntryStat,
    Listing,
    ReadFiles,
    WriteJobs,
    Written,
    check_name,
    no_results,
    pack_records,
    room_for,
    within,
)

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LOOKS = 0o1777


def scan_folder(fd: int) -> Listing:
    """Every entry of the open folder, looked at without following links, packed and by name.

    What vanishes meanwhile is left out. Raises `OSError` when the folder cannot be read.
    """
    found = []
    errors = []
    for text in os.listdir(fd):
        name = os.fsencode(text)
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


def read_files(folder_fd: int, names: Sequence[bytes], sizes: Sequence[int]) -> ReadFiles:
    """Read whole files of a folder that should have these sizes; nothing blocks on a FIFO.

    The caller bounds the sum of the sizes. Raises `ValueError` for a name that cannot be.
    """
    read = room_for(sizes)
    for job, (name, size) in enumerate(zip(names, sizes, strict=True)):
        check_name(name)
        try:
            read.errnos[job] = _read_one(read, job, folder_fd, name, size)
        except OSError as error:
            read.errnos[job] = error.errno or errno.EIO
        if read.errnos[job] == 0:
            read.lengths[job] = size
    return read


def _read_one(read: ReadFiles, job: int, folder_fd: int, name: bytes, size: int) -> int:
    fd = os.open(name, _READ, dir_fd=folder_fd)
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
        try:
            read.xattrs[job] = 1 if os.listxattr(fd) else 0
        except OSError:
            read.xattrs[job] = 0
        same = (
            before.st_mtime_ns == after.st_mtime_ns
            and before.st_ctime_ns == after.st_ctime_ns
            and after.st_size == size
        )
        return 0 if same else CHANGED
    finally:
        os.close(fd)


def write_files(data: bytes | bytearray | memoryview, jobs: WriteJobs) -> Written:
    """Make each file with exclusive create, its bytes, its mode and time; stop at the first error.

    A file that fails is removed again. Raises `ValueError` for a job that cannot be.
    """
    view = memoryview(data)
    jobs.check(len(view))
    done = no_results(len(jobs))
    failed = False
    for job in range(len(jobs)):
        if failed:
            done.errnos[job] = errno.ECANCELED
            continue
        try:
            _write_one(view, jobs, job, done)
        except OSError as error:
            done.errnos[job] = error.errno or errno.EIO
            failed = True
    return done


def _write_one(view: memoryview, jobs: WriteJobs, job: int, done: Written) -> None:
    folder_fd, name, mode = jobs.folder_fds[job], jobs.names[job], jobs.modes[job] & _LOOKS
    fd = os.open(name, _CREATE, mode & 0o777, dir_fd=folder_fd)
    try:
        try:
            piece = view[jobs.offsets[job] :][: jobs.lengths[job]]
            while piece:
                piece = piece[os.write(fd, piece) :]
            if os.fstat(fd).st_mode & 0o7777 != mode:
                os.fchmod(fd, mode)
            os.utime(fd, ns=(jobs.mtimes_ns[job], jobs.mtimes_ns[job]))
            status = os.fstat(fd)
        finally:
            os.close(fd)
    except OSError:
        os.unlink(name, dir_fd=folder_fd)
        raise
    done.inos[job] = status.st_ino
    done.ctimes_ns[job] = status.st_ctime_ns
