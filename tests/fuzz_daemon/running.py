"""A real daemon with a small repository, whose output is kept and whose death is noticed."""

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.daemon_process import DaemonProcess
from tests.gitserver import git

FILES = {"a.txt": "one\ntwo\n", "src/b.ts": "export const two = 2;\n"}
PROGRAMS = (
    "bun",
    "corepack",
    "deno",
    "node",
    "npm",
    "pip",
    "pnpm",
    "poetry",
    "python3",
    "uv",
    "yarn",
)


@dataclass
class Fuzzed:
    """The daemon, what it said, and how much was thrown at it.

    `remote` is a repository on this machine that it may be told to clone.
    """

    daemon: DaemonProcess
    remote: Path
    said: list[str] = field(default_factory=list)
    requests: int = 0
    configured: int = 0
    """Configs that were made from the schema and taken."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self.daemon.url.removeprefix("http://").split(":")
        return host, int(port)

    def check(self) -> None:
        """It answers, and nothing that nobody expected was said."""
        assert self.daemon.healthy(), "the daemon does not answer"
        text = "".join(self.said)
        self.said.clear()
        assert "Traceback" not in text, text[-4000:]

    def resident_bytes(self) -> int:
        """What it holds in memory."""
        lines = Path(f"/proc/{self.daemon.process.pid}/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def idle_programs(folder: Path) -> Path:
    """A folder for PATH whose package managers and runtimes fetch, install and run nothing."""
    folder.mkdir()
    for name in PROGRAMS:
        (folder / name).write_text("#!/bin/sh\necho v99.0.0\n")
        (folder / name).chmod(0o755)
    return folder


@contextlib.contextmanager
def fuzzed_daemon(folder: Path) -> Iterator[Fuzzed]:
    """A daemon on a repository with one commit and something changed."""
    workspace = folder / "root" / "workspace"
    repo = workspace / "repo"
    repo.mkdir(parents=True)
    for name, text in FILES.items():
        (repo / name).parent.mkdir(exist_ok=True)
        (repo / name).write_text(text)
    git("init", "-q", "-b", "work", ".", cwd=repo)
    git("add", "-A", cwd=repo)
    git("commit", "-q", "-m", "first", cwd=repo)
    remote = folder / "remote.git"
    git("clone", "-q", "--bare", str(repo), str(remote), cwd=folder)
    (repo / "a.txt").write_text("changed\n")
    path = f"{idle_programs(folder / 'programs')}{os.pathsep}{os.environ['PATH']}"
    with DaemonProcess.running(workspace, PATH=path) as daemon:
        fuzzed = Fuzzed(daemon, remote)
        stream = daemon.process.stdout
        assert stream is not None

        def keep() -> None:
            with contextlib.suppress(ValueError):  # closed at the end
                for line in stream:
                    fuzzed.said.append(line.decode(errors="replace"))

        reader = threading.Thread(target=keep, daemon=True)
        reader.start()
        yield fuzzed
        fuzzed.check()
        daemon.process.terminate()
        assert daemon.process.wait(60) == 0
        reader.join(10)
