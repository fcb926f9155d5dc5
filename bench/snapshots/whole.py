"""The whole way: a real `limpet serve`, a real daemon, a store in a folder, over HTTP, verified."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from bench.snapshots.cases import COLD, FIRST, SAME, TEN, WARM
from bench.snapshots.measuring import Case, seconds, warm_memory
from bench.snapshots.workspaces import Workspace
from tests.live import QUIET_SAVER, LiveLimpet

WHOLE = "Limpet, whole way"


def whole_way(
    workspace: Workspace, scratch: Path, rounds: int, tell: Callable[[str], None]
) -> dict[str, Case]:
    """The same cases through the API: each save is one that a user asks for, so it has a head."""
    cases = {name: Case(name) for name in (FIRST, SAME, TEN, COLD, WARM)}
    environ = {**QUIET_SAVER, "LIMPET_MAX_WORKSPACE_BYTES": str(64 << 30)}
    for number in range(rounds):
        tell(f"whole way, round {number + 1}")
        folder = scratch / f"whole-{number}"
        folder.mkdir()
        live = LiveLimpet(folder, environ)
        try:
            _round(live.start(), workspace, cases, number)
        finally:
            live.destroy()
        shutil.rmtree(folder, ignore_errors=True)
    return cases


def _round(live: LiveLimpet, workspace: Workspace, cases: dict[str, Case], number: int) -> None:
    agent = live.api("POST", "/agents", {"title": "Bench"})["id"]
    handle = live.api("POST", "/vm/start", {"virtualMcpId": agent})["vmId"]
    repo = live.root_of(handle) / "workspace" / "repo"
    shutil.copytree(workspace.folder, repo, symlinks=True, dirs_exist_ok=True)
    for manifest in repo.glob("package*.json"):
        manifest.unlink()  # nothing is to be installed and run meanwhile
    inside = Workspace.at("inside", repo)
    store = live.data_dir / "sandbox-snapshots"

    def save() -> str:
        return str(live.api("POST", f"/agents/{agent}/snapshots", {})["id"])

    first = ""
    for case in (FIRST, SAME, TEN):
        if case == TEN:
            inside.change(10, number)
        before = _bytes(store)
        warm_memory(live.data_dir, workspace.bytes)
        made: list[str] = []
        cases[case].add(WHOLE, seconds(lambda: made.append(save())))  # noqa: B023
        cases[case].stored[WHOLE] = _bytes(store) - before
        first = first or made[0]
    live.api("POST", f"/sandboxes/{handle}/stop", {})
    shutil.rmtree(live.root_of(handle))
    warm_memory(live.data_dir, workspace.bytes)
    outcomes: list[str] = []

    def start() -> None:
        started = live.api("POST", "/vm/start", {"virtualMcpId": agent})
        outcomes.append(started["restore"]["outcome"])

    cases[COLD].add(WHOLE, seconds(start))
    if outcomes != ["restored"]:
        raise RuntimeError(f"a sandbox that should have been restored was {outcomes[0]}")
    cases[COLD].notes[WHOLE] = "with the start of the sandbox's daemon"
    warm_memory(live.data_dir, workspace.bytes)
    path = f"/agents/{agent}/snapshots/{first}/restore"
    cases[WARM].add(WHOLE, seconds(lambda: live.api("POST", path, {})))
    cases[WARM].notes[WHOLE] = "with stopping and starting what runs in it"


def _bytes(folder: Path) -> int:
    return sum(
        (Path(place) / name).lstat().st_size
        for place, _, names in os.walk(folder)
        for name in names
    )
