"""Work that never stands still: run as `... WORKSPACE OUTSIDE SEED KIND...`.

Each kind works in a folder of its own, in a thread of its own, until standard input ends. What it
writes tells which version it is (`body`), so that any state that a save caught can be judged:
`judge` says what is wrong with a file as it was restored.
"""

import contextlib
import ctypes
import hashlib
import mmap
import os
import random
import re
import select
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

PIECE: Final = 64 << 10
LARGE: Final = 5 * PIECE
VERY_LARGE: Final = 2_500_000
SMALL: Final = 1500
BLOCK: Final = 8192
STILL: Final = "still"
"""What begins so is never touched."""
_HEAD = re.compile(rb"limpet ([a-z0-9-]+) (\d{8}) (\d{8})\n")
_RENAME_EXCHANGE: Final = 2
GIT_ENVIRON: Final = {
    "GIT_AUTHOR_NAME": "Mover",
    "GIT_AUTHOR_EMAIL": "mover@example.invalid",
    "GIT_COMMITTER_NAME": "Mover",
    "GIT_COMMITTER_EMAIL": "mover@example.invalid",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


def body(tag: str, number: int, size: int) -> bytes:
    """What version `number` of a file is."""
    head = b"limpet %s %08d %08d\n" % (tag.encode(), number, size)
    return (head + hashlib.shake_128(head).digest(size))[:size]


def put(path: Path, data: bytes) -> None:
    """A new file that was never anything else."""
    fresh = path.with_name("tmp-put")
    fresh.write_bytes(data)
    fresh.rename(path)


class Pace:
    """How fast a mover goes, and when it ends."""

    def __init__(self, seed: str, stopped: threading.Event) -> None:
        self.dice = random.Random(seed)
        self._stopped = stopped

    def goes_on(self) -> bool:
        """Whether there is another step, after a rest now and then."""
        rest_s = self.dice.choice((0.0, 0.0, 0.001, 0.004, 0.02))
        return not self._stopped.wait(rest_s)


# -- files that are written --------------------------------------------------------------------


def whole(folder: Path, pace: Pace) -> None:
    """Replaced by renaming a new file over the old one."""
    number = 0
    while pace.goes_on():
        number += 1
        name = f"whole-{pace.dice.randrange(8)}"
        fresh = folder / "tmp-fresh"
        fresh.write_bytes(body("whole", number, pace.dice.choice((40, SMALL, LARGE))))
        fresh.rename(folder / name)
        if pace.dice.random() < 0.2:
            (folder / f"whole-{pace.dice.randrange(8)}").unlink(missing_ok=True)


def stealthy(folder: Path, pace: Pace) -> None:
    """Overwritten in place, as long as before, with the time set back."""
    path = folder / "stealthy-a"
    put(path, body("stealthy", 0, SMALL))
    number = 0
    while pace.goes_on():
        number += 1
        before = path.stat()
        fd = os.open(path, os.O_WRONLY)
        os.pwrite(fd, body("stealthy", number, SMALL), 0)
        os.close(fd)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def in_place(folder: Path, pace: Pace) -> None:
    """Overwritten piece by piece from front to back."""
    sizes = {"in-place-a": LARGE, "in-place-b": VERY_LARGE, "in-place-c": SMALL}
    for name, size in sizes.items():
        put(folder / name, body("in-place", 0, size))
    numbers = dict.fromkeys(sizes, 0)
    while pace.goes_on():
        name = pace.dice.choice(sorted(sizes))
        numbers[name] += 1
        new = body("in-place", numbers[name], sizes[name])
        fd = os.open(folder / name, os.O_WRONLY)
        for start in range(0, len(new), BLOCK):
            os.pwrite(fd, new[start : start + BLOCK], start)
        os.close(fd)


def truncated(folder: Path, pace: Pace) -> None:
    """Cut to nothing, then written anew in pieces."""
    number = 0
    while pace.goes_on():
        number += 1
        new = body("truncated", number, pace.dice.choice((SMALL, LARGE, VERY_LARGE)))
        with (folder / f"truncated-{pace.dice.randrange(3)}").open("wb", buffering=0) as out:
            for start in range(0, len(new), PIECE):
                out.write(new[start : start + PIECE])


def grown(folder: Path, pace: Pace) -> None:
    """Appended to, and begun anew when it is long; another with holes, filled from the front."""
    size = 30 * BLOCK
    at = 0
    number = 0
    while pace.goes_on():
        new = body("grown", number, size)
        if at >= size:
            number, at = number + 1, 0
            for name in ("grown-a", "grown-holes"):
                (folder / name).unlink()
            continue
        with (folder / "grown-a").open("ab", buffering=0) as out:
            out.write(new[at : at + BLOCK])
        with (folder / "grown-holes").open("r+b" if at else "wb", buffering=0) as out:
            if not at:
                out.truncate(size)
            os.pwrite(out.fileno(), new[at : at + BLOCK], at)
        at += BLOCK


def mapped(folder: Path, pace: Pace) -> None:
    """Written through memory, which sets times now and then only."""
    path = folder / "mapped-a"
    put(path, body("mapped", 0, SMALL))
    number = 0
    with path.open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as memory:
        while pace.goes_on():
            number += 1
            memory[:] = body("mapped", number, SMALL)
        memory.flush()


# -- names that move ---------------------------------------------------------------------------


def folders(folder: Path, pace: Pace) -> None:
    """Folders that change places, are renamed over one another, and into one another."""
    number = 0
    for name in ("a", "b"):
        (folder / name / "in" / "deep").mkdir(parents=True)
        for place in ("folders-x", "in/folders-y", "in/deep/folders-z"):
            put(folder / name / place, body("folders", number, SMALL))
            number += 1
    while pace.goes_on():
        way = pace.dice.randrange(4)
        a, b, aside = folder / "a", folder / "b", folder / "aside"
        if way == 0:
            exchange(a, b)
        elif way == 1:
            a.rename(aside)
            b.rename(a)
            aside.rename(b)
        elif way == 2:
            (folder / "empty").mkdir()
            a.rename(folder / "empty")
            (folder / "empty").rename(a)
        else:
            a.rename(b / "guest")
            (b / "guest").rename(a)


def deep(folder: Path, pace: Pace, outside: Path) -> None:
    """A deep folder whose middle is carried out of the workspace and back."""
    top = folder / "d"
    path = top
    for level in range(70):
        (path / "side").mkdir(parents=True)
        put(path / "side" / "deep-f", body("deep", level, SMALL))
        (path / "z").mkdir()
        path = path / "d"
    middle = top.joinpath(*["d"] * 10)
    away = outside / "carried"
    while pace.goes_on():
        middle.rename(away)
        pace.goes_on()
        away.rename(middle)


def swapped(folder: Path, pace: Pace, outside: Path) -> None:
    """What is a file or a folder now is a link to the outside next, a pipe, or nothing."""
    number = 0
    (folder / "door" / "in").mkdir(parents=True)
    for name in ("secret", "in/secret", "in/swapped-x"):
        put(folder / "door" / name, body("swapped", 0, SMALL))
    while pace.goes_on():
        number += 1
        way = pace.dice.randrange(6)
        door, aside = folder / "door", folder / "aside"
        if way == 0:
            door.rename(aside)
            door.symlink_to(outside)
            pace.goes_on()
            door.unlink()
            aside.rename(door)
        elif way == 1:
            (folder / "link").symlink_to(outside)
            exchange(door, folder / "link")
            exchange(door, folder / "link")
            (folder / "link").unlink()
        elif way == 2:
            (folder / "link").symlink_to(outside / "secret")
            exchange(door / "secret", folder / "link")
            pace.goes_on()
            exchange(door / "secret", folder / "link")
            (folder / "link").unlink()
        elif way == 3:
            (folder / "swapped-y").unlink(missing_ok=True)
            os.mkfifo(folder / "swapped-y")
            pace.goes_on()
            (folder / "swapped-y").unlink()
            (folder / "swapped-y").write_bytes(body("swapped", number, SMALL))
        elif way == 4:
            (folder / "swapped-z").unlink(missing_ok=True)
            (folder / "swapped-z").mkdir()
            (folder / "swapped-z" / "swapped-in").write_bytes(body("swapped", number, LARGE))
            pace.goes_on()
            shutil.rmtree(folder / "swapped-z")
            (folder / "swapped-z").write_bytes(body("swapped", number, SMALL))
        else:
            (door / "in").rename(folder / "in-aside")
            (door / "in").symlink_to(outside, target_is_directory=True)
            (door / "in").unlink()
            (folder / "in-aside").rename(door / "in")


def doors(folder: Path, pace: Pace, outside: Path) -> None:
    """Folders and files that are links to the outside every other moment."""
    names = [f"door-{number}" for number in range(30)]
    for name in names:
        (folder / name).mkdir()
        put(folder / name / "secret", body("doors", 0, SMALL))
        put(folder / f"{name}-secret", body("doors", 0, SMALL))
        (folder / f"link-{name}").symlink_to(outside)
        (folder / f"link-{name}-secret").symlink_to(outside / "secret")
    while pace.goes_on():
        for name in names * 20:
            exchange(folder / name, folder / f"link-{name}")
            exchange(folder / f"{name}-secret", folder / f"link-{name}-secret")


def linked(folder: Path, pace: Pace) -> None:
    """Hard links that change places, come and go, and are written through either name."""
    number = 0
    for name in ("linked-a", "linked-b"):
        put(folder / name, body("linked", number, SMALL))
        os.link(folder / name, folder / f"{name}-too")
    while pace.goes_on():
        number += 1
        a, b, aside = (folder / name for name in ("linked-a", "linked-b", "linked-aside"))
        way = pace.dice.randrange(4)
        if way == 0:
            os.link(a, aside)
            b.rename(a)
            aside.rename(b)
        elif way == 1:
            exchange(a, b)
        elif way == 2:
            fd = os.open(folder / pace.dice.choice(("linked-a", "linked-b-too")), os.O_WRONLY)
            os.pwrite(fd, body("linked", number, SMALL), 0)
            os.close(fd)
        else:
            with contextlib.suppress(FileNotFoundError):
                (folder / "linked-a-too").unlink()
            os.link(a, folder / "linked-a-too")


def barred(folder: Path, pace: Pace) -> None:
    """Files and folders that may be read by nobody for a while."""
    (folder / "in").mkdir()
    for name in ("barred-a", "in/barred-b"):
        put(folder / name, body("barred", 0, SMALL))
    while pace.goes_on():
        for name, mode in (("barred-a", 0o644), ("in", 0o755)):
            (folder / name).chmod(0)
            pace.goes_on()
            (folder / name).chmod(mode)


def gone(folder: Path, pace: Pace) -> None:
    """Whole trees that come and go."""
    number = 0
    while pace.goes_on():
        number += 1
        tree = folder / f"tree-{pace.dice.randrange(3)}"
        shutil.rmtree(tree, ignore_errors=True)
        (tree / "x" / "y").mkdir(parents=True)
        for place in range(20):
            (tree / "x" / "y" / f"gone-{place}").write_bytes(body("gone", number, SMALL))


# -- programs ----------------------------------------------------------------------------------


def database(folder: Path, pace: Pace) -> None:
    """A SQLite database with a write-ahead log: both tables hold as much after each transaction."""
    _transactions(folder, pace, "WAL")


def journal(folder: Path, pace: Pace) -> None:
    """The same with a rollback journal."""
    _transactions(folder, pace, "PERSIST")


def _transactions(folder: Path, pace: Pace, mode: str) -> None:
    made = sqlite3.connect(folder / "work.db", isolation_level=None)
    made.execute(f"PRAGMA journal_mode={mode}")
    made.execute("PRAGMA synchronous=OFF")
    for table in ("a", "b"):
        made.execute(f"CREATE TABLE {table} (number INTEGER, filling BLOB)")
    while pace.goes_on():
        made.execute("BEGIN")
        for table in ("a", "b"):
            made.execute(f"INSERT INTO {table} VALUES (1, randomblob(500))")
        made.execute("COMMIT")
        if pace.dice.random() < 0.02:
            made.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if pace.dice.random() < 0.01:
            made.execute("BEGIN")
            for table in ("a", "b"):
                made.execute(f"DELETE FROM {table}")
            made.execute("COMMIT")
    made.close()


def git(folder: Path, *told: str) -> str:
    """Run git in a folder; its output."""
    done = subprocess.run(
        ["git", *told], cwd=folder, env={**os.environ, **GIT_ENVIRON}, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"git {' '.join(told)}: {done.stdout}")
    return done.stdout


def commits(folder: Path, pace: Pace) -> None:
    """A git repository that is committed to, and never tidied up."""
    _commits(folder, pace, tidy=False)


def tidied(folder: Path, pace: Pace) -> None:
    """A git repository that is committed to, and packed anew all the time."""
    _commits(folder, pace, tidy=True)


def _commits(folder: Path, pace: Pace, *, tidy: bool) -> None:
    git(folder, "init", "-q", "-b", "main")
    git(folder, "config", "gc.auto", "0")
    number = 0
    while pace.goes_on():
        number += 1
        (folder / f"commits-{number % 5}").write_bytes(body("commits", number, SMALL))
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "--allow-empty", "-m", f"{number}")
        if tidy and number % 4 == 0:
            git(folder, "gc", "-q", "--prune=now")


