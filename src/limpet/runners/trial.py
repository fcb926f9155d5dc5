"""A trial of isolation: a sandbox tries, from inside, to get at all that is not its own.

Real sandboxes of the runner that is tried, and real prey on this machine: a process with a secret
in its environment, a file in the data folder, another sandbox with a file and a daemon, a port that
answers. Whatever a sandbox gets hold of is told.
"""

import contextlib
import json
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from limpet.errors import RunnerError
from limpet.ids import AgentId, Branch, Handle, OrgId
from limpet.runners.base import EnsureOptions, Provisioned, Runner, SandboxId
from limpet.runners.daemon_client import DaemonClient
from limpet.runners.network import own_addresses

METADATA: Final = (("169.254.169.254", 80), ("fd00:ec2::254", 80))
DOCKER_SOCKETS: Final = ("/var/run/docker.sock", "/run/docker.sock")
TRIED_WITHIN_S: Final = 120.0
_SANDBOX: Final = SandboxId(
    OrgId("trial"), AgentId("agt_trial"), Branch("trial"), Handle("trial-in"), transient=True
)
_OTHER: Final = replace(_SANDBOX, branch=Branch("other"), handle=Handle("trial-other"))
_INSIDE: Final = r"""
import ctypes, glob, json, os, socket, sys
wanted = json.load(sys.stdin)
canary = wanted["canary"].encode()

def readable(paths):
    why = "there is no such file"
    for path in (found for pattern in paths for found in (glob.glob(pattern) or [pattern])):
        try:
            with open(path, "rb") as file:
                if canary in file.read(1 << 20):
                    return True, "read " + path
        except OSError as error:
            why = error.strerror
    return False, why

def openable(paths):
    why = "there is no such file"
    for path in paths:
        try:
            os.listdir(path) if os.path.isdir(path) else os.close(os.open(path, os.O_RDONLY))
            return True, "opened " + path
        except OSError as error:
            why = error.strerror
    return False, why

def connectable(places):
    why = "nothing to try"
    for host, port in places:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            with socket.socket(family) as one:
                one.settimeout(5)
                one.connect((host, port))
            return True, f"connected to {host} port {port}"
        except OSError as error:
            why = error.strerror or str(error)
    return False, why

def unix(paths):
    why = ""
    for path in paths:
        try:
            with socket.socket(socket.AF_UNIX) as one:
                one.connect(path)
            return True, "connected to " + path
        except OSError as error:
            why = error.strerror
    return False, why

def parent(names):
    pid = os.getpid()
    while pid > 1:
        pid = int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read()
        if b"limpet.daemon" in words or b"limpet-daemon" in words:
            break
    why = ""
    for name in names:
        try:
            with open(f"/proc/{pid}/{name}", "rb") as file:
                if name == "mem":
                    start = int(open(f"/proc/{pid}/maps").readline().split("-")[0], 16)
                    file.seek(start)
                if file.read(64):
                    return True, f"read {name} of process {pid}"
        except OSError as error:
            why = error.strerror
    return False, why

def namespace(_):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x10000000) == 0:
        return True, "became root of a namespace of its own"
    return False, os.strerror(ctypes.get_errno())

def writable(paths):
    why = ""
    for path in paths:
        try:
            os.close(os.open(path, os.O_WRONLY))
            return True, "may write " + path
        except OSError as error:
            why = error.strerror
    return False, why

def family(numbers):
    why = ""
    for number in numbers:
        try:
            socket.socket(number, socket.SOCK_STREAM).close()
            return True, f"made a socket of family {number}"
        except OSError as error:
            why = error.strerror
    return False, why

kinds = dict(readable=readable, openable=openable, connectable=connectable, unix=unix,
             parent=parent, namespace=namespace, writable=writable, family=family)
for what, kind, argument in wanted["tries"]:
    got, said = kinds[kind](argument)
    print(json.dumps([what, got, said]), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One thing that was tried: whether it was refused, and in which words."""

    what: str
    refused: bool
    said: str


async def try_isolation(runner: Runner, data_dir: Path) -> list[Attempt]:
    """Start two sandboxes of `runner`, whose data folder is `data_dir`, and let one try all.

    Both are deleted again. Raises `RunnerError` when they do not start or the trial does not end.
    """
    canary = secrets.token_hex(16)
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = data_dir / "trial-secret"
    kept.write_text(canary)
    try:
        with _process(canary) as pid, _port() as port:
            async with _sandbox(runner, _OTHER) as other, _sandbox(runner, _SANDBOX) as inside:
                theirs = await _write_file(other, canary)
                tries = _tries(kept, pid, port, other, theirs)
                return await _let_try(inside, {"canary": canary, "tries": tries})
    finally:
        kept.unlink(missing_ok=True)


