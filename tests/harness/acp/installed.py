"""Agents out of npm's registry, installed once for a machine."""

import fcntl
import os
import subprocess
from pathlib import Path

import pytest

CACHE = (
    Path(os.environ.get("LIMPET_TEST_SERVERS") or "~/.cache/limpet-test-servers").expanduser()
    / "npm"
)
INSTALL_S = 600


def installed(package: str, version: str) -> Path:
    """The package's `node_modules/.bin`. Skips the test when npm's registry cannot be reached."""
    folder = CACHE / f"{package.replace('/', '+')}@{version}"
    done = folder / ".installed"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            (folder / "package.json").write_text("{}")
            install = ["npm", "install", "--no-audit", "--no-fund", f"{package}@{version}"]
            ended = _run(install, folder)
            if ended.returncode != 0 and _run(["npm", "ping"], folder).returncode != 0:
                pytest.skip("npm's registry cannot be reached")
            assert ended.returncode == 0, ended.stderr.decode(errors="replace")
            done.touch()
    return folder / "node_modules" / ".bin"


def _run(argv: list[str], folder: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(argv, cwd=folder, capture_output=True, timeout=INSTALL_S, check=False)
