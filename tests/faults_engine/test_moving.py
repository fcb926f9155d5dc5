"""A workspace that changes while it is saved: every save is refused or tells the truth.

Three processes work in it as `movers` says, on two cores, while it is saved again and again; half
of the saves stop them for their second look. After each: every file that nobody touched is bit for
bit right, every other one holds what it held at one time (or the receipt names it), and nothing of
what lies beside the workspace is in the store. When all is quiet, one save more is the workspace
bit for bit, whatever a stat cache believed.

`LIMPET_ROUNDS` says how many rounds, `LIMPET_SEED` replays the choices of one run.
"""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from limpet.errors import LimpetError
from limpet.snapshots.check import check
from limpet.snapshots.delta import Freezer
from limpet.snapshots.findings import INFORMATION
from limpet.snapshots.lineage import Head
from limpet.snapshots.named import named_blobs
from limpet.snapshots.receipt import Receipt
from limpet.snapshots.tree import delete_tree
from tests.faults_engine import movers
from tests.faults_engine.searching import contents_of
from tests.faults_engine.suites import Suite
from tests.live import REPOSITORY, poll_until
from tests.snapshots.engine import Engine
from tests.snapshots.trees import describe, scratch_folder

ROUNDS = int(os.environ.get("LIMPET_ROUNDS", "1"))
SAVES = 2 if ROUNDS == 1 else 3
"""Saves in a round while all moves."""
TOGETHER = 3
SUITE = Suite("moving")
CANARY = b"this lies outside and is nobody's business " + bytes(range(97, 123))


class Freeze:
    """Stops the movers, with all that they started."""

    def __init__(self, groups: list[int]) -> None:
        self._groups = groups

    def freeze(self) -> bool:
        for group in self._groups:
            os.killpg(group, signal.SIGSTOP)
        poll_until("all to stand still", self._still, 10, 0.001)
        return True

    def thaw(self) -> None:
        for group in self._groups:
            os.killpg(group, signal.SIGCONT)

    def _still(self) -> bool:
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    told = (entry / "stat").read_text().rpartition(")")[2].split()
                    if int(told[2]) in self._groups and told[0] not in "TZX":
                        return False
        return True


