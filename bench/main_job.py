"""`make bench-main`: the template's workspace, saved and restored, beside tar and beside npm ci.

Engine alone (our tar writer and reader beside GNU tar, on one tmpfs, in alternating rounds, each
restore into a fresh folder) and the whole way (daemon, control plane, store, over HTTP, verified).
Prints medians and the ratios of their rounds: a shared machine's single times mean little.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from limpet.snapshots.tar_read import TarLimits, extract_tar
from limpet.snapshots.tar_write import stream_tar
from tests.live import QUIET_SAVER, REPOSITORY, LiveLimpet

CHUNK = 1 << 20


def seconds(act: Callable[[], object]) -> float:
    """How long `act` took, in seconds of the wall."""
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def run(*command: object, cwd: Path | None = None) -> None:
    subprocess.run([str(c) for c in command], cwd=cwd, check=True, stdout=subprocess.DEVNULL)


def save_ours(workspace: Path, target: Path) -> None:
    with target.open("wb", buffering=0) as out:
        for chunk in stream_tar(workspace):
            out.write(chunk)


def restore_ours(source: Path, into: Path) -> None:
    into.mkdir()
    with source.open("rb", buffering=0) as tar:
        extract_tar(iter(lambda: tar.read(CHUNK), b""), into, limits=TarLimits())


def restore_tar(source: Path, into: Path) -> None:
    into.mkdir()
    run("tar", "-xf", source, "-C", into)


def row(what: str, ours: list[float], theirs: list[float], peer: str) -> None:
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    print(
        f"  {what:30} ours {statistics.median(ours):6.2f} s"
        f"   {peer} {statistics.median(theirs):6.2f} s"
        f"   ratio {statistics.median(ratios):5.2f}  ({min(ratios):.2f} to {max(ratios):.2f})"
    )


def engine(workspace: Path, scratch: Path, rounds: int) -> None:
    """Our writer and reader beside GNU tar, in alternating rounds."""
    save, tar_save, restore, tar_restore = [], [], [], []
    for n in range(rounds):
        ours, theirs = scratch / f"ours{n}.tar", scratch / f"theirs{n}.tar"
        save.append(seconds(lambda ours=ours: save_ours(workspace, ours)))  # type: ignore[misc]
        tar_save.append(
            seconds(
                lambda theirs=theirs: run(  # type: ignore[misc]
                    "tar", "--format=posix", "-cf", theirs, "-C", workspace, "."
                )
            )
        )
        restore.append(seconds(lambda o=ours, n=n: restore_ours(o, scratch / f"o{n}")))  # type: ignore[misc]
        tar_restore.append(seconds(lambda t=theirs, n=n: restore_tar(t, scratch / f"t{n}")))  # type: ignore[misc]
        ours.unlink()
        theirs.unlink()
    row("save: write a plain tar", save, tar_save, "GNU tar")
    row("restore: verify and extract", restore, tar_restore, "GNU tar")


def first_answer(command: list[str], cwd: Path) -> None:
    """Start a dev server and wait until it says it is ready."""
    server = subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "NO_COLOR": "1"}, start_new_session=True,
    )  # fmt: skip
    assert server.stdout is not None
    for line in server.stdout:
        if re.search(r"Local:", line):
            break
    os.killpg(server.pid, 15)
    server.wait()


def whole_way(rounds: int) -> None:
    """Evicted sandbox to live preview, beside npm ci and start of the same template."""
    saves, homes, fresh = [], [], []
    with LiveLimpet.temporary(QUIET_SAVER) as live:
        agent = live.json("new", "webapp", "--name", "Bench")["agent"]["id"]
        handle = live.wait_phase(agent, "running")["handle"]
        root = live.root_of(handle)
        for n in range(rounds):
            (root / "workspace/repo/changed.txt").write_text(str(n))
            saves.append(
                seconds(lambda: live.api("POST", f"/agents/{agent}/snapshots", {"name": "bench"}))
            )
            live.kill_all()
            shutil.rmtree(root)
            live.start()

            def come_home() -> None:
                live.api("POST", "/vm/start", {"virtualMcpId": agent})
                live.wait_phase(agent, "running")

            homes.append(seconds(come_home))
        size = live.api("GET", f"/agents/{agent}/snapshots")["snapshots"][0]["size_bytes"]
    with tempfile.TemporaryDirectory() as folder:
        for n in range(rounds):
            copy = Path(folder) / str(n)
            shutil.copytree(
                REPOSITORY / "templates/webapp", copy, ignore=shutil.ignore_patterns("node_modules")
            )

            def install_and_start(copy: Path = copy) -> None:
                run("npm", "ci", "--no-audit", "--no-fund", cwd=copy)
                first_answer(["npm", "run", "dev"], copy)

            fresh.append(seconds(install_and_start))
    print(f"  whole way: a save of {size:,} bytes {statistics.median(saves):.2f} s")
    row("evicted to live preview", homes, fresh, "npm ci + start")


def main() -> int:
    """Print the tables."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--engine-only", action="store_true")
    chosen = options.parse_args()
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shm if shm.is_dir() else None) as folder:
        workspace = Path(folder) / "workspace"
        repo = workspace / "repo"
        shutil.copytree(
            REPOSITORY / "templates/webapp", repo, ignore=shutil.ignore_patterns("node_modules")
        )
        run("npm", "ci", "--no-audit", "--no-fund", cwd=repo)
        run("git", "init", "-q", cwd=repo)
        entries = sum(len(d) + len(f) for _, d, f in os.walk(workspace))
        size = sum((Path(d) / n).lstat().st_size for d, _, f in os.walk(workspace) for n in f)
        print(
            f"bench-main: {entries:,} entries, {size / 1e6:.0f} MB, {chosen.rounds} rounds, tmpfs"
        )
        engine(workspace, Path(folder), chosen.rounds)
    if not chosen.engine_only:
        whole_way(max(1, chosen.rounds // 2))
    print(json.dumps({"python": sys.version.split()[0], "cpus": os.cpu_count()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
