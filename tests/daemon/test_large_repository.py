"""A repository with 50,000 files: everything that looks at all of it answers, and is the same."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon_process import DaemonProcess
from tests.gitserver import git
from tests.live import poll_until

pytestmark = pytest.mark.long

FOLDERS, PER_FOLDER = 250, 200
FILES = FOLDERS * PER_FOLDER


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon on a repository whose only commit has all the files."""
    workspace = tmp_path_factory.mktemp("large") / "root/workspace"
    repo = workspace / "repo"
    for folder in range(FOLDERS):
        place = repo / f"part{folder % 10}" / f"folder{folder}"
        place.mkdir(parents=True)
        for number in range(PER_FOLDER):
            (place / f"file{number}.txt").write_bytes(b"%d of %d\n" % (number, folder))
    git("init", "-q", "-b", "main", cwd=repo)
    git("add", "-A", cwd=repo)
    git("commit", "-qm", "Begin", cwd=repo)
    with DaemonProcess.running(workspace) as running:
        yield running
        running.process.terminate()
        running.process.wait(30)


@pytest.fixture
def repo(daemon: DaemonProcess) -> Path:
    return daemon.workspace / "repo"


def test_git_sees_no_change_and_then_the_one_that_there_is(
    daemon: DaemonProcess, repo: Path
) -> None:
    def changed() -> list[str]:
        status = json.loads(daemon.request("GET", "/git/status").data)
        return [one["path"] for one in status["files"]]

    assert changed() == []
    daemon.post("/write", {"path": "part0/folder0/file0.txt", "content": "changed\n"})
    assert changed() == ["part0/folder0/file0.txt"]
    differs = json.loads(daemon.request("GET", "/git/diff").data)
    assert list(differs["diffs"]) == ["part0/folder0/file0.txt"]
    daemon.post("/git/discard", {"filepaths": ["part0/folder0/file0.txt"]})
    assert changed() == []


@pytest.mark.parametrize("mode", ["files", "count"])
def test_a_search_finds_one_in_each_folder(daemon: DaemonProcess, mode: str) -> None:
    asked = {"pattern": "^7 of ", "output_mode": mode, "limit": FILES}
    found = daemon.post("/grep", asked)
    assert found["matchCount"] == FOLDERS
    assert len(found["results"].splitlines()) == FOLDERS


def test_a_glob_gives_what_was_asked_for_and_no_more(daemon: DaemonProcess) -> None:
    assert len(daemon.post("/glob", {"pattern": "**/file7.txt"})["files"]) == FOLDERS
    assert len(daemon.post("/glob", {"pattern": "**/*.txt"})["files"]) == 1000


def test_a_change_in_the_last_folder_is_told(daemon: DaemonProcess, repo: Path) -> None:
    changed = f"part{(FOLDERS - 1) % 10}/folder{FOLDERS - 1}/file1.txt"
    stream = daemon.http.request(
        "GET", f"{daemon.url}/_sandbox/events", preload_content=False, timeout=60.0
    )
    try:
        (repo / changed).write_text("by somebody else\n")
        wanted = f'data: {{"path":"{changed}"}}'.encode()
        seen = b""

        def told() -> bool:
            nonlocal seen
            seen += stream.read1(65536)
            return wanted in seen

        poll_until("the change is told", told)
    finally:
        stream.close()
    git("checkout", "-q", "--", changed, cwd=repo)


def test_what_is_restored_is_all_of_it(daemon: DaemonProcess, repo: Path) -> None:
    saved = daemon.create()
    answer = daemon.restore(saved)
    assert answer.status == 200
    assert git("status", "--porcelain", cwd=repo) == ""
    assert sum(1 for path in repo.rglob("*.txt") if path.is_file()) == FILES
