"""Bubblewrap: the command line that shuts a daemon in, and whether it works on this machine.

A sandbox gets its own user, pid, mount, ipc, uts and cgroup namespaces. It sees its root at
`/sandbox`, the system and the tool chains read-only from an allow list, a /tmp and a /dev of its
own, and nothing else: no home, no data folder. See `limpet.runners.network` for its network.
"""

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

import limpet
from limpet.runners.base import Isolation
from limpet.runners.environment import CA_FILE_VARIABLES, CA_FOLDERS_VARIABLE, allowed, tool_path

SANDBOX_ROOT: Final = Path("/sandbox")
TOOLS: Final = Path("/run/limpet/tools")
"""Where a sandbox finds what is installed once for all of them."""
UID: Final = 1000
TMP_BYTES: Final = 2 * 1024**3
SHM_BYTES: Final = 512 * 1024**2
PROBE_TIMEOUT_S: Final = 30.0
_SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store")
_ETC: Final = (
    "alternatives",
    "bash.bashrc",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "debian_version",
    "fonts",
    "gai.conf",
    "gitconfig",
    "host.conf",
    "hosts",
    "inputrc",
    "java-*",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "localtime",
    "magic",
    "mime.types",
    "npmrc",
    "nsswitch.conf",
    "os-release",
    "pip.conf",
    "pki/ca-trust",
    "pki/tls/certs",
    "profile",
    "profile.d",
    "protocols",
    "python3*",
    "resolv.conf",
    "services",
    "shells",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
)
_PROC_SECRETS: Final = {"kallsyms", "kcore", "keys", "kmsg", "sched_debug", "timer_list"}
_TOOLS: Final = (
    *("node", "npm", "npx", "corepack", "pnpm", "yarn", "bun", "deno"),
    *("git", "python3", "python", "pip", "uv", "poetry", "rg", "make"),
)
_STANDARD_PATH: Final = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin")
_PASSWD: Final = (
    f"root:x:0:0:root:/root:/usr/sbin/nologin\n"
    f"limpet:x:{UID}:{UID}:limpet:{SANDBOX_ROOT}/workspace/home:/bin/bash\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
)
_GROUP: Final = f"root:x:0:\nlimpet:x:{UID}:\nnogroup:x:65534:\n"
_PROBE: Final = """
import os, pathlib
root = pathlib.Path("/sandbox")
(root / "a").mkdir()
(root / "a").rename(root / "b")
assert pathlib.Path("/app").readlink() == root / "workspace"
assert os.getppid() == 1, "no pid namespace"
assert not os.access("/proc/sys/kernel/core_pattern", os.W_OK), "the kernel's settings show"
print("isolated")
"""