def _tries(kept: Path, pid: int, port: int, other: Provisioned, theirs: str) -> list[list[object]]:
    """What is tried: in words, by which means, with which arguments."""
    daemon_host, daemon_port = _place_of(other.daemon_url)
    addresses = ["127.0.0.1", "::1", "198.18.73.2", *map(str, own_addresses())]
    return [
        ["the data folder", "readable", [str(kept), f"/proc/{pid}/root{kept}"]],
        ["another sandbox's files", "readable", [
            theirs, *(f"{kept.parent}/sandboxes/*/workspace/repo/{Path(theirs).name}",),
            f"/sandbox/../*/workspace/repo/{Path(theirs).name}",
        ]],
        ["the operator's ~/.ssh and files", "openable", _files_of(Path.home())],
        ["the control plane's environment", "readable", [
            f"/proc/{pid}/environ", "/proc/*/environ",
        ]],
        ["processes of this machine", "readable", [f"/proc/{pid}/cmdline", "/proc/*/cmdline"]],
        ["the daemon's environment and memory", "parent", ["environ", "mem"]],
        ["another sandbox's daemon", "connectable", [[daemon_host, daemon_port]]],
        ["the control plane's port", "connectable", [[address, port] for address in addresses]],
        ["the metadata address", "connectable", [list(place) for place in METADATA]],
        ["the Docker socket", "unix", list(DOCKER_SOCKETS)],
        ["the kernel's settings", "writable", [
            "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper",
        ]],
        ["a user namespace of its own", "namespace", None],
        ["the hypervisor's and raw sockets", "family", [40, 17, 38]],
    ]  # fmt: skip


@asynccontextmanager
async def _sandbox(runner: Runner, sandbox: SandboxId) -> AsyncGenerator[Provisioned]:
    try:
        yield await runner.ensure(sandbox, EnsureOptions())
    finally:
        await runner.delete(sandbox.handle)


async def _write_file(found: Provisioned, text: str) -> str:
    """Put a file in a sandbox's repository folder; its path there."""
    name = f"secret-{secrets.token_hex(4)}"
    async with DaemonClient(found.daemon_url, found.daemon_token) as client:
        body = {"path": name, "content": text}
        await client.call("POST", "/_sandbox/write", json=body)
        shown = await client.call("POST", "/_sandbox/bash", json={"command": f"realpath {name}"})
    return str(shown["stdout"]).strip()


async def _let_try(found: Provisioned, wanted: Mapping[str, object]) -> list[Attempt]:
    script, asked = "trial.py", "trial.json"
    async with DaemonClient(found.daemon_url, found.daemon_token) as client:
        for name, text in ((script, _INSIDE), (asked, json.dumps(wanted))):
            await client.call("POST", "/_sandbox/write", json={"path": name, "content": text})
        said = await client.call(
            "POST",
            "/_sandbox/bash",
            json={
                "command": f"python3 {script} < {asked}",
                "timeout": round(TRIED_WITHIN_S * 1000),
            },
            timeout_s=TRIED_WITHIN_S + 10,
        )
    tries = wanted["tries"]
    assert isinstance(tries, list)
    lines = str(said["stdout"]).splitlines()
    if len(lines) != len(tries):
        raise RunnerError(f"The trial did not end in the sandbox: {str(said['stderr'])[-500:]}")
    return [Attempt(what, not got, words) for what, got, words in map(json.loads, lines)]


def _files_of(home: Path) -> list[str]:
    """The folder of keys, and what lies at the home folder's top."""
    files = [home / ".ssh"]
    with contextlib.suppress(OSError):
        files += sorted(path for path in home.iterdir() if path.is_file())
    return [str(path) for path in files]


def _place_of(url: str) -> tuple[str, int]:
    host, port = url.removeprefix("http://").rstrip("/").rsplit(":", 1)
    return host.strip("[]"), int(port)


@contextmanager
def _process(canary: str) -> Iterator[int]:
    """A process outside with the secret in its environment and its arguments."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", "import signal; signal.pause()", canary],
        env={"SECRET": canary},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


@contextmanager
def _port() -> Iterator[int]:
    """A port that listens at both loopbacks, as the control plane's does."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port: int = first.getsockname()[1]
        with contextlib.suppress(OSError):
            stack.enter_context(socket.create_server(("::1", port), family=socket.AF_INET6))
        yield port
