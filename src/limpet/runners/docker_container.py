"""What the Docker runner makes: names, labels, and how a sandbox's container is shut in. Pure.

The token is in none of it: whatever is here can be read with `docker inspect`.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from limpet.ids import BootId, Handle
from limpet.runners.environment import allowed, daemon_environment

ROOT: Final = "/sandbox"
ROOT_PATH: Final = Path(ROOT)
DAEMON_PORT: Final = 9000
DEV_PORT: Final = 3000
DAEMON_COMMAND: Final = ("limpet-daemon",)
DEFAULT_IMAGE: Final = "limpet-sandbox"
DEFAULT_MEMORY_BYTES: Final = 4 * 1024**3
DEFAULT_PIDS: Final = 1024
OWNER_LABEL: Final = "limpet.owner"
HANDLE_LABEL: Final = "limpet.sandbox"
_USER: Final = "1000:1000"
_TOKEN_FD: Final = 3
_TMP_BYTES: Final = 2 * 1024**3
_SHM_BYTES: Final = 512 * 1024**2
_LOG: Final = {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}}
_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
# The daemon's first descriptor is its input, which ends with the token; tasks get an empty one.
_WITH_TOKEN: Final = ("/bin/sh", "-c", f'exec "$@" {_TOKEN_FD}<&0 </dev/null', "sh")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DockerOptions:
    """How containers are made. None as a limit: none.

    `runtime` is the engine's name of an OCI runtime, such as gVisor's `runsc`; empty: its default.
    `disk_bytes` holds for a sandbox's whole root, where the engine's disk has project quotas.
    """

    image: str = DEFAULT_IMAGE
    runtime: str = ""
    memory_bytes: int | None = DEFAULT_MEMORY_BYTES
    cpus: float | None = None
    pids: int | None = DEFAULT_PIDS
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
    app_origins: Sequence[str],
) -> Json:
    """The body of `POST /containers/create` for a sandbox.

    `environ` is the control plane's environment, of which a sandbox gets what holds elsewhere too.
    """
    env = daemon_environment(
        {} if closed else _portable(environ),
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
        "Entrypoint": list(_WITH_TOKEN),
        "Cmd": list(options.daemon_command),
        "OpenStdin": True,
        "StdinOnce": True,
        "AttachStdin": True,
        "Tty": False,
        "Labels": names.labels(handle),
        "HostConfig": _host_config(options, names, handle, closed=closed),
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
        "OomScoreAdj": 500,
        "LogConfig": _LOG,
    }
    if closed:
        # The engine's own resolver would ask on behalf of a network without a way out.
        config["Dns"] = ["127.0.0.1"]
    if options.runtime:
        config["Runtime"] = options.runtime
    if options.memory_bytes is not None:
        config["Memory"] = config["MemorySwap"] = options.memory_bytes
    if options.cpus is not None:
        config["NanoCpus"] = round(options.cpus * 1e9)
    if options.pids is not None:
        config["PidsLimit"] = options.pids
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


def _portable(environ: Mapping[str, str]) -> dict[str, str]:
    """What sandboxes get of our environment and that names no path of our file system."""
    return {name: value for name, value in allowed(environ).items() if not value.startswith(os.sep)}
