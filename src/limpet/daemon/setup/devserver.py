"""Keeps the dev server up: starts it, finds its port, asks whether it answers, starts it again.

The process is a task like any other, under the script's name. Whatever it listens on is looked for
among its own processes' sockets alone.
"""

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from limpet.daemon.processes import end_marked
from limpet.daemon.setup import npm_scripts, ports, probe, static_site
from limpet.daemon.setup.detect import STARTERS, Project, run_script
from limpet.daemon.setup.install import project_environment
from limpet.daemon.setup.ports import Listening, Sniffer
from limpet.daemon.setup.steps import Tail
from limpet.daemon.task import Task, TaskSpec
from limpet.errors import ConflictError

if TYPE_CHECKING:
    from limpet.daemon.context import DaemonContext

LOOK_S: Final = 0.25
PROBE_STARTING_S: Final = 1.0
PROBE_UP_S: Final = 30.0
MISSES: Final = 3
RESTART_PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0)
STABLE_S: Final = 60.0
PORT_CHOICES: Final = 5
UNSURE_S: Final = 3.0
QUIET_S: Final = 20.0
RUN_VARIABLE: Final = "LIMPET_RUN"
"""Names one dev server to its processes, so that those that slip away are known."""
ADOPT_S: Final = 2.0

OnPhase = Callable[..., None]


@dataclass(slots=True)
class _End:
    """How one run of the dev server ended."""

    code: int
    was_up: bool
    up_for_s: float
    taken: bool
    said: str
    intentional: bool