@dataclass(frozen=True, slots=True)
class Handshake:
    """Descriptors between bubblewrap and whoever starts it.

    `info` is told the pid of the namespace's init, before it begins; at `block` it waits until
    something is written; `alive` is held open for as long as anything of the sandbox lives.
    `seccomp`: a file that gives a filter of calls, where there is one for this machine.
    """

    info: int
    block: int
    alive: int
    seccomp: int | None


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """Bubblewrap as this machine has it. `visible` are further paths that sandboxes may read.

    `tools` is a folder that they see at `TOOLS`, with what comes into it while they run.
    """

    program: str
    environ: Mapping[str, str] = field(repr=False)
    hidden: Path
    visible: tuple[Path, ...] = ()
    tools: Path | None = None
    limits_tmpfs: bool = True
    disables_userns: bool = True

    @property
    def path(self) -> str:
        """`PATH` inside: the host's folders as far as they are to be seen, then the usual ones."""
        sources = self._sources()
        of_single_files = {source.parent for source in sources if not source.is_dir()}
        seen = [
            folder
            for folder in tool_path(self.environ, _own_venv())
            if any(_within(Path(folder), source) for source in sources)
            or Path(folder) in of_single_files
        ]
        return os.pathsep.join([*seen, *(f for f in _STANDARD_PATH if f not in seen)])

    def command(
        self,
        root: Path,
        inner: Sequence[str],
        *,
        etc: Path,
        hostname: str,
        handshake: Handshake | None = None,
        resolv_conf: Path | None = None,
    ) -> list[str]:
        """The argv that runs `inner` shut in, with `root` at `/sandbox`.

        `etc` is a folder for files that we make up for the sandbox. With `resolv_conf`, what it is
        to see as `/etc/resolv.conf`, it gets a network of its own, which holds nothing but a
        loopback. Inherited descriptors reach `inner`.
        """
        argv = [self.program, "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
        argv += ["--unshare-cgroup-try", "--uid", str(UID), "--gid", str(UID), "--cap-drop", "ALL"]
        argv += ["--hostname", hostname[:63]]
        if self.disables_userns:
            argv.append("--disable-userns")
        if handshake is not None:
            argv += ["--info-fd", str(handshake.info), "--block-fd", str(handshake.block)]
            argv += ["--sync-fd", str(handshake.alive)]
            if handshake.seccomp is not None:
                argv += ["--seccomp", str(handshake.seccomp)]
        if resolv_conf is not None:
            argv.append("--unshare-net")
        argv += ["--proc", "/proc", *_proc_arguments(), "--dev", "/dev"]
        argv += [*self._tmpfs("/dev/shm", SHM_BYTES)]  # noqa: S108
        argv += [*self._tmpfs("/tmp", TMP_BYTES), "--symlink", "/tmp", "/var/tmp", "--dir", "/run"]  # noqa: S108
        argv += _system_arguments()
        argv += ["--ro-bind", str(etc / "passwd"), "/etc/passwd"]
        argv += ["--ro-bind", str(etc / "group"), "/etc/group"]
        if resolv_conf is not None:
            argv += ["--ro-bind", str(resolv_conf), "/etc/resolv.conf"]
        sources = self._sources()
        for source in sources:
            if not _is_system(source):
                argv += _bind(source)
        if any(_within(self.hidden, source) for source in sources):
            argv += ["--tmpfs", str(self.hidden)]
        if self.tools is not None:
            argv += ["--ro-bind-try", str(self.tools), str(TOOLS)]
        argv += ["--bind", str(root), str(SANDBOX_ROOT)]
        argv += ["--symlink", str(SANDBOX_ROOT / "workspace"), "/app"]
        argv += ["--remount-ro", "/", "--chdir", "/", "--", *inner]
        return argv

    def _tmpfs(self, where: str, size_bytes: int) -> list[str]:
        size = ["--size", str(size_bytes)] if self.limits_tmpfs else []
        return [*size, "--tmpfs", where]

    def _sources(self) -> list[Path]:
        """All that is shown at its own path, parents first; what lies within another is left out.

        A link within a source is a path of its own only when it leads elsewhere.
        """
        wanted = [Path(folder) for folder in _SYSTEM]
        wanted += [*_own_code(), *self.visible, *_certificates(self.environ)]
        for name in _TOOLS:
            wanted += _tool_sources(name, self.environ, self.hidden)
        kept: list[Path] = []
        for source in sorted(set(wanted), key=lambda path: len(path.parts)):
            if os.path.lexists(source) and not any(_within(source, other) for other in kept):
                kept.append(source)
        return kept


def write_etc(folder: Path) -> None:
    """Make the files that every sandbox sees in place of the host's own."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, text in (("passwd", _PASSWD), ("group", _GROUP)):
        file = folder / name
        if not file.exists() or file.read_text() != text:
            file.write_text(text)
        file.chmod(0o644)


def write_resolv_conf(folder: Path, text: str) -> Path:
    """Make a file of this text in `folder`, whose name follows from it."""
    file = folder / f"resolv-{hashlib.sha256(text.encode()).hexdigest()[:16]}.conf"
    if not file.exists():
        file.write_text(text)
        file.chmod(0o644)
    return file


def find_bubblewrap(
    environ: Mapping[str, str],
    hidden: Path,
    visible: Sequence[Path] = (),
    *,
    tools: Path | None = None,
) -> Bubblewrap | None:
    """The machine's bubblewrap, or None. `hidden` is a folder that no sandbox may see."""
    program = shutil.which("bwrap", path=environ.get("PATH", os.defpath))
    if program is None:
        return None
    told = _help(program)
    return Bubblewrap(
        program,
        environ,
        hidden,
        tuple(visible),
        tools,
        limits_tmpfs="--size" in told,
        disables_userns="--disable-userns" in told,
    )


def probe_isolation(
    environ: Mapping[str, str] | None = None,
    visible: Sequence[Path] = (),
    *,
    own_network: bool = True,
) -> Isolation:
    """How far sandboxes can be kept apart on this machine, found out by trying.

    Blocks for some 100 ms. The reason says what is missing when nothing keeps them apart. Without
    `own_network` it is not tried to give them networks of their own.
    """
    environ = os.environ if environ is None else environ
    with tempfile.TemporaryDirectory(prefix="limpet-probe-") as made:
        folder = Path(made).resolve()
        bubblewrap = find_bubblewrap(environ, folder / "hidden", visible)
        if bubblewrap is None:
            return Isolation("none", "bubblewrap (bwrap) is not installed")
        if own_network:
            reason = _try(bubblewrap, folder / "with", own_network=True)
            if not reason:
                return Isolation("bubblewrap", network="own")
        if shared_fails := _try(bubblewrap, folder / "without", own_network=False):
            return Isolation("none", shared_fails)
    missing = (f"networks of their own: {reason}",) if own_network else ()
    return Isolation("bubblewrap", missing=missing)


def _try(bubblewrap: Bubblewrap, folder: Path, *, own_network: bool) -> str:
    (folder / "root").mkdir(parents=True)
    write_etc(folder / "etc")
    resolv_conf = folder / "etc" / "resolv.conf"
    resolv_conf.touch()
    argv = bubblewrap.command(
        folder / "root",
        [sys.executable, "-I", "-c", _PROBE],
        etc=folder / "etc",
        hostname="probe",
        resolv_conf=resolv_conf if own_network else None,
    )
    env = {**allowed(bubblewrap.environ), "PATH": bubblewrap.path}
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PROBE_TIMEOUT_S,
            check=False,
            env=env,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap does not run: {error}"
    if done.returncode == 0 and done.stdout.strip() == "isolated":
        return ""
    lines = done.stderr.strip().splitlines()
    return f"bubblewrap does not work here: {lines[-1] if lines else f'exit {done.returncode}'}"


@cache
def _help(program: str) -> str:
    try:
        done = subprocess.run(
            [program, "--help"], capture_output=True, text=True, timeout=10, check=False, env={}
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr


def _system_arguments() -> list[str]:
    argv = []
    for folder in _SYSTEM:
        argv += _bind(Path(folder))
    etc = Path("/etc")
    for pattern in _ETC:
        for source in sorted(etc.glob(pattern)):
            # A link out of /etc (resolv.conf, often) is shown as the file that it leads to.
            if source.exists():
                argv += ["--ro-bind-try", str(source), str(source)]
    return argv


def _proc_arguments() -> list[str]:
    """Lids on all of /proc that is not about processes.

    To the kernel, a control plane that runs as root runs its sandboxes as root's user id, and that
    alone, without a single capability, lets one write in /proc/sys: `core_pattern` there is a
    program that the kernel starts on the host. bubblewrap's own lids look at folders' modes only.
    """
    argv = []
    for entry in sorted(Path("/proc").iterdir()):
        if entry.name.isdigit() or entry.is_symlink():
            continue
        if entry.is_dir():
            argv += ["--ro-bind", str(entry), str(entry)]
        elif not entry.stat().st_mode & stat.S_IROTH or entry.name in _PROC_SECRETS:
            argv += ["--ro-bind", "/dev/null", str(entry)]
        elif entry.stat().st_mode & 0o222:
            argv += ["--ro-bind", str(entry), str(entry)]
    return argv


def _bind(source: Path) -> list[str]:
    if source.is_symlink():
        return ["--symlink", str(source.readlink()), str(source)]
    return ["--ro-bind-try", str(source), str(source)]


def _own_venv() -> Path | None:
    return Path(sys.prefix) if sys.prefix != sys.base_prefix else None


def _own_code() -> list[Path]:
    """What a daemon runs from: the interpreter, its environment, and this package."""
    return [
        Path(sys.base_prefix),
        Path(sys.prefix),
        Path(sys.executable),
        Path(limpet.__file__).resolve().parent,
    ]


def _certificates(environ: Mapping[str, str]) -> list[Path]:
    named = [Path(environ[name]) for name in CA_FILE_VARIABLES if environ.get(name)]
    folders = environ.get(CA_FOLDERS_VARIABLE, "").split(os.pathsep)
    found = [path for path in named if path.is_absolute() and path.is_file()]
    found += [
        folder
        for folder in (Path(folder) for folder in folders if folder)
        if folder.is_absolute() and folder.is_dir() and not _is_private(folder, environ)
    ]
    return [path.resolve() if path.is_symlink() else path for path in found] + found


def _tool_sources(name: str, environ: Mapping[str, str], hidden: Path) -> list[Path]:
    """What must be seen for the tool to run: its whole installation, or its file alone."""
    program = shutil.which(name, path=os.pathsep.join(tool_path(environ, _own_venv())))
    if program is None:
        return []
    found = []
    for file in dict.fromkeys((Path(program), Path(program).resolve())):
        installation = file.parent.parent
        whole = file.parent.name in {"bin", "shims"} and not (
            _is_private(installation, environ) or _within(hidden, installation)
        )
        found.append(installation if whole else file)
    return found


def _is_private(folder: Path, environ: Mapping[str, str]) -> bool:
    """Whether more than one program's own files would show with this folder."""
    home = Path(environ.get("HOME") or Path.home())
    return (
        len(folder.parts) <= 2
        or _within(home, folder)
        or folder in {home / ".local", home / ".config", home / ".cache"}
    )


def _is_system(path: Path) -> bool:
    return any(_within(path, Path(folder)) for folder in _SYSTEM)


def _within(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents
