"""Programs out of npm's registry: real npm against a registry of the tests' own, good and bad."""

import asyncio
import base64
import hashlib
import io
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from limpet.control.threads.npm_install import ProgramMissingError
from limpet.control.threads.npm_programs import NpmPrograms, program_in
from limpet.harness.tools import NpmPackage, NpmProgram
from limpet.runners.base import Isolation
from tests.harness.folder_tools import FolderTools

pytestmark = pytest.mark.anyio
PLATFORMS = ("linux-x64", "linux-arm64", "linux-x64-musl", "linux-arm64-musl", "darwin-arm64")


def packed() -> bytes:
    """A package of one program, which says hello, and a script that must not run."""
    made = io.BytesIO()
    files = {
        "package.json": b'{"name": "@a/hello", "version": "1.2.3",'
        b' "scripts": {"install": "touch /tmp/limpet-ran-a-script; exit 1"}}',
        "hello": b"#!/bin/sh\necho hello\n",
    }
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return made.getvalue()


TARBALL = packed()
INTEGRITY = "sha512-" + base64.b64encode(hashlib.sha512(TARBALL).digest()).decode()


def program(integrity: str = INTEGRITY, platforms: tuple[str, ...] = PLATFORMS) -> NpmProgram:
    packages = {platform: NpmPackage("@a/hello", integrity) for platform in platforms}
    return NpmProgram("hello", "Hello", "1.2.3", "hello", packages)


@dataclass
class Registry:
    url: str = ""
    status: int = 200
    fetched: int = 0


@asynccontextmanager
async def registry(**given: Any) -> AsyncIterator[Registry]:
    made = Registry(**given)

    async def tarball(_request: web.Request) -> web.Response:
        made.fetched += 1
        if made.status != 200:
            return web.json_response({"error": "No."}, status=made.status)
        return web.Response(body=TARBALL, content_type="application/octet-stream")

    async def document(_request: web.Request) -> web.Response:
        if made.status != 200:
            return web.json_response({"error": "No."}, status=made.status)
        dist = {"tarball": f"{made.url}/hello.tgz", "integrity": INTEGRITY}
        version = {"name": "@a/hello", "version": "1.2.3", "dist": dist}
        return web.json_response(
            {
                "name": "@a/hello",
                "dist-tags": {"latest": "1.2.3"},
                "versions": {"1.2.3": version},
            }
        )

    app = web.Application()
    app.router.add_get("/hello.tgz", tarball)
    app.router.add_get("/{name:.*}", document)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield made
    finally:
        await runner.cleanup()


@dataclass
class Heard:
    lines: list[str] = field(default_factory=list)

    async def __call__(self, line: str) -> None:
        self.lines.append(line)


def environ(url: str, **given: str) -> dict[str, str]:
    import os

    return {"PATH": os.environ["PATH"], "npm_config_registry": url, "NO_PROXY": "*", **given}


async def test_a_program_is_installed_once_however_many_want_it_at_once(tmp_path: Path) -> None:
    heard = Heard()
    async with registry() as served:
        here = NpmPrograms(tmp_path / "tools", environ=environ(served.url))
        there = NpmPrograms(tmp_path / "tools", environ=environ(served.url))
        each = [one.install(program(), heard) for one in (here, here, there)]
        paths = await asyncio.gather(*each)
        again = await here.install(program(), heard)
        assert served.fetched == 2
    assert {*paths, again} == {"hello-1.2.3/hello"}
    assert heard.lines == ["Hello 1.2.3 is being installed, once on this machine."] * 2
    process = await asyncio.create_subprocess_exec(
        tmp_path / "tools" / again, stdout=asyncio.subprocess.PIPE
    )
    assert (await process.communicate())[0] == b"hello\n"
    assert [file.name for file in (tmp_path / "tools").iterdir()] == ["hello-1.2.3"]
    assert not Path("/tmp/limpet-ran-a-script").exists()


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_registry_that_refuses_is_said(status: int, tmp_path: Path) -> None:
    async with registry(status=status) as served:
        programs = NpmPrograms(tmp_path / "tools", environ=environ(served.url))
        with pytest.raises(ProgramMissingError, match="the registry refuses it"):
            await programs.install(program(), Heard())
    assert list((tmp_path / "tools").iterdir()) == []


async def test_a_package_that_is_not_the_one_that_was_published_is_refused(tmp_path: Path) -> None:
    other = "sha512-" + base64.b64encode(bytes(64)).decode()
    async with registry() as served:
        programs = NpmPrograms(tmp_path / "tools", environ=environ(served.url))
        with pytest.raises(ProgramMissingError, match="is not what was published"):
            await programs.install(program(other), Heard())
    assert list((tmp_path / "tools").iterdir()) == []


async def test_no_network_no_npm_and_no_platform_are_each_said(tmp_path: Path) -> None:
    async with registry() as served:
        gone = served.url
    programs = NpmPrograms(tmp_path / "tools", environ=environ(gone))
    with pytest.raises(ProgramMissingError, match="registry cannot be reached") as failed:
        await programs.install(program(), Heard())
    assert "LIMPET_CLAUDE_CODE" in failed.value.hint
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "uname", "ls"):
        (tools / name).symlink_to(f"/bin/{name}")
    programs = NpmPrograms(tmp_path / "tools", environ=environ(gone, PATH=str(tools)))
    with pytest.raises(ProgramMissingError, match="there is no npm"):
        await programs.install(program(), Heard())
    with pytest.raises(ProgramMissingError, match=r"there is none for (linux|darwin)-"):
        await programs.install(program(platforms=("win32-x64",)), Heard())


@dataclass
class Contained:
    """As much of a runner as is asked."""

    kind: str = "docker"
    isolation: Isolation = field(default_factory=lambda: Isolation("container"))


async def test_where_nothing_can_be_shown_it_is_installed_in_the_sandbox(tmp_path: Path) -> None:
    repo = tmp_path / "workspace" / "repo"
    repo.mkdir(parents=True)
    heard = Heard()
    async with registry() as served:
        sandbox = FolderTools(repo, environ=environ(served.url))
        programs = NpmPrograms(tmp_path / "nowhere")
        inside: Any = Contained()
        path = await program_in(sandbox, inside, programs, program(), heard)
        assert await program_in(sandbox, inside, programs, program(), heard) == path
        assert served.fetched == 1
        served.status = 403
        other = NpmProgram("other", "Other", "1.2.3", "hello", program().packages)
        with pytest.raises(ProgramMissingError, match=r"in the sandbox: the registry refuses it"):
            await program_in(sandbox, inside, programs, other, heard)
    assert path == str(tmp_path / "scratch/tools/hello-1.2.3/hello")
    assert heard.lines[0] == "Hello 1.2.3 is being installed in the sandbox."
    assert not (tmp_path / "nowhere").exists()


async def test_a_program_that_the_operator_names_is_taken_or_said_to_be_missing(
    tmp_path: Path,
) -> None:
    repo = tmp_path / "repo"
    repo.mkdir()
    inside: Any = Contained("host", Isolation("none"))
    sandbox = FolderTools(repo)
    programs = NpmPrograms(tmp_path / "tools", given={"hello": "/bin/sh"})
    assert await program_in(sandbox, inside, programs, program(), Heard()) == "/bin/sh"
    programs = NpmPrograms(tmp_path / "tools", given={"hello": str(tmp_path / "not-there")})
    with pytest.raises(ProgramMissingError, match="The sandbox has no Hello at"):
        await program_in(sandbox, inside, programs, program(), Heard())
