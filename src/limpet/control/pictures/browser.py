"""One browser process: started shut in, watched, and gone with all its children when ended.

As root the browser runs as `nobody`: so its own sandbox works, and what breaks out of that has
nobody's rights. An operator who is not root gets no pictures where that sandbox does not work:
a page would be one error of the browser's away from the operator's own files.
"""

import asyncio
import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from limpet.control.pictures import launcher
from limpet.control.pictures.devtools import DevTools
from limpet.control.pictures.errors import BrowserEndedError, NoBrowserError
from limpet.control.pictures.run_folder import RunFolder
from limpet.runners.processes import descendants, process_table

log = structlog.get_logger(__name__)

START_S: Final = 20.0
PORTS: Final = 2
"""As many as pictures are taken at once."""
GONE_S: Final = 5.0
WATCH_S: Final = 0.25
MAX_MEMORY_BYTES: Final = 1500 << 20
OWN_NETWORK: Final = sys.platform == "linux"
"""Whether a network of its own is tried; without one the browser is held by its settings alone."""
_SAID_BYTES: Final = 4096
_ROUND_S: Final = 0.01
_NOWHERE: Final = "http://127.0.0.1:1"
_FLAGS: Final = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-gpu",
    "--disable-software-rasterizer",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-component-extensions-with-background-pages",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-sync",
    "--disable-breakpad",
    "--disable-crash-reporter",
    "--disable-quic",
    "--disable-features=DialMediaRouteProvider,MediaRouter,Translate,OptimizationHints,"
    "WebTransport",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",  # as older ones call it
    "--block-new-web-contents",
    "--deny-permission-prompts",
    "--hide-scrollbars",
    "--mute-audio",
    "--metrics-recording-only",
    "--password-store=basic",
    "--use-mock-keychain",
    "--js-flags=--max-old-space-size=512",
    # What no picture's own proxy serves is served by nothing, and no name is looked up.
    f"--proxy-server={_NOWHERE}",
    "--proxy-bypass-list=<-loopback>",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


@dataclass(frozen=True, slots=True)
class Guise:
    """How the browser is run: as which user (None: the control plane's own), in its sandbox?"""

    user: int | None
    group: int | None
    sandboxed: bool

    def __str__(self) -> str:
        whose = "as nobody" if self.user is not None else "as this user"
        return f"{whose}, " + ("in its own sandbox" if self.sandboxed else "without its sandbox")


def guises() -> Sequence[Guise]:
    """The ways in which it may be run here, the best first."""
    if os.geteuid() != 0:
        return (Guise(None, None, sandboxed=True),)
    nobody = pwd.getpwnam("nobody")
    return tuple(Guise(nobody.pw_uid, nobody.pw_gid, sandboxed=it) for it in (True, False))


