"""Secrets in environment variables reach every task of a sandbox, also of one that runs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from limpet.control.db import EMBEDDED_USER
from limpet.control.sandboxes.variables import Told
from limpet.ids import BootId
from limpet.runners.base import EnsureOptions, Provisioned, SandboxId
from limpet.runners.config import config_patch
from limpet.runners.daemon_client import DaemonClient
from tests.control.sandboxes.conftest import Box, House
from tests.daemon_process import TOKEN, DaemonProcess

pytestmark = pytest.mark.anyio

OLD, NEW = "the-old-value", "the-new-value"


async def put(box: Box, name: str, value: str, *, org_wide: bool = False) -> Told:
    agent = None if org_wide else box.key.agent
    await box.service.parts.env_secrets.set(box.key.org, agent, name, value, EMBEDDED_USER)
    return await box.service.variables.tell(box.key.org, agent)


async def has(box: Box, name: str, value: str | None) -> bool:
    """Whether a command in the sandbox finds the variable so; None: not at all."""
    wanted = f'[ "${name}" = "{value}" ]' if value is not None else f'[ -z "${{{name}+x}}" ]'
    ran = await box.service.exec(box.key.org, await box.handle(), wanted)
    return bool(ran["exitCode"] == 0)


async def test_a_start_gives_them_and_what_is_printed_has_the_name(box: Box) -> None:
    await put(box, "KEY", OLD)
    await put(box, "SHARED", "for-everybody", org_wide=True)
    await box.start()
    assert await has(box, "KEY", OLD)
    assert await has(box, "SHARED", "for-everybody")
    ran = await box.service.exec(box.key.org, await box.handle(), "echo $KEY $SHARED")
    assert ran["stdout"] == "[hidden: KEY] [hidden: SHARED]\n"


async def test_a_change_reaches_a_running_sandbox_and_not_what_runs_in_it(box: Box) -> None:
    await put(box, "KEY", OLD)
    await box.start()
    handle = await box.handle()
    await box.service.exec(
        box.key.org, handle, "mkfifo go; (read _ < go; [ $KEY = the-old-value ] && touch old)",
        mode="background",
    )  # fmt: skip
    told = await put(box, "KEY", NEW)
    assert (told.given_to, told.not_reached) == ([handle], [])
    assert await has(box, "KEY", NEW)
    ran = await box.service.exec(box.key.org, handle, "echo > go; until [ -e old ]; do :; done")
    assert ran["exitCode"] == 0


async def test_what_is_deleted_is_taken_from_a_running_sandbox(box: Box) -> None:
    await put(box, "KEY", "for-everybody", org_wide=True)
    await put(box, "KEY", OLD)
    await box.start()
    secrets = box.service.parts.env_secrets
    await secrets.delete(box.key.org, box.key.agent, "KEY")
    await box.service.variables.tell(box.key.org, box.key.agent)
    assert await has(box, "KEY", "for-everybody")
    await secrets.delete(box.key.org, None, "KEY")
    await box.service.variables.tell(box.key.org, None)
    assert await has(box, "KEY", None)


async def test_an_orgs_own_reach_the_sandboxes_of_all_agents_and_an_agents_none_else(
    box: Box, house: House
) -> None:
    other = await house.agent()
    await asyncio.gather(box.start(), other.start())
    told = await put(box, "SHARED", NEW, org_wide=True)
    assert set(told.given_to) == {await box.handle(), await other.handle()}
    assert await has(other, "SHARED", NEW)
    assert (await put(box, "OWN", NEW)).given_to == [await box.handle()]
    assert await has(other, "OWN", None)


async def test_a_sandbox_that_does_not_answer_is_told_and_has_it_at_its_next_start(
    box: Box,
) -> None:
    await put(box, "KEY", OLD)
    await box.start()
    await box.kill()
    told = await put(box, "KEY", NEW)
    assert (told.given_to, told.not_reached) == ([], [await box.handle()])
    await box.start()
    assert await has(box, "KEY", NEW)


async def test_a_change_that_was_missed_comes_with_a_start_that_finds_it_running(box: Box) -> None:
    await box.start()
    await box.service.parts.env_secrets.set(
        box.key.org, box.key.agent, "KEY", NEW, EMBEDDED_USER
    )  # nobody is told, as when the server dies in between
    assert await has(box, "KEY", None)
    assert not (await box.start()).isNewVm
    assert await has(box, "KEY", NEW)


async def test_a_change_while_a_start_configures_is_not_lost(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = box.house.runner
    ensure = runner.ensure

    async def ensure_and_change(sandbox: SandboxId, options: EnsureOptions) -> Provisioned:
        provisioned = await ensure(sandbox, options)
        if not options.hold:
            told = await put(box, "KEY", NEW)
            assert told.given_to == [], "it is not running yet"
        return provisioned

    await put(box, "KEY", OLD)
    monkeypatch.setattr(runner, "ensure", ensure_and_change)
    await box.start()
    assert await has(box, "KEY", NEW)


async def test_a_held_sandbox_is_not_let_go_by_a_change(box: Box) -> None:
    await box.start(hold="restored")
    assert await put(box, "KEY", NEW) == Told()
    assert (await (await box.client()).config())["config"] is None
    await box.start()
    assert await has(box, "KEY", NEW)


async def test_values_lie_nowhere_in_the_sandboxs_root_or_the_data_folder(
    box: Box, house: House
) -> None:
    await put(box, "KEY", OLD)
    await box.start()
    await box.write("a.txt", "work")
    await box.service.exec(box.key.org, await box.handle(), "echo $KEY; env")
    await box.save()
    await box.stop()
    for path in house.data_dir.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert OLD.encode() not in path.read_bytes(), path


class RestartsDaemons:
    """A runner as those whose daemons are started again by somebody else, as the same ones."""

    def __init__(self, house: House) -> None:
        self._runner = house.runner
        self._now: Provisioned | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runner, name)

    @contextlib.asynccontextmanager
    async def restarted(self, box: Box) -> AsyncIterator[DaemonProcess]:
        """The box's daemon is killed, and another one begins with what it left."""
        found = await self._runner.find(await box.handle())
        assert found is not None
        root: Path = await box.root()
        await box.kill()
        boot = {"DAEMON_BOOT_ID": str(found.boot_id), "DAEMON_AWAIT_CONFIG": "1"}
        with DaemonProcess.running(root / "workspace", **boot) as daemon:
            self._now = replace(
                found, daemon_url=daemon.url, daemon_token=TOKEN, boot_id=BootId(found.boot_id)
            )
            yield daemon
            daemon.process.terminate()
            await asyncio.to_thread(daemon.process.wait, 30)

    async def find(self, _handle: str) -> Provisioned | None:
        return self._now

    async def ensure(self, _sandbox: SandboxId, options: EnsureOptions) -> Provisioned:
        assert self._now is not None
        if options.on_daemon_ready is not None:
            await options.on_daemon_ready(self._now.daemon_url, self._now.daemon_token)
        if not options.hold:
            async with DaemonClient(self._now.daemon_url, self._now.daemon_token) as client:
                await client.post_config(config_patch(options))
        return self._now


async def test_a_daemon_that_restarted_by_itself_is_given_them_again(
    box: Box, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(box, "KEY", OLD)
    await box.start()
    runner = RestartsDaemons(house)
    async with runner.restarted(box) as daemon:
        monkeypatch.setattr(box.service.parts, "runner", runner)
        monkeypatch.setattr(box.service.parts.daemons, "_runner", runner)
        assert daemon.request("GET", "/config").json()["missingEnv"] == ["KEY"]
        assert not await has(box, "KEY", OLD)
        with box.phases() as phases:
            await box.start()
        assert "configuring" in phases.kinds, "all that it was told is told again"
        assert daemon.request("GET", "/config").json()["missingEnv"] == []
        assert await has(box, "KEY", OLD)
