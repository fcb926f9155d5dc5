"""Every tool in one shape: save a folder into a state of its own, restore it elsewhere."""

import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from bench.snapshots.workspaces import HERE


class Tool(Protocol):
    """One tool on one workspace. `state` is a folder of its own that does not exist yet."""

    name: str
    packages: str
    """What to install where it is missing; empty: nothing."""
    incremental: bool
    """Whether a second save into the same state costs less than the first."""

    def version(self) -> str | None:
        """None: it is not here."""
        ...

    def prepare(self, state: Path) -> None:
        """What a user does once, before the first save; it is not timed."""
        ...

    def save(self, workspace: Path, state: Path) -> None:
        """Save; into the state of the earlier saves where the tool is incremental."""
        ...

    def restore(self, state: Path, into: Path) -> None:
        """Restore the last save into a folder that does not exist."""
        ...


def run(*command: object, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run a command that must succeed; its output."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{done.stdout[-2000:]}")
    return done.stdout


def stored_bytes(state: Path) -> int:
    """What a state holds."""
    return sum(path.stat().st_size for path in state.rglob("*") if path.is_file())


def _version_of(*command: str) -> str | None:
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).splitlines()[0].strip(" *")[:40]


class Tar:
    """GNU tar, with a compressor or without."""

    packages = "tar zstd"
    incremental = False

    def __init__(self, *, compressed: bool) -> None:
        self.name = "tar | zstd -1" if compressed else "GNU tar"
        self._compressed = compressed

    def version(self) -> str | None:
        return _version_of("zstd" if self._compressed else "tar", "--version")

    def prepare(self, state: Path) -> None:
        """Nothing."""

    def save(self, workspace: Path, state: Path) -> None:
        state.mkdir()
        pipe = "| zstd -q -1 -T2 " if self._compressed else ""
        command = f'tar -C "$1" -cf - . {pipe}> "$2"'
        run("sh", "-c", command, "sh", workspace, state / "tar")

    def restore(self, state: Path, into: Path) -> None:
        into.mkdir()
        if self._compressed:
            run("sh", "-c", 'zstd -q -d -c "$1" | tar -C "$2" -xf -', "sh", state / "tar", into)
        else:
            run("tar", "-C", into, "-xf", state / "tar")


class Restic:
    """restic with a repository in a folder, its cache beside it."""

    name = "restic"
    packages = "restic"
    incremental = True

    def version(self) -> str | None:
        return _version_of("restic", "version")

    def prepare(self, state: Path) -> None:
        run("restic", "init", env=self._env(state))

    def save(self, workspace: Path, state: Path) -> None:
        run("restic", "backup", "-q", ".", cwd=workspace, env=self._env(state))

    def restore(self, state: Path, into: Path) -> None:
        run("restic", "restore", "-q", "latest", "--target", into, env=self._env(state))

    def _env(self, state: Path) -> dict[str, str]:
        cache = state.with_name(state.name + ".cache")
        return {
            "RESTIC_REPOSITORY": str(state),
            "RESTIC_PASSWORD": "bench",
            "RESTIC_CACHE_DIR": str(cache),
        }


class Borg:
    """borg with lz4, without encryption."""

    name = "borg"
    packages = "borgbackup"
    incremental = True

    def version(self) -> str | None:
        return _version_of("borg", "--version")

    def prepare(self, state: Path) -> None:
        run("borg", "init", "-e", "none", state, env=self._env(state))

    def save(self, workspace: Path, state: Path) -> None:
        archive = f"{state}::{time.time_ns()}"
        run("borg", "create", "-C", "lz4", archive, ".", cwd=workspace, env=self._env(state))

    def restore(self, state: Path, into: Path) -> None:
        env = self._env(state)
        archive = run("borg", "list", "--short", "--last", "1", state, env=env).strip()
        into.mkdir()
        run("borg", "extract", f"{state}::{archive}", cwd=into, env=env)

    def _env(self, state: Path) -> dict[str, str]:
        return {
            "BORG_BASE_DIR": str(state.with_name(state.name + ".home")),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        }


class Squashfs:
    """An image with zstd -1, unpacked again."""

    name = "squashfs"
    packages = "squashfs-tools"
    incremental = False

    def version(self) -> str | None:
        return _version_of("mksquashfs", "-version")

    def prepare(self, state: Path) -> None:
        """Nothing."""

    def save(self, workspace: Path, state: Path) -> None:
        state.mkdir()
        run(
            "mksquashfs", workspace, state / "image", "-comp", "zstd", "-Xcompression-level", "1",
            "-no-progress", "-quiet",
        )  # fmt: skip

    def restore(self, state: Path, into: Path) -> None:
        run("unsquashfs", "-q", "-n", "-d", into, state / "image")


class Copy:
    """A plain copy."""

    name = "cp -a"
    packages = ""
    incremental = False

    def version(self) -> str | None:
        return _version_of("cp", "--version")

    def prepare(self, state: Path) -> None:
        """Nothing."""

    def save(self, workspace: Path, state: Path) -> None:
        run("cp", "-a", workspace, state)

    def restore(self, state: Path, into: Path) -> None:
        run("cp", "-a", state, into)


PEERS: Final[tuple[Tool, ...]] = (
    Tar(compressed=False),
    Tar(compressed=True),
    Restic(),
    Borg(),
    Squashfs(),
    Copy(),
)


class Floor:
    """The C program that does nothing but look, or nothing but create. Needs a compiler."""

    def __init__(self, scratch: Path) -> None:
        self._program = scratch / "floor"
        run("cc", "-O2", "-pthread", "-o", self._program, HERE / "floor.c")

    def walk_s(self, folder: Path) -> float:
        """Seconds to look at every entry once."""
        return float(run(self._program, "walk", folder))

    def create_s(self, tree: Path, into: Path) -> float:
        """Seconds to create the files of a tree in folders that are there."""
        return float(run(self._program, "create", tree, into))
