"""Starting a sandbox: lease, provision, restore, configure; idempotent, shared when asked twice."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog

from limpet.branches import is_synthetic
from limpet.control.clone_url import clone_url_of
from limpet.control.db import AgentRow, SandboxRow
from limpet.control.egress import policy_for_start
from limpet.control.sandboxes.daemons import Reached
from limpet.control.sandboxes.events import SandboxKey
from limpet.control.sandboxes.parts import Parts, sandbox_id
from limpet.control.sandboxes.restoring import Prepared, Restoring
from limpet.control.sandboxes.turns import Shared
from limpet.control.sandboxes.variables import Variables
from limpet.control.sandboxes.views import problem_of
from limpet.errors import ConflictError, LimpetError, RunnerError, StoreUnavailableError
from limpet.runners.base import EnsureOptions, Provisioned, Repo, Workload

log = structlog.get_logger(__name__)

ALREADY_RUNNING = {
    "outcome": "kept",
    "snapshot": None,
    "receipt": None,
    "message": "The sandbox was running already.",
}


@dataclass(frozen=True, slots=True)
class Begun:
    """A started sandbox. `restore` is what this start did with the workspace."""

    row: SandboxRow
    is_new: bool
    restore: dict[str, Any]


class Starting:
    """Starts of sandboxes. Two at once for the same sandbox get the same one."""

    def __init__(self, parts: Parts, restoring: Restoring, variables: Variables) -> None:
        self._parts = parts
        self._variables = variables
        self._restoring = restoring
        self._under_way: Shared[tuple[SandboxKey, bool, bool], Begun] = Shared()

    async def start(
        self, key: SandboxKey, agent: AgentRow, *, hold: bool, without_snapshot: bool
    ) -> Begun:
        """The sandbox, running and configured; with `hold` restored, and nothing running in it.

        Goes on when the caller goes away. Raises `StoreUnavailableError` when the store is needed
        and does not answer, `RunnerError` when the sandbox cannot be provisioned.
        """
        self._parts.refuse_when_closing()
        begun, first = await self._under_way.do(
            (key, hold, without_snapshot),
            lambda: self._in_turn(key, agent, hold=hold, without_snapshot=without_snapshot),
        )
        return begun if first else Begun(begun.row, False, begun.restore)

    async def settle(self) -> None:
        """Wait for the starts under way."""
        await self._under_way.settle()

    async def _in_turn(
        self, key: SandboxKey, agent: AgentRow, *, hold: bool, without_snapshot: bool
    ) -> Begun:
        parts = self._parts
        async with parts.lifecycle.of(key):
            parts.refuse_when_closing()
            row = await parts.rows.make(key, parts.runner.kind)
            live = await self._live(key, row)
            if live is not None and not row.detached:
                await parts.leases.take(key)
                row = await parts.rows.change(key, tracked=True, desired="running")
                await self._bring_variables(key, live)
                return Begun(row, False, ALREADY_RUNNING)
            await parts.leases.take(key)
            row = await parts.rows.change(
                key, state="starting", desired="running", last_error=None, ended=None
            )
            parts.phase(key, "claiming")
            parts.on_change(key)
            try:
                begun = await self._provision(
                    key, row, agent, live=live is not None, hold=hold,
                    without_snapshot=without_snapshot,
                )  # fmt: skip
            except Exception as error:
                await self._not_started(key, error, live=live is not None)
                raise
            finally:
                parts.on_change(key)
            return begun

    async def _live(self, key: SandboxKey, row: SandboxRow) -> Reached | None:
        """The sandbox if it is up, the very one that an earlier start configured, and knows it."""
        if row.state != "running" or row.boot_id is None:
            return None
        if key in self._parts.held:
            return None
        found = await self._parts.daemons.find(row.handle)
        if found is None or found.provisioned.boot_id != row.boot_id:
            return None
        return None if await self._forgot(found) else found

    async def _forgot(self, found: Reached) -> bool:
        """Whether its daemon restarted by itself and waits to be configured again."""
        try:
            return await self._variables.lost(found.client)
        except LimpetError as error:
            log.warning("config_not_looked_at", error=error.message)
            return False

    async def _provision(
        self,
        key: SandboxKey,
        row: SandboxRow,
        agent: AgentRow,
        *,
        live: bool,
        hold: bool,
        without_snapshot: bool,
    ) -> Begun:
        parts = self._parts
        prepared: list[Prepared] = []
        trouble: list[BaseException] = []

        async def on_daemon_ready(url: str, token: str) -> None:
            client = parts.daemons.client(url, token)
            try:
                prepared.append(
                    await self._restoring.prepare(
                        key, row, agent, client, live=live, without_snapshot=without_snapshot
                    )
                )
            except Exception as error:
                trouble.append(error)
                raise

        parts.phase(key, "starting-daemon")
        # Held at first: no config may reach a workspace whose snapshot could not be looked up.
        provisioned = await parts.runner.ensure(
            sandbox_id(key),
            EnsureOptions(
                egress=policy_for_start(agent, parts.settings.egress),
                on_daemon_ready=on_daemon_ready,
                hold=True,
                progress=partial(self._tell, key),
            ),
        )
        if trouble:
            raise trouble[0]
        if not prepared:
            raise RunnerError("The runner did not say when the sandbox was ready")
        return await self._finish(key, agent, provisioned, prepared[-1], live=live, hold=hold)

    def _tell(self, key: SandboxKey, step: str) -> None:
        log.debug("provisioning", step=step, branch=key.branch)
        name, _, percent = step.partition(" ")
        if name == "pulling-image":  # the one step that may take minutes
            self._parts.phase(key, name, percent=int(percent.rstrip("%")))

    async def _finish(
        self,
        key: SandboxKey,
        agent: AgentRow,
        provisioned: Provisioned,
        prepared: Prepared,
        *,
        live: bool,
        hold: bool,
    ) -> Begun:
        parts = self._parts
        kept_live = live and prepared.decision.action == "keep"
        restore = restore_outcome(prepared)
        columns = {**prepared.columns, "isolation": provisioned.isolation.kind}
        if not kept_live:
            columns["restore"] = restore
        await parts.rows.change(key, **columns)
        if hold and not kept_live:
            parts.held.add(key)
        elif not kept_live:
            parts.phase(key, "configuring")
            options = await self.options(key, agent)
            at = prepared.decision.at
            if at is not None and at.fork and not is_synthetic(key.branch):
                options = replace(options, begin_branch=key.branch)
            await parts.runner.ensure(sandbox_id(key), options)
            parts.held.discard(key)
        row = await parts.rows.change(
            key,
            state="running",
            tracked=True,
            last_error=None,
            **({} if live else {"started_at": datetime.now(UTC)}),
        )
        if key not in parts.held:  # what was changed while it was configured
            await self._bring_variables(key, parts.daemons.reached(provisioned))
        parts.phase(key, "ready", held=key in parts.held)
        return Begun(row, provisioned.is_new, restore)

    async def _bring_variables(self, key: SandboxKey, found: Reached) -> None:
        try:
            await self._variables.bring(key, found.client)
        except LimpetError as error:
            log.warning("variables_not_brought", branch=key.branch, error=error.message)

    async def options(self, key: SandboxKey, agent: AgentRow) -> EnsureOptions:
        """What the sandbox is configured with. Credentials are opened here and nowhere else."""
        parts = self._parts
        options = EnsureOptions(
            workload=Workload(start_command=agent.start_command),
            env=await parts.env_secrets.environment(key.org, key.agent),
            egress=policy_for_start(agent, parts.settings.egress),
        )
        url = clone_url_of(agent, parts.secrets)
        if url is None:
            return options
        author = await self._restoring.author(agent)
        repo = Repo(
            clone_url=url.authenticated,
            branch=None if is_synthetic(key.branch) else key.branch,
            user_name=author.name,
            user_email=author.email,
            display_name=url.display_name,
        )
        return replace(options, repo=repo)

    async def _not_started(self, key: SandboxKey, error: Exception, *, live: bool) -> None:
        """Leave a sandbox that did not start in a state that says so, with nothing running.

        One that was up before is left alone.
        """
        parts = self._parts
        problem = problem_of(error)
        calm = isinstance(error, StoreUnavailableError | ConflictError)
        columns: dict[str, Any] = {"last_error": problem}
        if isinstance(error, StoreUnavailableError):
            columns["restore"] = {
                "outcome": "store-unreachable",
                "snapshot": None,
                "receipt": None,
                "message": problem["message"],
            }
        if live:
            columns["state"] = "running"
        else:
            columns |= {"state": "stopped" if calm else "failed", "tracked": False}
            parts.held.discard(key)
            try:
                await parts.runner.stop(sandbox_id(key).handle)
            except LimpetError as stop_error:
                log.warning("failed_start_not_torn_down", error=stop_error.message)
        await parts.rows.change(key, **columns)
        if not live:
            await parts.leases.release(key)
        parts.phase(
            key,
            "failed",
            reason=problem["code"],
            message=problem["message"],
            hint=problem["hint"],
        )


def restore_outcome(prepared: Prepared) -> dict[str, Any]:
    """The start's outcome as the row keeps it and the API shows it."""
    decision = prepared.decision
    snapshot = decision.head or (decision.at if decision.action == "keep" else None)
    return {
        "outcome": decision.outcome,
        "snapshot": snapshot.snapshot if snapshot else decision.pinned,
        "receipt": prepared.receipt,
        "message": decision.message,
    }
