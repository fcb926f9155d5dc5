"""File routes: answers, and that no link leads a write outside."""

import json
import os
import stat
from pathlib import Path

import pytest

from tests.daemon_process import DaemonProcess

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


def test_a_text_comes_with_numbered_lines(daemon: DaemonProcess, repo: Path) -> None:
    (repo / "a.txt").write_text("one\ntwo\nthree\n")
    assert daemon.post("/read", {"path": "a.txt"}) == {
        "kind": "text", "content": "1\tone\n2\ttwo\n3\tthree\n4\t", "lineCount": 4,
    }  # fmt: skip
    part = daemon.post("/read", {"path": "a.txt", "offset": 2, "limit": 1})
    assert part == {"kind": "text", "content": "2\ttwo", "lineCount": 4}
    whole = daemon.post("/read", {"path": "a.txt", "offset": 3, "limit": 1, "full": True})
    assert whole["content"] == "1\tone\n2\ttwo\n3\tthree\n4\t"
    assert daemon.post("/read", {"path": "a.txt", "raw": True})["content"] == "one\ntwo\nthree\n"


def test_an_empty_file_has_one_empty_line(daemon: DaemonProcess, repo: Path) -> None:
    (repo / "empty").touch()
    assert daemon.post("/read", {"path": "empty"}) == {
        "kind": "text", "content": "1\t", "lineCount": 1,
    }  # fmt: skip


def test_an_image_comes_as_base64(daemon: DaemonProcess, repo: Path) -> None:
    (repo / "a.png").write_bytes(PNG)
    image = daemon.post("/read", {"path": "a.png"})
    assert (image["kind"], image["mediaType"], image["size"]) == ("image", "image/png", len(PNG))


def test_what_cannot_be_read_is_400(daemon: DaemonProcess, repo: Path) -> None:
    (repo / "binary").write_bytes(b"a\0b")
    os.mkfifo(repo / "pipe")
    (repo / "large.png").write_bytes(PNG + bytes(5 * 1024 * 1024))
    for path in ("missing", ".", "binary", "pipe", "large.png", "a\0b", ""):
        assert daemon.post("/read", {"path": path}, 400)["error"]


