"""`limpet doctor`: what this machine, the data folder, the server and the store can do.

Works without a server. It alone of the commands that speak to one looks at the control plane's own
modules, for what they say about this machine.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from limpet.cli.output import Json, out, plain, print_json
from limpet.errors import LimpetError

if TYPE_CHECKING:
    from limpet.control.doctor import Finding, Verdict

_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "red")}
_DEFAULT_PORT = 7070


def doctor(
    store: Annotated[
        bool, typer.Option("--store", help="Also try every operation on the snapshot store.")
    ] = False,
    isolation: Annotated[
        bool,
        typer.Option("--isolation", help="Also let a sandbox try all that it must not get at."),
    ] = False,
    json: Json = False,
) -> None:
    """Look for what is missing or wrong here; exit code 1 when something must be mended.

    A degraded store can be used, and is a warning.
    """
    findings = look_around(os.environ, store=store)
    if isolation:
        findings += _from_inside()
    failed = any(f.verdict == "failed" for f in findings)
    if json:
        print_json({"ok": not failed, "findings": [asdict(f) for f in findings]})
    else:
        for finding in findings:
            mark, colour = _MARKS[finding.verdict]
            told = Text.assemble((mark, colour), f" {finding.what}: {plain(finding.found)}")
            out.print(told)
            if finding.remedy:
                out.print(Text(f"    {plain(finding.remedy)}", style="dim"))
    raise typer.Exit(1 if failed else 0)


def look_around(environ: Mapping[str, str], *, store: bool) -> "list[Finding]":
    """All findings, in the order in which a newcomer would mend them."""
    from limpet.control.doctor import look_at_machine, look_at_store
    from limpet.sdk.connection import data_folder

    folder = data_folder(environ).absolute()
    server = _server(environ, folder)
    served = server.verdict == "ok"
    findings = [*look_at_machine(environ, folder), _port(environ, served=served), server]
    return findings + (look_at_store(environ, folder) if store else [])


def _port(environ: Mapping[str, str], *, served: bool) -> "Finding":
    from limpet.control.doctor import Finding

    told = environ.get("LIMPET_PORT", "").strip()
    if told and not (told.isdecimal() and int(told) < 65536):
        return Finding(
            "port", "failed", f"LIMPET_PORT: {told!r} is no port", "Correct or unset it."
        )
    port = int(told) if told else _DEFAULT_PORT
    if port == 0:
        return Finding("port", "ok", "any free one")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if served:
                return Finding("port", "ok", f"{port} is in use, and Limpet is serving")
            return Finding(
                "port",
                "warning",
                f"{port} cannot be had: {error.strerror}",
                "`limpet serve` takes the next free one, or set LIMPET_PORT.",
            )
    return Finding("port", "ok", f"{port} is free")


def _server(environ: Mapping[str, str], folder: Path) -> "Finding":
    from limpet.control.doctor import Finding
    from limpet.sdk import Client

    try:
        with Client.discover({**environ, "LIMPET_DATA_DIR": str(folder)}) as limpet:
            system = limpet.system()
    except LimpetError as error:
        return Finding("server", "warning", error.message, error.hint)
    kept = system["store"]
    found = f"Limpet {system['version']}, snapshots in {kept['kind']} {kept['where']}"
    if kept.get("mode") == "degraded":
        remedy = "`limpet doctor --store` says what that means."
        return Finding("server", "warning", f"{found}, degraded", remedy)
    if system["isolation"]["kind"] == "none":
        return Finding("server", "ok", f"{found}, no isolation: {system['isolation']['reason']}")
    return Finding("server", "ok", found)


def _from_inside() -> "list[Finding]":
    """What a real sandbox gets at, with the settings that the server would have."""
    from limpet.cli.trial import tried_here
    from limpet.control.doctor import Finding

    try:
        isolation, attempts = tried_here()
    except LimpetError as error:
        return [Finding("isolation from inside", "failed", error.message, error.hint)]
    kind = {"bubblewrap": "bubblewrap", "container": "a container"}.get(isolation.kind, "nothing")
    findings = [Finding("shut in by", "ok" if isolation.kind != "none" else "failed", kind)]
    for attempt in attempts:
        verdict: Verdict = "ok" if attempt.refused else "failed"
        said = "refused" if attempt.refused else "NOT refused"
        findings.append(Finding(f"tried {attempt.what}", verdict, f"{said}: {attempt.said}"))
    findings += [Finding("limit", "ok", kept) for kept in isolation.limits]
    findings += [Finding("missing", "warning", line) for line in isolation.missing]
    return findings
