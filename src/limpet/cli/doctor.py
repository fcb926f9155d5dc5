"""`limpet doctor`: what this machine, the data folder, the server and the store can do."""

import asyncio
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

import typer

from limpet.cli.output import Json, out, print_json, size
from limpet.errors import LimpetError
from limpet.sdk.connection import data_folder

Verdict = Literal["ok", "warning", "failed"]
_MARKS = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "failed": "[red]✗[/]"}
_WANTED_FREE_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what was found and, unless it is fine, what to do."""

    what: str
    verdict: Verdict
    found: str
    remedy: str = ""


def doctor(
    store: Annotated[
        bool, typer.Option("--store", help="Also try every operation on the snapshot store.")
    ] = False,
    json: Json = False,
) -> None:
    """Look for what is missing or wrong; exit code 1 when something must be mended."""
    looks: list[Callable[[], Finding]] = [
        _python, _node, lambda: _tool("npm", "It comes with Node."),
        lambda: _tool("git", "Debian: apt install git."),
        _ripgrep, _isolation, _folder, _server,
    ]  # fmt: skip
    findings = [look() for look in looks]
    if store:
        findings += asyncio.run(_store())
    failed = any(f.verdict == "failed" for f in findings)
    if json:
        print_json({"ok": not failed, "findings": [asdict(f) for f in findings]})
    else:
        for finding in findings:
            out.print(f"{_MARKS[finding.verdict]} {finding.what}: {finding.found}")
            if finding.remedy:
                out.print(f"    {finding.remedy}", style="dim")
    raise typer.Exit(1 if failed else 0)


def _python() -> Finding:
    return Finding("Python", "ok", f"{platform.python_version()} ({sys.executable})")


def _version(tool: str) -> str | None:
    """What `tool --version` prints first; None when it is missing or does not run."""
    if not shutil.which(tool):
        return None
    try:
        done = subprocess.run(
            [tool, "--version"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.strip().splitlines()
    return lines[0] if lines and done.returncode == 0 else None


def _tool(tool: str, remedy: str) -> Finding:
    found = _version(tool)
    if found is None:
        return Finding(tool, "failed", "not found, or it does not run", remedy)
    return Finding(tool, "ok", found)


def _node() -> Finding:
    found = _version("node")
    remedy = "Limpet's templates need Node 20 or newer."
    if found is None:
        return Finding("node", "failed", "not found, or it does not run", remedy)
    major = re.match(r"v(\d+)", found)
    if major is None or int(major[1]) < 20:
        return Finding("node", "failed", f"{found} is too old", remedy)
    return Finding("node", "ok", found)


def _ripgrep() -> Finding:
    found = _version("rg")
    if found is None:
        return Finding(
            "ripgrep", "warning", "not found: searches are slower", "Debian: apt install ripgrep."
        )
    return Finding("ripgrep", "ok", found)


def _isolation() -> Finding:
    from limpet.runners.bubblewrap import probe_isolation

    isolation = probe_isolation()
    if isolation.kind == "none":
        return Finding(
            "isolation",
            "warning",
            f"no isolation: {isolation.reason}",
            "Sandboxes can read and change what you can. Debian: apt install bubblewrap.",
        )
    return Finding("isolation", "ok", isolation.kind)


def _folder() -> Finding:
    folder = data_folder()
    place = folder
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK):
        return Finding(
            "data folder", "failed", f"{place} cannot be written", "Set LIMPET_DATA_DIR."
        )
    free = shutil.disk_usage(place).free
    if free < _WANTED_FREE_BYTES:
        return Finding(
            "data folder", "warning", f"{folder}: {size(free)} free", "Saves need room; free some."
        )
    return Finding("data folder", "ok", f"{folder}: {size(free)} free")


def _server() -> Finding:
    from limpet.sdk import Client

    try:
        with Client.discover() as limpet:
            system = limpet.system()
    except LimpetError as error:
        return Finding("server", "warning", error.message, error.hint)
    kept = system["store"]
    return Finding(
        "server", "ok", f"Limpet {system['version']}, snapshots in {kept['kind']} {kept['where']}"
    )


async def _store() -> list[Finding]:
    """Every operation with a scratch key on the configured store."""
    from limpet.stores.probe import probe_store
    from limpet.stores.settings import open_store

    try:
        store = open_store(os.environ, data_folder())
        results = await probe_store(store)
    except LimpetError as error:
        return [Finding("store", "failed", error.message, error.hint)]
    return [
        Finding(f"store {r.operation}", "ok" if r.ok else "failed", r.detail or "works", r.hint)
        for r in results
    ]
