"""A template is installed once, aside, and every sandbox after that begins from what came of it."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from limpet.control.db import EMBEDDED_ORG
from limpet.control.sandboxes.template_builds import TemplateBuilds
from limpet.ids import OrgId
from limpet.runners.processes import tied_to
from limpet.snapshots.check import check
from limpet.stores.keys import TEMPLATES_ORG, safe_org
from tests.control.sandboxes.conftest import Box, House

pytestmark = [pytest.mark.anyio, pytest.mark.long]
SERVER = """
const http = require("http");
require("fs").appendFileSync("started.txt", "x");
const server = http.createServer((_, answer) => answer.end("<html>hi</html>"));
server.listen(process.env.PORT, "127.0.0.1");
"""


@pytest.fixture
def app_template(template_folder: Path) -> Path:
    """A template with an app, and a dependency that is installed from its own folder."""
    folder = template_folder / "app"
    (folder / "dependency").mkdir(parents=True)
    package = {"name": "dependency", "version": "1.0.0"}
    (folder / "dependency" / "package.json").write_text(json.dumps(package))
    (folder / "template.json").write_text('{"title": "App", "description": "An app"}')
    (folder / "server.js").write_text(SERVER)
    manifest = {
        "name": "app",
        "private": True,
        "scripts": {"dev": "node server.js"},
        "dependencies": {"dependency": "file:dependency"},
    }
    (folder / "package.json").write_text(json.dumps(manifest))
    subprocess.run(
        ["npm", "install", "--package-lock-only", "--offline", "--no-audit", "--no-fund"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder


@pytest.fixture
async def house(tmp_path: Path, app_template: Path) -> AsyncIterator[House]:
    (tmp_path / "data").mkdir(mode=0o700)
    made = House(tmp_path / "data", app_template.parent, {"template_builds": True})
    await made.open()
    try:
        yield made
    finally:
        await made.destroy()
    assert not tied_to(tmp_path / "data" / "sandboxes")


def builds(house: House) -> TemplateBuilds:
    return house.service.parts.template_builds


async def started(house: House) -> tuple[Box, Any]:
    """A new agent of the template, up; and what its start did."""
    box = await house.agent(template="app")
    restore = (await box.start()).restore
    return box, restore


async def until_up(box: Box) -> None:
    client = await box.client()
    async with asyncio.timeout(60):
        while not (await client.health()).ready:
            await asyncio.sleep(0.05)


async def run(box: Box, command: str) -> str:
    client = await box.client()
    answer = await client.call("POST", "/_sandbox/bash", json={"command": command}, timeout_s=60)
    return str(answer["stdout"]).strip()


async def test_the_second_sandbox_begins_with_everything_installed(house: House) -> None:
    _, first = await started(house)
    assert (first.outcome, first.snapshot) == ("template", None)
    await builds(house).settle()
    box, second = await started(house)
    assert second.outcome == "template"
    (head,) = await box.snapshots()
    assert second.snapshot == head.id
    assert head.reason == "template"
    await until_up(box)
    assert (await box.root() / "workspace/repo/node_modules/dependency").exists()
    assert "install" not in (await (await box.client()).call("GET", "/_sandbox/logs"))["logs"]
    assert await run(box, "git status --porcelain -- package.json server.js") == ""
    assert await run(box, "git branch --show-current") == box.key.branch
    assert await run(box, "git config user.name") == "Owner"
    assert await run(box, "git log --format=%s") == "Start from the template app"
    assert await run(box, "git fsck --strict 2>&1") == ""


@pytest.mark.deep
async def test_what_it_stores_for_each_sandbox_is_tiny_and_the_org_s_own(house: House) -> None:
    await started(house)
    await builds(house).settle()
    store = house.data_dir / "sandbox-snapshots"
    before = {path for path in store.rglob("*") if path.is_file()}
    box, _ = await started(house)
    new = [path for path in store.rglob("*") if path.is_file() and path not in before]
    assert all(EMBEDDED_ORG in path.relative_to(store).parts for path in new)
    assert sum(path.stat().st_size for path in new) < 8000
    await box.write("mine.txt", "mine")
    saved = await box.save()
    assert saved.stored_bytes < 8000
    for org in (EMBEDDED_ORG, TEMPLATES_ORG):
        damage = [one async for one in check(house.store, org, read_data=True) if one.damage]
        assert damage == []


@pytest.mark.deep
async def test_work_on_it_comes_home_after_an_eviction(house: House) -> None:
    await started(house)
    await builds(house).settle()
    box, _ = await started(house)
    await box.write("mine.txt", "mine")
    await box.save()
    await box.lose()
    assert await box.outcome() == "restored"
    assert await box.read("mine.txt") == "mine"
    assert await run(box, "git branch --show-current") == box.key.branch


@pytest.mark.deep
async def test_another_state_of_the_template_is_built_anew(
    house: House, app_template: Path
) -> None:
    await started(house)
    await builds(house).settle()
    (app_template / "new.txt").write_text("new")
    box, restore = await started(house)
    assert restore.snapshot is None
    assert await box.read("new.txt") == "new"
    await builds(house).settle()
    _, restore = await started(house)
    assert restore.snapshot is not None


@pytest.mark.deep
async def test_a_template_that_does_not_run_is_not_built_and_not_tried_again_at_once(
    house: House, app_template: Path
) -> None:
    (app_template / "server.js").write_text("process.exit(1)")
    for _ in range(2):
        _, restore = await started(house)
        assert (restore.outcome, restore.snapshot) == ("template", None)
        await builds(house).settle()
    assert not (house.data_dir / "sandbox-snapshots/v1/_templates").exists()


@pytest.mark.deep
async def test_a_damaged_template_is_no_reason_not_to_begin(house: House) -> None:
    await started(house)
    await builds(house).settle()
    for pack in (house.data_dir / "sandbox-snapshots/v1/_templates/packs").iterdir():
        data = bytearray(pack.read_bytes())
        data[len(data) // 2] ^= 1
        pack.chmod(0o600)
        pack.write_bytes(data)
    box, restore = await started(house)
    assert restore.outcome == "template"
    await until_up(box)
    saved = await box.save()
    await box.lose()
    await box.start()
    assert (await box.read("server.js")) == SERVER
    assert saved.id


async def test_a_template_whose_packs_are_gone_is_built_again(house: House) -> None:
    await started(house)
    await builds(house).settle()
    for pack in (house.data_dir / "sandbox-snapshots/v1/_templates/packs").iterdir():
        pack.unlink()
    _, restore = await started(house)
    assert (restore.outcome, restore.snapshot) == ("template", None)
    await builds(house).settle()
    _, restore = await started(house)
    assert restore.snapshot is not None


@pytest.mark.deep
async def test_a_first_sandbox_that_is_deleted_at_once_holds_no_build_up(house: House) -> None:
    box, _ = await started(house)
    await house.service.delete(EMBEDDED_ORG, box.key.agent, box.key.branch, force=True)
    await builds(house).settle()
    _, restore = await started(house)
    assert restore.snapshot is not None


async def test_a_server_that_ends_meanwhile_leaves_no_sandbox_behind(house: House) -> None:
    box, _ = await started(house)
    assert builds(house)._builds
    await house.reopen()
    assert not builds(house)._builds
    await box.start()
    handles = {
        entry.name for entry in os.scandir(house.data_dir / "sandboxes") if entry.name[0] != "."
    }
    assert handles == {await box.handle()}


def test_an_org_cannot_take_the_operator_s_space() -> None:
    assert safe_org(TEMPLATES_ORG) == "_templates"
    assert safe_org(OrgId("_templates")) != "_templates"
    assert "~" in safe_org(OrgId("~Templates"))
