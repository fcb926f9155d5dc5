"""Versions are read and judged as npm writes them."""

import os
from pathlib import Path

import pytest

from limpet.daemon.setup.detect import Project
from limpet.daemon.setup.toolchain import look, read_version, satisfies

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (">=20", True),
        (">=20.19.0", True),
        (">=21", False),
        ("^20.19.0 || >=22.12.0", True),
        ("^18.0.0 || >=22.12.0", False),
        ("20", True),
        ("20.x", True),
        ("18.x || 20.x", True),
        ("~20.20.1", True),
        ("~20.19", False),
        (">=18 <20", False),
        (">=18 <=20", True),
        ("18 - 20", True),
        ("*", True),
        ("lts/*", True),
        ("", True),
        (">20", False),
        ("v20.20.2", True),
        ("20.20.1", False),
    ],
)
def test_ranges(wanted: str, fits: bool) -> None:
    assert satisfies((20, 20, 2), wanted) is fits


def test_a_version_is_found_in_what_a_program_says() -> None:
    assert read_version("v20.20.2\n") == (20, 20, 2)
    assert read_version("deno 2.1 (release)") == (2, 1, 0)
    assert read_version("nothing") is None


async def test_a_missing_program_is_named_with_how_to_get_it(tmp_path: Path) -> None:
    project = Project(
        tmp_path, tmp_path, "npm", "node", "package.json", why="package.json is there"
    )
    found = await look(project, tmp_path, {"PATH": str(tmp_path)})
    assert "node is not there" in found.problem
    assert "https://nodejs.org" in found.problem


async def test_an_old_node_is_told_to_vite_projects(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in (("node", "echo v18.20.0"), ("npm", "echo 10.0.0")):
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    env = {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    vite = Project(tmp_path, tmp_path, "npm", "node", dependencies=frozenset({"vite"}))
    assert "18.20.0" in (await look(vite, tmp_path, env)).problem
    plain = Project(tmp_path, tmp_path, "npm", "node")
    assert (await look(plain, tmp_path, env)).problem == ""
    asks = Project(tmp_path, tmp_path, "npm", "node", engines_node=">=20")
    assert "asks for Node >=20" in (await look(asks, tmp_path, env)).problem


async def test_a_program_that_is_there_in_name_alone_is_told(tmp_path: Path) -> None:
    """As corepack's are where what package.json pins cannot be fetched."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "node").write_text("#!/bin/sh\necho v22.1.0\n")
    (programs / "pnpm").write_text("#!/bin/sh\necho 'Internal Error: fetch failed' >&2; exit 1\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    env = {"PATH": f"{programs}:/usr/bin:/bin"}
    project = Project(
        tmp_path,
        tmp_path,
        "pnpm",
        "node",
        pinned="pnpm@9.1.0+sha512.abc",
        why="package.json names it",
    )
    found = await look(project, tmp_path, env)
    assert "pnpm does not run, and this project needs it (package.json names it)" in found.problem
    assert "Internal Error: fetch failed" in found.problem
    assert "npm install -g pnpm@9.1.0)" in found.problem
