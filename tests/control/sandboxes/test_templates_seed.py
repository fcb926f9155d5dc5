"""A template as the tar of a workspace."""

import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from limpet.control.sandboxes.templates_seed import Author, content_hash, seed_tar
from limpet.control.templates import Template

AUTHOR = Author("Ada", "ada@example.org")


@pytest.fixture
def template(template_folder: Path) -> Template:
    return Template("page", "Page", "A page", template_folder / "page")


def unpacked(template: Template, cache: Path, into: Path, branch: str = "limpet/calm-cove") -> Path:
    tar = b"".join(seed_tar(template, branch, AUTHOR, cache))
    with tarfile.open(fileobj=BytesIO(tar)) as opened:
        opened.extractall(into, filter="tar")
    return into / "repo"


def git(repo: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=repo, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_the_workspace_is_a_repository_with_one_commit_and_nothing_to_commit(
    template: Template, tmp_path: Path
) -> None:
    repo = unpacked(template, tmp_path / "cache", tmp_path / "out")
    assert git(repo, "branch", "--show-current") == "limpet/calm-cove"
    assert git(repo, "for-each-ref", "--format=%(refname)") == "refs/heads/limpet/calm-cove"
    assert git(repo, "log", "--format=%an <%ae> %s") == (
        "Ada <ada@example.org> Start from the template page"
    )
    assert git(repo, "status", "--porcelain") == ""
    assert git(repo, "ls-files", "--stage").splitlines()[1].startswith("100755")
    assert git(repo, "ls-files").split() == ["README.md", "run.sh", "src/page.txt"]


def test_a_synthetic_branch_becomes_main(template: Template, tmp_path: Path) -> None:
    repo = unpacked(template, tmp_path / "cache", tmp_path / "out", "thread:abc")
    assert git(repo, "branch", "--show-current") == "main"


def test_the_repository_is_made_once_for_each_state_of_the_files(
    template: Template, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    first = unpacked(template, cache, tmp_path / "a")
    again = unpacked(template, cache, tmp_path / "b", "other/branch")
    assert git(first, "rev-parse", "HEAD") == git(again, "rev-parse", "HEAD")
    assert len(list(cache.iterdir())) == 1
    (template.folder / "README.md").write_text("# Another page\n")
    changed = unpacked(template, cache, tmp_path / "c")
    assert git(changed, "rev-parse", "HEAD") != git(first, "rev-parse", "HEAD")


def test_nothing_of_this_machines_git_gets_in(
    template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        "[user]\nname = Somebody\n[core]\nhooksPath = /evil\n[commit]\ngpgsign = true\n"
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    repo = unpacked(template, tmp_path / "cache", tmp_path / "out")
    monkeypatch.delenv("GIT_DIR")
    assert git(repo, "log", "--format=%an") == "Ada"
    assert not (tmp_path / "elsewhere").exists()


def test_without_git_the_files_come_without_a_repository(
    template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing here"))
    repo = unpacked(template, tmp_path / "cache", tmp_path / "out")
    assert (repo / "src" / "page.txt").exists()
    assert not (repo / ".git").exists()


def test_the_hash_sees_names_bytes_and_modes_and_leaves_out_what_is_installed(
    template: Template,
) -> None:
    before = content_hash(template)
    (template.folder / "node_modules" / "left" / "index.js").write_text("other")
    assert content_hash(template) == before
    (template.folder / "run.sh").chmod(0o644)
    after_mode = content_hash(template)
    assert after_mode != before
    (template.folder / "run.sh").rename(template.folder / "go.sh")
    assert content_hash(template) not in (before, after_mode)


def test_nothing_is_left_when_the_reader_goes_away(template: Template, tmp_path: Path) -> None:
    reading = seed_tar(template, "b", AUTHOR, tmp_path / "cache")
    next(reading)
    reading.close()  # type: ignore[attr-defined]
    assert [path.name for path in (tmp_path / "cache").iterdir() if "seed-" in path.name] == []
