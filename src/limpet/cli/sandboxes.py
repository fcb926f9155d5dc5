"""start, stop, exec, logs, tasks: sandboxes and what runs in them."""

import contextlib
import os
import shlex
import sys
from json import dumps
from typing import TYPE_CHECKING, Annotated

import typer

from limpet.cli.find import connect, find_agent, find_sandbox, find_task
from limpet.cli.output import (
    AgentName,
    Branch,
    Json,
    busy,
    done,
    err,
    out,
    plain,
    print_json,
    print_table,
    receipt_line,
)
from limpet.errors import LimpetError, NotFoundError

if TYPE_CHECKING:
    from limpet.sdk import Client

tasks = typer.Typer(no_args_is_help=True, help="The processes of a sandbox.")


def start(
    agent: AgentName,
    branch: Branch = None,
    hold: Annotated[
        str | None,
        typer.Option(help="'restored': stop after the restore, before anything runs."),
    ] = None,
    without_snapshot: Annotated[
        bool,
        typer.Option(
            "--without-snapshot",
            help="Start even if the store cannot be reached; its saves go aside.",
        ),
    ] = False,
    wait: Annotated[bool, typer.Option(help="Follow the boot until the preview is up.")] = False,
    json: Json = False,
) -> None:
    """Start an agent's sandbox; its last snapshot is restored before anything else."""
    from limpet.cli.boot import start_and_follow

    if hold not in (None, "restored"):
        raise typer.BadParameter("must be 'restored'", param_hint="--hold")
    with connect() as limpet:
        found = find_agent(limpet, agent)
        started = start_and_follow(
            limpet,
            found["id"],
            lambda: limpet.start(
                found["id"], branch, hold=bool(hold), without_snapshot=without_snapshot
            ),
            branch=branch,
            wait=wait and not hold,
            quiet=json,
        )
    if json:
        print_json(started)
        return
    restore = started["restore"]
    if restore and restore["message"]:
        err.print(plain(restore["message"]), markup=False, soft_wrap=True)
    if started["previewUrl"]:
        out.print(started["previewUrl"], markup=False)


def stop(
    agent: AgentName,
    branch: Branch = None,
    force: Annotated[bool, typer.Option(help="Even when the last save fails.")] = False,
    json: Json = False,
) -> None:
    """Save an agent's sandbox and end its processes; its files stay."""
    with connect() as limpet:
        found = find_agent(limpet, agent)
        handle = find_sandbox(limpet, found, branch)["handle"]
        with busy("Saving, then stopping", quiet=json):
            stopped = limpet.stop(handle, force=force)
    if json:
        print_json(stopped)
        return
    saved = stopped["saved"]
    told = f"saved {saved['id']} ({receipt_line(saved)})" if saved else "nothing new to save"
    done(f"Stopped {found['title']}; {told}")


def execute(
    agent: AgentName,
    command: Annotated[
        list[str],
        typer.Argument(metavar="COMMAND", help="The command; one word is a shell line."),
    ],
    branch: Branch = None,
    cwd: Annotated[str | None, typer.Option(help="Where to run it; default: the repo.")] = None,
    env: Annotated[
        list[str] | None, typer.Option("--env", "-e", help="NAME=value, for the command.")
    ] = None,
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=0.1, max=900, help="Seconds until it is killed.")
    ] = 900,
    background: Annotated[
        bool, typer.Option("--background", help="Leave it running as a task.")
    ] = False,
    json: Json = False,
) -> None:
    """Run a command in the sandbox, live; ends with the command's exit code.

    Options come before the agent: limpet exec --cwd src AGENT npm test. A time-out ends with 124.
    """
    command = command[1:] if command[0] == "--" and len(command) > 1 else command
    line = command[0] if len(command) == 1 else shlex.join(command)
    variables = _variables(env or [])
    with connect() as limpet:
        handle = find_sandbox(limpet, find_agent(limpet, agent), branch)["handle"]
        task = limpet.execute(
            handle,
            line,
            timeout_ms=int(timeout_s * 1000),
            cwd=cwd,
            env=variables or None,
            background=True,
        )
        task_id = str(task["taskId"])
        if background:
            if json:
                print_json(task)
            else:
                out.print(task_id, markup=False)
            return
        output = {"stdout": "", "stderr": ""}
        exit_code = _follow_task(limpet, handle, task_id, output if json else None)
        if json:
            print_json({"taskId": task_id, **output, "exitCode": exit_code})
        raise typer.Exit(exit_code)


def _variables(told: list[str]) -> dict[str, str]:
    variables = {}
    for one in told:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{one!r} is not NAME=value", param_hint="--env")
        variables[name] = value
    return variables


