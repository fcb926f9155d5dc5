"""snapshots files, cat, download, diff."""

from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import AGENT, SNAPSHOT, Cli
from tests.sdk.wire import Answer, Wire, error

ONE = f"/agents/{AGENT['id']}/snapshots/{SNAPSHOT['id']}"
OTHER = {**SNAPSHOT, "id": "20251231t000000z-cccccccccccc", "is_head": False, "name": "before"}


def entry(path: str, **more: Any) -> dict[str, Any]:
    return {
        "path": path, "type": "file", "size_bytes": 1500, "mode": "0644", "target": None,
        "modified_at": "2026-01-01T10:00:00Z", "secret": False, "raw": None, **more,
    }  # fmt: skip


def change(kind: str, path: str, **more: Any) -> dict[str, Any]:
    return {
        "kind": kind, "path": path, "old_path": None, "type": "file", "what": [], "diff": None,
        "size_before": 1, "size_after": 2, "binary": False, **more,
    }  # fmt: skip


DIFF = {
    "before": OTHER["id"], "after": SNAPSHOT["id"], "added": 1, "removed": 0, "changed": 1,
    "renamed": 1, "truncated": False,
    "changes": [
        change("added", "repo/new", type="folder"),
        change("changed", "repo/a.txt", what=["content", "time"],
               diff="--- a/repo/a.txt\n+++ b/repo/a.txt\n@@ -1 +1 @@\n-old \x1b[2J\n+new\n"),
        change("renamed", "repo/z", old_path="repo/y"),
    ],
}  # fmt: skip


def test_files_shows_a_folder_and_asks_for_every_page(wire: Wire, cli: Cli) -> None:
    def page(asked: Any) -> Answer:
        if asked.query["after"] == "0":
            listed = [entry("repo/.env", secret=True), entry("repo/src", type="folder")]
            return Answer(
                {"snapshot": SNAPSHOT["id"], "path": "repo", "entries": listed, "next": 2}
            )
        link = entry("repo/z", type="symlink", target="src")
        return Answer({"snapshot": SNAPSHOT["id"], "path": "repo", "entries": [link], "next": None})

    wire.on(f"GET {ONE}/files", page)
    ran = cli("snapshots", "files", "My shop", "latest", "repo")
    assert ran.code == 0, ran.err
    _, secret, folder, link = ran.out.splitlines()
    assert "may hold secrets" in secret
    assert "repo/src/" in folder
    assert "repo/z -> src" in link
    listed = cli("snapshots", "files", "My shop", "latest", "repo", "-r", "--json").json
    assert [one["path"] for one in listed["entries"]] == ["repo/.env", "repo/src", "repo/z"]
    assert wire.last(f"GET {ONE}/files").query["recursive"] == "true"


def test_cat_writes_the_bytes_as_they_are(wire: Wire, cli: Cli) -> None:
    wire.on(f"GET {ONE}/file", {"entry": entry("repo/a.txt")})
    wire.on(f"GET {ONE}/download", lambda _: Answer(iter([b"\x00one\n", b"two"])))
    ran = cli("snapshots", "cat", "My shop", "latest", "repo/a.txt")
    assert (ran.code, ran.out) == (0, "\x00one\ntwo")


def test_cat_of_a_folder_says_so(wire: Wire, cli: Cli) -> None:
    wire.on(f"GET {ONE}/file", error(400, "invalid_input", "'repo' is a folder"))
    ran = cli("snapshots", "cat", "My shop", "latest", "repo")
    assert ran.code != 0
    assert "is a folder" in ran.err


def test_download_never_replaces_unless_told(wire: Wire, cli: Cli, tmp_path: Path) -> None:
    wire.on(f"GET {ONE}/download", lambda _: Answer(iter([b"content"])))
    target = tmp_path / "mine.txt"
    assert cli("snapshots", "download", "My shop", "latest", "a.txt", str(target)).code == 0
    assert target.read_bytes() == b"content"
    assert cli("snapshots", "download", "My shop", "latest", "a.txt", str(target)).code == 2
    told = cli("snapshots", "download", "My shop", "latest", "a.txt", str(target), "--force")
    assert told.code == 0


def test_a_download_that_breaks_leaves_nothing(wire: Wire, cli: Cli, tmp_path: Path) -> None:
    wire.on(f"GET {ONE}/download", lambda _: Answer(iter([b"half"]), cut=True))
    ran = cli("snapshots", "download", "My shop", "latest", "a.txt", str(tmp_path / "mine"))
    assert ran.code != 0
    assert [path.name for path in tmp_path.iterdir() if "mine" in path.name] == []


@pytest.mark.parametrize("given", [(), ("before",)])
def test_diff_shows_what_changed(wire: Wire, cli: Cli, given: tuple[str, ...]) -> None:
    wire.on(f"GET /agents/{AGENT['id']}/snapshots", {"snapshots": [SNAPSHOT, OTHER]})
    wire.on(f"GET {ONE}/diff", DIFF)
    ran = cli("snapshots", "diff", "My shop", "latest", *given)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0] == "+ repo/new/"
    assert lines[1] == "~ repo/a.txt"
    assert "    -old  [2J" in lines, "nothing that a terminal would obey"
    assert lines[-1] == "> repo/y -> repo/z"
    assert "1 added, 1 changed, 1 renamed" in ran.err
    asked = wire.last(f"GET {ONE}/diff").query
    assert asked["text"] == "true"
    assert asked.get("other") == (OTHER["id"] if given else None)


def test_a_diff_of_nothing_says_so(wire: Wire, cli: Cli) -> None:
    wire.on(f"GET {ONE}/diff", {**DIFF, "changes": []})
    ran = cli("snapshots", "diff", "My shop", "latest", "--names")
    assert (ran.code, ran.out) == (0, "")
    assert "Nothing differs" in ran.err
    assert "text" not in wire.last(f"GET {ONE}/diff").query
