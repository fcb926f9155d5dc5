"""What is saved and restored: a real `npm install`, and made-up trees of other shapes."""

import os
import random
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
SEED: Final = 20_261_124


@dataclass(frozen=True)
class Workspace:
    """A tree to be saved."""

    name: str
    folder: Path
    entries: int
    bytes: int

    @classmethod
    def at(cls, name: str, folder: Path) -> "Workspace":
        entries = size = 0
        for place, folders, files in os.walk(folder):
            entries += len(folders) + len(files)
            size += sum((Path(place) / one).lstat().st_size for one in files)
        return cls(name, folder, entries, size)

    def __str__(self) -> str:
        return f"{self.name}: {self.entries:,} entries, {self.bytes / 1e6:,.1f} MB"

    def change(self, files: int, seed: int) -> int:
        """Append a line to some files, of `src` where there is one; the bytes of those files."""
        top = self.folder / "src"
        every = sorted(
            path
            for place, _, names in os.walk(top if top.is_dir() else self.folder)
            for name in names
            if not (path := Path(place) / name).is_symlink() and path.lstat().st_size > 0
        )
        changed = 0
        for path in random.Random(seed).sample(every, files):
            with path.open("ab") as file:
                file.write(b"// changed %d\n" % seed)
            changed += path.stat().st_size
        return changed


def install(cache: Path) -> Path:
    """The installed packages of `workspace/`, made once and kept in `cache`."""
    made = cache / "npm-workspace"
    if not (made / "node_modules").is_dir():
        making = cache / "npm-workspace.making"
        shutil.rmtree(making, ignore_errors=True)
        shutil.copytree(HERE / "workspace", making)
        # Not `npm ci`: npm leaves packages for other platforms out of a lock and then refuses
        # it.
        argv = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(argv, cwd=making, check=True)
        making.rename(made)
    return made


def npm(folder: Path, cache: Path) -> None:
    """About 42,000 files and 540 MB, with sources of its own and a git repository."""
    shutil.copytree(install(cache), folder, symlinks=True)
    _sources(folder / "src")
    git = ["git", "-c", "user.name=bench", "-c", "user.email=bench@limpet.invalid"]
    (folder / ".gitignore").write_text("node_modules\n")
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "Begin"]):
        subprocess.run([*git, *command], cwd=folder, check=True)


def _sources(folder: Path) -> None:
    """200 files of some hundred lines, as people and agents write them."""
    chance = random.Random(SEED)
    words = ("render", "value", "state", "list", "item", "load", "save", "user", "page", "error")
    for number in range(200):
        lines = []
        for _ in range(chance.randrange(50, 400)):
            one, two, three = chance.choices(words, k=3)
            lines.append(f"  const {one}{chance.randrange(100)} = {two}({three}, {number});")
        place = folder / f"part-{number // 10}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"file-{number}.ts").write_text("\n".join(lines) + "\n")


def tiny(folder: Path, _cache: Path) -> None:
    """About 1 MB."""
    small_files(folder, 100, 10_000)


def few(folder: Path, _cache: Path) -> None:
    """2 GB in 40 files: half of it noise, half text that can be compressed."""
    chance = random.Random(SEED)
    folder.mkdir()
    text = b"".join(b"%d lines of a log that says little\n" % n for n in range(30_000))
    for number in range(40):
        with (folder / f"file-{number}").open("wb") as file:
            for _ in range(50):
                file.write(chance.randbytes(1 << 20) if number % 2 else text[: 1 << 20])


def many(folder: Path, _cache: Path) -> None:
    """200,000 small files in 4,000 folders."""
    small_files(folder, 200_000, 1000)


def small_files(folder: Path, count: int, mean_bytes: int) -> None:
    chance = random.Random(SEED)
    words = [b"%x " % chance.randrange(1 << 24) for _ in range(5000)]
    for number in range(count):
        place = folder / f"d{number // 2500}" / f"e{number // 50}"
        if number % 50 == 0:
            place.mkdir(parents=True)
        size = chance.randrange(2 * mean_bytes)
        (place / f"f{number}").write_bytes(b"".join(chance.choices(words, k=size // 7)))


KINDS: Final[dict[str, Callable[[Path, Path], None]]] = {
    "npm": npm,
    "tiny": tiny,
    "few": few,
    "many": many,
}


def make(name: str, folder: Path, cache: Path) -> Workspace:
    """Make the workspace called `name` at `folder`."""
    KINDS[name](folder, cache)
    return Workspace.at(name, folder)
