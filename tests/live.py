"""A real `limpet serve` on a data folder of its own, driven by the real command line.

Used by the demo, the fault suite and the end-to-end tests. What it looks at from outside (process
lists, trees) it reads with the system's tools, never with Limpet's code.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import urllib3

REPOSITORY = Path(__file__).resolve().parent.parent
FAST_SAVER = {"LIMPET_POLL_S": "1", "LIMPET_IDLE_S": "3"}
QUIET_SAVER = {"LIMPET_POLL_S": "3600"}


class CommandFailedError(AssertionError):
    """A `limpet` command ended with another code than was expected."""


def poll_until(
    what: str, probe: Callable[[], Any], timeout_s: float = 60.0, interval_s: float = 0.1
) -> Any:
    """The first true value of `probe()`; fails naming `what` when none comes in time."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:.0f} s in vain for: {what}")
        pause.wait(interval_s)


@dataclass
class LiveLimpet:
    """One control plane on a private data folder. `environ` is merged over the test's own."""

    data_dir: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    lines: list[str] = field(default_factory=list)
    _reader: threading.Thread | None = None
    _http: urllib3.PoolManager = field(
        default_factory=lambda: urllib3.PoolManager(retries=False, timeout=60.0)
    )

    @classmethod
    @contextlib.contextmanager
    def temporary(cls, environ: Mapping[str, str] | None = None) -> Iterator[Self]:
        """A started server in a fresh folder; everything of it is gone afterwards."""
        folder = Path(tempfile.mkdtemp(prefix="limpet-live-"))
        live = cls(folder, dict(environ or {}))
        try:
            yield live.start()
        finally:
            live.destroy()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.destroy()

    # -- the server's life ---------------------------------------------------------------------

    def full_environ(self) -> dict[str, str]:
        """What the server and the command line are started with."""
        own = {k: v for k, v in os.environ.items() if not k.startswith(("LIMPET_", "SANDBOX_"))}
        return {
            **own,
            "LIMPET_DATA_DIR": str(self.data_dir),
            "LIMPET_PORT": "0",
            "LIMPET_BROWSER": "off",
            "NO_COLOR": "1",
            "BROWSER": "true",
            **self.environ,
        }

    def start(self, timeout_s: float = 60.0) -> Self:
        """Start the server and wait until it answers."""
        self.lines = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "limpet.cli", "serve"],
            env=self.full_environ(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        stream = self.process.stdout
        assert stream is not None

        def read() -> None:
            for line in stream:
                self.lines.append(line.rstrip())

        self._reader = threading.Thread(target=read, daemon=True)
        self._reader.start()

        def answers() -> bool:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError("the server ended:\n" + self.output())
            if self.sign_in_url is None:
                return False
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                return self._http.request("GET", f"{self.url}/health").status == 200
            return False

        poll_until("the server to answer", answers, timeout_s)
        return self

    def output(self) -> str:
        """All that the server printed so far."""
        return "\n".join(self.lines)

    @property
    def sign_in_url(self) -> str | None:
        """The one URL that the server prints for the user."""
        found = re.search(r"http://\S+/sign-in\?token=\S+", self.output())
        return found[0] if found else None

    @property
    def discovery(self) -> dict[str, Any]:
        """What the server wrote for the command line: `url`, `pid`, `api_key`."""
        loaded: dict[str, Any] = json.loads((self.data_dir / "server.json").read_text())
        return loaded

    @property
    def url(self) -> str:
        """The server's base URL, without a slash at its end."""
        assert self.sign_in_url is not None
        return self.sign_in_url.split("/sign-in")[0]

    def stop(self, timeout_s: float = 60.0) -> int:
        """SIGTERM, and the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout_s)

    def kill_server(self) -> None:
        """kill -9 of the control plane alone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def sandbox_processes(self, root: Path | None = None) -> list[int]:
        """Every process that belongs to a sandbox of this data folder (or of one root)."""
        mark = str(root or self.data_dir).encode()
        own = {os.getpid(), self.process.pid if self.process else 0}
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) in own:
                continue
            with contextlib.suppress(OSError):
                seen = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                seen += os.fsencode((entry / "cwd").readlink())
                if mark not in seen:
                    seen += (entry / "mountinfo").read_bytes() if _has_own_mounts(entry) else b""
                if mark in seen:
                    found.append(int(entry.name))
        return found

    def kill_all(self) -> int:
        """kill -9 of the control plane, every daemon and everything they started."""
        killed = 0
        if self.process and self.process.poll() is None:
            self.kill_server()
            killed += 1
        for _ in range(100):
            pids = self.sandbox_processes()
            if not pids:
                break
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
            threading.Event().wait(0.02)
        return killed

    def destroy(self) -> None:
        """End everything and delete the data folder."""
        self.kill_all()
        if self._reader:
            self._reader.join(5)
        if self.process and self.process.stdout:
            self.process.stdout.close()
        self._http.clear()
        subprocess.run(["chmod", "-R", "u+rwX", self.data_dir], check=False, capture_output=True)
        shutil.rmtree(self.data_dir, ignore_errors=True)

    # -- using it ------------------------------------------------------------------------------

    def cli(self, *arguments: str, code: int = 0, timeout_s: float = 300.0) -> str:
        """What `limpet <arguments>` prints; fails when it ends with another code."""
        done = subprocess.run(
            [sys.executable, "-m", "limpet.cli", *arguments],
            env=self.full_environ(),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout_s,
            check=False,
        )
        if done.returncode != code:
            raise CommandFailedError(
                f"limpet {' '.join(arguments)} ended with {done.returncode}, not {code}\n"
                f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}\n--- server\n{self.output()[-4000:]}"
            )
        return done.stdout

    def json(self, *arguments: str, code: int = 0, timeout_s: float = 300.0) -> Any:
        """The JSON that `limpet <arguments> --json` prints."""
        return json.loads(self.cli(*arguments, "--json", code=code, timeout_s=timeout_s))

    def system(self) -> Any:
        """What the server says of itself."""
        bearer = {"Authorization": f"Bearer {self.discovery['api_key']}"}
        return self._http.request("GET", f"{self.url}/api/system", headers=bearer).json()

    def api(
        self, method: str, path: str, body: object = None, *, status: int = 200, **headers: str
    ) -> Any:
        """The JSON answer of `/api/local<path>`; fails on another status."""
        answer = self._http.request(
            method,
            f"{self.url}/api/local{path}",
            body=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self.discovery['api_key']}",
                "Content-Type": "application/json",
                **headers,
            },
            timeout=300.0,
        )
        text = answer.data.decode()
        if answer.status != status:
            raise AssertionError(f"{method} {path} gave {answer.status}, not {status}: {text}")
        return json.loads(text) if text else None

    def preview(self, handle: str, path: str = "/", **headers: str) -> urllib3.BaseHTTPResponse:
        """What a browser gets from the sandbox's preview host."""
        port = self.url.rsplit(":", 1)[1]
        return self._http.request(
            "GET", f"{self.url}{path}", headers={"Host": f"{handle}.localhost:{port}", **headers}
        )

    def root_of(self, handle: str) -> Path:
        """The sandbox's root on this machine."""
        return self.data_dir / "sandboxes" / handle

    def sandbox(self, agent: str) -> dict[str, Any]:
        """The agent's one sandbox, as the API tells it."""
        [found] = [s for s in self.api("GET", "/sandboxes")["sandboxes"] if s["agent_id"] == agent]
        return dict(found)

    def wait_phase(self, agent: str, *phases: str, timeout_s: float = 240.0) -> dict[str, Any]:
        """The agent's sandbox once its daemon's phase is one of `phases`."""

        def reached() -> dict[str, Any] | None:
            box = self.sandbox(agent)
            return box if box["phase"] in phases else None

        box: dict[str, Any] = poll_until(f"phase {' or '.join(phases)}", reached, timeout_s, 0.2)
        return box


