"""The queue of setup steps, and the lifecycle that people see of it.

One step runs at a time and runs on through those after it: clone, install, start. A queued step
swallows the lower ones. `Setup` owns the worker that runs them and the dev server.
"""

import asyncio
import contextlib
import os
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from limpet.branches import is_synthetic
from limpet.daemon import git
from limpet.daemon.config_model import Config, Transition
from limpet.daemon.gate import gate
from limpet.daemon.setup import clone, ports
from limpet.daemon.setup.detect import MANIFESTS, Project, detect
from limpet.daemon.setup.devserver import DevServer
from limpet.daemon.setup.install import Install
from limpet.daemon.setup.ports import Listening
from limpet.daemon.setup.steps import StepFailedError
from limpet.daemon.task import TaskSpec

if TYPE_CHECKING:
    from limpet.daemon.context import DaemonContext

Step = Literal["clone", "install", "start"]
Phase = Literal[
    "idle",
    "needs-credentials",
    "cloning",
    "checking-out",
    "clone-failed",
    "installing",
    "install-failed",
    "starting",
    "running",
    "start-failed",
    "crashed",
]
ORDER: Final[tuple[Step, ...]] = ("clone", "install", "start")
STEP_OF: Final[dict[Transition, Step]] = {
    "bootstrap": "clone",
    "branch-change": "clone",
    "runtime-change": "install",
    "pm-change": "install",
    "port-change": "start",
}
FAILED: Final = frozenset({"clone-failed", "install-failed", "start-failed"})
BRANCH_REFRESH_S: Final = 5.0
SOURCE: Final = "setup"


