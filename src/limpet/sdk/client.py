"""Every operation of the control plane as a method, blocking, with typed answers."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, cast
from urllib.parse import quote

from limpet.sdk import models
from limpet.sdk.connection import CHUNK_BYTES, ByteStream, Connection, Place, Progress, discover
from limpet.sdk.feed import EventFeed
from limpet.sdk.mcp_servers import McpServers
from limpet.sdk.model_providers import ModelProviders
from limpet.sdk.previews import Previews
from limpet.sdk.secrets import Secrets
from limpet.sdk.store import Store
from limpet.sdk.threads import Threads

SILENCE_S = 60.0
"""The server says something on its event stream at least every 15 s."""
_TASK_SILENCE_S = 3600.0
_PAGE = 5000


class Client:
    """One control plane, one org. Every method raises a `LimpetError` when it cannot be done."""

    def __init__(self, place: Place, org: str = "local") -> None:
        self._line = Connection(place, org)
        self.store = Store(self._line)
        """What the snapshots come to, and what is kept."""
        self.secrets = Secrets(self._line)
        """Secrets in environment variables."""
        self.previews = Previews(self._line)
        """Who sees previews."""
        self.threads = Threads(self._line)
        """Conversations with agents."""
        self.model_providers = ModelProviders(self._line)
        """Where models are to be had."""
        self.mcp_servers = McpServers(self._line)
        """Other MCP servers that agents have tools of."""

    @classmethod
    def discover(
        cls,
        environ: Mapping[str, str] | None = None,
        data_dir: Path | None = None,
        *,
        org: str = "local",
    ) -> Self:
        """The control plane that the environment names or that serves on this machine.

        LIMPET_URL with LIMPET_API_KEY, else `server.json` in the data folder; a `data_dir` that is
        given is looked at alone. Raises `NotServingError` when there is none.
        """
        return cls(discover(environ, data_dir), org)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._line.close()

    # -- the server ------------------------------------------------------------------------------

    def system(self) -> models.System:
        """What the server is."""
        return cast(models.System, self._line.send("GET", "/api/system", below_org=False))

    def sign_in_link(self) -> str:
        """A URL that signs one browser in, once."""
        answer = self._line.send("POST", "/api/sign-in-links", below_org=False)
        return str(answer["url"])

    def templates(self) -> list[models.Template]:
        """The bundled templates."""
        return cast(list[models.Template], self._line.send("GET", "/templates")["templates"])

    # -- agents ----------------------------------------------------------------------------------

    def create_agent(
        self,
        *,
        title: str | None = None,
        template: str | None = None,
        clone_url: str | None = None,
        clone_username: str | None = None,
        clone_password: str | None = None,
        instructions: str | None = None,
        description: str | None = None,
        pinned: bool | None = None,
        ui: models.Ui | None = None,
        start_command: str | None = None,
        acp_command: str | None = None,
        egress: models.EgressChoice | None = None,
    ) -> models.Agent:
        """A new agent from a template, from an https clone URL, or blank.

        `start_command` is what a shell runs to start its app, in place of what is detected;
        `acp_command` starts an agent that speaks the Agent Client Protocol, for the harness `acp`.
        """
        said: dict[str, object | None] = {
            "title": title,
            "description": description,
            "pinned": pinned,
            "ui": ui,
            "egress": egress,
            "template": template,
            "clone_url": clone_url,
            "clone_username": clone_username,
            "clone_password": clone_password,
            "instructions": instructions,
            "start_command": start_command,
            "acp_command": acp_command,
        }
        return cast(models.Agent, self._line.send("POST", "/agents", _told(said)))

    def agents(self) -> list[models.Agent]:
        """All agents of the org."""
        return cast(list[models.Agent], self._line.send("GET", "/agents")["agents"])

    def agent(self, agent_id: str) -> models.Agent:
        """One agent."""
        return cast(models.Agent, self._line.send("GET", f"/agents/{_part(agent_id)}"))

    def update_agent(
        self,
        agent_id: str,
        *,
        title: str | None = None,
        description: str | None = None,
        instructions: str | None = None,
        icon: str | None = None,
        pinned: bool | None = None,
        ui: models.Ui | None = None,
        status: Literal["active", "inactive"] | None = None,
        clone_username: str | None = None,
        clone_password: str | None = None,
        start_command: str | None = None,
        acp_command: str | None = None,
        egress: models.EgressChoice | Literal["default"] | None = None,
    ) -> models.Agent:
        """Change what is given; the rest stays. An empty `start_command` or `acp_command` takes it
        away.

        A sandbox has a new `start_command` or `egress` from its next start on.
        """
        said: dict[str, object | None] = {
            "title": title,
            "description": description,
            "instructions": instructions,
            "icon": icon,
            "pinned": pinned,
            "ui": ui,
            "status": status,
            "clone_username": clone_username,
            "clone_password": clone_password,
            "egress": egress,
        }
        body = _told(said)
        if start_command is not None:
            body["start_command"] = start_command or None
        if acp_command is not None:
            body["acp_command"] = acp_command or None
        if egress == "default":
            body["egress"] = None
        path = f"/agents/{_part(agent_id)}"
        return cast(models.Agent, self._line.send("PATCH", path, body))

    def delete_agent(self, agent_id: str) -> None:
        """Delete an agent and its sandboxes; its snapshots are kept for the grace."""
        self._line.send("DELETE", f"/agents/{_part(agent_id)}")

    # -- sandboxes -------------------------------------------------------------------------------

    def start(
        self,
        agent_id: str,
        branch: str | None = None,
        *,
        hold: bool = False,
        without_snapshot: bool = False,
    ) -> models.Started:
        """Start the sandbox of (agent, branch) or find it running."""
        body: dict[str, object] = {"virtualMcpId": agent_id}
        if branch:
            body["branch"] = branch
        if hold:
            body["hold"] = "restored"
        if without_snapshot:
            body["withoutSnapshot"] = True
        return cast(models.Started, self._line.send("POST", "/vm/start", body))

    def delete_sandbox(
        self, agent_id: str, branch: str | None = None, *, force: bool = False
    ) -> models.Deleted:
        """Delete the sandbox after a last save; its snapshots stay."""
        body: dict[str, object] = {"virtualMcpId": agent_id, "force": force}
        if branch:
            body["branch"] = branch
        return cast(models.Deleted, self._line.send("POST", "/vm/delete", body))

    def sandboxes(self, agent_id: str | None = None) -> list[models.Sandbox]:
        """The org's sandboxes, or one agent's."""
        answer = self._line.send("GET", "/sandboxes", query={"agent_id": agent_id})
        return cast(list[models.Sandbox], answer["sandboxes"])

    def sandbox(self, handle: str) -> models.Sandbox:
        """One sandbox."""
        return cast(models.Sandbox, self._line.send("GET", f"/sandboxes/{_part(handle)}"))

    def stop(self, handle: str, *, force: bool = False) -> models.Stopped:
        """Stop a sandbox after a last save; its files stay."""
        body = {"force": force}
        return cast(
            models.Stopped, self._line.send("POST", f"/sandboxes/{_part(handle)}/stop", body)
        )

    def execute(
        self,
        handle: str,
        command: str,
        *,
        timeout_ms: int | None = None,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        background: bool = False,
    ) -> models.ExecResult:
        """Run a shell command in the sandbox's repository.

        An awaited one may take 2 minutes at most and gives `exitCode` -1 when the time-out killed
        it; a background one gives its `taskId` at once and may take 15.
        """
        said: dict[str, object | None] = {
            "command": command,
            "timeout_ms": timeout_ms,
            "cwd": cwd,
            "env": dict(env) if env is not None else None,
            "mode": "background" if background else "await",
        }
        path = f"/sandboxes/{_part(handle)}/exec"
        return cast(models.ExecResult, self._line.send("POST", path, _told(said)))

    def logs(self, handle: str, source: str | None = None) -> models.Logs:
        """The last part of each source's log."""
        answer = self._line.send(
            "GET", f"/sandboxes/{_part(handle)}/logs", query={"source": source}
        )
        return cast(models.Logs, answer)

    def tasks(self, handle: str) -> list[models.Task]:
        """The sandbox's processes."""
        answer = self._line.send("GET", f"/sandboxes/{_part(handle)}/daemon/tasks")
        return cast(list[models.Task], answer["tasks"])

    def kill_task(self, handle: str, task: str) -> None:
        """End one task."""
        path = f"/sandboxes/{_part(handle)}/daemon/tasks/{_part(task)}/kill"
        self._line.send("POST", path, {})

    def kill_all_tasks(self, handle: str) -> int:
        """End every task of the sandbox; how many there were."""
        answer = self._line.send("POST", f"/sandboxes/{_part(handle)}/daemon/tasks/kill-all", {})
        return int(answer["killed"])

    def task_events(self, handle: str, task: str) -> EventFeed:
        """A task's output from its beginning (`stdout`, `stderr`), then `end`."""
        path = f"/sandboxes/{_part(handle)}/daemon/tasks/{_part(task)}/stream"
        return EventFeed(self._line, path, {}, lasting=False, silence_s=_TASK_SILENCE_S)

    def daemon(self, handle: str, method: str, route: str, body: object = None) -> Any:
        """The JSON answer of one of the daemon's native routes, such as `git/status` or `read`.

        `config` and `snapshot/*` are the control plane's own: `NotFoundError`.
        """
        path = f"/sandboxes/{_part(handle)}/daemon/{quote(route.lstrip('/'))}"
        return self._line.send(method, path, body)

    def events(self, agent_id: str, branch: str | None = None) -> EventFeed:
        """What happens to the sandbox of (agent, branch): phases, logs, saves.

        Never ends by itself. A broken stream is opened again after the last event; the server's
        `bye` ends it, and so does `close`.
        """
        query = {"virtualMcpId": agent_id, "branch": branch}
        return EventFeed(self._line, "/vm-events", query, lasting=True, silence_s=SILENCE_S)

    # -- snapshots -------------------------------------------------------------------------------

    def save(
        self, agent_id: str, branch: str | None = None, *, name: str | None = None
    ) -> models.Snapshot:
        """Save the branch's sandbox now."""
        path = f"/agents/{_part(agent_id)}/snapshots"
        body = _told({"branch": branch, "name": name})
        return cast(models.Snapshot, self._line.send("POST", path, body))

    def snapshots(self, agent_id: str, branch: str | None = None) -> list[models.Snapshot]:
        """The branch's snapshots, newest first."""
        path = f"/agents/{_part(agent_id)}/snapshots"
        answer = self._line.send("GET", path, query={"branch": branch})
        return cast(list[models.Snapshot], answer["snapshots"])

    def snapshot(
        self, agent_id: str, snapshot_id: str, branch: str | None = None
    ) -> models.Snapshot:
        """One snapshot."""
        path, query = _snapshot(agent_id, snapshot_id), {"branch": branch}
        return cast(models.Snapshot, self._line.send("GET", path, query=query))

    def restore(
        self, agent_id: str, snapshot_id: str, branch: str | None = None
    ) -> models.Restored:
        """Make a snapshot the head, also one of a side lineage; the present is saved first."""
        body = {"branch": branch} if branch else {}
        path = f"/agents/{_part(agent_id)}/snapshots/{_part(snapshot_id)}/restore"
        return cast(models.Restored, self._line.send("POST", path, body))

    def fork(
        self,
        agent_id: str,
        snapshot_id: str,
        branch: str | None = None,
        *,
        to_branch: str | None = None,
        to_agent_id: str | None = None,
        new_agent: bool = False,
        title: str | None = None,
        name: str | None = None,
    ) -> models.Forked:
        """Let another branch begin with a snapshot: of this agent, of another, or of a new one.

        Without `to_branch` a name is made up. `title` is the new agent's, `name` the new
        snapshot's. `ConflictError` when the branch has something already.
        """
        said: dict[str, object | None] = {
            "branch": branch,
            "to_branch": to_branch,
            "to_agent_id": to_agent_id,
            "new_agent": _told({"title": title}) if new_agent else None,
            "name": name,
        }
        path = f"{_snapshot(agent_id, snapshot_id)}/fork"
        return cast(models.Forked, self._line.send("POST", path, _told(said)))

    def name_snapshot(
        self, agent_id: str, snapshot_id: str, name: str | None, branch: str | None = None
    ) -> models.Snapshot:
        """Give a snapshot a name, which keeps it, also one that was deleted; None takes it away."""
        body = {**_told({"branch": branch}), "name": name}
        path = _snapshot(agent_id, snapshot_id)
        return cast(models.Snapshot, self._line.send("PATCH", path, body))

    def delete_snapshot(
        self, agent_id: str, snapshot_id: str, branch: str | None = None
    ) -> models.Snapshot:
        """Condemn a snapshot: its bytes go 24 hours later at the earliest, unless it is named."""
        path, query = _snapshot(agent_id, snapshot_id), {"branch": branch}
        return cast(models.Snapshot, self._line.send("DELETE", path, query=query))

    def export(
        self,
        agent_id: str,
        snapshot_id: str,
        target: Path,
        *,
        branch: str | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Write a snapshot as a plain tar to `target`, whole or not at all; its size in bytes."""
        path = f"{_snapshot(agent_id, snapshot_id)}/export"
        with self._line.download(path, {"branch": branch}) as stream:
            return stream.write_to(target, progress)

    def download(
        self,
        agent_id: str,
        snapshot_id: str,
        path: str,
        target: Path,
        *,
        branch: str | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Write a file of a snapshot, or a folder as a plain tar, to `target`; its size."""
        with self.contents(agent_id, snapshot_id, path, branch=branch) as stream:
            return stream.write_to(target, progress)

    def contents(
        self, agent_id: str, snapshot_id: str, path: str, *, branch: str | None = None
    ) -> ByteStream:
        """The bytes of a file of a snapshot, or of a folder as a plain tar."""
        query = {"branch": branch, "path": path}
        return self._line.download(f"{_snapshot(agent_id, snapshot_id)}/download", query)

    def files(
        self,
        agent_id: str,
        snapshot_id: str,
        path: str = "",
        *,
        branch: str | None = None,
        recursive: bool = False,
    ) -> Iterator[models.SnapshotEntry]:
        """The entries of a folder of a snapshot, by name; with `recursive` all below it."""
        after: int | None = 0
        while after is not None:
            query = {
                "branch": branch,
                "path": path,
                "recursive": "true" if recursive else None,
                "after": str(after),
                "limit": str(_PAGE),
            }
            answer = self._line.send(
                "GET", f"{_snapshot(agent_id, snapshot_id)}/files", query=query
            )
            page = cast(models.SnapshotFiles, answer)
            yield from page["entries"]
            after = page["next"]

    def read_file(
        self,
        agent_id: str,
        snapshot_id: str,
        path: str,
        *,
        branch: str | None = None,
        offset: int = 0,
        limit: int | None = None,
    ) -> models.SnapshotFile:
        """A part of a file of a snapshot: 256 KiB from `offset` on, or `limit` bytes."""
        query = {
            "branch": branch,
            "path": path,
            "offset": str(offset),
            "limit": None if limit is None else str(limit),
        }
        answer = self._line.send("GET", f"{_snapshot(agent_id, snapshot_id)}/file", query=query)
        return cast(models.SnapshotFile, answer)

    def diff(
        self,
        agent_id: str,
        snapshot_id: str,
        other: str | None = None,
        *,
        branch: str | None = None,
        path: str = "",
        text: bool = False,
        times: bool = False,
        expand: bool = False,
    ) -> models.SnapshotDiff:
        """What leads from `other` (default: the snapshot before it) to the snapshot."""
        query = {
            "branch": branch,
            "other": other,
            "path": path,
            **{
                name: "true"
                for name, said in (("text", text), ("times", times), ("expand", expand))
                if said
            },
        }
        answer = self._line.send("GET", f"{_snapshot(agent_id, snapshot_id)}/diff", query=query)
        return cast(models.SnapshotDiff, answer)

    def import_tar(
        self,
        agent_id: str,
        source: Path,
        *,
        branch: str | None = None,
        progress: Progress | None = None,
    ) -> models.Snapshot:
        """Make a plain tar the branch's newest snapshot; it is verified before it counts."""
        size = source.stat().st_size

        def chunks() -> Iterable[bytes]:
            sent = 0
            with source.open("rb") as tar:
                while chunk := tar.read(CHUNK_BYTES):
                    yield chunk
                    sent += len(chunk)
                    if progress:
                        progress(sent, size)

        path = f"/agents/{_part(agent_id)}/snapshots/import"
        answer: Any = self._line.upload(path, chunks(), {"branch": branch})
        return cast(models.Snapshot, answer)


def _snapshot(agent_id: str, snapshot_id: str) -> str:
    """What the routes of one snapshot begin with."""
    return f"/agents/{_part(agent_id)}/snapshots/{_part(snapshot_id)}"


def _told(said: Mapping[str, object | None]) -> dict[str, object]:
    """What was said; None is left to the server's default."""
    return {name: value for name, value in said.items() if value is not None}


def _part(text: str) -> str:
    """One part of a path."""
    return quote(text, safe="")