def _has_own_mounts(process: Path) -> bool:
    """Whether the process lives in another mount namespace than we do."""
    return (process / "ns" / "mnt").readlink() != Path("/proc/self/ns/mnt").readlink()


def walk(workspace: Path, leave_out: str = "tmp") -> dict[str, tuple[str, ...]]:
    """The tree as `find`, `stat`'s fields and `sha256sum` see it: path to what must not differ.

    Each value is (type, mode, mtime in ns, size or link target, hard-link group, sha256). Folder
    sizes are the file system's own business and left out, as is `leave_out` at the top.
    """
    listing = subprocess.run(
        ["find", ".", "-path", f"./{leave_out}", "-prune", "-o", "-printf",
         r"%p\0%y\0%m\0%T@\0%s\0%l\0%n\0%i\0"],
        cwd=workspace, capture_output=True, check=True, env={**os.environ, "LC_ALL": "C"},
    ).stdout.split(b"\0")[:-1]  # fmt: skip
    rows = [listing[i : i + 8] for i in range(0, len(listing), 8)]
    names = b"\0".join(row[0] for row in rows if row[1] == b"f")
    sums: dict[bytes, str] = {}
    if names:
        printed = subprocess.run(
            ["xargs", "-0", "sha256sum", "-z"], cwd=workspace, input=names, capture_output=True,
            check=True,
        ).stdout.split(b"\0")[:-1]  # fmt: skip
        sums = {line[66:]: line[:64].decode() for line in printed}
    groups: dict[bytes, list[bytes]] = {}
    for row in rows:
        if row[1] == b"f" and row[6] != b"1":
            groups.setdefault(row[7], []).append(row[0])
    seen = {}
    for path, kind, mode, mtime, size, target, _links, inode in rows:
        held = size if kind == b"f" else target if kind == b"l" else b""
        group = b"|".join(sorted(groups.get(inode, []))) if kind == b"f" else b""
        seen[path.decode("utf-8", "surrogateescape")] = (
            kind.decode(),
            mode.decode(),
            mtime.decode(),
            held.decode("utf-8", "surrogateescape"),
            hashlib.sha256(group).hexdigest() if group else "",
            sums.get(path, ""),
        )
    return seen


def differences(
    before: Mapping[str, tuple[str, ...]], after: Mapping[str, tuple[str, ...]]
) -> list[str]:
    """What differs between two walks, a line each; empty when nothing does."""
    lines = [f"gone: {path!r}" for path in sorted(before.keys() - after.keys())]
    lines += [f"new: {path!r}" for path in sorted(after.keys() - before.keys())]
    names = ("type", "mode", "mtime", "size or target", "hard links", "bytes")
    for path in sorted(before.keys() & after.keys()):
        changed = [
            f"{name} {old} -> {new}"
            for name, old, new in zip(names, before[path], after[path], strict=True)
            if old != new
        ]
        if changed:
            lines.append(f"{path!r}: {', '.join(changed)}")
    return lines
