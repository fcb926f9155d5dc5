"""A disk that reads no faster than a cloud's volume: a fast one, under the kernel's own limit."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_CONTROLLER: Final = Path("/sys/fs/cgroup/blkio")
_LIMIT: Final = "blkio.throttle.read_bps_device"


class CannotLimitError(Exception):
    """This machine has no such limit, or not for us."""


@contextlib.contextmanager
def reads_limited(folder: Path, bytes_per_s: int) -> Iterator[None]:
    """This process, and what it starts, reads so much from the disk of a folder and no more.

    What is in memory already is read as ever: `forget` it. Raises `CannotLimitError` where that is
    not possible: it takes root, cgroup v1 and its `blkio` (the kernel's
    admin-guide/cgroup-v1/blkio-controller).
    """
    group = _CONTROLLER / f"limpet-bench-{os.getpid()}"
    before = _CONTROLLER / _present_group().lstrip("/")
    try:
        group.mkdir()
    except OSError as error:
        raise CannotLimitError(f"{group}: {error.strerror}") from error
    try:
        try:
            (group / _LIMIT).write_text(f"{_disk_of(folder)} {bytes_per_s}")
            (group / "cgroup.procs").write_text(str(os.getpid()))
        except OSError as error:
            raise CannotLimitError(f"{group / _LIMIT}: {error.strerror}") from error
        yield
    finally:
        (before / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()


def forget(folder: Path) -> None:
    """Bring the files of a folder to the disk, and have none of them in memory."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            fd = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(fd)


def _present_group() -> str:
    groups = Path("/proc/self/cgroup")
    for line in groups.read_text().splitlines() if groups.exists() else ():
        _, controllers, path = line.split(":", 2)
        if "blkio" in controllers.split(","):
            return path
    raise CannotLimitError("there is no blkio controller of cgroup v1")


def _disk_of(folder: Path) -> str:
    """The numbers of the disk (not of a partition of it) that a folder lies on."""
    device = folder.stat().st_dev
    numbers = f"{os.major(device)}:{os.minor(device)}"
    shown = Path(f"/sys/dev/block/{numbers}")
    if (shown / "partition").exists():
        return (shown.resolve().parent / "dev").read_text().strip()
    if not shown.exists():
        raise CannotLimitError(f"{folder} lies on no disk")
    return numbers
