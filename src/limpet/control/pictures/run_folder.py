"""The folder of one control plane's browsers: a socket, and a profile for each process.

It lies in the temporary folder, where a browser that runs as another user can reach it, and is
locked while it is in use: what a killed control plane left is taken away by the next one.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

PREFIX: Final = "limpet-browser-"
_LOCK: Final = "held"


class RunFolder:
    """Makes the folder and sweeps those that nobody holds any more. Blocks; `close` deletes it."""

    def __init__(self) -> None:
        base = Path(tempfile.gettempdir())
        _sweep(base)
        self.path, self._lock = _made_and_held(base)
        self.path.chmod(0o711)  # profiles are their own users' below it

    @property
    def socket(self) -> Path:
        """Where the previews are served to browsers."""
        return self.path / "previews"

    def new_profile(self, user: int | None, group: int | None) -> Path:
        """A new folder that is the user's alone."""
        profile = Path(tempfile.mkdtemp(prefix="profile-", dir=self.path))
        if user is not None and group is not None:
            os.chown(profile, user, group)
        return profile

    def close(self) -> None:
        """Delete it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _made_and_held(base: Path) -> tuple[Path, int]:
    """A new folder and its lock. One that is swept before it is locked is made again."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (path / _LOCK).exists():
            return path, lock
        os.close(lock)


def _sweep(base: Path) -> None:
    for folder in base.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or folder.lstat().st_uid != os.getuid():
                continue
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
