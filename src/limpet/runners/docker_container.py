"""What the Docker runner makes: names, labels, and how a sandbox's container is shut in. Pure.

The token is in none of it: whatever is here can be read with `docker inspect`.
"""

import base64
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from limpet.ids import BootId, Handle
from limpet.runners.environment import CA_FILE_VARIABLES, allowed, daemon_environment
from limpet.runners.limits import FIRST_TO_DIE, Limits
from limpet.runners.seccomp import filter_program

ROOT: Final = "/sandbox"
ROOT_PATH: Final = Path(ROOT)
DAEMON_PORT: Final = 9000
DEV_PORT: Final = 3000
DAEMON_COMMAND: Final = ("limpet-daemon",)
DEFAULT_IMAGE: Final = "limpet-sandbox"
OWNER_LABEL: Final = "limpet.owner"
HANDLE_LABEL: Final = "limpet.sandbox"
_USER: Final = "1000:1000"
_TOKEN_FD: Final = 3
_TMP_BYTES: Final = 2 * 1024**3
_SHM_BYTES: Final = 512 * 1024**2
_LOG: Final = {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}}
_PROXY: Final = re.compile(r"proxy$", re.IGNORECASE)
_CERTIFICATES: Final = "/etc/limpet-certificates"
_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
# The token comes by standard input, which ends with it; tasks get an empty one. The filter of
# system calls is set beside the engine's own, which lets the sockets of hypervisors pass.
_WITH_TOKEN: Final = ("/bin/sh", "-c", f'exec "$@" {_TOKEN_FD}<&0 </dev/null', "sh")
_FILTERED: Final = """
import base64, ctypes, os, sys
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("statements", ctypes.c_void_p)]
given = base64.b64decode(sys.argv[1])
held = ctypes.create_string_buffer(given, len(given))
program = Program(len(given) // 8, ctypes.addressof(held))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(22, 2, ctypes.byref(program), 0, 0):  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
    sys.exit("the filter of system calls: " + os.strerror(ctypes.get_errno()))
os.execvp(sys.argv[2], sys.argv[2:])
"""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DockerOptions:
    """How containers are made.

    `runtime` is the engine's name of an OCI runtime, such as gVisor's `runsc`; empty: its default.
    `disk_bytes` holds for a sandbox's whole root, where the engine's disk has project quotas; None:
    no limit.
    """

    image: str = DEFAULT_IMAGE
    runtime: str = ""
    limits: Limits = field(default_factory=Limits)
    disk_bytes: int | None = None
    daemon_command: Sequence[str] = DAEMON_COMMAND


@dataclass(frozen=True, slots=True)
class Names:
    """What one server's things are called on an engine that others may use too.

    `owner` is the data folder's id: 16 hexadecimal digits.
    """

    owner: str

    def container(self, handle: Handle) -> str:
        """The sandbox's container."""
        return f"limpet-{self.owner}-{handle}"

    def volume(self, handle: Handle) -> str:
        """The sandbox's root."""
        return self.container(handle)

    def network(self, *, closed: bool) -> str:
        """The network of sandboxes that may reach others, or of those that may not."""
        return f"limpet-{self.owner}" + ("-closed" if closed else "")

    def bridge(self, *, closed: bool) -> str:
        """The network's interface on the engine's machine: at most 15 characters."""
        return f"lp{self.owner[:11]}" + ("c" if closed else "o")

    @property
    def table(self) -> str:
        """The packet filter's table."""
        return f"limpet_{self.owner}"

    @property
    def label(self) -> str:
        """By which all that is ours is found."""
        return f"{OWNER_LABEL}={self.owner}"

    def labels(self, handle: Handle | None = None) -> dict[str, str]:
        """The labels of what belongs to a sandbox, or to all."""
        labels = {OWNER_LABEL: self.owner}
        return labels if handle is None else {**labels, HANDLE_LABEL: handle}


