import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from limpet.runners import processes
from limpet.runners.processes import (
    ProcessId,
    descendants,
    end_all,
    identify,
    is_alive,
    process_table,
    send,
    tied_to,
    wait_ended,
)

pytestmark = pytest.mark.anyio


@contextmanager
def child(*argv: str, **options: object) -> "Iterator[subprocess.Popen[str]]":
    """A process that has said that it runs, ended with its whole group afterwards."""
    process = subprocess.Popen(  # type: ignore[call-overload]
        argv, stdout=subprocess.PIPE, text=True, start_new_session=True, **options
    )
    try:
        assert process.stdout.readline() == "up\n"
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


SLEEPER = ("sh", "-c", "sleep 1000 & echo up; wait")


@pytest.fixture(params=["proc", "ps", "no-pidfd"])
def means(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every means by which processes are known, forced where this machine has a better one."""
    if request.param == "ps":
        monkeypatch.setattr(processes, "_has_proc", lambda: False)
    if request.param != "proc":
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    return str(request.param)


async def test_a_process_is_known_by_its_start_and_not_its_pid_alone(means: str) -> None:
    with child(*SLEEPER) as process:
        found = identify(process.pid)
        assert found is not None
        assert is_alive(found)
        assert not is_alive(ProcessId(found.pid, "another start"))
        assert not await wait_ended(found, 0.05)
        send(ProcessId(found.pid, "another start"), signal.SIGKILL)
        assert is_alive(found)
        send(found, signal.SIGKILL)
        assert await wait_ended(found, 10)
        assert identify(process.pid) is None, "a zombie is not alive"
    assert not is_alive(found)
    assert await wait_ended(found, 10)
    send(found, signal.SIGKILL)


async def test_descendants_are_all_below(means: str) -> None:
    with child("sh", "-c", "sh -c 'sleep 1000 & echo up; wait'; :") as process:
        below = descendants(process_table(), [process.pid])
        assert len(below) == 2
        assert process.pid not in {found.pid for found in below}
        assert not descendants(process_table(), [below.pop().pid]) & {identify(process.pid)}


async def test_a_name_that_looks_like_fields_does_not_confuse(tmp_path: Path) -> None:
    odd = tmp_path / "a) R 1 (b"
    odd.symlink_to("/bin/sleep")
    process = subprocess.Popen([str(odd), "1000"])
    try:
        row = process_table()[process.pid]
        assert row.parent == os.getpid()
        assert not row.dead
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("name", ["HOME", "APP_ROOT", "SANDBOX_ROOT", "WORKDIR"])
async def test_what_has_its_home_in_a_root_is_tied_to_it(tmp_path: Path, name: str) -> None:
    root = tmp_path / "calm-1"
    with child(*SLEEPER, env={name: f"{root}/workspace", "PATH": os.environ["PATH"]}) as process:
        tied = tied_to(root)
        assert process.pid in {found.pid for found in tied}
        assert len(tied) == 2, "what is below it is tied as well"
        assert set(tied_to(tmp_path).values()) == {"calm-1"}
        assert not tied_to(tmp_path / "calm")


async def test_a_persons_shell_and_editor_in_the_folder_are_not_tied_to_it(tmp_path: Path) -> None:
    environ = {**os.environ, "PWD": str(tmp_path), "OLDPWD": str(tmp_path), "EDITOR": "vi"}
    with child(*SLEEPER, cwd=tmp_path, env=environ):
        assert not tied_to(tmp_path)


@pytest.mark.parametrize("whose", ["the sandbox's", "a person's"])
async def test_an_orphan_that_works_in_the_folder_is_tied_if_its_environment_was_wiped(
    tmp_path: Path, whose: str
) -> None:
    file = tmp_path / "pid"
    code = "import os, sys\nif os.fork(): sys.exit()\nos.setsid()\n"
    code += f"open({str(file)!r}, 'w').write(str(os.getpid()))\n"
    code += "os.execv('/bin/sleep', ['sleep', '1000'])"
    env = {} if whose == "the sandbox's" else {"HOME": "/home/ann"}
    subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, env=env, check=True)
    while not file.exists() or not file.read_text():
        pass
    pid = int(file.read_text())
    try:
        tied = {found.pid for found in tied_to(tmp_path)}
        assert (pid in tied) == (whose == "the sandbox's")
    finally:
        os.kill(pid, signal.SIGKILL)


async def test_an_orphan_that_one_above_us_took_is_tied_as_one_of_init_s_is(
    tmp_path: Path,
) -> None:
    code = """
import os, subprocess, sys
from pathlib import Path
from limpet.daemon.processes import become_subreaper
from limpet.runners.processes import process_table, tied_to
assert become_subreaper()
folder = Path(sys.argv[1])
orphan = "env -i setsid sleep 1000 >/dev/null 2>&1 & echo $!"
pid = int(subprocess.run(["sh", "-c", orphan], cwd=folder, capture_output=True, text=True).stdout)
try:
    while process_table()[pid].parent != os.getpid():
        pass
    while not Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sleep"):
        pass
    print(pid in {found.pid for found in tied_to(folder)})
finally:
    os.kill(pid, 9)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"


async def test_we_and_all_above_us_are_never_tied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from limpet.runners.processes import *; import sys; print(tied_to(Path(sys.argv[1])))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "{}\n"


async def test_a_shell_that_forks_without_end_is_ended(tmp_path: Path) -> None:
    forks = "echo up; while :; do (sleep 1000 &) ; setsid sleep 1000 & done"
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    with child("sh", "-c", forks, env=env):
        left = await end_all(lambda: set(tied_to(tmp_path)), 30)
        assert not left
        assert not tied_to(tmp_path)


async def test_one_that_starts_behind_the_back_of_a_look_is_ended(tmp_path: Path) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def find() -> set[ProcessId]:
        found = set(tied_to(tmp_path))
        if not started:
            started.append(subprocess.Popen(["sleep", "1000"], env={"HOME": str(tmp_path)}))
        return found

    try:
        assert not await end_all(find, 30)
        assert not tied_to(tmp_path)
    finally:
        started[0].kill()
        started[0].wait()


async def test_what_cannot_be_ended_is_told() -> None:
    with child(*SLEEPER) as process:
        found = identify(process.pid)
        assert found is not None
        stubborn = ProcessId(found.pid, "unkillable")
        assert await end_all(lambda: {stubborn}, 0.1) == {stubborn}
        assert is_alive(found)
