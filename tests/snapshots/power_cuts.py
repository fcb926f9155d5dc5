"""A disk whose power can be cut: what it holds at an instant, without what only memory has."""

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from limpet.snapshots.kernel import boot_id

IMAGE_BYTES = 96 << 20
_ANEW = 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"'


class Disk:
    """An ext4 of its own on a loop device, mounted at `folder` until the stack ends."""

    def __init__(self, where: Path, stack: ExitStack) -> None:
        self.folder = where / "disk"
        self._where = where
        self._stack = stack
        self._image = where / "disk.img"
        self._numbers = count()
        with self._image.open("wb") as file:
            file.truncate(IMAGE_BYTES)
        make = shutil.which("mkfs.ext4", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        if make is None:
            pytest.skip("there is no mkfs.ext4 here (Debian: apt install e2fsprogs)")
        subprocess.run([make, "-q", "-m", "0", self._image], check=True)
        self._mount(self._image, self.folder)

    def cut(self) -> Path:
        """What a machine would find on the disk, had its power been cut now; mounted."""
        number = next(self._numbers)
        image, folder = self._where / f"cut-{number}.img", self._where / f"cut-{number}"
        shutil.copyfile(self._image, image)
        self._mount(image, folder)
        return folder

    def _mount(self, image: Path, folder: Path) -> None:
        folder.mkdir()
        done = subprocess.run(
            ["mount", "-o", "loop", image, folder], check=False, capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
        self._stack.callback(subprocess.run, ["umount", "-l", str(folder)], check=False)


def after_it_began_anew(where: Path, *arguments: str | Path, **environ: str) -> str:
    """Run Python on a machine that has another id than it had; what it printed."""
    other = where / "other-boot-id"
    other.write_bytes(bytes(reversed(boot_id() or b"")))
    command = ["unshare", "-m", "sh", "-c", _ANEW, other, sys.executable, *arguments]
    done = subprocess.run(
        command, env={**os.environ, **environ}, check=False, capture_output=True, text=True
    )
    if done.stderr.startswith(("mount:", "unshare:")):
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    assert done.returncode in {0, -9}, done.stderr
    return done.stdout
