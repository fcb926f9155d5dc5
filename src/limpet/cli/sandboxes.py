"""start, stop, exec, logs, tasks: sandboxes and what runs in them."""

import contextlib
import shlex
import sys
from typing import Annotated

import typer

from limpet.cli.boot import start_and_follow
from limpet.cli.find import find_agent, find_sandbox
from limpet.cli.output import (
    AgentName,
    Branch,
    Json,
    err,
    out,
    print_json,
    print_table,
    receipt_line,
)
from limpet.errors import NotFoundError
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
    if hold not in (None, "restored"):
        raise typer.BadParameter("must be 'restored'", param_hint="--hold")
    with Client.discover() as limpet:
        found = find_agent(limpet, agent)
        started = start_and_follow(
            limpet,
            found["id"],
            lambda: limpet.start(
                found["id"], branch, hold=bool(hold), without_snapshot=without_snapshot
            ),
            wait=wait and not hold,
            quiet=json,
        )
    if json:
        print_json(started)
        return
    restore = started["restore"]
    if restore and restore["message"]:
        err.print(restore["message"])
    out.print(started["previewUrl"] or "")


def stop(
    agent: AgentName,
    branch: Branch = None,
    force: Annotated[bool, typer.Option(help="Even when the last save fails.")] = False,
    json: Json = False,
) -> None:
    """Save an agent's sandbox and end its processes; its files stay."""
    with Client.discover() as limpet:
        found = find_agent(limpet, agent)
        stopped = limpet.stop(find_sandbox(limpet, found, branch)["handle"], force=force)
    if json:
        print_json(stopped)
        return
    saved = stopped["saved"]
    told = f"saved {saved['id']} ({receipt_line(saved)})" if saved else "nothing new to save"
    err.print(f"[green]✓[/] Stopped {found['title']}; {told}")


def execute(
    agent: AgentName,
    command: Annotated[list[str], typer.Argument(help="The command; one word is a shell line.")],
    branch: Branch = None,
    cwd: Annotated[str | None, typer.Option(help="Where to run it; default: the repo.")] = None,
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=0.1, max=900, help="Seconds until it is killed.")
    ] = 900,
    background: Annotated[
        bool, typer.Option("--background", help="Leave it running as a task.")
    ] = False,
    json: Json = False,
) -> None:
    """Run a command in the sandbox, live; ends with the command's exit code."""
    line = command[0] if len(command) == 1 else shlex.join(command)
    timeout_ms = int(timeout_s * 1000)
    with Client.discover() as limpet:
        handle = find_sandbox(limpet, find_agent(limpet, agent), branch)["handle"]
        if json and not background:
            result = limpet.execute(
                handle, line, timeout_ms=min(timeout_ms, 120_000), cwd=cwd, background=False
            )
            print_json(result)
            raise typer.Exit(_shell_code(result["exitCode"]))
        task = limpet.execute(handle, line, timeout_ms=timeout_ms, cwd=cwd, background=True)
        if background:
            if json:
                print_json(task)
            else:
                out.print(task["taskId"])
            return
        raise typer.Exit(_follow_task(limpet, handle, str(task["taskId"])))


def _follow_task(limpet: Client, handle: str, task: str) -> int:
    """Copy a task's output until it ends; Ctrl-C ends it."""
    try:
        for event in limpet.task_events(handle, task):
            told = event.json()
            if event.name == "end":
                if told.get("timedOut"):
                    err.print("limpet: the command was killed by its time-out", style="red")
                return _shell_code(told.get("exitCode"))
            stream = sys.stderr if event.name == "stderr" else sys.stdout
            stream.write(str(told.get("data", "")))
            stream.flush()
    except KeyboardInterrupt:
        with contextlib.suppress(NotFoundError):
            limpet.kill_task(handle, task)
        return 130
    err.print("limpet: the command's output ended early", style="red")
    return 1


def _shell_code(code: int | None) -> int:
    """An exit code as shells give it: 0 to 255, and 124 for a time-out as timeout(1) has it."""
    if code is None:
        return 1
    return 124 if code < 0 else code & 0xFF


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
    with Client.discover() as limpet:
        found = find_agent(limpet, agent)
        box = find_sandbox(limpet, found, branch)
        if not follow:
            told = limpet.logs(box["handle"], source)
            if json:
                print_json(told)
                return
            for name, text in told["logs"].items():
                if len(told["logs"]) > 1:
                    out.print(f"[bold]── {name}[/]")
                sys.stdout.write(text if text.endswith("\n") or not text else text + "\n")
            return
        with contextlib.suppress(KeyboardInterrupt):
            for event in limpet.events(found["id"], branch):
                said = event.json()
                if event.name != "log" or (source and said.get("source") != source):
                    continue
                if json:
                    sys.stdout.write(event.data + "\n")
                else:
                    sys.stdout.write(str(said.get("data", "")))
                sys.stdout.flush()


@tasks.command("ls")
def list_tasks(agent: AgentName, branch: Branch = None, json: Json = False) -> None:
    """List what runs and what ran."""
    with Client.discover() as limpet:
        box = find_sandbox(limpet, find_agent(limpet, agent), branch)
        listed = limpet.tasks(box["handle"])
    if json:
        print_json({"tasks": listed})
        return
    rows = [
        (t["id"], t["status"], "" if t["exitCode"] is None else str(t["exitCode"]), t["command"])
        for t in listed
    ]
    print_table(("TASK", "STATUS", "EXIT", "COMMAND"), rows, "Nothing runs here.")


@tasks.command("kill")
def kill_task(agent: AgentName, task: str, branch: Branch = None, json: Json = False) -> None:
    """End one task."""
    with Client.discover() as limpet:
        limpet.kill_task(find_sandbox(limpet, find_agent(limpet, agent), branch)["handle"], task)
    if json:
        print_json({"killed": task})


@tasks.command("kill-all")
def kill_all(agent: AgentName, branch: Branch = None, json: Json = False) -> None:
    """End every task, the dev server included."""
    with Client.discover() as limpet:
        box = find_sandbox(limpet, find_agent(limpet, agent), branch)
        killed = limpet.kill_all_tasks(box["handle"])
    if json:
        print_json({"killed": killed})
    else:
        err.print(f"Ended {killed} task{'' if killed == 1 else 's'}")