def _follow_task(
    limpet: "Client", handle: str, task: str, into: dict[str, str] | None = None
) -> int:
    """Copy (or collect) a task's output until it ends; Ctrl-C ends the task, and so does a reader
    of ours that goes away (`limpet exec AGENT yes | head`).
    """
    try:
        for event in limpet.task_events(handle, task):
            told = event.json()
            if event.name == "end":
                return _shell_code(told.get("exitCode"), timed_out=bool(told.get("timedOut")))
            text = str(told.get("data", ""))
            if into is not None:
                into["stderr" if event.name == "stderr" else "stdout"] += text
                continue
            stream = sys.stderr if event.name == "stderr" else sys.stdout
            stream.write(text)
            stream.flush()
    except (KeyboardInterrupt, BrokenPipeError) as ended:
        with contextlib.suppress(LimpetError):
            limpet.kill_task(handle, task)
        if isinstance(ended, KeyboardInterrupt):
            return 130
        # What is still buffered has nowhere to go; Python would complain of it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    err.print("limpet: the sandbox ended before the command did", style="red")
    return 1


def _shell_code(code: int | None, *, timed_out: bool) -> int:
    """An exit code as shells give it: 0 to 255, and 124 for a time-out as timeout(1) has it."""
    if timed_out:
        err.print("limpet: the command was killed by its time-out", style="red")
        return 124
    return 1 if code is None or code < 0 else code & 0xFF


def logs(
    agent: AgentName,
    branch: Branch = None,
    source: Annotated[
        str | None, typer.Option("--source", "-s", help="One source: setup, dev, ...")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    json: Json = False,
) -> None:
    """Print a sandbox's logs."""
    with connect() as limpet:
        found = find_agent(limpet, agent)
        box = find_sandbox(limpet, found, branch)
        if follow:
            with contextlib.suppress(KeyboardInterrupt):
                _follow_logs(limpet, found["id"], branch, source, json=json)
            return
        told = limpet.logs(box["handle"], source)
    if json:
        print_json(told)
        return
    if source and source not in told["logs"]:
        known = ", ".join(told["sources"]) or "none yet"
        raise NotFoundError(f"There is no log {source!r}", hint=f"There is: {known}")
    for name, text in told["logs"].items():
        if len(told["logs"]) > 1:
            err.print(f"── {plain(name)}", style="bold", markup=False)
            sys.stderr.flush()
        sys.stdout.write(text if text.endswith("\n") or not text else text + "\n")
        sys.stdout.flush()


def _follow_logs(
    limpet: "Client", agent_id: str, branch: str | None, source: str | None, *, json: bool
) -> None:
    """Print what is logged from now on, after the last part of what was; JSON lines with `json`."""
    last = None
    for event in limpet.events(agent_id, branch):
        if event.name != "log":
            continue
        said = event.json()
        name = str(said.get("source", ""))
        if source and name != source:
            continue
        if json:
            sys.stdout.write(dumps(said, ensure_ascii=False) + "\n")
        else:
            if name != last and not source:
                err.print(f"── {plain(name)}", style="bold", markup=False)
            last = name
            sys.stdout.write(str(said.get("data", "")))
        sys.stdout.flush()


@tasks.command("ls")
def list_tasks(agent: AgentName, branch: Branch = None, json: Json = False) -> None:
    """List what runs and what ran."""
    with connect() as limpet:
        box = find_sandbox(limpet, find_agent(limpet, agent), branch)
        listed = limpet.tasks(box["handle"])
    if json:
        print_json({"tasks": listed})
        return
    rows = [
        (t["id"], t["status"], "" if t["exitCode"] is None else str(t["exitCode"]), t["command"])
        for t in listed
    ]
    columns = ("TASK", "STATUS", "EXIT", "COMMAND")
    print_table(columns, rows, "Nothing runs here.", wrapped=("COMMAND",))


@tasks.command("kill")
def kill_task(
    agent: AgentName,
    task: Annotated[str, typer.Argument(metavar="TASK", help="Its id, or the beginning of it.")],
    branch: Branch = None,
    json: Json = False,
) -> None:
    """End one task."""
    with connect() as limpet:
        handle = find_sandbox(limpet, find_agent(limpet, agent), branch)["handle"]
        found = find_task(limpet, handle, task)["id"]
        limpet.kill_task(handle, found)
    if json:
        print_json({"killed": found})
    else:
        done(f"Ended {found}")


@tasks.command("kill-all")
def kill_all(agent: AgentName, branch: Branch = None, json: Json = False) -> None:
    """End every task, the dev server included."""
    with connect() as limpet:
        box = find_sandbox(limpet, find_agent(limpet, agent), branch)
        killed = limpet.kill_all_tasks(box["handle"])
    if json:
        print_json({"killed": killed})
    else:
        done(f"Ended {killed} task{'' if killed == 1 else 's'}")
