"""Where a workspace may lie: a plain folder, a mount point, an overlay's lower layer."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.snapshots.trees import Folder, build

Populate = Callable[[Path], None]
PLACES = ("folder", "mount point", "lower layer")


def mount(stack: ExitStack, target: Path, *arguments: str) -> None:
    """Mount until the stack ends; skips the test where this machine does not allow it."""
    done = subprocess.run(
        ["mount", *arguments, "limpet-test", str(target)],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    stack.callback(subprocess.run, ["umount", "-l", str(target)], check=False)


@contextmanager
def workspace_in(place: str, where: Path, tree: Folder) -> Iterator[Path]:
    """A workspace with `tree` in it, at such a place."""
    with ExitStack() as stack:
        if place == "folder":
            (where / "root").mkdir()
            yield build(where / "root" / "workspace", tree)
        elif place == "mount point":
            workspace = where / "app"
            workspace.mkdir()
            mount(stack, workspace, "-t", "tmpfs", "-o", "size=64m,mode=0755")
            (source := build(where / "source", tree)).chmod(0o755)
            subprocess.run(["cp", "-a", f"{source}/.", str(workspace)], check=True)
            subprocess.run(["rm", "-rf", str(source)], check=True)
            yield workspace
        else:
            disk = where / "disk"
            disk.mkdir()
            mount(stack, disk, "-t", "tmpfs", "-o", "size=64m,mode=0755")
            for name in ("lower", "upper", "work", "merged"):
                (disk / name).mkdir()
            build(disk / "lower" / "app", tree)
            layers = f"lowerdir={disk}/lower,upperdir={disk}/upper,workdir={disk}/work"
            mount(stack, disk / "merged", "-t", "overlay", "-o", layers)
            yield disk / "merged" / "app"
