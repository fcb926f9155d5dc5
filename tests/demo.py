"""`make demo`: the main job from the first click to the homecoming, by itself, on real parts.

Private data folder, random free ports, the real command line, a real npm install. The comparison
of the workspace before and after is made by find, stat and sha256sum (tests/live.py), with every
task stopped and no Limpet code in it. Exit code 0 and the last line `demo: ok` when all held.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import create_connection
from threading import Event
from typing import Any

from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from tests.live import FAST_SAVER, LiveLimpet, differences, poll_until, walk

OLD_MTIME_NS = 1_234_567_890_123_456_789


class Steps:
    """Prints each step with the time it took."""

    def __init__(self) -> None:
        self.started = self.last = time.monotonic()
        self.count = 0

    def done(self, what: str) -> None:
        now = time.monotonic()
        self.count += 1
        print(f"demo: {self.count:2}. {what}  [{now - self.last:.1f} s]", flush=True)
        self.last = now

    @property
    def total_s(self) -> float:
        return time.monotonic() - self.started


@contextmanager
def hot_socket(live: LiveLimpet, handle: str) -> Iterator[ClientConnection]:
    """A WebSocket to the dev server's hot-reload channel, as a browser opens it on the preview."""
    port = int(live.url.rsplit(":", 1)[1])
    client = live.preview(handle, "/@vite/client").data.decode()
    token = re.search(r'wsToken = "([^"]+)"', client)
    query = f"/?token={token[1]}" if token else "/"
    host = f"{handle}.localhost:{port}"
    with connect(
        f"ws://{host}{query}",
        sock=create_connection(("127.0.0.1", port)),
        origin=Origin(f"http://{host}"),
        subprotocols=[Subprotocol("vite-hmr")],
    ) as socket:
        hello = json.loads(socket.recv(timeout=20))
        assert hello["type"] == "connected", hello
        yield socket


def hot_update(
    socket: ClientConnection, act: Callable[[], object], path: str, served: Callable[[], bool]
) -> None:
    """Do `act`; the preview is told that `path` changed, and serves the change."""
    with suppress(TimeoutError):  # what is left to say of earlier changes
        while True:
            socket.recv(timeout=0.5)
    act()
    deadline = time.monotonic() + 30
    while True:
        said = json.loads(socket.recv(timeout=deadline - time.monotonic()))
        if path in json.dumps(said) or said["type"] == "full-reload":
            break
    poll_until(f"the preview to serve the change of {path}", served, 30)


def odd_things(workspace: Path) -> None:
    """Entries that poor copies lose: links, modes, old times, empty folders, odd names, holes."""
    odd = workspace / "beside-the-repo"
    (odd / "empty" / "deeper").mkdir(parents=True)
    (odd / "plain.txt").write_text("kept\n")
    os.link(odd / "plain.txt", odd / "hard-link.txt")
    (odd / "soft").symlink_to("plain.txt")
    (odd / "dangling").symlink_to("/nowhere/at/all")
    (odd / "tool.sh").write_text("#!/bin/sh\n")
    (odd / "tool.sh").chmod(0o751)
    Path(os.fsdecode(os.fsencode(odd) + b"/not-utf8-\xff\xfe")).write_bytes(b"\0\1\2")
    (odd / ("n" * 255)).write_text("long name")
    with (odd / "sparse.bin").open("wb") as holes:
        holes.truncate(8 << 20)
        holes.seek(4 << 20)
        holes.write(b"in the middle")
    (odd / "read-only").mkdir()
    (odd / "read-only" / "inside").write_text("x")
    (odd / "read-only").chmod(0o555)
    os.utime(odd / "plain.txt", ns=(OLD_MTIME_NS, OLD_MTIME_NS))
    os.utime(odd / "empty", ns=(OLD_MTIME_NS, OLD_MTIME_NS))
    (workspace / "tmp").mkdir(exist_ok=True)
    (workspace / "tmp" / "scratch").write_text("never saved")


def git(repo: Path, *arguments: str) -> str:
    """What git prints, with no optional writes to the repository."""
    return subprocess.run(
        ["git", "-c", f"safe.directory={repo}", *arguments],
        cwd=repo, capture_output=True, text=True, check=True,
        env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
    ).stdout  # fmt: skip


def idle_saves(live: LiveLimpet, agent: str) -> list[dict[str, Any]]:
    """The agent's snapshots that the saver made because it fell idle."""
    listed = live.json("snapshots", "ls", agent)["snapshots"]
    return [s for s in listed if s["reason"] == "idle"]


