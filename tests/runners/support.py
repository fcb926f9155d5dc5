"""Builders for tests of the host runner."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from limpet.ids import AgentId, Branch, Handle, OrgId
from limpet.runners.base import Provisioned, SandboxId
from limpet.runners.bubblewrap import probe_isolation
from limpet.runners.daemon_client import DaemonClient
from limpet.runners.host import HostRunner
from limpet.runners.limits import Limits
from limpet.runners.network import NetworkSettings
from limpet.runners.processes import ProcessId, bubblewraps_of, tied_to

HERE = Path(__file__).parent
STANDIN = HERE / "standin.py"
SANDBOX = SandboxId(OrgId("local"), AgentId("agt_1"), Branch("limpet/calm-cove"), Handle("calm-1"))


class FileState:
    """A `RunnerState` in one JSON file, so that another process can read it."""

    def __init__(self, file: Path, before_put: Callable[[], None] = lambda: None) -> None:
        self._file = file
        self._before_put = before_put

    def _load(self) -> dict[str, dict[str, object]]:
        return json.loads(self._file.read_text()) if self._file.exists() else {}

    def _store(self, value: dict[str, dict[str, object]]) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps(value))
        fresh.replace(self._file)

    async def get(self, handle: Handle) -> dict[str, object] | None:
        return self._load().get(handle)

    async def put(self, sandbox: SandboxId, value: dict[str, object]) -> None:
        self._before_put()
        self._store(self._load() | {sandbox.handle: value})

    async def delete(self, handle: Handle) -> None:
        self._store({name: value for name, value in self._load().items() if name != handle})

    async def list(self) -> list[tuple[Handle, dict[str, object]]]:
        return [(Handle(name), value) for name, value in self._load().items()]


def standin_runner(
    data_dir: Path,
    mode: str,
    *,
    evil: str = "good",
    environ: dict[str, str] | None = None,
    networks: NetworkSettings | None = None,
    limits: Limits | None = None,
    healthy_within_s: float = 30.0,
    patience_s: float = 10.0,
    stop_grace_s: float = 5.0,
    before_put: Callable[[], None] = lambda: None,
) -> HostRunner:
    data_dir.mkdir(exist_ok=True)
    return HostRunner(
        data_dir,
        FileState(data_dir / "state.json", before_put),
        isolation=mode,  # type: ignore[arg-type]
        environ=environ,
        networks=networks,
        limits=limits,
        daemon_command=(sys.executable, "-P", str(STANDIN), evil),
        visible=[STANDIN],
        healthy_within_s=healthy_within_s,
        patience_s=patience_s,
        stop_grace_s=stop_grace_s,
    )


def processes_of(data_dir: Path) -> set[ProcessId]:
    """Whatever runs of the data folder's sandboxes, by looking at the machine alone."""
    roots = data_dir.resolve() / "sandboxes"
    return set(tied_to(roots)) | set(bubblewraps_of(roots))


async def run(client: DaemonClient, *argv: str) -> str:
    """Run a command in the stand-in's sandbox; its output."""
    answer = await client.call("POST", "/_sandbox/run", json={"argv": argv}, timeout_s=120)
    assert answer["code"] == 0, answer
    return str(answer["stdout"])


def client_of(provisioned: Provisioned) -> DaemonClient:
    return DaemonClient(provisioned.daemon_url, provisioned.daemon_token)


def bubblewrap_works() -> bool:
    return probe_isolation().kind == "bubblewrap"
