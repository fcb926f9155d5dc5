"""What the environment tells the daemon, read once at the start.

Pure: `DaemonSettings.from_environ` takes a mapping and touches nothing but, where told, the
descriptor that the token comes through. Secrets do not stay in the environment that children get
(see children.py).
"""

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from limpet.errors import InvalidInputError
from limpet.snapshots.root import SandboxRoot

DEFAULT_PORT = 9000
MIN_FD = 3
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"", "0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class DaemonSettings:
    """How one daemon runs. Paths are absolute; `*_s` are seconds.

    `app_root` is the workspace with links resolved; `sandbox_root` the folder that `state` lies
    in, outside of the workspace wherever it can (limpet.snapshots.root tells the rest).
    """

    token: str = field(repr=False)
    boot_id: str
    app_root: Path
    sandbox_root: Path
    host: str = "0.0.0.0"
    port: int = DEFAULT_PORT
    listen_fd: int | None = None
    dev_host: str = "127.0.0.1"
    dev_port: int | None = None
    allowed_origins: tuple[str, ...] = ("*",)
    require_token: bool = False
    relocated: bool = False
    owns_pid_namespace: bool = False
    freeze: bool = True
    """Whether processes are stopped for a moment while a save reads what changed."""
    drop_to: tuple[int, int] | None = None
    offload_allowed_hosts: tuple[str, ...] = ()
    log_verbose: bool = False
    stall_s: int = 120
    """How long a client may take nothing of what is sent to it."""
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def repo(self) -> Path:
        """The checkout, and the folder that relative paths and commands start from."""
        return self.app_root / "repo"

    @property
    def home(self) -> Path:
        """`HOME` of everything that runs in the sandbox."""
        return self.app_root / "home"

    @property
    def tmp(self) -> Path:
        """Scratch inside the workspace: never saved, emptied by a restore."""
        return self.app_root / "tmp"

    @property
    def state_dir(self) -> Path:
        """The daemon's own memory: config without secrets, origin, journals."""
        return self.sandbox_root / "state"

    @property
    def cache_dir(self) -> Path:
        """Package managers' caches: outside the workspace, since they can be had again."""
        return self.sandbox_root / "scratch" / "cache"

    @property
    def logs_dir(self) -> Path:
        """Where tasks' output is kept, one file a name."""
        return self.state_dir / "logs"

    @classmethod
    def from_environ(cls, env: Mapping[str, str]) -> "DaemonSettings":
        """The settings that `env` asks for; `InvalidInputError` names a wrong variable."""
        root = _sandbox_root(env, _app_root(env))
        token = _token(env)
        if not token:
            raise InvalidInputError(
                "the daemon does not start without a token",
                hint="Set DAEMON_TOKEN, or DAEMON_TOKEN_FD to a descriptor to read it from.",
            )
        origins = env.get("DAEMON_ALLOWED_ORIGINS", "*").replace(",", " ").split()
        return cls(
            token=token,
            boot_id=env.get("DAEMON_BOOT_ID") or str(uuid.uuid4()),
            app_root=root.workspace,
            sandbox_root=root.root,
            host=env.get("DAEMON_HOST") or "0.0.0.0",
            port=_port(env, "DAEMON_PORT", "PROXY_PORT") or DEFAULT_PORT,
            listen_fd=_fd(env, "DAEMON_LISTEN_FD"),
            dev_host=env.get("DAEMON_DEV_HOST") or "127.0.0.1",
            dev_port=_port(env, "DAEMON_DEV_PORT", "PORT"),
            allowed_origins=tuple(origins) or ("*",),
            require_token=_flag(env, "DAEMON_REQUIRE_TOKEN"),
            relocated=_flag(env, "DAEMON_RELOCATED"),
            owns_pid_namespace=_flag(env, "DAEMON_OWNS_PID_NAMESPACE"),
            freeze=_flag(env, "DAEMON_FREEZE") if env.get("DAEMON_FREEZE") else True,
            drop_to=(1000, 1000) if _flag(env, "DAEMON_DROP_PRIVILEGES") else None,
            offload_allowed_hosts=tuple(
                env.get("OFFLOAD_ALLOWED_HOSTS", "").lower().replace(",", " ").split()
            ),
            log_verbose=_flag(env, "DAEMON_LOG_VERBOSE"),
            stall_s=_seconds(env, "DAEMON_STALL_S") or 120,
            environ=dict(env),
        )


def _app_root(env: Mapping[str, str]) -> Path:
    given = env.get("APP_ROOT") or env.get("WORKDIR")
    if not given:
        raise InvalidInputError(
            "APP_ROOT is not set", hint="Set APP_ROOT (or WORKDIR) to the workspace's folder."
        )
    root = Path(os.path.normpath(given))
    if not root.is_absolute() or root == Path("/"):
        raise InvalidInputError(
            f"APP_ROOT must be an absolute folder other than the root, not {given!r}",
            hint="Set APP_ROOT (or WORKDIR) to the workspace's folder.",
        )
    return root


def _sandbox_root(env: Mapping[str, str], workspace: Path) -> SandboxRoot:
    given = env.get("SANDBOX_ROOT")
    if not given:
        return SandboxRoot.for_workspace(workspace)
    if not given.startswith("/"):
        raise InvalidInputError(f"SANDBOX_ROOT must be absolute, not {given!r}")
    return SandboxRoot(Path(given), workspace)


def _token(env: Mapping[str, str]) -> str:
    fd = _fd(env, "DAEMON_TOKEN_FD")
    if fd is None:
        return env.get("DAEMON_TOKEN", "")
    try:
        with os.fdopen(fd, "rb") as pipe:
            return pipe.read().decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"DAEMON_TOKEN_FD={fd} cannot be read: {error}") from error


def _fd(env: Mapping[str, str], name: str) -> int | None:
    given = env.get(name)
    if not given:
        return None
    if not given.isascii() or not given.isdigit() or int(given) < MIN_FD:
        raise InvalidInputError(f"{name} must be a descriptor from {MIN_FD} on, not {given!r}")
    return int(given)


def _port(env: Mapping[str, str], *names: str) -> int | None:
    for name in names:
        given = env.get(name)
        if not given:
            continue
        if not given.isascii() or not given.isdigit() or not 0 < int(given) < 65536:
            raise InvalidInputError(f"{name} must be a port from 1 to 65535, not {given!r}")
        return int(given)
    return None


def _seconds(env: Mapping[str, str], name: str) -> int | None:
    given = env.get(name)
    if not given:
        return None
    if not given.isascii() or not given.isdigit() or not 0 < int(given) <= 86_400:
        raise InvalidInputError(f"{name} must be seconds from 1 to 86400, not {given!r}")
    return int(given)


def _flag(env: Mapping[str, str], name: str) -> bool:
    given = env.get(name, "").strip().lower()
    if given in _TRUE:
        return True
    if given in _FALSE:
        return False
    raise InvalidInputError(f"{name} must be one of 1, true, yes, on or their opposites")