def run(live: LiveLimpet, *source: str) -> None:
    """The five steps of the main job, with an agent made by `limpet new <source>`."""
    steps = Steps()
    live.start()
    steps.done(f"served on {live.url}, one URL signs the user in")

    made = live.json("new", *source, "--name", "Demo")
    agent = made["agent"]["id"]
    box = live.wait_phase(agent, "running")
    handle, root = box["handle"], live.root_of(box["handle"])
    repo = root / "workspace" / "repo"
    page = live.preview(handle)
    assert page.status == 200, page.status
    assert b'<div id="root">' in page.data, page.data[:500]
    assert (repo / "node_modules" / "react").is_dir()
    steps.done(f"`limpet new {source[0]}`: dependencies installed, the preview shows")

    app = next(p for p in ("src/App.tsx", "src/main.tsx") if (repo / p).exists())

    def serves(words: bytes) -> Callable[[], bool]:
        return lambda: words in live.preview(handle, f"/{app}?raw&t={time.monotonic_ns()}").data

    with hot_socket(live, handle) as socket:
        first = (repo / app).read_text().splitlines()[0]
        append = f"printf '// by exec\\n' >> {app} && git add {app}"
        hot_update(
            socket, lambda: live.cli("exec", agent, "--", "sh", "-c", append), app,
            serves(b"by exec"),
        )  # fmt: skip
        steps.done(f"`limpet exec` edited {app}: hot reload through the preview's WebSocket")
        change = {"path": app, "old_string": first, "new_string": f"{first}\n// by the file tool"}
        hot_update(
            socket, lambda: live.api("POST", f"/sandboxes/{handle}/daemon/edit", change), app,
            serves(b"by the file tool"),
        )  # fmt: skip
        steps.done("the API's file tool edited it: hot reload")
        hot_update(
            socket, lambda: (repo / app).write_text((repo / app).read_text() + "// on disk\n"), app,
            serves(b"on disk"),
        )  # fmt: skip
        steps.done("an editor on disk edited it: hot reload")
    poll_until("the saver to rest", lambda: not live.sandbox(agent)["saving"])
    earlier = {s["id"] for s in idle_saves(live, agent)}  # a slow machine rests between edits
    odd_things(root / "workspace")
    (repo / "untracked.txt").write_text("not in git yet\n")
    status = git(repo, "status", "--porcelain")

    def fresh() -> list[dict[str, Any]]:
        return [s for s in idle_saves(live, agent) if s["id"] not in earlier]

    def at_rest() -> list[dict[str, Any]]:
        box = live.sandbox(agent)
        return [] if box["unsaved"] or box["saving"] else fresh()

    settled = poll_until("the idle save", at_rest, 90)
    # That nothing more happens can only be told by letting time pass.
    Event().wait(2 * float(FAST_SAVER["LIMPET_POLL_S"]) + float(FAST_SAVER["LIMPET_IDLE_S"]))
    assert fresh() == settled, "the saver saved an idle sandbox more than once"
    saved = settled[0]
    receipt = saved["receipt"]
    assert receipt["complete"], receipt
    steps.done(f"idle: saved once, {receipt['entries']} entries, {receipt['size_bytes']:,} bytes")

    live.cli("tasks", "kill-all", agent)
    before = walk(root / "workspace")
    final = live.json("snapshots", "save", agent, "--name", "before the end")
    assert final["receipt"]["complete"], final["receipt"]
    assert not differences(before, walk(root / "workspace")), "the save changed the workspace"
    steps.done("all tasks stopped, final save named 'before the end'")

    killed = live.kill_all()
    subprocess.run(["chmod", "-R", "u+rwX", root], check=True)
    subprocess.run(["rm", "-rf", root], check=True)
    assert not root.exists()
    steps.done(f"kill -9 of {killed} processes, the sandbox's folder deleted")

    live.start()
    live.cli("start", agent, "--hold", "restored")
    after = walk(root / "workspace")
    wrong = differences(before, after)
    assert not wrong, f"{len(wrong)} differences:\n" + "\n".join(wrong[:40])
    steps.done(f"held at 'restored': {len(after):,} entries, no byte, mode, mtime or link differs")

    live.cli("start", agent)
    box = live.wait_phase(agent, "running")
    assert box["restore"]["outcome"] in ("restored", "kept"), box["restore"]
    setup = live.json("logs", agent, "--source", "setup")["logs"]["setup"]
    assert re.search(r"skip|already|up to date", setup, re.IGNORECASE), setup
    assert b"on disk" in live.preview(handle, f"/{app}?raw").data
    assert git(repo, "status", "--porcelain") == status
    steps.done("home again: install skipped, git state and edits there, the preview runs")
    assert live.stop() == 0
    print(
        f"demo: ok  {steps.count} steps in {steps.total_s:.1f} s, {len(after):,} entries compared,"
        f" {receipt['size_bytes']:,} bytes a snapshot",
        flush=True,
    )


def main() -> int:
    """Run the demo in a temporary data folder; 1 when anything failed, with the server's output."""
    import tempfile

    live = LiveLimpet(Path(tempfile.mkdtemp(prefix="limpet-demo-")), FAST_SAVER)
    try:
        run(live, "webapp")
    except (Exception, KeyboardInterrupt) as error:
        print(f"demo: FAILED  {type(error).__name__}: {error}", file=sys.stderr)
        print("--- the server said\n" + live.output()[-6000:], file=sys.stderr)
        return 1
    finally:
        live.destroy()
    return 0


if __name__ == "__main__":
    sys.exit(main())