class Ground:
    """One workspace with an outside, and what of it never changes."""

    def __init__(self, folder: Path, dice: random.Random) -> None:
        self.engine = Engine(folder)
        self.outside = folder / "outside"
        (self.outside / "in").mkdir(parents=True)
        for name in ("secret", "in/secret", "in/swapped-x", "swapped-x", "folders-x"):
            (self.outside / name).write_bytes(CANARY + dice.randbytes(100))
        (self.outside / "large").write_bytes(CANARY + dice.randbytes(1_400_000))
        self.engine.workspace.mkdir()
        self._build(dice)
        self.still = {
            path: told
            for path, told in describe(self.engine.workspace).items()
            if movers.STILL.encode() in path.rsplit(b"/", 1)[-1] or path.startswith(b"/still/")
        }
        self.dice = dice

    def _build(self, dice: random.Random) -> None:
        workspace = self.engine.workspace
        for number in range(300):
            path = workspace / "still" / f"f{number % 17}" / f"g{number % 3}" / f"{number}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(dice.randbytes(dice.choice((0, 10, 5000, 70_000))))
        (workspace / "still" / "large").write_bytes(dice.randbytes(1_800_000))
        os.link(workspace / "still" / "large", workspace / "still" / "f0" / "linked")
        (workspace / "still" / "door").symlink_to(self.outside)
        for kind in movers.KINDS:
            folder = workspace / "busy" / kind
            folder.mkdir(parents=True)
            if kind not in {"commits", "tidied"}:
                for number in range(5):
                    (folder / f"still-{number}").write_bytes(dice.randbytes(2000))
                os.link(folder / "still-0", folder / "z-still")

    @contextlib.contextmanager
    def moving(self, seed: str) -> Iterator[list[int]]:
        """The movers at work; gives their process groups."""
        kinds = list(movers.KINDS)
        self.dice.shuffle(kinds)
        started = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.faults_engine.movers", self.engine.workspace,
                 self.outside, seed, *kinds[first::TOGETHER]],
                cwd=REPOSITORY, stdin=subprocess.PIPE, start_new_session=True,
                stderr=subprocess.PIPE,
            )
            for first in range(TOGETHER)
        ]  # fmt: skip
        try:
            busy = self.engine.workspace / "busy"
            poll_until(
                "all to move",
                lambda: all(_has_begun(busy / kind, kind) for kind in kinds),
                60, 0.005,
            )  # fmt: skip
            yield [process.pid for process in started]
        finally:
            told = [process.communicate(timeout=60)[1] for process in started]
        assert [process.returncode for process in started] == [0] * TOGETHER, told

    def reset(self) -> None:
        """What the movers made is gone; what never changes stays."""
        for folder in (self.engine.workspace / "busy").iterdir():
            for entry in folder.iterdir():
                if movers.STILL in entry.name:
                    continue
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()

    # -- promises ------------------------------------------------------------------------------

    def judge_cache(self, head: Head, what: str) -> None:
        """What the next save takes as sent is what this snapshot names."""
        cache = self.engine.caches.open(head.blake3)
        assert head.packed is not None
        assert cache is not None, what
        named = named_blobs([head.packed.root.node], self.engine.trees(head))
        with cache:
            assert cache.data_blobs() <= named.data.keys(), what
            assert cache.tree_blobs() <= named.nodes.keys() | named.tables.keys(), what

    def judge(self, head: Head, what: str) -> None:
        """A save that was made while all moved."""
        receipt = head.receipt
        SUITE.count("of them all at once", not receipt.live)
        SUITE.count("torn files named", receipt.counts.get("torn", 0))
        SUITE.count("files that vanished", receipt.counts.get("vanished", 0))
        assert receipt.complete == (not receipt.incomplete_because), what
        assert not receipt.counts.get("torn") or not receipt.complete, what
        with self.restored(head) as back:
            found = describe(back)
            for path, told in self.still.items():
                assert found.get(path) == told, f"{what}: {path!r} was not touched"
            torn = named(receipt)
            for path, told in found.items():
                if path.startswith(b"/busy/") and told[0] == "file" and path not in self.still:
                    assert isinstance(told[1], bytes)
                    wrong = movers.judge(os.fsdecode(path), told[1])
                    SUITE.count("moving files judged")
                    if wrong is not None:
                        assert os.fsdecode(path) in torn, f"{what}: {path!r}: {wrong}"
                        SUITE.count("of them torn as the receipt says")
            self._judge_programs(back, receipt, torn, what)

    def _judge_programs(self, back: Path, receipt: Receipt, torn: set[str], what: str) -> None:
        busy = back / "busy"
        for name in ("database", "journal"):
            if not any(f"/busy/{name}/" in path for path in torn):
                wrong = database_is(busy / name / "work.db")
                assert wrong is None, f"{what}: {name}: {wrong}"
                SUITE.count("databases opened")
        lost = bool(torn) or bool(receipt.counts.get("vanished")) or receipt.live
        for name in ("commits", "tidied"):
            if name == "tidied" and lost:
                continue  # what is packed anew is nowhere while it moves
            for lock in (busy / name).rglob("*.lock"):
                lock.unlink()
            movers.git(busy / name, "fsck", "--full", "--no-dangling")
            SUITE.count("repositories that git finds whole")

    def judge_quiet(self, head: Head, what: str) -> None:
        """A save that was made while nothing moved."""
        assert head.receipt.complete, f"{what}: {head.receipt}"
        present = {
            path: told
            for path, told in describe(self.engine.workspace).items()
            if told[0] != "special"
        }
        with self.restored(head) as back:
            found = describe(back)
            wrong = sorted(
                p for p in present.keys() | found.keys() if present.get(p) != found.get(p)
            )
            assert not wrong, f"{what}: {wrong[:10]}"
        SUITE.count("quiet saves")

    def judge_store(self, what: str) -> None:
        """Nothing from outside is in it, and nothing in it is damaged."""
        for name, data in contents_of(self.engine.folder / "store"):
            assert CANARY not in data, f"{what}: {name} holds what lies outside"
        findings = asyncio.run(self._findings())
        assert not findings, f"{what}: {findings[:3]}"

    async def _findings(self) -> list[object]:
        engine = self.engine
        every = check(engine.store, engine.ref.org, read_data=True)
        return [one async for one in every if one.kind not in INFORMATION]

    @contextlib.contextmanager
    def restored(self, head: Head) -> Iterator[Path]:
        into = self.engine.folder / "back"
        receipt = self.engine.restore(head, into)
        assert receipt.complete
        try:
            yield into
        finally:
            delete_tree(into)