class Setup:
    """What brings the workspace up and keeps it so. Lives on the event loop's thread."""

    def __init__(self, ctx: "DaemonContext") -> None:
        self._ctx = ctx
        self._phase: Phase = "idle"
        self._queue: list[Step] = []
        self._running: Step | None = None
        self._wake = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._step: asyncio.Task[None] | None = None
        self._refresher: asyncio.Task[None] | None = None
        self._paused = False
        self._awaits_config = ctx.settings.environ.get("DAEMON_AWAIT_CONFIG", "") not in {"", "0"}
        self._held = self._awaits_config or ctx.config.current is None
        self._project: Project | None = None
        self._manifest_seen: tuple[object, ...] = ()
        self._scripts: dict[str, str] = {}
        self._server = DevServer(ctx, self._server_phase)
        self._html: bool | None = None

    # -- what others see -----------------------------------------------------------------------

    @property
    def phase(self) -> Phase:
        """How far the workspace is."""
        return self._phase

    @property
    def running(self) -> Step | None:
        """The step that runs now."""
        return self._running

    @property
    def pending(self) -> list[Step]:
        """The steps that wait."""
        return list(self._queue)

    @property
    def held(self) -> bool:
        """Whether nothing starts until a config or `/setup/start` comes."""
        return self._held

    @property
    def scripts(self) -> list[str]:
        """The names of the project's scripts, as its manifest has them now; blocking, but quick."""
        if self._project is not None and self._seen(self._project) != self._manifest_seen:
            self._take(self._detect())
        return list(self._scripts)

    @property
    def dev_port(self) -> int | None:
        """The port that the preview goes to: the found one, else the configured one."""
        target = self.preview_target()
        return target.port if target is not None else None

    @property
    def port_expected(self) -> bool:
        """Whether there is, or will soon be, a port to go to."""
        config = self._ctx.config.current
        configured = config is not None and config.application.port is not None
        coming = self._phase in {"starting", "crashed", "running"}
        return configured or coming or self._server.expected_port is not None

    def preview_target(self) -> Listening | None:
        """Where the preview goes: where our dev server answers, else the configured port.

        The configured port counts only where a process of this sandbox listens on it, or where the
        machine does not tell whose it is.
        """
        if self._server.address is not None:
            return self._server.address
        config = self._ctx.config.current
        if config is None or config.application.port is None:
            return None
        return self.own_port(config.application.port)

    def own_port(self, port: int) -> Listening | None:
        """Where a process of this sandbox listens on `port`; blocking, but quick."""
        own = ports.of_descendants(os.getpid(), and_root=False)
        if own is None:
            return Listening("127.0.0.1", port)
        return next((one for one in own if one.port == port), None)

    def script_task(self, name: str, env: dict[str, str]) -> TaskSpec:
        """How a script is run as a task; it replaces one that runs under its name."""
        project = self._project
        assert project is not None, "scripts are known only of a project"
        spec = self._server.spec(project, name, self._server.expected_port)
        return replace(spec, env={**spec.env, **env})

    # -- life ----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to work the queue; a daemon that was configured before goes on by itself."""
        self._tell("idle")
        self._ctx.events.set_state("scripts", {"scripts": []})
        self._worker = asyncio.create_task(self._work())
        self._refresher = asyncio.create_task(self._refresh_branch_now_and_then())
        if self._held:
            await self.refresh_branch()
            return
        if self._ctx.config.missing_env:
            names = ", ".join(self._ctx.config.missing_env)
            self.say(f"After a restart these variables have no value until posted: {names}\n")
        self.enqueue("clone")

    async def stop(self) -> None:
        """End the queue and the dev server."""
        for task in (self._refresher, self._worker):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        self._refresher = self._worker = None
        await self._server.stop()

    def enqueue(self, step: Step) -> None:
        """Do `step` and what follows it, after what runs now. It swallows lower queued ones."""
        self._queue = queued(self._queue, step)
        self._wake.set()

    def release(self) -> bool:
        """Let a held sandbox go on; whether it was held."""
        held, self._held = self._held, False
        return held

    def config_changed(self, transition: Transition, *, credentials: bool) -> None:
        """Do what a change of the config asks for."""
        released = self.release()
        step = STEP_OF.get(transition)
        stuck = self._phase in {"needs-credentials", "clone-failed"}
        if released or (credentials and stuck):
            step = "clone"
        if step is not None:
            self.enqueue(step)

    async def pause_for_restore(self) -> None:
        """Stop the step that runs and the dev server, and begin nothing until resumed."""
        self._paused = True
        if self._step is not None:
            self._step.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._step
        await self._server.stop()

    async def resume_after_restore(self, *, held: bool) -> None:
        """Go on with what lies in the workspace now; held: with nothing, until told."""
        self._held = self._held or held
        self._queue.clear()
        self._project = None
        self._take(None)
        self._tell("idle")
        self._paused = False
        if self._held:
            await self.refresh_branch()
        else:
            self.enqueue("clone")
        self._wake.set()

    # -- the queue -----------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            while self._paused or not self._queue:
                self._wake.clear()
                await self._wake.wait()
            step = self._queue.pop(0)
            self._running = step
            self._step = asyncio.create_task(self._run(step))
            try:
                with self._ctx.activity.busy():
                    await asyncio.wait({self._step})
            except asyncio.CancelledError:
                self._step.cancel()
                await asyncio.wait({self._step})
                raise
            finally:
                self._step = self._running = None

    async def _run(self, step: Step) -> None:
        """One step and those after it; never raises but for being cancelled."""
        try:
            await self._server.stop()
            gate.check()
            for one in ORDER[ORDER.index(step) :]:
                if not await getattr(self, f"_{one}_step")():
                    return
        except StepFailedError as failed:
            self.say(f"{failed.message}\n")
            self._tell(failed.phase, error=failed.message)
        except Exception as error:  # noqa: BLE001 - the queue goes on whatever a step does
            traceback.print_exception(error, file=sys.stderr)
            self.say(f"{step} broke off: {type(error).__name__}: {error}\n")
            phase = {"clone": "clone-failed", "install": "install-failed"}.get(step, "start-failed")
            self._tell(phase, error=f"{type(error).__name__}: {error}")
        finally:
            await self.refresh_branch()

    async def _clone_step(self) -> bool:
        """Have the repository and the branch; whether to go on."""
        ctx = self._ctx
        config = ctx.config.current or Config()
        begun = config.git.begin_branch
        if begun is not None and await asyncio.to_thread(git.is_repository, ctx.repo):
            await clone.begin_branch(ctx.settings, begun, self.say)
        if config.clone_url is not None:
            await self._have_repository(config, config.clone_url)
            if self._phase == "needs-credentials":
                return False
        if await asyncio.to_thread(git.is_repository, ctx.repo):
            identity = config.git.identity
            await clone.set_identity(ctx.settings, identity.user_name, identity.user_email)
            await asyncio.to_thread(clone.exclude_installs, ctx.repo)
            if config.clone_url is not None:
                protected = await git.protected_branches(ctx.settings, ctx.repo)
                await asyncio.to_thread(clone.guard_pushes, ctx.repo, protected)
        return True

    async def _have_repository(self, config: Config, url: str) -> None:
        ctx = self._ctx
        depth = config.git.repository.depth
        work = clone.Clone(
            ctx.settings,
            url,
            config.branch,
            git.access_of(ctx),
            self.say,
            depth=1 if depth is None else depth,
        )
        if not await asyncio.to_thread(git.is_repository, ctx.repo):
            if ctx.config.needs_credentials:
                self.say("The clone waits for credentials to be posted again.\n")
                self._tell("needs-credentials")
                return
            self._did("cloning")
            await work.clone()
            self._ctx.activity.touch("setup: cloned")
            self.say("Cloned.\n")
            return
        if depth == 0:
            await work.deepen()
        branch = config.branch
        if branch is None or is_synthetic(branch):
            self.say("Clone skipped: the repository is there already.\n")
            return
        if await git.current_branch(ctx.settings, ctx.repo) == branch:
            self.say(f"Clone skipped: the repository is there already, on '{branch}'.\n")
            return
        self._did("checking-out", to=branch)
        await work.check_out(branch)

    async def _install_step(self) -> bool:
        """Have the dependencies; whether to go on."""
        project = self._take(await asyncio.to_thread(self._detect))
        assert project is not None
        install = Install(self._ctx.settings, self._ctx.config, project, self.say)
        if await asyncio.to_thread(_is_empty, project.folder):
            self.say("Nothing to install: the folder is empty.\n")
            return True
        if project.notice:
            self.say(f"{project.notice}\n")
        why = await install.why()
        if why is not None:
            self._did("installing")
            await install.run(why)
            # What it wrote is nobody's to watch: a save begun meanwhile must not be the last one.
            self._ctx.activity.touch("setup: installed")
        return True

    async def _start_step(self) -> bool:
        """Have the dev server begun."""
        project = self._take(await asyncio.to_thread(self._detect))
        assert project is not None
        if project.problem:
            raise StepFailedError("start-failed", project.problem)
        if project.starter is None:
            config = self._ctx.config.current
            blank = config is None or config.clone_url is None
            if blank and project.manager is None:
                self.say("Nothing to start: there is no project here yet.\n")
                self._tell("idle")
                return True
            raise StepFailedError("start-failed", _no_starter(project))
        self._ctx.activity.touch("setup: start")
        await self._server.start(project, project.starter)
        return True

    # -- what is told --------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """A line of the setup log."""
        self._ctx.events.log(SOURCE, self._ctx.config.masks.mask(text))

    def _did(self, phase: Phase, **more: object) -> None:
        self._ctx.activity.touch(f"setup: {phase}")
        self._tell(phase, **more)

    def _tell(self, phase: str, **more: object) -> None:
        self._phase = phase  # type: ignore[assignment]
        if "error" in more:
            more["error"] = self._ctx.config.masks.mask(str(more["error"]))
        self._ctx.events.set_state("lifecycle", {"state": {"phase": phase, **more}})
        if phase in FAILED or phase == "crashed":
            reason = str(more.get("error", "")).splitlines()
            state = {"state": "error", "reason": reason[0] if reason else phase}
        else:
            state = {"state": "running"}
        self._ctx.events.set_state("status", state)

    def _server_phase(
        self,
        phase: str,
        *,
        error: str | None = None,
        port: int | None = None,
        html: bool | None = None,
    ) -> None:
        """What the dev server says of itself."""
        if phase == "running":
            self._tell("running", port=port, htmlSupport=bool(html))
        elif error is not None:
            self._tell(phase, error=error)
        else:
            self._tell(phase)

    async def refresh_branch(self) -> None:
        """Tell what the branch is like now."""
        with contextlib.suppress(OSError):
            meta = await git.branch_meta(self._ctx.settings, self._ctx.repo)
            if meta is not None:
                self._ctx.events.set_state("branch", {"meta": meta})

    async def _refresh_branch_now_and_then(self) -> None:
        """Keep the branch's state true while somebody works and somebody looks."""
        seen = self._ctx.activity.seq
        while True:
            await asyncio.sleep(BRANCH_REFRESH_S)
            if self._ctx.activity.seq == seen or not self._ctx.events.clients:
                continue
            if self._running is None and not self._paused:
                seen = self._ctx.activity.seq
                await self.refresh_branch()

    # -- the project ---------------------------------------------------------------------------

    def _detect(self) -> Project:
        config = self._ctx.config.current
        return detect(self._ctx.repo, config.application if config is not None else None)

    def _take(self, project: Project | None) -> Project | None:
        self._project = project
        self._scripts = dict(project.scripts) if project is not None else {}
        self._manifest_seen = self._seen(project) if project is not None else ()
        self._ctx.events.set_state("scripts", {"scripts": list(self._scripts)})
        return project

    @staticmethod
    def _seen(project: Project) -> tuple[object, ...]:
        names = MANIFESTS[project.manager] if project.manager is not None else ("package.json",)
        found = []
        for name in names:
            try:
                status = (project.folder / name).stat()
            except OSError:
                continue
            found.append((name, status.st_mtime_ns, status.st_size))
        return tuple(found)


def queued(queue: list[Step], step: Step) -> list[Step]:
    """The queue with `step` in it: a higher or equal one swallows it, and it the lower ones."""
    rank = ORDER.index(step)
    if any(ORDER.index(one) <= rank for one in queue):
        return queue
    return [step]


def _is_empty(folder: Path) -> bool:
    try:
        return not any(entry.name != ".git" for entry in folder.iterdir())
    except OSError:
        return True


def _no_starter(project: Project) -> str:
    if project.notice:
        return f"No dev server: {project.notice}"
    how = "Configure application.command, or add one of them."
    if project.manager is None:
        return (
            "No dev server: there is no package.json, deno.json, pyproject.toml, requirements.txt "
            f"or index.html in the repository's folder. {how}"
        )
    if not project.scripts:
        what = project.manifest or "the manifest"
        return f"No dev server: {what} has no scripts. Configure application.command, or add one."
    have = ", ".join(list(project.scripts)[:20])
    return (
        f"No dev server: there is neither a 'dev' nor a 'start' script (there are: {have}). "
        "Configure application.script or application.command."
    )