class Browser:
    """A running browser; make it with `start`, and `end` it.

    `pictures` is how many it takes right now, and its caller's to count: while it takes none, its
    memory is not looked at. `shared` is for its caller, too: whether it took several at its end.
    """

    def __init__(
        self,
        guise: Guise,
        process: asyncio.subprocess.Process,
        profile: Path,
        memory_bytes: int,
        ports: Sequence[socket.socket],
    ) -> None:
        self.guise = guise
        self.tools = DevTools()
        self.version = ""
        self.why_ended = ""
        self.pictures = 0
        self.shared = False
        self._ports = list(ports)
        self._free_ports = list(ports)
        self._memory_bytes = memory_bytes
        self._process = process
        self._profile = profile
        self._said = bytearray()
        self._watching: list[asyncio.Task[None]] = []

    @classmethod
    async def start(
        cls, program: Path, folder: RunFolder, memory_bytes: int = MAX_MEMORY_BYTES
    ) -> "Browser":
        """A new one, in the best guise that works. Raises `NoBrowserError`."""
        said = ""
        for guise in guises():
            try:
                return await cls._start(program, folder, guise, memory_bytes)
            except (BrowserEndedError, OSError, TimeoutError) as error:
                said = str(error) or "it does not answer"
                log.info("browser_did_not_start", how=str(guise), why=said)
        raise NoBrowserError(
            f"{program} does not run: {said}",
            hint="`limpet doctor` tries it; LIMPET_BROWSER names another one.",
        )

    @classmethod
    async def _start(
        cls, program: Path, folder: RunFolder, guise: Guise, memory_bytes: int
    ) -> "Browser":
        profile = await asyncio.to_thread(folder.new_profile, guise.user, guise.group)
        to_browser, from_browser = os.pipe(), os.pipe()
        answers, theirs = socket.socketpair()
        told = {
            "answers": theirs.fileno(),
            "ports": PORTS if OWN_NETWORK else 0,
            "reads": to_browser[0],
            "writes": from_browser[1],
            "user": guise.user,
            "group": guise.group,
            "parent": os.getpid(),
            "env": _environment(profile),
        }
        flags = [*_FLAGS, f"--user-data-dir={profile}"]
        flags += [] if guise.sandboxed else ["--no-sandbox"]
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", launcher.__file__, json.dumps(told),
                str(program), *flags, "about:blank",
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE, cwd="/", env={},
                pass_fds=(to_browser[0], from_browser[1], theirs.fileno()),
            )  # fmt: skip
        except BaseException:
            for descriptor in (to_browser[1], from_browser[0]):
                os.close(descriptor)
            answers.close()
            raise
        finally:
            os.close(to_browser[0])
            os.close(from_browser[1])
            theirs.close()
        with answers:
            ports = await asyncio.to_thread(_sent_ports, answers)
        made = cls(guise, process, profile, memory_bytes, ports)
        try:
            await made.tools.open(from_browser[0], to_browser[1])
            made._watching.append(asyncio.create_task(made._listen(), name="browser-stderr"))
            async with asyncio.timeout(START_S):
                made.version = str((await made.tools.call("Browser.getVersion")).get("product", ""))
        except BaseException as error:
            await asyncio.shield(made.end())
            if isinstance(error, BrowserEndedError):
                raise BrowserEndedError(made._last_words() or error.message) from None
            raise
        made._watching.append(asyncio.create_task(made._watch(), name="browser-memory"))
        return made

    @property
    def has_own_network(self) -> bool:
        """Whether it reaches nothing at all but the ports that it is given."""
        return bool(self._ports)

    @contextlib.contextmanager
    def port(self) -> Iterator[socket.socket]:
        """A socket that listens where the browser alone can connect to, or else on the loopback."""
        if not self._ports:
            with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
                listener.setblocking(False)
                yield listener
            return
        port = self._free_ports.pop()
        try:
            with contextlib.closing(port.dup()) as listener:
                listener.setblocking(False)
                yield listener
        finally:
            self._free_ports.append(port)

    @property
    def alive(self) -> bool:
        """Whether it can still take pictures."""
        return not self.tools.ended.is_set() and self._process.returncode is None

    async def end(self, why: str = "") -> None:
        """Kill it with all its children, wait until they are gone, and delete its profile."""
        self.why_ended = self.why_ended or why
        self._kill()
        await self.tools.close()
        await self._process.wait()
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        for port in self._ports:
            port.close()
        await self._gone()
        await asyncio.to_thread(shutil.rmtree, self._profile, ignore_errors=True)

    def _kill(self) -> None:
        # Not by the process object, which would take its exit status away from the event loop.
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            # Before it has become the browser it leads no group, and is alone.
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._process.pid, signal.SIGKILL)

    async def _gone(self) -> None:
        """Wait for its children, which are not ours to wait for."""
        until = asyncio.get_running_loop().time() + GONE_S
        while asyncio.get_running_loop().time() < until:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                return
            await asyncio.sleep(_ROUND_S)
        log.warning("browser_left_processes", group=self._process.pid)

    async def _listen(self) -> None:
        """Keep the last that it says on stderr, for the reason why it did not start."""
        assert self._process.stderr is not None
        while chunk := await self._process.stderr.read(_SAID_BYTES):
            self._said = (self._said + chunk)[-_SAID_BYTES:]

    async def _watch(self) -> None:
        """End it when its processes together take too much memory."""
        while True:
            await asyncio.sleep(WATCH_S)
            if not self.pictures:
                continue
            if await asyncio.to_thread(self._held_bytes) > self._memory_bytes:
                self.why_ended = "the page takes too much memory"
                self._kill()
                return

    def _held_bytes(self) -> int:
        """What its processes hold alone: what they share is the program, not the page."""
        own = descendants(process_table(), [self._process.pid])
        return sum(_private_bytes(pid) for pid in (self._process.pid, *(one.pid for one in own)))

    def _last_words(self) -> str:
        lines = self._said.decode(errors="replace").strip().splitlines()
        return lines[-1][-300:] if lines else ""


def _sent_ports(answers: socket.socket) -> list[socket.socket]:
    answers.settimeout(START_S)
    with contextlib.suppress(OSError):
        _, descriptors, _, _ = socket.recv_fds(answers, 1, PORTS)
        return [socket.socket(fileno=descriptor) for descriptor in descriptors]
    return []


def _private_bytes(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        told = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
        return sum(
            int(line.split()[1]) << 10
            for line in told.splitlines()
            if line.startswith(("RssAnon:", "RssShmem:"))
        )
    return 0


def _environment(profile: Path) -> dict[str, str]:
    """Nothing of the control plane's but where programs are."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": str(profile),
        "TMPDIR": str(profile),
        "XDG_RUNTIME_DIR": str(profile),
        "XDG_CONFIG_HOME": str(profile),
        "XDG_CACHE_HOME": str(profile),
        "DBUS_SESSION_BUS_ADDRESS": "disabled:",
    }
