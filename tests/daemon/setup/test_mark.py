"""When an install is needed, and why."""

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from limpet.daemon.setup.detect import Project, detect
from limpet.daemon.setup.mark import (
    MARK_NAME,
    Fingerprint,
    begin,
    end,
    fingerprint,
    is_foreign,
    mark_installed,
    remove,
    was_cut_off,
    why_install,
)

RUNTIME = "node 22 abi 127"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    (tmp_path / "package.json").write_text("{}")
    (tmp_path / "package-lock.json").write_text("{}")
    (tmp_path / "node_modules").mkdir()
    return tmp_path


def now(repo: Path, runtime: str = RUNTIME) -> tuple[Project, Fingerprint]:
    project = detect(repo)
    return project, fingerprint(project, repo, runtime)


def why(repo: Path, runtime: str = RUNTIME) -> str | None:
    return why_install(*now(repo, runtime))


def test_a_marked_tree_is_vouched_for_until_something_changes(repo: Path) -> None:
    assert "no mark" in (why(repo) or "")
    mark_installed(*now(repo))
    assert why(repo) is None
    (repo / "package-lock.json").write_text('{"changed": true}')
    assert why(repo) == "package-lock.json changed since"
    (repo / ".npmrc").write_text("ignore-scripts=true")
    assert ".npmrc" in (why(repo) or "")
    mark_installed(*now(repo))
    assert why(repo) is None
    assert why(repo, "node 24 abi 137") == (
        "the runtime changed from node 22 abi 127 to node 24 abi 137"
    )
    begin(now(repo)[0])
    assert why(repo) == "an earlier install was cut off"
    end(now(repo)[0])
    assert "no mark" in (why(repo) or "")


def test_what_a_cut_off_install_left_is_removed_and_nothing_beside_it(repo: Path) -> None:
    project = now(repo)[0]
    assert not was_cut_off(project)
    begin(project)
    half = repo / "node_modules" / "left-pad"
    half.mkdir()
    (half / "package.json").write_text("{}")
    half.chmod(0o555)
    assert was_cut_off(project)
    remove(project, repo / "tmp")
    assert sorted(path.name for path in repo.iterdir()) == [
        "package-lock.json", "package.json", "tmp",
    ]  # fmt: skip
    assert list((repo / "tmp").iterdir()) == []


def test_the_mark_goes_with_the_folder(repo: Path) -> None:
    mark_installed(*now(repo))
    (repo / "node_modules" / MARK_NAME).unlink()
    (repo / "node_modules").rmdir()
    assert why(repo) == "there is no node_modules"


@pytest.mark.parametrize("field", ["os", "arch", "libc", "manager"])
def test_a_tree_from_another_kind_of_machine_is_not_trusted(repo: Path, field: str) -> None:
    project, mine = now(repo)
    theirs = msgspec.structs.replace(mine, **{field: "elsewhere"})
    mark_installed(project, theirs)
    assert "changed from elsewhere to" in (why(repo) or "")


def test_a_damaged_mark_is_none(repo: Path) -> None:
    (repo / "node_modules" / MARK_NAME).write_text('{"manager": 1')
    assert "cannot be read" in (why(repo) or "")


def test_only_trees_with_absolute_paths_in_them_mind_a_move(repo: Path) -> None:
    project, npm = now(repo)
    assert npm.place == ""
    pnpm = fingerprint(replace(project, manager="pnpm"), repo, RUNTIME)
    assert pnpm.place == str(repo)


def test_the_packages_of_a_monorepo_count(repo: Path) -> None:
    (repo / "package.json").write_text(json.dumps({"workspaces": ["packages/*", "../up/*"]}))
    member = repo / "packages" / "a" / "package.json"
    member.parent.mkdir(parents=True)
    member.write_text("{}")
    mark_installed(*now(repo))
    assert why(repo) is None
    member.write_text('{"dependencies": {"x": "1"}}')
    assert why(repo) == "packages/a/package.json changed since"


def test_a_project_without_dependencies_gets_its_folder(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text("{}")
    mark_installed(*now(tmp_path))
    assert why(tmp_path) is None


def test_packages_that_have_gone_are_noticed_and_new_ones_are_fine(repo: Path) -> None:
    for name in ("a", "b"):
        (repo / "node_modules" / name).mkdir()
    mark_installed(*now(repo))
    (repo / "node_modules" / ".vite").mkdir()
    (repo / "node_modules" / "c").mkdir()
    assert why(repo) is None
    for name in ("a", "b"):
        (repo / "node_modules" / name).rmdir()
    assert why(repo) == "1 packages have gone from node_modules"


def test_what_lies_in_the_members_of_a_monorepo_counts(repo: Path) -> None:
    (repo / "package.json").write_text(json.dumps({"workspaces": ["apps/*"]}))
    tree = repo / "apps/web/node_modules"
    tree.mkdir(parents=True)
    (repo / "apps/web/package.json").write_text("{}")
    mark_installed(*now(repo))
    assert why(repo) is None
    tree.rmdir()
    assert why(repo) == "there is no apps/web/node_modules"
    tree.mkdir()
    remove(now(repo)[0], repo / "tmp")
    assert not tree.exists()
    assert not (repo / "node_modules").exists()


def test_an_environment_without_its_interpreter_is_no_good(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("")
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").symlink_to("/no/such/python")
    mark_installed(*now(tmp_path))
    assert why(tmp_path) == "the interpreter of .venv is not there"


def test_plug_and_play_is_vouched_for_by_its_map_and_the_archives_it_names(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"packageManager": "yarn@4.18.1"}')
    places = ("../home/a.zip/node_modules/a/", "./.yarn/__virtual__/a/1/home/a.zip/node_modules/a/")
    named = [{"packageLocation": place} for place in places]
    (tmp_path / ".pnp.cjs").write_text(json.dumps(named))
    archive = tmp_path.parent / "home" / "a.zip"
    archive.parent.mkdir()
    archive.touch()
    mark_installed(*now(tmp_path))
    assert (tmp_path / ".yarn" / MARK_NAME).exists()
    assert why(tmp_path) is None
    archive.unlink()
    assert why(tmp_path) == "1 of the packages that .pnp.cjs names are not there"
    (tmp_path / ".pnp.cjs").unlink()
    assert why(tmp_path) == ".pnp.cjs changed since"


@pytest.mark.parametrize(
    ("change", "foreign"),
    [({"runtime": "x"}, True), ({"libc": "musl"}, True), ({"place": "/other"}, True),
     ({"manager": "pnpm"}, True), ({"files": {}}, False)],
)  # fmt: skip
def test_only_what_was_made_elsewhere_is_thrown_away(
    repo: Path, change: dict[str, str], foreign: bool
) -> None:
    project, mark = now(repo)
    mark_installed(project, msgspec.structs.replace(mark, **change))
    assert is_foreign(project, mark) is foreign
