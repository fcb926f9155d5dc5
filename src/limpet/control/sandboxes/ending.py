"""Ending a sandbox: mark it, save it a last time, unregister it, tear it down, in this order."""

from typing import Any

import structlog

from limpet.control.sandboxes.daemons import Reached, origin_of
from limpet.control.sandboxes.ends import Asker, asked_for
from limpet.control.sandboxes.events import SandboxKey
from limpet.control.sandboxes.parts import Parts, sandbox_id
from limpet.control.sandboxes.rows import is_deleted, key_of
from limpet.control.sandboxes.saving import Saving
from limpet.errors import ConflictError, LimpetError, NotFoundError
from limpet.ids import AgentId, OrgId
from limpet.runners.base import EnsureOptions
from limpet.snapshots.repository import Head

log = structlog.get_logger(__name__)


class FinalSaveFailedError(ConflictError):
    """The last save before a stop failed, so the sandbox was not stopped."""

    code = "final_save_failed"


class Ending:
    """Stops and deletions. A failed last save refuses them, unless they are forced."""

    def __init__(self, parts: Parts, saving: Saving) -> None:
        self._parts = parts
        self._saving = saving

    async def stop(self, key: SandboxKey, asker: Asker | None, *, force: bool) -> Head | None:
        """End every process; the files stay. Gives the last save, if there was one to make.

        Without an `asker` a stop goes on that was asked for before, as its row says.
        """
        parts = self._parts
        parts.stop_wanted.add(key)
        try:
            async with parts.lifecycle.of(key):
                return await self._stop(key, asker, force=force)
        finally:
            parts.stop_wanted.discard(key)

    async def delete(self, key: SandboxKey, *, force: bool) -> Head | None:
        """Stop, then delete the files; the snapshots stay. No such sandbox is no error."""
        parts = self._parts
        parts.stop_wanted.add(key)
        try:
            async with parts.lifecycle.of(key):
                row = await parts.rows.get(key)
                if row is None or is_deleted(row):
                    return None
                return await self._delete(key, row.ended, force=force)
        finally:
            parts.stop_wanted.discard(key)

    async def delete_agent(self, org: OrgId, agent: AgentId) -> None:
        """Delete all sandboxes of an agent that is about to go, without a last save."""
        parts = self._parts
        for row in await parts.rows.all_of_agent(org, agent):
            key = key_of(row)
            async with parts.lifecycle.of(key):
                await parts.rows.change(key, state="stopping", desired="deleted", tracked=False)
                async with parts.saves.of(key):
                    await parts.runner.delete(sandbox_id(key).handle)
                await parts.rows.remove(key)
            self._gone(key)

    async def _stop(self, key: SandboxKey, asker: Asker | None, *, force: bool) -> Head | None:
        parts = self._parts
        row = await parts.rows.get(key)
        if row is None:
            raise NotFoundError(f"There is no sandbox on {key.branch!r}")
        before = row.state
        ended = row.ended if asker is None else asked_for(asker)
        await parts.rows.change(key, state="stopping", desired="stopped", ended=ended)
        parts.on_change(key)
        found = await parts.daemons.find(row.handle)
        saved = None
        if found is not None:
            try:
                saved = await self._final_save(key, found, force=force)
            except FinalSaveFailedError:
                await parts.rows.change(key, state=before, desired="running", ended=None)
                parts.on_change(key)
                raise
        await parts.rows.change(key, tracked=False)
        await parts.runner.stop(sandbox_id(key).handle)
        await self._ended(key, desired="stopped")
        return saved

    async def _delete(
        self, key: SandboxKey, ended: dict[str, Any] | None, *, force: bool
    ) -> Head | None:
        parts = self._parts
        row = await parts.rows.change(key, state="stopping", desired="deleted", ended=None)
        parts.on_change(key)
        saved = None
        try:
            found = await parts.daemons.find(row.handle)
            if found is not None:
                saved = await self._final_save(key, found, force=force)
            else:
                saved = await self._save_what_lies_there(key, force=force)
        except FinalSaveFailedError:
            running = await parts.runner.alive(sandbox_id(key).handle)
            state = "running" if running and row.tracked else "stopped"
            await parts.rows.change(key, state=state, desired=state, ended=ended)
            parts.on_change(key)
            raise
        await parts.rows.change(key, tracked=False)
        await parts.runner.delete(sandbox_id(key).handle)
        await self._ended(key, desired="deleted")
        return saved

    async def _final_save(self, key: SandboxKey, found: Reached, *, force: bool) -> Head | None:
        """The last save. Its failure matters only while there is something unsaved."""
        parts = self._parts
        try:
            await parts.leases.take(key)
            return await self._saving.save(key, found.client, "stop")
        except LimpetError as error:
            if force:
                log.warning("final_save_failed_forced", branch=key.branch, error=error.message)
                return None
            if await self._all_saved(found):
                log.warning("final_save_failed_nothing_unsaved", error=error.message)
                return None
            raise FinalSaveFailedError(
                f"The last save failed, so nothing was stopped: {error.message}",
                hint="Mend what failed and try again, or force it: the unsaved work is then only "
                "where the sandbox left it.",
            ) from error

    async def _all_saved(self, found: Reached) -> bool:
        try:
            return not (await origin_of(found.client)).unsaved
        except LimpetError:
            return False

    async def _save_what_lies_there(self, key: SandboxKey, *, force: bool) -> Head | None:
        """Save the work of a sandbox that does not run, before its files are deleted."""
        parts = self._parts
        try:
            await parts.leases.take(key)
            provisioned = await parts.runner.ensure(sandbox_id(key), EnsureOptions(hold=True))
            found = parts.daemons.reached(provisioned)
            origin = await origin_of(found.client)
        except LimpetError as error:
            if force:
                return None
            raise FinalSaveFailedError(
                f"Whether there is unsaved work could not be told: {error.message}",
                hint="Try again, or force the deletion.",
            ) from error
        if not origin.unsaved:
            return None
        return await self._final_save(key, found, force=force)

    async def _ended(self, key: SandboxKey, *, desired: str) -> None:
        parts = self._parts
        columns: dict[str, Any] = {"state": "stopped", "desired": desired, "last_error": None}
        await parts.rows.change(key, **columns)
        await parts.leases.release(key)
        self._gone(key)

    def _gone(self, key: SandboxKey) -> None:
        self._parts.held.discard(key)
        self._parts.events.forget(key)
        self._parts.on_change(key)
        self._parts.events.publish(key, "gone", {})
