"""`python -m bench.tar_choice`: our tar writer and reader beside the system's tar made safe.

The measurement behind docs/decisions/0001-own-tar.md. Every contender gives the same promise:

save       a stream with a digest. Ours; GNU tar (posix, sparse) through a pipe, hashed by us;
           Python's tarfile, hashed.
restore    a tree in a fresh folder, from a stream that was verified on the way. Ours; our verifier
           in front of GNU tar's standard input; Python's tarfile with its data filter.

GNU tar alone, with no digest and no verification, is the floor. All in alternating rounds on one
tmpfs, each restore into a fresh folder; medians, and the ratio to ours of each round.
"""

import argparse
import os
import random
import shutil
import statistics
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from blake3 import blake3

from limpet.snapshots.tar_read import TarLimits, TarVerifier, extract_tar
from limpet.snapshots.tar_write import stream_tar
from limpet.snapshots.tree import delete_tree

CHUNK = 1 << 20


def make_tree(root: Path, entries: int) -> None:
    """A tree with a workspace's shape: most files small, few large, some links, ns mtimes."""
    chance = random.Random(0)
    folders = [root]
    root.mkdir()
    for n in range(entries):
        parent = chance.choice(folders[-200:])
        kind = chance.random()
        if kind < 0.1:
            folders.append(parent / f"package-{n}")
            folders[-1].mkdir()
        elif kind < 0.12:
            (parent / f"link-{n}").symlink_to("../somewhere/else.js")
        else:
            size = int(chance.paretovariate(0.7) * 300)
            (parent / f"module-{n}.js").write_bytes(chance.randbytes(min(size, 3 << 20)))


def chunks_of(path: Path) -> Iterable[bytes]:
    with path.open("rb", buffering=0) as tar:
        while chunk := tar.read(CHUNK):
            yield chunk


def save_ours(tree: Path, out: Path) -> None:
    with out.open("wb", buffering=0) as tar:
        for chunk in stream_tar(tree):
            tar.write(chunk)


def save_gnu(tree: Path, out: Path) -> None:
    subprocess.run(["tar", "--format=posix", "-cf", out, "-C", tree, "."], check=True)


def save_gnu_safe(tree: Path, out: Path) -> None:
    digest = blake3()
    command = ["tar", "--format=posix", "--sparse", "--sort=name", "-cf", "-", "-C", tree, "."]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as tar, out.open("wb", 0) as target:
        assert tar.stdout is not None
        while chunk := os.read(tar.stdout.fileno(), CHUNK):
            digest.update(chunk)
            target.write(chunk)


def save_tarfile(tree: Path, out: Path) -> None:
    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.add(tree, ".")
    digest = blake3()
    for chunk in chunks_of(out):
        digest.update(chunk)


def restore_ours(source: Path, into: Path) -> None:
    extract_tar(chunks_of(source), into, limits=TarLimits())


def restore_gnu(source: Path, into: Path) -> None:
    into.mkdir()
    quiet = "--warning=no-unknown-keyword"
    subprocess.run(["tar", quiet, "-xf", source, "-C", into], check=True)


def restore_gnu_safe(source: Path, into: Path) -> None:
    into.mkdir()
    verifier = TarVerifier()
    command = ["tar", "--warning=no-unknown-keyword", "-xf", "-", "-C", into]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as tar:
        assert tar.stdin is not None
        for chunk in chunks_of(source):
            verifier.feed(chunk)
            tar.stdin.write(chunk)
        verifier.finish()
        tar.stdin.close()


def restore_tarfile(source: Path, into: Path) -> None:
    with tarfile.open(source) as tar:
        tar.extractall(into, filter="data")


def verify(source: Path, _: Path) -> None:
    verifier = TarVerifier()
    for chunk in chunks_of(source):
        verifier.feed(chunk)
    verifier.finish()


SAVES = {
    "ours": save_ours,
    "GNU tar, hashed by us": save_gnu_safe,
    "Python tarfile, hashed": save_tarfile,
    "GNU tar alone (floor)": save_gnu,
}
RESTORES = {
    "ours": restore_ours,
    "our verifier | GNU tar": restore_gnu_safe,
    "Python tarfile": restore_tarfile,
    "GNU tar alone (floor)": restore_gnu,
    "our verifier alone": verify,
}
Act = Callable[[Path, Path], None]


def compare(title: str, ways: dict[str, Act], source: Path, scratch: Path, rounds: int) -> None:
    times: dict[str, list[float]] = {name: [] for name in ways}
    for n in range(rounds):
        for name, act in ways.items():
            target = scratch / f"{title}-{len(times[name])}-{n}-{abs(hash(name))}"
            started = time.perf_counter()
            act(source, target)
            times[name].append(time.perf_counter() - started)
            if target.is_file():
                target.unlink()
    ours = times["ours"]
    print(f"{title}, {rounds} rounds")
    for name, taken in times.items():
        ratios = sorted(t / o for t, o in zip(taken, ours, strict=True))
        print(
            f"  {name:26} {statistics.median(taken):7.2f} s   {statistics.median(ratios):5.2f} x"
            f" ours   ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )


def main() -> None:
    """Print the tables."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--tree", type=Path, help="a folder to copy; made up when not given")
    options.add_argument("--entries", type=int, default=40_000)
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    scratch = Path(tempfile.mkdtemp(prefix="limpet-bench-", dir=where))
    try:
        tree = scratch / "tree"
        if given.tree is not None:
            shutil.copytree(given.tree, tree, symlinks=True)
        else:
            make_tree(tree, given.entries)
        tar = scratch / "tree.tar"
        save_ours(tree, tar)
        entries = sum(len(folders) + len(files) for _, folders, files in os.walk(tree))
        print(f"{entries:,} entries, {tar.stat().st_size:,} bytes as a tar, {os.cpu_count()} cores")
        compare("save", SAVES, tree, scratch, given.rounds)
        compare("restore", RESTORES, tar, scratch, given.rounds)
    finally:
        delete_tree(scratch)


if __name__ == "__main__":
    main()