class DevServer:
    """Owns at most one supervised dev server. `address` is where it answers, once it did."""

    def __init__(self, ctx: "DaemonContext", on_phase: OnPhase) -> None:
        self._ctx = ctx
        self._on_phase = on_phase
        self._supervisor: asyncio.Task[None] | None = None
        self._names: set[str] = set(STARTERS)
        self.address: Listening | None = None
        self.expected_port: int | None = None

    def environment(self, port: int | None) -> dict[str, str]:
        """What scripts of the project get beside the daemon's own environment."""
        settings = self._ctx.settings
        extra = {
            "HOST": settings.dev_host,
            "HOSTNAME": settings.dev_host,
            "BROWSER": "none",
            **({"PORT": str(port)} if port is not None else {}),
            **self._ctx.config.env,
        }
        return {**extra, "PATH": project_environment(settings, extra)["PATH"]}

    def spec(self, project: Project, script: str, port: int | None) -> TaskSpec:
        """How a script of the project is run."""
        env = self.environment(port)
        whole = project_environment(self._ctx.settings, env)
        as_npm = npm_scripts.variables(project, script, whole)
        if project.site is not None and script == project.starter:
            argv = static_site.command(self._ctx.settings, project.site, env["PATH"])
        elif as_npm is not None:
            argv = ["/bin/sh", "-c", project.scripts[script]]
            env |= as_npm
        else:
            argv = run_script(project, script)
        if script in project.commands or as_npm is not None:
            own = [project.root / ".venv/bin"] if script in project.commands else []
            own += _programs(project)
            env["PATH"] = os.pathsep.join([*map(str, own), env["PATH"]])
        shown = script in project.commands or project.site is not None
        label = project.scripts[script] if shown else " ".join(run_script(project, script))
        return TaskSpec(
            argv,
            cwd=project.folder,
            env=env,
            pty=script == project.starter,
            name=script,
            label=label,
            log_name=script,
            replace=True,
        )

    async def start(self, project: Project, script: str) -> None:
        """Start it, and keep it up from now on; returns when the first run was begun."""
        await self.stop()
        self._names = {*STARTERS, script}
        self._on_phase("starting")
        self._supervisor = asyncio.create_task(self._supervise(project, script))

    async def stop(self) -> None:
        """End it, as intended, with everything that runs under a starter's name."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
            self._supervisor = None
        self.address = self.expected_port = None
        await asyncio.gather(*(self._ctx.tasks.kill_named(name) for name in self._names))

    async def _supervise(self, project: Project, script: str) -> None:
        restarts = choices = 0
        marker = f"{RUN_VARIABLE}={secrets.token_hex(8)}"
        try:
            while True:
                port, ours = await asyncio.to_thread(self._choose, choices > 0)
                self.expected_port = port
                self._on_phase("starting")
                spec = self.spec(project, script, port)
                name, _, value = marker.partition("=")
                spec = replace(spec, env={**spec.env, name: value})
                task: Task | None = await self._ctx.tasks.spawn(spec)
                while task is not None:
                    end = await self._watch(task, port)
                    self.address = None
                    if end.intentional:
                        self._on_phase("idle")
                    task = await self._successor(script) if end.intentional else None
                if end.intentional:
                    return
                left = await asyncio.to_thread(end_marked, marker)
                if end.taken and not end.was_up:
                    choices += 1
                    if not ours or choices >= PORT_CHOICES:
                        self._fail(_taken(port, end, ours=ours))
                        return
                    self._log(f"[port {port} was taken meanwhile: choosing another]")
                    continue
                if not end.was_up:
                    self._fail(_died(script, end, "before it answered", left))
                    return
                restarts = 0 if end.up_for_s >= STABLE_S else restarts
                if restarts >= len(RESTART_PAUSES_S):
                    self._fail(_died(script, end, f"after {restarts} restarts"))
                    return
                self._on_phase("crashed", error=_died(script, end, ""))
                pause_s = RESTART_PAUSES_S[restarts]
                restarts += 1
                self._log(
                    f"[{script} ended with code {end.code}; in {pause_s:g} s: "
                    f"restarting (attempt {restarts}/{len(RESTART_PAUSES_S)})]"
                )
                await asyncio.sleep(pause_s)
        except ConflictError:  # a restore has begun; it starts us again
            self._on_phase("idle")
        except OSError as error:
            self._fail(f"the dev server cannot be started: {error}")

    def _choose(self, anew: bool) -> tuple[int, bool]:
        """The port to ask for, and whether it is our own choice."""
        config = self._ctx.config.current
        if config is not None and config.application.port is not None:
            return config.application.port, False
        settings = self._ctx.settings
        wanted = None if anew else settings.dev_port
        return ports.free_port(settings.dev_host, wanted), True

    async def _watch(self, task: Task, port: int) -> _End:
        """See one run to its end."""
        sniffer, tail, heard = Sniffer(), Tail(2000), asyncio.Event()

        def on_output(_: str, text: str) -> None:
            tail.add(text)
            sniffer.feed(text)
            heard.set()

        for ring in (task.stdout, task.stderr):  # what it said before we listened
            on_output("", ring.text())
        task.on_output.append(on_output)
        ended = asyncio.ensure_future(task.wait())
        run = _Run(task, sniffer, port)
        try:
            while not ended.done():
                pause_s = await self._look(run)
                if run.hopeless():
                    await task.kill(intentional=False)
                    break
                heard.clear()
                waiting: set[asyncio.Future[Any]] = {ended}
                hearing = asyncio.ensure_future(heard.wait()) if not run.up else None
                if hearing is not None:
                    waiting.add(hearing)
                await asyncio.wait(waiting, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
                if hearing is not None:
                    hearing.cancel()
            code = await task.wait()
        finally:
            ended.cancel()
            with contextlib.suppress(ValueError):
                task.on_output.remove(on_output)
        up_for_s = time.monotonic() - run.up_since if run.up_since else 0.0
        return _End(
            code, run.up_since is not None, up_for_s, sniffer.taken, tail.text(), task.intentional
        )

    async def _look(self, run: "_Run") -> float:
        """Look for the port or ask it; how many seconds until the next look."""
        if run.up:
            assert self.address is not None
            answer = await probe.head(self.address.host, self.address.port)
            if answer is not None:
                run.misses = 0
                return PROBE_UP_S
            run.misses += 1
            if run.misses >= MISSES:
                run.up = False
                self._on_phase("crashed", error="the dev server does not answer any more")
            return PROBE_STARTING_S
        found, certain = await asyncio.to_thread(run.candidates)
        if run.age_s > QUIET_S and not run.was_told:
            run.was_told = True
            where = ", ".join(str(one.port) for one in found)
            what = f"listens on {where} but does not answer" if where else "listens on no port yet"
            self._log(f"[the dev server has run for {QUIET_S:g} s and {what}]")
        if not found:
            return LOOK_S
        run.listens_since = run.listens_since or time.monotonic()
        sure = certain or time.monotonic() - run.listens_since > UNSURE_S
        answers = [(one, await probe.head(one.host, one.port)) for one in found]
        answered = [(one, answer) for one, answer in answers if answer is not None]
        # Of several ports, the page's: an API beside it may be up first.
        pages = [pair for pair in answered if pair[1].html]
        chosen = answered if certain else pages or (answered if sure else [])
        if not chosen:
            return PROBE_STARTING_S
        one, answer = chosen[0]
        run.up, run.misses = True, 0
        run.up_since = run.up_since or time.monotonic()
        self.address = one
        self._on_phase("running", port=one.port, html=answer.html)
        self._ctx.events.publish("reload", {})
        return PROBE_UP_S

    async def _successor(self, script: str) -> Task | None:
        """The run that took over when somebody ran the script by hand."""
        deadline = time.monotonic() + ADOPT_S
        while time.monotonic() < deadline:
            if running := self._ctx.tasks.running(script):
                self._on_phase("starting")
                return running[0]
            await asyncio.sleep(0.05)  # a run that replaces another is spawned a moment later
        return None

    def _fail(self, error: str) -> None:
        self.expected_port = None
        self._log(f"[{error.splitlines()[0]}]")
        self._on_phase("start-failed", error=error)

    def _log(self, line: str) -> None:
        self._ctx.events.log("setup", line + "\n")


class _Run:
    """One run of the dev server while it is watched."""

    def __init__(self, task: Task, sniffer: Sniffer, port: int) -> None:
        self._task = task
        self._sniffer = sniffer
        self._port = port
        self._begun = time.monotonic()
        self._taken_since: float | None = None
        self.was_told = False
        self.listens_since: float | None = None
        self.up = False
        self.up_since: float | None = None
        self.misses = 0

    @property
    def age_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._begun

    def candidates(self) -> tuple[list[Listening], bool]:
        """Where it may answer, the likeliest first; whether the first is certain. Blocking."""
        pid = self._task.pid
        own = ports.of_descendants(pid) if pid is not None else []
        announced = self._sniffer.port
        if own is None:  # this machine does not tell: believe what is printed
            port = announced or (self._port if not self._sniffer.taken else None)
            return ([Listening("127.0.0.1", port), Listening("::1", port)] if port else []), True
        told = [one for one in own if one.port in {announced, self._port}]
        told.sort(key=lambda one: one.port != announced)
        return (told, True) if told else (own, False)

    def hopeless(self) -> bool:
        """Whether its port is taken and it lives on without one."""
        if self.up or not self._sniffer.taken:
            return False
        self._taken_since = self._taken_since or time.monotonic()
        return time.monotonic() - self._taken_since > UNSURE_S


def _programs(project: Project) -> list[Path]:
    """Where npm has put programs for a project, the nearest first."""
    within = [project.folder, *project.folder.parents]
    depth = within.index(project.root) + 1
    return [folder / "node_modules/.bin" for folder in within[:depth]]


def _taken(port: int, end: _End, *, ours: bool) -> str:
    if ours:
        return f"port {port} and {PORT_CHOICES - 1} others were taken by other programs\n{end.said}"
    return (
        f"port {port} is taken by another program. Stop that program, or configure another "
        f"application.port.\n{end.said}"
    )


def _died(script: str, end: _End, when: str, left: int = 0) -> str:
    head = f"the {script} script ended with code {end.code}{f' {when}' if when else ''}"
    if left:
        head += (
            f", and left {left} process{'es' if left > 1 else ''} in the background (ended now): a "
            f"{script} script has to stay in the foreground"
        )
    elif end.code == 0:
        head += f": a {script} script has to stay in the foreground"
    return f"{head}\n{end.said}" if end.said else head
