"""The data folder: made, checked, and held by one server at a time."""

import contextlib
import fcntl
import json
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from limpet.errors import ConflictError, LimpetError

LOCK = "serve.lock"
DISCOVERY = "server.json"
_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|afs|ceph|9p|glusterfs|lustre|gpfs|beegfs|ocfs2|gfs2|davfs"
    r"|fuse\.(?:sshfs|s3fs|gcsfuse|rclone|glusterfs|ceph|juicefs|davfs2?|goofys|cephfs)"
)


class DataFolderError(LimpetError):
    """The data folder cannot be used."""

    code = "data_folder_unusable"


class DataFolderBusyError(ConflictError):
    """Another server holds the data folder."""

    code = "data_folder_busy"


@contextlib.contextmanager
def held(folder: Path, *, local_only: bool) -> Iterator[None]:
    """Make the folder and hold it for the length of the block.

    Raises `DataFolderBusyError` saying who holds it, `DataFolderError` when it cannot be written
    or, with `local_only`, lies on a network file system, where SQLite's locks cannot be trusted.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if local_only and (network := network_file_system(folder)):
            raise DataFolderError(
                f"{folder} lies on a network file system ({network}), where SQLite is not safe",
                hint="Choose a folder on a local disk with LIMPET_DATA_DIR.",
            )
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataFolderError(
            f"The data folder {folder} cannot be used: {error.strerror}",
            hint="Choose a folder that you can write with LIMPET_DATA_DIR.",
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 200, 0).decode("ascii", "replace").strip() or "unknown"
            raise DataFolderBusyError(
                f"Another limpet serve (process {holder}) uses {folder}",
                hint="Use that one, stop it, or choose another LIMPET_DATA_DIR.",
            ) from None
        try:
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            raise DataFolderError(
                f"The data folder {folder} cannot be written: {error.strerror}"
            ) from error
        yield
    finally:
        os.close(lock)


def network_file_system(path: Path, mountinfo: str | None = None) -> str | None:
    """The type of the network file system that `path` lies on; None for local or unknown ones."""
    if mountinfo is None:
        try:
            mountinfo = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None  # no Linux: nothing to ask
    target = path.resolve()
    best, kind = -1, ""
    for line in mountinfo.splitlines():
        left, dash, right = line.partition(" - ")
        fields = left.split(" ")
        if not dash or len(fields) < 5:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), fields[4]))
        if target.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), right.split(" ")[0]
    return kind if _NETWORK.fullmatch(kind) else None


@contextlib.contextmanager
def announced(folder: Path, *, url: str, api_key: str) -> Iterator[None]:
    """`server.json`, for the length of the block: how the command line finds this server."""
    path = folder / DISCOVERY
    scratch = path.with_name(f".{DISCOVERY}-{secrets.token_hex(8)}")
    content = json.dumps({"url": url, "pid": os.getpid(), "api_key": api_key})
    try:
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content + "\n")
        scratch.rename(path)
    except OSError as error:
        raise DataFolderError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        scratch.unlink(missing_ok=True)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
