"""`make bench-main`: what a person waits for, beside installing and starting the same app by hand.

The 'Web app' tile, with a template that was installed before, to the live preview; a sandbox that
was evicted, to the live preview; a save. The whole way, over HTTP, everything verified. Prints
medians and the ratios of their rounds: a shared machine's single times mean little.
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

from tests.live import QUIET_SAVER, REPOSITORY, LiveLimpet, poll_until


def seconds(act: Callable[[], object]) -> float:
    """How long `act` took, in seconds of the wall."""
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def run(*command: object, cwd: Path | None = None) -> None:
    subprocess.run([str(c) for c in command], cwd=cwd, check=True, stdout=subprocess.DEVNULL)


def row(what: str, ours: list[float], theirs: list[float], peer: str) -> None:
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    print(
        f"  {what:34} ours {statistics.median(ours):6.2f} s"
        f"   {peer} {statistics.median(theirs):6.2f} s"
        f"   ratio {statistics.median(ratios):5.2f}  ({min(ratios):.2f} to {max(ratios):.2f})"
    )


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


def by_hand(folder: Path, number: int) -> float:
    """`npm ci` and the start of the template's app, with npm's cache as warm as ours."""
    copy = folder / str(number)
    shutil.copytree(
        REPOSITORY / "templates/webapp", copy, ignore=shutil.ignore_patterns("node_modules")
    )

    def install_and_start() -> None:
        run("npm", "ci", "--no-audit", "--no-fund", cwd=copy)
        first_answer(["npm", "run", "dev"], copy)

    return seconds(install_and_start)


def tile(live: LiveLimpet) -> str:
    """What a click on 'Web app' does, to the live preview; gives the agent."""
    asked = {"title": "Bench", "template": "webapp"}
    agent = str(live.api("POST", "/agents", asked)["id"])
    live.api("POST", "/vm/start", {"virtualMcpId": agent})
    live.wait_phase(agent, "running")
    return agent


def come_home(live: LiveLimpet, agent: str) -> None:
    live.api("POST", "/vm/start", {"virtualMcpId": agent})
    live.wait_phase(agent, "running")


def main() -> int:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    rounds = options.parse_args().rounds
    first, tiles, saves, homes, hands = [], [], [], [], []
    with (
        tempfile.TemporaryDirectory(prefix="limpet-bench-") as folder,
        LiveLimpet.temporary(QUIET_SAVER) as live,
    ):
        first.append(seconds(lambda: tile(live)))
        poll_until("the template", lambda: "template_built" in live.output(), 600)
        for number in range(rounds):
            made: list[str] = []
            tiles.append(seconds(lambda: made.append(tile(live))))  # noqa: B023
            agent = made[0]
            handle = live.sandbox(agent)["handle"]
            root = live.root_of(handle)
            (root / "workspace/repo/changed.txt").write_text(str(number))
            path = f"/agents/{agent}/snapshots"
            saves.append(seconds(lambda: live.api("POST", path, {})))  # noqa: B023
            live.api("POST", f"/sandboxes/{handle}/stop", {})
            root.rename(Path(folder) / f"evicted-{number}")  # see `bench.tile.stop`
            homes.append(seconds(lambda: come_home(live, agent)))  # noqa: B023
            live.api("POST", f"/sandboxes/{handle}/stop", {})
            hands.append(by_hand(Path(folder), number))
    print(f"bench-main: {rounds} rounds, {os.cpu_count()} cores")
    print(f"  first tile of a template           ours {first[0]:6.2f} s")
    row("tile, template known, to live", tiles, hands, "npm ci + start")
    row("evicted to live preview", homes, hands, "npm ci + start")
    print(f"  a save after one change            ours {statistics.median(saves):6.2f} s")
    print(json.dumps({"python": sys.version.split()[0], "cpus": os.cpu_count()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