def container_config(
    options: DockerOptions,
    names: Names,
    handle: Handle,
    *,
    boot_id: BootId,
    closed: bool,
    environ: Mapping[str, str],
    variables: Mapping[str, str],
    certificates: Sequence[Path],
    app_origins: Sequence[str],
) -> Json:
    """The body of `POST /containers/create` for a sandbox.

    `environ` is the control plane's environment, of which a sandbox gets what holds elsewhere too.
    `variables` are told beside them. `certificates` are files that it names and that the sandbox
    shall see. `closed`: on the network without a way out.
    """
    shown = {str(file): f"{_CERTIFICATES}/{n}.pem" for n, file in enumerate(certificates)}
    env = daemon_environment(
        {**_portable(environ, shown, proxies=not closed), **variables},
        path=_PATH,
        sandbox_root=ROOT_PATH,
        boot_id=boot_id,
        listen_fd=None,
        token_fd=_TOKEN_FD,
        origin=" ".join(app_origins) or f"http://localhost:{DAEMON_PORT}",
        dev_port=DEV_PORT,
        relocated=False,
        own_pid_namespace=True,
    )
    env |= {
        "DAEMON_HOST": "0.0.0.0",
        "DAEMON_PORT": str(DAEMON_PORT),
        "DAEMON_DEV_HOST": "0.0.0.0",
        "LANG": env.get("LANG", "C.UTF-8"),
    }
    return {
        "Image": options.image,
        "Hostname": handle[:63],
        "User": _USER,
        "WorkingDir": "/",
        "Env": [f"{name}={value}" for name, value in sorted(env.items())],
        "Entrypoint": [*_WITH_TOKEN, *_filtering()],
        "Cmd": list(options.daemon_command),
        "OpenStdin": True,
        "StdinOnce": True,
        "AttachStdin": True,
        "Tty": False,
        "Labels": names.labels(handle),
        "HostConfig": _host_config(options, names, handle, closed=closed)
        | {"Binds": [f"{file}:{inside}:ro" for file, inside in shown.items()]},
    }


def _host_config(options: DockerOptions, names: Names, handle: Handle, *, closed: bool) -> Json:
    config: Json = {
        "NetworkMode": names.network(closed=closed),
        "Mounts": [{"Type": "volume", "Source": names.volume(handle), "Target": ROOT}],
        "Tmpfs": {
            "/tmp": f"rw,nosuid,nodev,exec,size={_TMP_BYTES},mode=1777",  # noqa: S108
            "/run": f"rw,nosuid,nodev,noexec,size={_SHM_BYTES},mode=1777",
        },
        "ShmSize": _SHM_BYTES,
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true"],
        "RestartPolicy": {"Name": "no"},
        "IpcMode": "private",
        "CgroupnsMode": "private",
        "OomScoreAdj": FIRST_TO_DIE,
        "LogConfig": _LOG,
    }
    if closed:
        # The engine's own resolver would ask on behalf of a network without a way out.
        config["Dns"] = ["127.0.0.1"]
    if options.runtime:
        config["Runtime"] = options.runtime
    limits = options.limits
    if limits.memory_bytes is not None:
        config["Memory"] = config["MemorySwap"] = limits.memory_bytes
    if limits.cpus is not None:
        config["NanoCpus"] = round(limits.cpus * 1e9)
    if limits.pids is not None:
        config["PidsLimit"] = limits.pids
    if limits.file_bytes is not None:
        size = limits.file_bytes
        config["Ulimits"] = [{"Name": "fsize", "Soft": size, "Hard": size}]
    return config


def helper_config(image: str, command: Sequence[str], names: Names, *, firewall: bool) -> Json:
    """A container that runs one command of the image: nothing of ours is in it.

    With `firewall` it is root in the machine's network, with the one capability that it needs to
    set packet filters; else it has no network at all and no rights.
    """
    host: Json = {
        "NetworkMode": "host" if firewall else "none",
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true"],
        "ReadonlyRootfs": True,
        "LogConfig": _LOG,
    }
    if firewall:
        host["CapAdd"] = ["NET_ADMIN"]
    return {
        "Image": image,
        "User": "0:0" if firewall else _USER,
        "Entrypoint": list(command[:1]),
        "Cmd": list(command[1:]),
        "Labels": names.labels(),
        "HostConfig": host,
    }


def _filtering() -> list[str]:
    """What runs a command under our filter of system calls; nothing on a processor without one."""
    program = filter_program()
    if program is None:
        return []
    return ["python3", "-I", "-S", "-c", _FILTERED, base64.b64encode(program).decode()]


def certificate_files(environ: Mapping[str, str]) -> list[Path]:
    """The files of authorities that the environment names, each once. Looks at the disk."""
    named = dict.fromkeys(environ[name] for name in CA_FILE_VARIABLES if environ.get(name))
    return [Path(file) for file in named if ":" not in file and Path(file).is_file()]


def _portable(
    environ: Mapping[str, str], shown: Mapping[str, str], *, proxies: bool
) -> dict[str, str]:
    """What sandboxes get of our environment: no path of our file system but what is shown."""
    found = {
        name: shown.get(value, value)
        for name, value in allowed(environ).items()
        if proxies or not _PROXY.search(name)
    }
    inside = set(shown.values())
    return {n: value for n, value in found.items() if value in inside or value[0] != os.sep}
