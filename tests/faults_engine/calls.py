"""Every call that changes the disk, during save, restore and repair, killed or failed one by one.

Run with the preloaded library (`run_under_preload`): `python -m tests.faults_engine.calls SAMPLE
SEED`. Each case is a fork that works on a copy; afterwards the promises are looked at: the head is
the old one or the new one and restores bit for bit, the next save works, the workspace is the old
tree or the new one, a canary beside it is untouched. What holds of a repair is in `repairs`; a
check makes no such call at all.
"""

import ctypes
import errno
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from limpet.errors import LimpetError
from limpet.snapshots.restore_tree import restore_stream
from limpet.snapshots.root import SandboxRoot
from limpet.snapshots.seeding import Seeding
from limpet.snapshots.swap import new_staging_folder, recover, swap
from limpet.snapshots.tree import delete_tree, is_empty
from limpet.snapshots.unsynced import is_torn, is_unsynced, sync_sandbox
from tests.faults_engine import repairs
from tests.snapshots.engine import Engine
from tests.snapshots.trees import Description, describe

HOW = {"kill": 0, "ENOSPC": errno.ENOSPC, "EIO": errno.EIO}
SOURCE = Path(__file__).with_name("failing.c")
_CANARY = b"nobody touches this"


def run_under_preload(sample: int, seed: int) -> subprocess.CompletedProcess[str]:
    """This module in a process of its own, with the library that fails preloaded."""
    with tempfile.TemporaryDirectory(prefix="limpet-failing-") as folder:
        library = Path(folder) / "failing.so"
        command = ["cc", "-O1", "-fPIC", "-shared", "-o", str(library), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True)
        environ = {**os.environ, "LD_PRELOAD": str(library)}
        return subprocess.run(
            [sys.executable, "-m", __spec__.name if __spec__ else __name__, str(sample), str(seed)],
            env=environ, capture_output=True, text=True, check=False,
        )  # fmt: skip


@dataclass(frozen=True)
class Scenario:
    """A state to begin with (in a folder), what is done to it, and what must hold afterwards."""

    name: str
    prepare: Callable[[Path], None]
    act: Callable[[Path], None]
    judge: Callable[[Path, bool], None]
    writes: bool = True
    """Whether it changes the disk when all goes well."""


# -- the state --------------------------------------------------------------------------------


def old_tree(workspace: Path) -> None:
    (workspace / "repo" / ".git").mkdir(parents=True)
    (workspace / "repo" / "a.txt").write_text("old")
    (workspace / "repo" / "gone.txt").write_text("will be gone")
    (workspace / "repo" / ".git" / "HEAD").write_text("ref")
    (workspace / "large").write_bytes(random.Random(1).randbytes(1_500_000))
    for number in range(20):
        (workspace / f"n{number}").write_text(f"{number}")


def change(workspace: Path) -> None:
    (workspace / "repo" / "a.txt").write_text("new")
    (workspace / "repo" / "gone.txt").unlink()
    (workspace / "repo" / "b").mkdir()
    (workspace / "repo" / "b" / "c.txt").write_text("more")
    (workspace / "link").symlink_to("repo")
    os.link(workspace / "repo" / "a.txt", workspace / "zz-hard")
    with (workspace / "large").open("r+b") as out:
        out.seek(700_000)
        out.write(b"changed in the middle")


def prepare(folder: Path) -> None:
    """Two snapshots, the workspace at the second, with work that no snapshot has."""
    engine = Engine(folder)
    engine.workspace.mkdir()
    old_tree(engine.workspace)
    first = engine.save()
    change(engine.workspace)
    second = engine.save()
    known = {"first": first.snapshot, "second": second.snapshot}
    (folder / "known.json").write_text(json.dumps(known))
    (engine.workspace / "repo" / "unsaved.txt").write_text("work")
    (folder / "canary").write_bytes(_CANARY)


def opened(folder: Path) -> Engine:
    engine = Engine(folder)
    import asyncio

    engine.head = asyncio.run(engine.repository.head(engine.ref))
    return engine


