"""`/grep`: ripgrep and Python give the same answers."""

import os
import subprocess
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from limpet.daemon.context import DaemonContext
from limpet.daemon.search import GrepInput, _Search
from limpet.daemon.settings import DaemonSettings
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
        "dist/g.log": "two\n",
        "src/-dash two.txt": "two\n",
        ".gitignore": "dist/\n*.log\n",
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
    # Git ignores dist/ and its logs; named, all of it is meant.
    assert grep(tree, "two", path="dist")[0] == ["dist/f.txt", "dist/g.log"]


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


NAMES = ("a.txt", "b.ts", ".env", "src/c.txt", "src/deep/d.ts", "dist/e.txt", ".x/f.txt", "ä b.txt")
LINES = st.sampled_from(
    ["one", "two three", "ONE", "", "  one", "é", "x.y", "one two\r", "three", "-- four", "a:1:b"]
)
CONTENT = st.lists(LINES, max_size=6).flatmap(
    lambda lines: st.sampled_from(["\n".join(lines), "\n".join([*lines, ""])])
)


IGNORED = {
    "files": {"dist/e.txt": b"one", "dist/f.log": b"one"}, "pattern": "one", "mode": "files",
    "ignore_case": False, "context": 0, "glob": None, "path": "dist", "limit": 3,
}  # fmt: skip


@settings(max_examples=60, deadline=None)
@example(**IGNORED)
@given(
    files=st.dictionaries(
        st.sampled_from(NAMES), CONTENT.map(str.encode) | st.just(b"one\0two"), max_size=6
    ),
    pattern=st.sampled_from(["one", "o.e", "^one", "three$", "two|four", "e+", "[xé]", "^$", "--"]),
    mode=st.sampled_from(["files", "count", "content"]),
    ignore_case=st.booleans(),
    context=st.integers(0, 2),
    glob=st.sampled_from([None, "*.txt", "*.{ts,txt}", "src/*.txt", "src/**/*.ts", ".env", "**/*"]),
    path=st.sampled_from([None, "src", "a.txt", "dist"]),
    limit=st.sampled_from([1, 3, 250]),
)
def test_both_ways_give_the_same_answers(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], **asked: Any
) -> None:
    workspace = tmp_path_factory.mktemp("same") / "workspace"
    repo = workspace / "repo"
    for folder in ("src/deep", "dist", ".x"):
        (repo / folder).mkdir(parents=True)
    (repo / ".gitignore").write_text("dist/\n*.log\n")
    (repo / "a.txt").write_text("one\n")
    for name, content in files.items():
        (repo / name).write_bytes(content)
    subprocess.run(["git", "init", "-q", str(repo)], check=True)
    environ = {"DAEMON_TOKEN": "t" * 32, "APP_ROOT": str(workspace), "PATH": os.environ["PATH"]}
    daemon_settings = DaemonSettings.from_environ(environ)
    ctx = cast("DaemonContext", SimpleNamespace(settings=daemon_settings, repo=repo))
    given = GrepInput(asked.pop("pattern"), output_mode=asked.pop("mode"), **asked)
    search = _Search(ctx, given, repo / (given.path or ""))
    assert search.by_ripgrep() == search.by_python()