Mover = Callable[[Path, Pace], None]
MOVERS: dict[str, Mover] = {
    mover.__name__: mover
    for mover in (
        whole, stealthy, in_place, truncated, grown, mapped, folders, linked, barred, gone,
        database, journal, commits, tidied,
    )
}  # fmt: skip
OUTGOING: dict[str, Callable[[Path, Pace, Path], None]] = {
    "deep": deep,
    "doors": doors,
    "swapped": swapped,
}
KINDS: Final = (*MOVERS, *OUTGOING)


def exchange(one: Path, other: Path) -> None:
    """Let two names change places at once."""
    library = ctypes.CDLL(None, use_errno=True)
    here = ctypes.c_int(-100)  # AT_FDCWD
    if library.renameat2(here, os.fsencode(one), here, os.fsencode(other), _RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(one))


# -- judging -----------------------------------------------------------------------------------


def judge(path: str, data: bytes) -> str | None:
    """What is wrong with a restored file of one of the movers; None when it was really so."""
    name = path.rsplit("/", 1)[-1]
    kind = next((one for one in _JUDGES if name.startswith(one)), None)
    if kind is None:
        return None
    if kind == "commits" and "/.git/" in path:
        return None
    return _JUDGES[kind](data)


def _of(data: bytes) -> tuple[str, int, int] | None:
    found = _HEAD.match(data)
    return (found[1].decode(), int(found[2]), int(found[3])) if found else None


