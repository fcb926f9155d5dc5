"""Real processes, stopped for a moment and let go again."""

import ctypes
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from limpet.daemon import freeze
from limpet.daemon.freeze import ProcessFreezer
from limpet.daemon.processes import become_subreaper, descendants, process_table
from limpet.snapshots.delta import stream_delta
from limpet.snapshots.statcache import StatCaches
from tests.live import poll_until
from tests.snapshots.trees import scratch_folder

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")

PR_SET_CHILD_SUBREAPER = 36
IN_STEP = """
import sys
one, other = open(sys.argv[1], "w", buffering=1), open(sys.argv[2], "w", buffering=1)
for number in range(10**9):
    one.write(f"{number:09}\\n")
    other.write(f"{number:09}\\n")
    if number % 2000 == 0:
        for out in (one, other):
            out.seek(0)
"""


def state_of(pid: int) -> str:
    return process_table()[pid].state


def living() -> set[int]:
    """The ids of this process' living descendants, the servers of other tests among them."""
    return {one.pid for one in descendants(process_table(), os.getpid()) if not one.dead}


@pytest.fixture
def freezer() -> Iterator[ProcessFreezer]:
    before = living()
    made = ProcessFreezer(whole_namespace=False)
    yield made
    made.thaw()
    assert living() - before == set(), "no guard is left"


def started(*command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def ended(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def test_everything_stops_and_goes_on(freezer: ProcessFreezer) -> None:
    shell = started("sh", "-c", "sleep 100 & sleep 100")
    try:
        poll_until("both sleep", lambda: len(descendants(process_table(), shell.pid)) == 2)
        family = [shell.pid, *(p.pid for p in descendants(process_table(), shell.pid))]
        assert freezer.freeze()
        assert [state_of(pid) for pid in family] == ["T"] * 3
        freezer.thaw()
        assert all(state_of(pid) != "T" for pid in family)
    finally:
        for pid in family[1:]:
            os.kill(pid, signal.SIGKILL)
        ended(shell)


def test_with_nothing_running_there_is_nothing_to_stop(freezer: ProcessFreezer) -> None:
    assert freezer.freeze()


def test_a_save_never_sees_two_files_out_of_step() -> None:
    with scratch_folder() as folder:
        workspace = folder / "workspace"
        workspace.mkdir()
        writer = started(sys.executable, "-c", IN_STEP, str(workspace / "a"), str(workspace / "b"))
        freezer = ProcessFreezer(whole_namespace=False)
        caches = StatCaches(folder / "caches")
        try:
            poll_until(
                "it writes",
                lambda: (workspace / "b").exists() and (workspace / "b").stat().st_size > 0,
            )
            frozen = 0
            for _ in range(10):
                seen: list[tuple[str, str]] = []
                watched = Watching(freezer, workspace, seen)
                stream = stream_delta(
                    workspace, caches=caches, base=None, fields={}, freezer=watched
                )
                for _ in stream:
                    pass
                if not stream.receipt.live:
                    frozen += 1
                    one, other = seen[-1]
                    assert abs(newest(one) - newest(other)) <= 1
                    assert stream.receipt.torn == ()
            assert frozen
        finally:
            ended(writer)


def newest(text: str) -> int:
    return max(map(int, text.split()), default=-1)


class Watching:
    """Looks at the two files itself, while they stand still."""

    def __init__(self, inner: ProcessFreezer, workspace: Path, seen: list[tuple[str, str]]) -> None:
        self._inner, self._workspace, self._seen = inner, workspace, seen

    def freeze(self) -> bool:
        return self._inner.freeze()

    def thaw(self) -> None:
        texts = [(self._workspace / name).read_text() for name in "ab"]
        self._seen.append((texts[0], texts[1]))
        self._inner.thaw()


def test_an_interactive_shell_sees_no_stopped_job(freezer: ProcessFreezer) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
    try:
        os.write(terminal, b"PS1='$ '; sleep 300 & echo be''gan\n")
        said = read_until(terminal, b"began\r\n")
        for _ in range(5):
            assert freezer.freeze()
            freezer.thaw()
        os.write(terminal, b"jobs; echo o''ver\n")
        said = read_until(terminal, b"over\r\n")
        assert b"Stopped" not in said
        assert b"Running" in said
    finally:
        for process in descendants(process_table(), pid):
            os.kill(process.pid, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


def read_until(fd: int, end: bytes) -> bytes:
    said = b""
    while end not in said:
        assert select.select([fd], [], [], 20)[0], said
        said += os.read(fd, 65536)
    return said


@pytest.fixture
def orphans_are_ours() -> Iterator[None]:
    """Who loses its parent becomes a child of this process, for as long as it takes."""
    assert become_subreaper()
    yield
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@pytest.mark.usefixtures("orphans_are_ours")
def test_processes_that_fork_without_end_are_let_go_again() -> None:
    before = living()
    bomb = started("sh", "-c", "while :; do (sleep 0.01 &) ; done")
    freezer = ProcessFreezer(whole_namespace=False)
    try:
        for _ in range(5):
            freezer.freeze()
            freezer.thaw()
            states = [p.state for p in descendants(process_table(), os.getpid())]
            assert "T" not in states
    finally:
        ended(bomb)
        poll_until("they have ended", lambda: not living() - before)
        for orphan in descendants(process_table(), os.getpid()):
            if orphan.dead and orphan.parent == os.getpid():
                os.waitpid(orphan.pid, 0)


def test_a_daemon_that_is_killed_meanwhile_leaves_nothing_stopped(tmp_path: Path) -> None:
    code = (
        "import os, sys, subprocess, signal\n"
        "from limpet.daemon.freeze import ProcessFreezer\n"
        "child = subprocess.Popen(['sleep', '300'], stdout=subprocess.DEVNULL)\n"
        "assert ProcessFreezer(whole_namespace=False).freeze()\n"
        "print(child.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=False)
    pid = int(done.stdout)
    try:
        poll_until("it goes on", lambda: state_of(pid) != "T")
    finally:
        os.kill(pid, signal.SIGKILL)


def test_a_daemon_that_hangs_meanwhile_is_not_waited_for(
    freezer: ProcessFreezer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freeze, "GUARD_AFTER_S", 0.3)
    child = started("sleep", "300")
    try:
        assert freezer.freeze()
        poll_until("it goes on", lambda: state_of(child.pid) != "T")
    finally:
        ended(child)
