"""Small files that say how far something has come: replaced whole or not at all, on the disk."""

import contextlib
import os
from pathlib import Path

from limpet.snapshots.kernel import sync_folder


def write_durably(path: Path, data: bytes) -> None:
    """Make or replace a file, for its owner alone; on the disk when this returns.

    Raises `OSError`; then what was there before is there still.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