def _has_begun(folder: Path, kind: str) -> bool:
    """Whether there is something that moves."""
    if kind in {"commits", "tidied"}:
        return (folder / ".git" / "refs" / "heads" / "main").exists()
    if kind in {"database", "journal"}:
        return (folder / "work.db").exists()
    with contextlib.suppress(OSError):
        return any(movers.STILL not in name for name in os.listdir(folder))
    return False


def named(receipt: Receipt) -> set[str]:
    """The paths that a receipt calls torn, as they stand in a description."""
    return {f"/{remark.path}" for remark in receipt.torn}


def database_is(path: Path) -> str | None:
    """What SQLite finds wrong with a database."""
    opened = sqlite3.connect(path)
    try:
        [(told,)] = opened.execute("PRAGMA integrity_check").fetchall()
        if told != "ok":
            return str(told)
        tables = {name for (name,) in opened.execute("SELECT name FROM sqlite_master")}
        if tables != {"a", "b"}:
            return None if tables <= {"a"} else f"tables {tables}"
        [(a, b)] = opened.execute(
            "SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b)"
        ).fetchall()
        return None if a == b else f"a transaction was cut in two: {a} and {b}"
    finally:
        opened.close()


def save(engine: Engine, freezer: Freezer | None) -> Head:
    """A save upon the last one."""
    engine.freezer = freezer
    return engine.save()


@pytest.fixture(params=["memory", pytest.param("disk", marks=pytest.mark.engine_fault)])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    dice = random.Random(f"{SUITE.seed} {request.param}")
    if request.param == "memory":
        with scratch_folder() as folder:
            yield Ground(folder, dice)
    else:
        yield Ground(tmp_path, dice)


@pytest.mark.timeout(max(120, 60 * ROUNDS))
def test_a_save_of_what_moves_tells_the_truth_and_a_quiet_one_is_the_workspace(
    ground: Ground,
) -> None:
    engine = ground.engine
    for number in range(ROUNDS):
        seed = f"{SUITE.seed} {number}"
        made: list[tuple[Head, str]] = []
        with ground.moving(seed) as groups:
            for turn in range(SAVES):
                frozen = ground.dice.random() < 0.5
                what = f"seed {SUITE.seed}, round {number}, save {turn}, frozen {frozen}"
                try:
                    head = save(engine, Freeze(groups) if frozen else None)
                except LimpetError:
                    SUITE.count("saves refused")
                    continue
                ground.judge_cache(head, what)
                made.append((head, what))
                SUITE.count("saves while all moved")
        for head, what in made:
            ground.judge(head, what)
        quiet = save(engine, None)
        ground.judge_quiet(quiet, f"seed {SUITE.seed}, round {number}, at rest")
        again = save(engine, None)
        assert again.blake3 == quiet.blake3, "nothing was touched between two saves"
        ground.judge_store(f"seed {SUITE.seed}, round {number}")
        ground.reset()
        SUITE.count("rounds")
