"""`make daemon-alone`: the wheel's daemon in an empty environment, with what it asks for alone.

Builds the wheel, installs `limpet[daemon]`, and has the daemon serve: a file, a command, a preview,
a save and a restore. Prints what was installed.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path

import urllib3

from tests.daemon.setup.projects import SERVER_JS, wait_phase
from tests.daemon_process import TOKEN, DaemonProcess
from tests.live import REPOSITORY, poll_until

MOST_PACKAGES = 30
NEVER = ("fastapi", "sqlalchemy", "pydantic", "mcp", "obstore", "cryptography", "typer")


def main() -> None:
    """Build, install, serve; exits with 1 and a line that says why when something is amiss."""
    with tempfile.TemporaryDirectory(prefix="limpet-alone-") as folder:
        place = Path(folder)
        wheel = built(place)
        python = installed(wheel, place / "venv")
        packages = packages_of(python)
        print(f"{wheel.name}: {len(packages)} packages: {', '.join(packages)}")
        unwanted = [name for name in NEVER if name in packages]
        if unwanted or len(packages) > MOST_PACKAGES:
            raise SystemExit(f"the daemon needs too much: {unwanted or len(packages)}")
        with serving(python.with_name("limpet-daemon"), place / "root" / "workspace") as daemon:
            checks = served(daemon)
    print(f"daemon alone: {checks} checks, 0 failed")


def built(place: Path) -> Path:
    """The wheel of this checkout."""
    pip(Path(sys.executable), "wheel", "--no-deps", "--no-build-isolation", "-w", str(place),
        str(REPOSITORY))  # fmt: skip
    [wheel] = place.glob("limpet-*.whl")
    return wheel


def installed(wheel: Path, folder: Path) -> Path:
    """The Python of a fresh environment that has the wheel's daemon."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    pip(python, "install", f"{wheel}[daemon]")
    return python


def pip(python: Path, *words: str) -> None:
    command = [str(python), "-m", "pip", "-q", "--disable-pip-version-check", *words]
    subprocess.run(command, check=True)


def packages_of(python: Path) -> list[str]:
    """What is installed beside pip itself."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "list", "--format", "json"]
    listed = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return sorted(one["name"].lower() for one in listed if one["name"] not in {"pip", "setuptools"})


@contextlib.contextmanager
def serving(program: Path, workspace: Path) -> Iterator[DaemonProcess]:
    """The installed command on a workspace."""
    workspace.mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        process = subprocess.Popen(
            [str(program)],
            env={**kept, "DAEMON_TOKEN": TOKEN, "APP_ROOT": str(workspace),
                 "DAEMON_LISTEN_FD": str(listener.fileno())},
            pass_fds=[listener.fileno()], cwd="/",
        )  # fmt: skip
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    daemon = DaemonProcess(workspace, {}, process, url, urllib3.PoolManager(timeout=120.0))
    try:
        poll_until("the daemon's health", daemon.healthy, 60, 0.05)
        yield daemon
        process.terminate()
        if process.wait(60) != 0:
            raise SystemExit(f"the daemon ended with {process.returncode}")
    finally:
        process.kill()
        process.wait()


def served(daemon: DaemonProcess) -> int:
    """Try what a sandbox is for; how many things were tried."""
    daemon.post("/write", {"path": "server.js", "content": SERVER_JS})
    manifest = json.dumps({"name": "x", "scripts": {"dev": "node server.js"}})
    daemon.post("/write", {"path": "package.json", "content": manifest})
    checks = [daemon.post("/bash", {"command": "echo $((6 * 7))"})["stdout"] == "42\n"]
    tar = daemon.create()
    daemon.post("/write", {"path": "server.js", "content": "lost"})
    checks.append(daemon.restore(tar).status == 200)
    checks.append((daemon.workspace / "repo" / "server.js").read_text() == SERVER_JS)
    daemon.post("/config", {})
    wait_phase(daemon, "running")
    page = daemon.http.request("GET", f"{daemon.url}/", headers={"Accept": "text/html"})
    checks.append(b"hello" in page.data and b"data-limpet" in page.data)
    if not all(checks):
        raise SystemExit(f"the daemon alone does not serve: {checks}")
    return len(checks)


if __name__ == "__main__":
    main()
