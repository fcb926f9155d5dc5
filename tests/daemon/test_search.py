"""`/grep`: ripgrep and Python give the same answers."""

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.daemon_process import DaemonProcess


@pytest.fixture(params=["ripgrep", "python"], scope="module")
def tree(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DaemonProcess]:
    workspace = tmp_path_factory.mktemp("grep") / "workspace"
    repo = workspace / "repo"
    files = {
        "a.txt": "one\ntwo\nthree two\nfour\nfive\ntwo",
        "src/b.ts": "const Two = 2;\r\n",
        "src/c.tsx": "two\n",
        ".hidden/d.txt": "two\n",
        "node_modules/x/e.txt": "two\n",
        "dist/f.txt": "two\n",
        "src/-dash two.txt": "two\n",
        ".gitignore": "dist/\n",
    }
    for name, text in files.items():
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_bytes(text.encode())
    (repo / "binary").write_bytes(b"two\n\0two\n")
    (repo / "link").symlink_to("src")
    subprocess.run(["git", "init", "-q", str(repo)], check=True)
    environ = {} if request.param == "ripgrep" else {"LIMPET_WITHOUT": "ripgrep"}
    with DaemonProcess.running(workspace, **environ) as daemon:
        yield daemon


def grep(daemon: DaemonProcess, pattern: str, **more: Any) -> tuple[list[str], int]:
    answer = daemon.post("/grep", {"pattern": pattern, **more})
    return answer["results"].splitlines(), answer["matchCount"]


def test_files(tree: DaemonProcess) -> None:
    assert grep(tree, "two") == (["a.txt", "src/-dash two.txt", "src/c.tsx"], 3)
    assert grep(tree, "Two", ignore_case=True)[1] == 4
    assert grep(tree, "nowhere") == ([], 0)


def test_count(tree: DaemonProcess) -> None:
    found = grep(tree, "two", output_mode="count")
    assert found == (["a.txt:3", "src/-dash two.txt:1", "src/c.tsx:1"], 5)


def test_content(tree: DaemonProcess) -> None:
    assert grep(tree, "two$", output_mode="content", path="a.txt") == (
        ["a.txt:2:two", "a.txt:3:three two", "a.txt:6:two"], 3,
    )  # fmt: skip
    assert grep(tree, "one|five", output_mode="content", context=1, path="a.txt") == (
        ["a.txt:1:one", "a.txt-2-two", "--", "a.txt-4-four", "a.txt:5:five", "a.txt-6-two"], 2,
    )  # fmt: skip
    assert grep(tree, "const", output_mode="content") == (["src/b.ts:1:const Two = 2;"], 1)


def test_a_limit_stops(tree: DaemonProcess) -> None:
    assert grep(tree, "two", output_mode="content", limit=2)[0] == [
        "a.txt:2:two",
        "a.txt:3:three two",
    ]
    assert grep(tree, "two", limit=1) == (["a.txt"], 1)


def test_a_glob_names_files_anywhere(tree: DaemonProcess) -> None:
    assert grep(tree, "two", glob="*.{ts,tsx}", ignore_case=True)[0] == ["src/b.ts", "src/c.tsx"]
    assert grep(tree, "two", glob="*.txt")[0][0] != "node_modules/x/e.txt"


def test_a_path_narrows(tree: DaemonProcess) -> None:
    assert grep(tree, "two", path="src")[0] == ["src/-dash two.txt", "src/c.tsx"]
    assert grep(tree, "two", path="node_modules/x")[0] == ["node_modules/x/e.txt"]


@pytest.mark.parametrize(
    "body",
    [
        {"pattern": ""}, {"pattern": "("}, {"pattern": "a", "path": "missing"},
        {"pattern": "a", "path": "../../.."}, {"pattern": "a", "limit": 0},
        {"pattern": "a", "output_mode": "x"},
    ],
)  # fmt: skip
def test_senseless_searches_are_400(tree: DaemonProcess, body: dict[str, object]) -> None:
    assert tree.post("/grep", body, 400)["error"]


def test_a_pattern_that_looks_like_an_option_is_a_pattern(tree: DaemonProcess) -> None:
    assert grep(tree, "--files") == ([], 0)