def restored(engine: Engine, snapshot: str) -> Description:
    import asyncio

    head = asyncio.run(engine.repository.find(engine.ref, snapshot))  # type: ignore[arg-type]
    assert head is not None, f"{snapshot} is gone"
    with tempfile.TemporaryDirectory(dir=engine.folder) as place:
        into = Path(place) / "back"
        engine.restore(head, into)
        return describe(into)


# -- a save -----------------------------------------------------------------------------------


def act_save(folder: Path) -> None:
    opened(folder).save()


def judge_save(folder: Path, worked: bool) -> None:
    known = json.loads((folder / "known.json").read_text())
    engine = opened(folder)
    assert engine.head is not None
    present = describe(engine.workspace)
    assert (engine.head.snapshot != known["second"]) >= worked, "a save that worked has a head"
    if engine.head.snapshot != known["second"]:
        assert restored(engine, engine.head.snapshot) == present
    before = restored(engine, known["second"])
    assert b"/repo/unsaved.txt" not in before
    assert before[b"/repo/a.txt"][1] == b"new"
    again = engine.save()
    assert restored(engine, again.snapshot) == present
    assert (folder / "canary").read_bytes() == _CANARY


# -- a restore with its swap ------------------------------------------------------------------


def act_restore(folder: Path) -> None:
    import asyncio

    known = json.loads((folder / "known.json").read_text())
    engine = opened(folder)
    head = asyncio.run(engine.repository.find(engine.ref, known["first"]))
    assert head is not None
    root = SandboxRoot(folder, engine.workspace)
    root.prepare()
    staged = new_staging_folder(root)
    chunks = iter(engine.stream(head))
    seedings: list[Seeding] = []
    restore_stream(chunks, staged, expect_root=head.blake3, on_restored=seedings.append)
    trash = swap(root, staged)
    seedings[0].settle(engine.workspace, root.state)
    seedings[0].write(engine.caches, engine.workspace)
    delete_tree(trash)


def judge_restore(folder: Path, worked: bool) -> None:
    known = json.loads((folder / "known.json").read_text())
    root = SandboxRoot(folder, folder / "workspace")
    for trash in recover(root).trash:
        delete_tree(trash)
    root.prepare()
    assert os.listdir(root.staging) == [], "what a crash left is cleaned"
    engine = opened(folder)
    found = {path: told for path, told in describe(engine.workspace).items() if path}
    first = {path: told for path, told in restored(engine, known["first"]).items() if path}
    if found != first:
        assert not worked
        assert found[b"/repo/unsaved.txt"][1] == b"work"
        assert found[b"/repo/a.txt"][1] == b"new"
        assert len(found) == len(restored(engine, known["second"])), "the old tree, nothing else"
    saved = engine.save()
    back = {path: told for path, told in restored(engine, saved.snapshot).items() if path}
    assert back == found, "no stat cache was left that lies"
    assert (folder / "canary").read_bytes() == _CANARY


# -- a restore to where nothing was -----------------------------------------------------------


def prepare_empty(folder: Path) -> None:
    prepare(folder)
    shutil.rmtree(folder / "workspace")
    (folder / "workspace" / "repo").mkdir(parents=True)


def act_restore_and_sync(folder: Path) -> None:
    act_restore(folder)
    sync_sandbox(SandboxRoot(folder, folder / "workspace"))


def judge_restored_to_nothing(folder: Path, worked: bool) -> None:
    known = json.loads((folder / "known.json").read_text())
    root = SandboxRoot(folder, folder / "workspace")
    assert not is_torn(root), "the machine has not begun anew"
    for trash in recover(root).trash:
        delete_tree(trash)
    assert os.listdir(root.staging) == [], "what a crash left is cleaned"
    if worked:
        assert not is_unsynced(root)
    engine = opened(folder)
    found = {path: told for path, told in describe(engine.workspace).items() if path}
    if is_empty(engine.workspace):
        assert not worked
    else:
        first = {path: told for path, told in restored(engine, known["first"]).items() if path}
        assert found == first
    sync_sandbox(root)
    assert not is_unsynced(root)
    saved = engine.save()
    back = {path: told for path, told in restored(engine, saved.snapshot).items() if path}
    assert back == found, "no stat cache was left that lies"
    assert (folder / "canary").read_bytes() == _CANARY


