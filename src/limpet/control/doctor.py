"""What must be there where the control plane runs: tools, isolation, the data folder, the store.

`limpet doctor` asks it with no server running, a server for the page that its operators see.
Looks block: call them in a thread.
"""

import asyncio
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from limpet.control.data_folder import network_file_system
from limpet.control.pictures.trying import try_browser
from limpet.control.settings import Settings
from limpet.errors import LimpetError
from limpet.runners.bubblewrap import probe_isolation
from limpet.runners.docker_engine import Engine, EngineFacts
from limpet.stores.base import SandboxStore
from limpet.stores.degradable import DEGRADED_HINT, DEGRADED_MEANS
from limpet.stores.probe import ProbeResult, probe_store
from limpet.stores.settings import open_store

Verdict = Literal["ok", "warning", "failed"]
_OLDEST_PYTHON: Final = (3, 11)
_OLDEST_NODE: Final = 20
_WANTED_FREE_BYTES: Final = 2 << 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what was found and, unless it is fine, what to do."""

    what: str
    verdict: Verdict
    found: str
    remedy: str = ""


def look_at_machine(environ: Mapping[str, str], folder: Path) -> list[Finding]:
    """What there is on this machine for a control plane whose data lie in `folder`."""
    looks: list[Callable[[], Finding]] = [
        _python,
        _node,
        lambda: _tool("npm", "It comes with Node."),
        lambda: _tool("git", "Debian: apt install git."),
        _ripgrep,
        _docker if environ.get("LIMPET_RUNNER") == "docker" else (lambda: _isolation(environ)),
        lambda: _browser(environ),
        lambda: _folder(folder),
    ]
    return [look() for look in looks]


def look_at_store(environ: Mapping[str, str], folder: Path) -> list[Finding]:
    """Every operation with a scratch key on the configured store, after what it comes to."""
    try:
        store = open_store(environ, folder)
        results = asyncio.run(probe_store(store))
    except LimpetError as error:
        return [Finding("store", "failed", error.message, error.hint)]
    return [_store_as_a_whole(store.where, results), *(_operation(store, one) for one in results)]


def _python() -> Finding:
    found = f"{platform.python_version()} ({sys.executable})"
    if sys.version_info[:2] < _OLDEST_PYTHON:  # a wheel forced onto an older one
        return Finding("python", "failed", f"{found} is too old", "Limpet needs Python 3.11.")
    return Finding("python", "ok", found)


def _version(tool: str) -> str | None:
    """What `tool --version` prints first; None when it is missing or does not run."""
    if not shutil.which(tool):
        return None
    try:
        ran = subprocess.run(
            [tool, "--version"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    lines = ran.stdout.strip().splitlines()
    return lines[0] if lines and ran.returncode == 0 else None


def _tool(tool: str, remedy: str) -> Finding:
    found = _version(tool)
    if found is None:
        return Finding(tool, "failed", "not found, or it does not run", remedy)
    return Finding(tool, "ok", found)


def _node() -> Finding:
    found = _version("node")
    remedy = f"Limpet's templates need Node {_OLDEST_NODE} or newer."
    if found is None:
        return Finding("node", "failed", "not found, or it does not run", remedy)
    major = re.match(r"v(\d+)", found)
    if major is None or int(major[1]) < _OLDEST_NODE:
        return Finding("node", "failed", f"{found} is too old", remedy)
    return Finding("node", "ok", found)


def _ripgrep() -> Finding:
    found = _version("rg")
    if found is None:
        return Finding(
            "ripgrep", "warning", "not found: searches are slower", "Debian: apt install ripgrep."
        )
    return Finding("ripgrep", "ok", found)


def _isolation(environ: Mapping[str, str]) -> Finding:
    if environ.get("LIMPET_ISOLATION") == "none":
        return Finding(
            "isolation",
            "warning",
            "no isolation: LIMPET_ISOLATION is none",
            "Sandboxes can read and change what you can. Unset it where bubblewrap works.",
        )
    try:
        isolation = probe_isolation()
    except OSError as error:
        return Finding("isolation", "warning", f"no isolation: {error}")
    if isolation.kind == "none":
        mend = (
            "Debian: apt install bubblewrap."
            if "not installed" in isolation.reason
            else "The system must allow unprivileged user namespaces "
            "(user.max_user_namespaces, AppArmor, the container that this runs in)."
        )
        return Finding(
            "isolation",
            "warning",
            f"no isolation: {isolation.reason}",
            f"Sandboxes can read and change what you can. {mend}",
        )
    return Finding("isolation", "ok", isolation.kind)


def _browser(environ: Mapping[str, str]) -> Finding:
    """Whether previews can be pictured, and how far their pages are shut in then."""
    trial = try_browser(environ.get("LIMPET_BROWSER") or None)
    if not trial.works:
        return Finding(
            "browser",
            "warning",
            trial.found,
            "Without one there are no screenshots and thumbnails. Debian: apt install chromium.",
        )
    if not trial.shut_in:
        return Finding(
            "browser",
            "warning",
            trial.found,
            "Its sandbox and its network are taken from user namespaces: allow them here.",
        )
    return Finding("browser", "ok", trial.found)


def _docker() -> Finding:
    """The engine that the settings name, and whether it has the image."""

    async def ask(host: str, image: str) -> tuple[EngineFacts, str | None]:
        engine = Engine(host)
        try:
            return await engine.facts(), await engine.image_id(image)
        finally:
            await engine.close()

    what = "docker"
    try:
        settings = Settings.load()
        facts, image_id = asyncio.run(ask(settings.docker_host, settings.docker_image))
    except LimpetError as error:
        return Finding(what, "failed", error.message, error.hint)
    found = f"engine {facts.version} at {settings.docker_host}"
    if settings.docker_runtime and settings.docker_runtime not in facts.runtimes:
        wanted = f"{found} has no runtime {settings.docker_runtime}"
        return Finding(what, "failed", wanted, "Install it, or unset LIMPET_DOCKER_RUNTIME.")
    if image_id is None:
        return Finding(
            what,
            "warning",
            f"{found} does not have the image {settings.docker_image} yet",
            "The first start pulls it; deploy/image/build makes it without a registry.",
        )
    if not settings.docker_filter:
        return Finding(
            what,
            "warning",
            f"{found}: sandboxes reach this machine's network",
            "LIMPET_DOCKER_FILTER is off; unset it where nftables works.",
        )
    return Finding(what, "ok", f"{found}, image {settings.docker_image}")


def _folder(folder: Path) -> Finding:
    what = "data folder"
    place = folder
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        return Finding(what, "failed", f"{place} is no folder", "Set LIMPET_DATA_DIR.")
    if network := network_file_system(place):
        return Finding(
            what,
            "failed",
            f"{folder} lies on a network file system ({network}), where SQLite is not safe",
            "Set LIMPET_DATA_DIR to a folder on a local disk.",
        )
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".limpet-doctor-") as scratch:
            scratch.write(b"x")
            scratch.flush()
    except OSError as error:
        return Finding(
            what,
            "failed",
            f"{place} cannot be written: {error.strerror}",
            "Free some room, or set LIMPET_DATA_DIR to a folder that you can write.",
        )
    free = shutil.disk_usage(place).free
    found = f"{folder}: {free / 1e9:.1f} GB free"
    if free < _WANTED_FREE_BYTES:
        return Finding(what, "warning", found, "Saves and restores need room; free some.")
    if place == folder and folder.stat().st_mode & 0o077:
        return Finding(
            what, "warning", f"{found}, open to other users", f"Close it: chmod 700 {folder}"
        )
    return Finding(what, "ok", found)


def _store_as_a_whole(where: str, results: list[ProbeResult]) -> Finding:
    wrong = [one for one in results if not one.ok]
    if not wrong:
        return Finding("store", "ok", f"{where} is healthy")
    if [one.operation for one in wrong if one.degraded] == ["replace-if put"] and len(wrong) == 1:
        mend = "Run `limpet check --repair` only while no server saves."
        return Finding("store", "warning", f"{where} ignores replace-if puts", mend)
    if all(one.degraded for one in wrong):
        return Finding("store", "warning", f"{where} is degraded: {DEGRADED_MEANS}.", DEGRADED_HINT)
    which = ", ".join(one.operation for one in wrong if not one.degraded)
    return Finding("store", "failed", f"{where} cannot be used: {which}", "See below.")


def _operation(store: SandboxStore, result: ProbeResult) -> Finding:
    what = f"store {result.operation}"
    if result.ok:
        return Finding(what, "ok", "works")
    if result.degraded:
        return Finding(what, "warning", result.detail)
    needs = f"It needs leave to {result.permission}." if store.kind != "local" else ""
    remedy = " ".join(part for part in (result.hint, needs) if part)
    return Finding(what, "failed", result.detail, remedy)
