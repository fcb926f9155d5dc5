"""`make bench-store`: saves, restores and forks over a bucket, and a thousand sandboxes.

Everybody speaks to one real S3 server on loopback. Times are medians over rounds in which everybody
takes a turn; requests are counted in a round of their own.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from bench.snapshots.measuring import Case, seconds
from bench.snapshots.sandboxes import begin_many
from bench.snapshots.workspaces import small_files
from bench.store.counting import counting_proxy
from bench.store.tools import Bucket, Limpet, Rclone, Restic, Tool
from tests.stores.other_servers import BUCKET_NAME, NotInstalledError, juicefs_gateway
from tests.stores.s3_server import KEYS, make_bucket, s3_server

RESULTS: Final = Path(__file__).parent.parent / "results"
CASES: Final = ("save, first", "save, nothing changed", "save, 10 files changed", "restore")
OURS: Final = "Limpet"


@contextlib.contextmanager
def _bucket(folder: Path, server: str) -> Iterator[Bucket]:
    if server == "moto":
        with s3_server() as endpoint:
            make_bucket(endpoint, BUCKET_NAME)
            yield Bucket(endpoint, BUCKET_NAME, KEYS)
        return
    with juicefs_gateway(folder) as found:
        yield Bucket(found.endpoint, BUCKET_NAME, found.credentials)


def _tools(bucket: Bucket, prefix: str, scratch: Path, *, peers: bool) -> list[Tool]:
    """Those that are there; each round has repositories of its own."""
    found: list[Tool] = [
        Limpet(bucket, f"{prefix}-ours", scratch, cached=False),
        Limpet(bucket, f"{prefix}-cached", scratch, cached=True),
    ]
    if not peers:
        return found
    if shutil.which("restic"):
        found.append(Restic(bucket, f"{prefix}-restic", scratch))
    if shutil.which("rclone"):
        found.append(Rclone(bucket, f"{prefix}-rclone", scratch, tar=False))
        found.append(Rclone(bucket, f"{prefix}-tar", scratch, tar=True))
    return found


def _change(workspace: Path, chance: random.Random) -> None:
    files = sorted(path for path in workspace.rglob("*") if path.is_file())
    for path in chance.sample(files, 10):
        path.write_bytes(chance.randbytes(path.stat().st_size or 1))


def _round(
    tools: list[Tool], workspace: Path, scratch: Path, did: Callable[[str, Tool, float], None]
) -> None:
    chance = random.Random()  # other bytes in each round
    for name in CASES[:3]:
        if name == "save, 10 files changed":
            _change(workspace, chance)
        for tool in tools:
            did(name, tool, seconds(lambda tool=tool: tool.save(workspace)))  # type: ignore[misc]
    for number, tool in enumerate(tools):
        into = scratch / f"into-{number}"
        did("restore", tool, seconds(lambda tool=tool, into=into: tool.restore(into)))  # type: ignore[misc]
        shutil.rmtree(into)


def _fork(ours: Limpet, number: int) -> float:
    """Seconds of a fork, to the same agent or to another one."""
    agent = "agent" if number % 2 else "another"
    return seconds(lambda: ours.fork(number, agent=agent))


def measure(
    scratch: Path,
    *,
    server: str,
    files: int,
    rounds: int,
    count: int,
    template_files: int,
    peers: bool = True,
) -> dict[str, Any]:
    """Everything; plain JSON types. `server` is `juicefs` or `moto`."""
    workspace = scratch / "workspace"
    small_files(workspace, files, 8000)
    template = scratch / "template"
    small_files(template, template_files, 27_000)  # as many as the bundled one, and as large
    cases = {name: Case(name) for name in CASES}
    forks: list[float] = []
    requests: dict[str, dict[str, dict[str, int]]] = {}
    with _bucket(scratch / "server", server) as bucket:
        for number in range(rounds):
            tools = _tools(bucket, f"r{number}", scratch, peers=peers)
            _round(tools, workspace, scratch, lambda n, t, s: cases[n].add(t.name, s))
            ours = tools[0]
            assert isinstance(ours, Limpet)
            forks += [_fork(ours, at) for at in range(5)]
        with counting_proxy(bucket.endpoint) as (counted, endpoint):
            tools = _tools(
                Bucket(endpoint, bucket.name, bucket.credentials), "counted", scratch, peers=peers
            )
            counted.take()
            _round(
                tools, workspace, scratch,
                lambda n, t, _s: requests.setdefault(n, {}).update({t.name: counted.take()}),
            )  # fmt: skip
            ours = tools[0]
            assert isinstance(ours, Limpet)
            ours.fork(0, agent="agent")
            requests["fork"] = {OURS: counted.take()}
    return {
        "server": server,
        "workspace": {"files": files, "bytes": sum(
            path.stat().st_size for path in workspace.rglob("*") if path.is_file()
        )},
        "rounds": rounds,
        "cases": {name: case.as_dict() for name, case in cases.items()},
        "requests": requests,
        "fork_s": forks,
        "sandboxes": begin_many(template, scratch, count),
    }  # fmt: skip


def table(found: dict[str, Any]) -> str:
    """The results for people, ending with the bars."""
    lines = [
        f"{found['workspace']['files']:,} files, {found['workspace']['bytes'] / 1e6:.1f} MB, over a"
        f" bucket of {found['server']} on loopback; medians of {found['rounds']}"
    ]
    for name in CASES:
        times = found["cases"][name]["times_s"]
        own = statistics.median(times[OURS])
        lines += ["", name]
        for tool, taken in sorted(times.items(), key=lambda one: statistics.median(one[1])):
            asked = found["requests"].get(name, {}).get(tool, {})
            told = ", ".join(f"{count} {method}" for method, count in asked.items()) or "none"
            median = statistics.median(taken)
            lines.append(f"  {tool:<24}{median:8.3f} s  x {median / own:6.2f}   {told}")
    fork = statistics.median(found["fork_s"])
    asked = ", ".join(f"{n} {m}" for m, n in found["requests"]["fork"][OURS].items())
    many = found["sandboxes"]
    share = many["all"] / (many["template"] + many["edits"])
    lines += ["", f"fork: {fork:.3f} s, {asked}", "", "bars"]
    for what, told, reached in (
        ("a fork: under 1 s", f"{fork:.3f} s", fork < 1),
        (f"{many['count']:,} sandboxes of a template of {many['template'] / 1e6:.1f} MB:"
         " at most 1.1 x one and what differs",
         f"{share:.3f}", share <= 1.1),
    ):  # fmt: skip
        lines.append(f"  {'yes' if reached else 'NO '}  {what:<88}{told}")
    return "\n".join(lines) + "\n"


def main() -> int:
    """0 when it could be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.store", description=__doc__)
    parser.add_argument("--server", choices=("juicefs", "moto"), default="juicefs")
    parser.add_argument("--quick", action="store_true", help="a small run that only shows it works")
    parser.add_argument("--results", type=Path, default=RESULTS)
    wanted = parser.parse_args()
    fast = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="limpet-bench-", dir=fast if os.access(fast, os.W_OK) else None
    ) as folder:
        scratch = Path(folder)
        (scratch / "server").mkdir()
        files, rounds, count, of = (60, 1, 20, 200) if wanted.quick else (4000, 3, 1000, 5700)
        try:
            found = measure(
                scratch,
                server=wanted.server,
                files=files,
                rounds=rounds,
                count=count,
                template_files=of,
            )
        except NotInstalledError as error:
            sys.stderr.write(f"bench-store: {error}\n")
            return 1
    for tool in ("restic", "rclone"):
        if not shutil.which(tool):
            sys.stdout.write(f"{tool} is not installed: not measured\n")
    text = table(found)
    sys.stdout.write(text)
    if not wanted.quick:
        wanted.results.mkdir(exist_ok=True)
        (wanted.results / "store.json").write_text(json.dumps(found, indent=1) + "\n")
        (wanted.results / "store.txt").write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
