"""A Docker engine of the tests' own, with the image that deploy/image/build makes.

It needs root, Debian's docker.io and debootstrap. Its data, its socket and its containers lie in
one folder; nothing of the machine's own engine is touched. LIMPET_TEST_ENGINE, a socket's URL and
an image, names an engine that has the image already, for a quicker round while working on a test.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.live import REPOSITORY, poll_until

IMAGE = "limpet-sandbox:test"
NEEDED = ("dockerd", "docker", "containerd", "runc", "iptables", "nft", "debootstrap", "npm")
BUILT_WITHIN_S = 900
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
_DAEMON_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class NoEngineError(Exception):
    """dockerd is installed and cannot do its work on this machine; its last words."""


@dataclass(frozen=True)
class DockerEngine:
    """An engine that runs, by its socket."""

    host: str
    image: str
    folder: Path | None = None
    """Where its data lies; None for one that is not ours."""

    def docker(self, *words: str, stdin: bytes | None = None) -> str:
        """What the command line tool says; it must succeed."""
        done = subprocess.run(
            ["docker", *words],
            env={**os.environ, "DOCKER_HOST": self.host},
            input=stdin,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()


def why_not() -> str | None:
    """Why no engine can run here; None when one should."""
    if os.environ.get("LIMPET_TEST_ENGINE"):
        return None
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a Docker engine of one's own needs Linux and root"
    missing = [name for name in NEEDED if shutil.which(name, path=_DAEMON_PATH) is None]
    if missing:
        return f"a Docker engine of one's own needs {', '.join(missing)}"
    asked = subprocess.run(
        ["nft", "list", "tables"], env={"PATH": _DAEMON_PATH}, capture_output=True, check=False
    )
    return "the kernel has no nftables" if asked.returncode else None


def given_engine() -> DockerEngine | None:
    """The engine that the environment names."""
    host, _, image = os.environ.get("LIMPET_TEST_ENGINE", "").partition(" ")
    return DockerEngine(host, image) if host else None


@contextlib.contextmanager
def running_engine(*options: str) -> Iterator[DockerEngine]:
    """An engine for the length of the block, without an image; `options` are dockerd's.

    Raises `NoEngineError`.
    """
    with (
        tempfile.TemporaryDirectory(prefix="limpet-dockerd-") as made,
        _machines_network_kept(),
    ):
        folder = Path(made)
        (folder / "daemon.json").write_text("{}")
        log = folder / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [
                    *("dockerd", "--config-file", str(folder / "daemon.json")),
                    *("--data-root", str(folder / "data"), "--exec-root", str(folder / "exec")),
                    *("--pidfile", str(folder / "pid"), "--host", f"unix://{folder}/sock"),
                    *("--bridge", "none", *options),
                ],
                env={**os.environ, "PATH": _DAEMON_PATH},
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        engine = DockerEngine(f"unix://{folder}/sock", IMAGE, folder)
        try:
            poll_until("dockerd to answer", lambda: _answers(engine, process, log))
            yield engine
        finally:
            _end(engine, process)


@contextlib.contextmanager
def _machines_network_kept() -> Iterator[None]:
    """Take back what an engine leaves: its chains, FORWARD's policy, the switch for forwarding.

    Where another engine works on this machine already, they are its own too, and stay.
    """
    saved = _iptables("-save")
    forwarding = FORWARDING.read_text()
    try:
        yield
    finally:
        if "DOCKER" not in saved:
            for table in ("nat", "filter"):
                _iptables("", "-t", table, "-F")
                _iptables("", "-t", table, "-X")
            _iptables("", "-P", "FORWARD", "ACCEPT")
            _iptables("-restore", said=saved)
            FORWARDING.write_text(forwarding)


def _iptables(tool: str, *words: str, said: str = "") -> str:
    return subprocess.run(
        [f"iptables{tool}", *words],
        env={"PATH": _DAEMON_PATH},
        input=said,
        capture_output=True,
        text=True,
        check=False,
    ).stdout


def build_image(engine: DockerEngine) -> float:
    """Have deploy/image/build make the image; the seconds that it took."""
    started = time.monotonic()
    done = subprocess.run(
        [str(REPOSITORY / "deploy/image/build"), engine.image],
        env={
            **os.environ,
            "PATH": _DAEMON_PATH,
            "DOCKER_HOST": engine.host,
            "PYTHON": sys.executable,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=BUILT_WITHIN_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-4000:]
    return time.monotonic() - started


def check_containers(engine: DockerEngine) -> None:
    """Raise `NoEngineError` where an engine runs and its containers do not."""
    try:
        engine.docker("run", "--rm", "--network", "none", engine.image, "true")
    except AssertionError as error:
        raise NoEngineError(str(error)[-300:]) from error


def _answers(engine: DockerEngine, process: "subprocess.Popen[bytes]", log: Path) -> bool:
    if process.poll() is not None:
        raise NoEngineError(log.read_text(errors="replace").strip().rpartition("\n")[2][-300:])
    asked = subprocess.run(
        ["docker", "version"],
        env={**os.environ, "DOCKER_HOST": engine.host},
        capture_output=True,
        check=False,
    )
    return asked.returncode == 0


def _end(engine: DockerEngine, process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        with contextlib.suppress(AssertionError):
            for owner in engine.docker(
                "network", "ls", "--format", '{{.Label "limpet.owner"}}'
            ).split():
                subprocess.run(["nft", f"delete table inet limpet_{owner}"], check=False)
            for container in engine.docker("ps", "-aq").split():
                engine.docker("rm", "-f", container)
            for network in engine.docker("network", "ls", "-q", "-f", "type=custom").split():
                engine.docker("network", "rm", network)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert engine.folder is not None
    # What it mounted may outlive it: lazily, since nothing of it is used any more.
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(f"{engine.folder}/")), reverse=True):
        subprocess.run(["umount", "-l", mount], check=False)
