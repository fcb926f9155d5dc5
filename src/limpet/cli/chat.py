"""chat: speak to an agent from the terminal, and watch it work."""

import json as json_text
import re
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from limpet.cli.find import connect, find_agent, find_thread
from limpet.cli.output import AgentName, Json, err, plain

if TYPE_CHECKING:
    from limpet.sdk import Client
    from limpet.sdk.threads import Thread

_UNSHOWN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_LAST_LINES = 8
_PROMPT = "> "
INTERRUPTED = 130


def chat(
    agent: AgentName,
    message: Annotated[
        str | None, typer.Argument(help="What to say; without one, you are asked again and again.")
    ] = None,
    thread: Annotated[
        str | None, typer.Option("--thread", "-t", help="Go on with this thread: id or title.")
    ] = None,
    last: Annotated[
        bool, typer.Option("--continue", "-c", help="Go on with the agent's last thread.")
    ] = False,
    branch: Annotated[
        str | None, typer.Option("--branch", "-b", help="Another branch than the default one.")
    ] = None,
    harness: Annotated[
        str | None, typer.Option(help="Who drives the model from now on, such as acp.")
    ] = None,
    json: Json = False,
) -> None:
    """Speak to an agent. Its text comes as it is written, its tools as lines; Ctrl+C stops it.

    What was sent goes on when the terminal is closed: `limpet threads show` tells of it.

    Examples:

      limpet chat shop "Make the hero section dark and add a pricing table"

      limpet chat shop -c
    """
    with connect() as limpet:
        talk = _thread(limpet, agent, thread, last=last, branch=branch, harness=harness)
        if message is not None:
            code = _say(limpet, talk, message, json=json)
            if code:
                raise typer.Exit(code)
            return
        while (said := _asked()) is not None:
            if said.strip():
                _say(limpet, talk, said, json=json)


def _thread(
    limpet: "Client",
    agent: str,
    thread: str | None,
    *,
    last: bool,
    branch: str | None,
    harness: str | None,
) -> "Thread":
    found = find_agent(limpet, agent)
    talk = find_thread(limpet, thread) if thread is not None else None
    if talk is None and last:
        threads = limpet.threads.all(agent_id=found["id"], most=20)
        talk = next((one for one in threads if one["may_write"]), None)
    if talk is None:
        return limpet.threads.create(found["id"], branch=branch, harness=harness)
    if harness is not None and harness != talk["harness"]:
        return limpet.threads.update(talk["id"], harness=harness)
    return talk


def _asked() -> str | None:
    """One line of the person's; None at the end."""
    if sys.stdin.isatty():
        try:
            return input(_PROMPT)
        except (EOFError, KeyboardInterrupt):
            return None
    line = sys.stdin.readline()
    return line or None


def _say(limpet: "Client", thread: "Thread", message: str, *, json: bool) -> int:
    """Send it and show what comes until its turn has ended; the exit code."""
    after = limpet.threads.get(thread["id"])["last_seq"]
    run = limpet.threads.send(thread["id"], message)["run"]
    screen = Screen(json=json)
    stopped = False
    while True:
        try:
            with limpet.threads.follow(thread["id"], after=after) as feed:
                for event in feed:
                    if event.name != "event":
                        continue
                    kept = event.json()
                    after = int(kept["seq"])
                    screen.show(kept)
                    told = kept["event"]
                    if told["kind"] == "run_finished" and told["run"] == run:
                        return _code(str(told["how"]))
                return 1
        except KeyboardInterrupt:
            if stopped:
                raise
            stopped = True
            limpet.threads.stop(thread["id"])


def _code(how: str) -> int:
    if how == "stopped":
        return INTERRUPTED
    return 0 if how == "done" else 1


class Screen:
    """Shows events: text on standard output, everything else on standard error."""

    def __init__(self, *, json: bool) -> None:
        self._json = json
        self._at_line_start = True
        self._printed: dict[str, str] = {}

    def show(self, kept: dict[str, Any], *, whole: bool = False) -> None:
        """Show one event; `whole`: also what people said, for who did not just say it."""
        if self._json:
            sys.stdout.write(json_text.dumps(kept, ensure_ascii=False) + "\n")
            sys.stdout.flush()
            return
        event = kept["event"]
        kind = event["kind"]
        if kind == "user_message" and whole:
            self._line(None)
            self._line(Text(f"> {plain(str(event['text']))}", style="bold"))
        elif kind == "text":
            self._text(str(event["delta"]))
        elif kind == "tool_started":
            self._line(Text.assemble(("● ", "cyan"), plain(str(event["title"]))))
        elif kind == "tool_output":
            known = self._printed.get(event["call"], "") + str(event["delta"])
            self._printed[event["call"]] = known[-4000:]
        elif kind == "tool_finished":
            self._tool_ended(event)
        elif kind == "notice":
            self._line(Text(plain(str(event["text"])), style="dim"))
        elif kind == "run_finished":
            self._line(None)
            if event["how"] != "done":
                words = f": {plain(str(event['error']))}" if event["error"] else ""
                self._line(Text(f"{event['how']}{words}", style="yellow"))

    def _tool_ended(self, event: dict[str, Any]) -> None:
        printed = self._printed.pop(event["call"], "")
        if event["ok"]:
            return
        lines = (printed or str(event["output"])).rstrip().splitlines()[-_LAST_LINES:]
        for line in lines:
            self._line(Text(f"  {plain(line)}", style="red"))

    def _text(self, delta: str) -> None:
        shown = _UNSHOWN.sub("", delta)
        if shown:
            sys.stdout.write(shown)
            sys.stdout.flush()
            self._at_line_start = shown.endswith("\n")

    def _line(self, text: Text | None) -> None:
        if not self._at_line_start:
            sys.stdout.write("\n")
            sys.stdout.flush()
            self._at_line_start = True
        if text is not None:
            err.print(text, soft_wrap=True)
