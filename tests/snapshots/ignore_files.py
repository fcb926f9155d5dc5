"""Ignore files as git itself follows them, in a scratch repository: what ours are held against."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import product
from pathlib import Path

from limpet.snapshots.ignoring import Ignoring
from limpet.snapshots.remarks import Remarks
from limpet.snapshots.tree import walk
from tests.snapshots.trees import scratch_folder

NAME = b".limpetignore"
PARTS = (
    b"a", b"b", b"ab", b"aab", b"a.o", b"B", b"a b", b"a ", b"-", b"]", b"!a", b"#a", b"\\", b"*",
    b"\xff\xfe", "é".encode(), b"a\nb", b"..a", b":]", b"foo",
)  # fmt: skip


@contextmanager
def repository() -> Iterator[Path]:
    """A repository with nothing but untracked files: at each path of at most three parts."""
    with scratch_folder() as folder:
        subprocess.run(["git", "init", "-q", str(folder)], check=True)
        for path in paths():
            place = folder / os.fsdecode(path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
        yield folder


def paths() -> set[bytes]:
    """A file beside a folder, and in a folder of each name, two deep."""
    names = [b"%b.f" % part for part in PARTS]
    deep = [b"/".join(some) for some in product(PARTS[:6], PARTS[:4], [*PARTS, *names[:2]])]
    return {*names, *(b"/".join(two) for two in product(PARTS, names)), *deep} - {b""}


def kept_by_git(folder: Path) -> set[bytes]:
    """All files that git would take in, the ignore files aside."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--others", f"--exclude-per-directory={NAME.decode()}"],
        cwd=folder, check=True, capture_output=True,
    ).stdout  # fmt: skip
    return {path for path in listed.split(b"\0") if path and not path.endswith(NAME)}


def kept_by_us(folder: Path, remarks: Remarks | None = None) -> set[bytes]:
    """All files that would be saved, the ignore files aside."""

    def on_error(path: bytes, error: OSError) -> None:
        raise error

    found, ignoring = set(), Ignoring()
    for each in walk(folder, on_error=on_error, exclude_top={".git"}, ignoring=ignoring):
        found |= {each.path_of(entry.name) for entry in each.entries}
    ignoring.tell(remarks or Remarks())
    return {path for path in found if not path.endswith(NAME)}


@contextmanager
def ignore_files(folder: Path, files: Mapping[str, bytes]) -> Iterator[None]:
    """Ignore files by their folder, which are gone afterwards."""
    places = [folder / where / NAME.decode() for where in files]
    for place, data in zip(places, files.values(), strict=True):
        place.write_bytes(data)
    try:
        yield
    finally:
        for place in places:
            place.unlink()
