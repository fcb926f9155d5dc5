"""From a root folder to a daemon's process: what is run, how shut in, within which limits."""

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from limpet.ids import BootId, Handle
from limpet.runners import bubblewrap, environment, spawn
from limpet.runners.egress import EgressPolicy
from limpet.runners.limits import Limiter
from limpet.runners.network import Joined, OwnNetworks

_TOOL_ANSWERS_WITHIN_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Launcher:
    """How daemons are started: the command, what shuts it in (None: nothing), the environment.

    `etc` is a folder for the files that bubblewrap shows in place of the host's. `networks` None:
    sandboxes share this machine's. `app_origins` are the pages that previews may talk to; without
    any, only the daemon's own.
    """

    command: Sequence[str]
    shut_in: bubblewrap.Bubblewrap | None
    environ: Mapping[str, str] = field(repr=False)
    etc: Path
    limiter: Limiter
    networks: OwnNetworks | None = None
    app_origins: tuple[str, ...] = ()

    def runtime(self) -> str:
        """Which node sandboxes find, such as `node v22.1.0`; empty when none. Blocks."""
        node = shutil.which("node", path=self._path)
        if node is None:
            return ""
        try:
            done = subprocess.run(
                [node, "--version"],
                env=environment.allowed(self.environ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_TOOL_ANSWERS_WITHIN_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return f"node {done.stdout.strip()}" if done.returncode == 0 else ""

    @property
    def _path(self) -> str:
        own_venv = Path(sys.prefix) if sys.prefix != sys.base_prefix else None
        return os.pathsep.join(environment.tool_path(self.environ, own_venv))

    def start(
        self, root: Path, boot_id: BootId, doors: spawn.Doors, log_fd: int, egress: EgressPolicy
    ) -> tuple[spawn.Spawned, Joined | None]:
        """Start a daemon for the sandbox at `root`; its processes, and its network if it has one.

        Blocks. Raises `RunnerError` or `OSError`.
        """
        listen_fd, token_fd = doors.inherited
        make_environment = functools.partial(
            environment.daemon_environment,
            environment.allowed(self.environ),
            boot_id=boot_id,
            listen_fd=listen_fd,
            token_fd=token_fd,
            origin=" ".join(self.app_origins) or doors.url,
            dev_port=spawn.free_port(),
        )
        shut_in = self.shut_in
        if shut_in is None:
            env = make_environment(
                path=self._path, sandbox_root=root, relocated=True, own_pid_namespace=False
            )
            spawned = spawn.start_plain(
                self.command, env=env, cwd=Path("/"), log_fd=log_fd, pass_fds=doors.inherited
            )
            self.limiter.apply(Handle(root.name), [spawned.leader])
            return spawned, None
        bubblewrap.write_etc(self.etc)
        env = make_environment(
            path=shut_in.path,
            sandbox_root=bubblewrap.SANDBOX_ROOT,
            relocated=False,
            own_pid_namespace=True,
        )
        networks, joined = self.networks, None
        resolv_conf = None
        if networks is not None:
            env |= networks.variables(egress)
            env = {name: value for name, value in env.items() if value}
            resolv_conf = bubblewrap.write_resolv_conf(self.etc, networks.resolv_conf(egress))

        def furnish(spawned: spawn.Spawned, exit_fd: int) -> None:
            nonlocal joined
            assert spawned.init is not None
            self.limiter.apply(Handle(root.name), [spawned.init, spawned.leader])
            if networks is not None:
                joined = networks.attach(str(root), spawned.init.pid, egress, exit_fd)

        spawned = spawn.start_shut_in(
            lambda handshake: shut_in.command(
                root,
                self.command,
                etc=self.etc,
                hostname=root.name,
                handshake=handshake,
                resolv_conf=resolv_conf,
            ),
            env=env,
            log_fd=log_fd,
            pass_fds=doors.inherited,
            furnish=furnish,
        )
        return spawned, joined