def test_reads_may_be_absolute_and_relative_ones_stay_in_the_workspace(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    (tmp_path / "outside.txt").write_text("seen")
    outside = daemon.post("/read", {"path": str(tmp_path / "outside.txt")})
    assert outside["content"] == "1\tseen"
    escaped = daemon.post("/read", {"path": "../../../outside.txt"}, 400)
    assert escaped["error"].startswith("Path escapes")


def test_a_write_makes_parents_and_keeps_the_mode(daemon: DaemonProcess, repo: Path) -> None:
    assert daemon.post("/write", {"path": "a/b/c.sh", "content": "é"}) == {
        "ok": True, "bytesWritten": 2,
    }  # fmt: skip
    (repo / "a/b/c.sh").chmod(0o750)
    daemon.post("/write", {"path": "a/b/c.sh", "content": "new"})
    assert (repo / "a/b/c.sh").read_text() == "new"
    assert stat.S_IMODE((repo / "a/b/c.sh").stat().st_mode) == 0o750
    assert sorted(p.name for p in (repo / "a/b").iterdir()) == ["c.sh"]


def test_a_write_replaces_a_hard_linked_file_and_not_its_twin(
    daemon: DaemonProcess, repo: Path
) -> None:
    (repo / "a").write_text("shared")
    os.link(repo / "a", repo / "b")
    daemon.post("/write", {"path": "a", "content": "mine"})
    assert (repo / "b").read_text() == "shared"


@pytest.mark.parametrize(
    "path",
    [
        "../../out.txt", "/etc/limpet-test", "link/out.txt", "absolute/out.txt", "file-link",
        "chain/out.txt", "a/../../../out.txt", "dangling",
    ],
)  # fmt: skip
@pytest.mark.parametrize("route", ["write", "edit", "unlink", "mkdir", "rename"])
def test_nothing_is_changed_outside(
    daemon: DaemonProcess, repo: Path, tmp_path: Path, path: str, route: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "out.txt").write_text("safe")
    (repo / "a").mkdir()
    (repo / "mine").write_text("safe")
    (repo / "link").symlink_to("../../../outside")
    (repo / "absolute").symlink_to(outside)
    (repo / "chain").symlink_to("link")
    (repo / "file-link").symlink_to(outside / "out.txt")
    (repo / "dangling").symlink_to(outside / "fresh")
    body: dict[str, object] = {"path": path}
    if route == "write":
        body["content"] = "broken"
    elif route == "edit":
        body |= {"old_string": "safe", "new_string": "broken"}
    elif route == "rename":
        body = {"from": "mine", "to": path}
    status = daemon.request("POST", f"/{route}", json.dumps(body).encode()).status
    if (route, path) not in {("unlink", "file-link"), ("unlink", "dangling")}:
        assert status == 400  # a link itself may be deleted: it lies inside
    assert (outside / "out.txt").read_text() == "safe"
    assert [p.name for p in outside.iterdir()] == ["out.txt"]
    assert not Path("/etc/limpet-test").exists()


def test_links_that_stay_inside_are_followed(daemon: DaemonProcess, repo: Path) -> None:
    (repo.parent / "data").mkdir()
    (repo / "data").symlink_to("../data")
    (repo / "absolute").symlink_to(repo.parent / "data")
    (repo / "config").symlink_to("data/config.json")
    daemon.post("/write", {"path": "config", "content": "{}"})
    daemon.post("/write", {"path": "absolute/more/x", "content": "x"})
    assert (repo.parent / "data/config.json").read_text() == "{}"
    assert (repo.parent / "data/more/x").read_text() == "x"
    assert (repo / "config").is_symlink()


def test_links_in_a_circle_are_told(daemon: DaemonProcess, repo: Path) -> None:
    (repo / "a").symlink_to("b")
    (repo / "b").symlink_to("a")
    assert "links" in daemon.post("/write", {"path": "a/x", "content": ""}, 400)["error"]


def test_an_edit_is_by_the_letters(daemon: DaemonProcess, repo: Path) -> None:
    (repo / "a").write_bytes(b"x = $1;\r\ny = \\1;\r\n\xff")
    done = daemon.post("/edit", {"path": "a", "old_string": "$1", "new_string": "$& \\g<0>"})
    assert done["replacements"] == 1
    assert (repo / "a").read_bytes() == b"x = $& \\g<0>;\r\ny = \\1;\r\n\xff"


def test_an_edit_that_does_not_fit_changes_nothing(daemon: DaemonProcess, repo: Path) -> None:
    (repo / "a").write_text("one two one")
    bad = [("three", "x"), ("one", "x"), ("one", "one"), ("", "x")]
    for old, new in bad:
        daemon.post("/edit", {"path": "a", "old_string": old, "new_string": new}, 400)
    told = daemon.post("/edit", {"path": "a", "old_string": "one", "new_string": "x"}, 400)
    assert "2 times" in told["error"]
    assert (repo / "a").read_text() == "one two one"
    body = {"path": "a", "old_string": "one", "new_string": "x", "replace_all": True}
    assert daemon.post("/edit", body) == {"ok": True, "replacements": 2, "content": "x two x"}


def test_unlink_tells_whether_there_was_anything(daemon: DaemonProcess, repo: Path) -> None:
    (repo / "folder/sub").mkdir(parents=True)
    (repo / "file").touch()
    assert daemon.post("/unlink", {"path": "file"}) == {"ok": True, "existed": True}
    assert daemon.post("/unlink", {"path": "file"}) == {"ok": True, "existed": False}
    assert daemon.post("/unlink", {"path": "no/such/file"}) == {"ok": True, "existed": False}
    daemon.post("/unlink", {"path": "folder"}, 400)
    assert daemon.post("/unlink", {"path": "folder", "recursive": True})["existed"]
    assert not (repo / "folder").exists()


@pytest.mark.parametrize("path", [".", "..", "../home", ".git", "sub/.git", "../repo/"])
def test_roots_and_git_folders_are_never_deleted(
    daemon: DaemonProcess, repo: Path, path: str
) -> None:
    (repo / ".git").mkdir()
    (repo / "sub/.git").mkdir(parents=True)
    daemon.post("/unlink", {"path": path, "recursive": True}, 400)
    daemon.post("/rename", {"from": path, "to": "elsewhere"}, 400)
    assert (repo / ".git").exists()
    assert (repo / "sub/.git").exists()
    assert repo.with_name("home").exists()


def test_a_rename_never_replaces(daemon: DaemonProcess, repo: Path) -> None:
    (repo / "a").write_text("a")
    (repo / "b").write_text("b")
    daemon.post("/rename", {"from": "a", "to": "b"}, 400)
    daemon.post("/rename", {"from": "missing", "to": "c"}, 400)
    assert daemon.post("/rename", {"from": "a", "to": "deep/er/c"}) == {"ok": True}
    assert (repo / "deep/er/c").read_text() == "a"
    assert (repo / "b").read_text() == "b"


def test_glob_finds_files_and_leaves_git_and_node_modules_out(
    daemon: DaemonProcess, repo: Path
) -> None:
    for path in ("src/a.ts", "src/b.tsx", "node_modules/x/i.ts", ".git/c.ts", ".env.ts", "top.ts"):
        (repo / path).parent.mkdir(parents=True, exist_ok=True)
        (repo / path).touch()
    (repo / "linked").symlink_to("src")

    def found(pattern: str, **more: object) -> list[str]:
        files: list[str] = daemon.post("/glob", {"pattern": pattern, **more})["files"]
        return files

    assert found("**/*.ts") == ["src/a.ts", "top.ts"]
    assert found("*.ts") == ["top.ts"]
    assert found("src/*.{ts,tsx}") == ["src/a.ts", "src/b.tsx"]
    assert found(".*.ts") == [".env.ts"]
    assert found("node_modules/**/*.ts") == ["node_modules/x/i.ts"]
    assert found("*.ts", path="src") == ["src/a.ts"]
    assert found("**/*", limit=1) == ["top.ts"]


def test_a_path_that_no_program_could_name_is_refused(daemon: DaemonProcess, repo: Path) -> None:
    for path in ("a/" * 1500 + "b", "a" * 256, ("b" * 200 + "/") * 30 + "c", "../" * 400 + "x"):
        daemon.post("/write", {"path": path, "content": ""}, 400)
        daemon.post("/mkdir", {"path": path}, 400)
        daemon.post("/read", {"path": path}, 400)
    assert list(repo.iterdir()) == []