def _is_whole(data: bytes) -> str | None:
    told = _of(data)
    if told is None:
        return "it begins with nothing that was ever written"
    return None if data == body(*told) else f"it is no whole version {told}"


def _is_whole_or_empty(data: bytes) -> str | None:
    return _is_whole(data) if data else None


def _is_prefix(data: bytes) -> str | None:
    """Pieces of one version, from the front."""
    if not data:
        return None
    told = _of(data)
    if told is None:
        return "it begins with nothing that was ever written"
    return None if body(*told).startswith(data) else f"it is no beginning of version {told}"


def _is_filled(data: bytes) -> str | None:
    """Filled from the front, the rest zeros."""
    return _is_prefix(data.rstrip(b"\0"))


def _is_overwritten(data: bytes) -> str | None:
    """A version up to some place, and the version before it from there on."""
    told = _of(data)
    if told is None:
        return "it begins with nothing that was ever written"
    tag, number, size = told
    new = body(*told)
    if data == new:
        return None
    if number == 0 or len(data) != size:
        return f"it is no version {told}"
    old = body(tag, number - 1, size)
    same = _common(data, new)
    return None if data[same:] == old[same:] else f"it is a mix that version {told} never was"


def _common(one: bytes, other: bytes) -> int:
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


_JUDGES: Final[dict[str, Callable[[bytes], str | None]]] = {
    "whole": _is_whole,
    "stealthy": _is_whole,
    "in-place": _is_overwritten,
    "truncated": _is_prefix,
    "grown-a": _is_prefix,
    "grown-holes": _is_filled,
    "folders": _is_whole,
    "deep": _is_whole,
    "swapped": _is_prefix,
    "secret": _is_whole,
    "door-": _is_whole,
    "link-door-": _is_whole,
    "linked": _is_whole,
    "barred": _is_whole,
    "gone": _is_whole_or_empty,
    "commits": _is_whole_or_empty,
}


def main() -> int:
    """Move until standard input ends; 1 when a mover broke."""
    workspace, outside, seed, kinds = (
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        *sys.argv[3:4],
        sys.argv[4:],
    )
    stopped = threading.Event()
    broken: list[str] = []

    def move(kind: str) -> None:
        folder = workspace / "busy" / kind
        folder.mkdir(parents=True, exist_ok=True)
        pace = Pace(f"{seed} {kind}", stopped)
        try:
            if kind in MOVERS:
                MOVERS[kind](folder, pace)
            else:
                OUTGOING[kind](folder, pace, outside)
        except BaseException as error:
            broken.append(f"{kind}: {error!r}")
            raise

    sys.setswitchinterval(0.0002)
    threads = [threading.Thread(target=move, args=(kind,)) for kind in kinds]
    for thread in threads:
        thread.start()
    select.select([sys.stdin], [], [])
    stopped.set()
    for thread in threads:
        thread.join()
    sys.stderr.write("".join(f"{line}\n" for line in broken))
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