SCENARIOS = (
    Scenario("save", prepare, act_save, judge_save),
    Scenario("restore", prepare, act_restore, judge_restore),
    Scenario("restore to nothing", prepare_empty, act_restore_and_sync, judge_restored_to_nothing),
    Scenario("check", repairs.prepare, repairs.act_check, repairs.judge_check, writes=False),
    Scenario("repair", repairs.prepare, repairs.act_repair, repairs.judge_repair),
)


# -- driving ----------------------------------------------------------------------------------


def attempt(folder: Path, act: Callable[[Path], None], at: int, error: int) -> tuple[str, int]:
    """Act in a fork, failing at the `at`th call: ("worked" | "refused" | "killed", calls)."""
    library = ctypes.CDLL(None)
    library.limpet_calls.restype = ctypes.c_long
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        code = 3
        try:
            library.limpet_arm(ctypes.c_long(at), error)
            act(folder)
            code = 0
        except (OSError, LimpetError):
            code = 2
        except BaseException:  # noqa: BLE001 - told to the parent by the code
            traceback.print_exc()
        finally:
            calls = library.limpet_calls()
            library.limpet_arm(ctypes.c_long(0), 0)
            os.write(writer, str(calls).encode())
            os._exit(code)
    os.close(writer)
    told = os.read(reader, 64)
    os.close(reader)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return "killed", int(told or b"0")
    outcome = {0: "worked", 2: "refused"}.get(os.WEXITSTATUS(status), "broke")
    return outcome, int(told or b"0")


def main() -> int:
    """Print a line a failure, and last the counts as JSON; 1 when something did not hold."""
    sample, seed = int(sys.argv[1]), int(sys.argv[2])
    dice = random.Random(seed)
    shm = Path("/dev/shm")
    base = Path(tempfile.mkdtemp(prefix="limpet-calls-", dir=shm if shm.is_dir() else None))
    counts = {"cases": 0, "held": 0, "killed": 0, "refused": 0, "worked": 0, "calls": 0}
    states: dict[Callable[[Path], None], Path] = {}
    try:
        for scenario in SCENARIOS:
            if scenario.prepare not in states:
                states[scenario.prepare] = Path(tempfile.mkdtemp(prefix="state-", dir=base))
                scenario.prepare(states[scenario.prepare])
            state = states[scenario.prepare]
            calls = measure(state, scenario)
            counts["calls"] += calls
            for how, error in HOW.items():
                every = range(1, calls + 1)
                chosen = every if calls <= sample else sorted(dice.sample(every, sample))
                for at in chosen:
                    counts["cases"] += 1
                    try:
                        outcome = case(state, scenario, at, error)
                    except BaseException:  # noqa: BLE001 - one that does not hold is counted
                        sys.stdout.write(f"{scenario.name}, call {at}, {how}: does not hold\n")
                        traceback.print_exc(file=sys.stdout)
                        continue
                    counts["held"] += 1
                    counts[outcome] += 1
    finally:
        shutil.rmtree(base, ignore_errors=True)
    sys.stdout.write(json.dumps(counts) + "\n")
    return int(counts["held"] != counts["cases"])


def measure(state: Path, scenario: Scenario) -> int:
    """How many calls the act makes when all goes well."""
    folder = copy(state)
    outcome, calls = attempt(folder, scenario.act, 0, 0)
    assert outcome == "worked", outcome
    assert bool(calls) == scenario.writes, f"{scenario.name} makes {calls} calls"
    scenario.judge(folder, True)
    shutil.rmtree(folder)
    return calls


def case(state: Path, scenario: Scenario, at: int, error: int) -> str:
    folder = copy(state)
    try:
        outcome, _ = attempt(folder, scenario.act, at, error)
        assert outcome != "broke", "it ended with an error that is none of ours"
        scenario.judge(folder, outcome == "worked")
        return outcome
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def copy(state: Path) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="case-", dir=state.parent))
    shutil.copytree(state, folder, symlinks=True, dirs_exist_ok=True)
    return folder


if __name__ == "__main__":
    sys.exit(main())
