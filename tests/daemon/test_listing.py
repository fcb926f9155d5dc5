"""Lists, copies, moves over what is there, large files, names that are not UTF-8."""

import base64
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limpet.daemon import names
from limpet.daemon.reading import BLOCK_BYTES, _Lines
from tests.daemon_process import DaemonProcess
from tests.live import poll_until

pytestmark = pytest.mark.long

ODD = b"caf\xe9 \xff.txt"
SENT = "caf\U0010f7e9 \U0010f7ff.txt"


@given(st.binary(max_size=60).map(lambda data: data.replace(b"\0", b"0")))
def test_every_name_travels_and_comes_back(name: bytes) -> None:
    sent = names.shown(name)
    sent.encode()
    assert os.fsencode(names.meant(sent)) == name
    assert names.shown(names.meant(sent)) == sent


@given(st.text(max_size=40), st.text(max_size=40))
def test_names_that_differ_look_different(one: str, other: str) -> None:
    assert (names.shown(one.encode()) == names.shown(other.encode())) == (one == other)


def test_a_list_is_sorted_and_says_what_is_there(daemon: DaemonProcess, repo: Path) -> None:
    (repo / "b").write_text("12345")
    (repo / "a.sh").touch(mode=0o755)
    (repo / "folder").mkdir()
    (repo / "link").symlink_to("folder")
    (repo / "nowhere").symlink_to("missing")
    os.mkfifo(repo / "pipe")
    listed = daemon.post("/list", {})
    assert (listed["total"], listed["truncated"]) == (6, False)
    entries = {e["name"]: e for e in listed["entries"]}
    assert list(entries) == ["a.sh", "b", "folder", "link", "nowhere", "pipe"]
    assert [e["kind"] for e in entries.values()] == [
        "file",
        "file",
        "folder",
        "link",
        "link",
        "other",
    ]
    assert entries["b"]["size"] == 5
    assert entries["b"]["mtimeMs"] == (repo / "b").stat().st_mtime_ns // 1_000_000
    assert entries["a.sh"]["executable"] is True
    assert (entries["link"]["target"], entries["link"]["targetKind"]) == ("folder", "folder")
    assert (entries["nowhere"]["target"], entries["nowhere"]["targetKind"]) == ("missing", None)
    some = daemon.post("/list", {"path": ".", "limit": 2})
    assert ([e["name"] for e in some["entries"]], some["total"], some["truncated"]) == (
        ["a.sh", "b"], 6, True,
    )  # fmt: skip
    for bad in ({"path": "b"}, {"path": "missing"}, {"path": "x" * 300}, {"limit": 0}):
        daemon.post("/list", bad, 400)


def test_a_copy_has_all_of_it(daemon: DaemonProcess, repo: Path) -> None:
    (repo / "a/b").mkdir(parents=True)
    (repo / "a/b/run").write_text("x")
    (repo / "a/b/run").chmod(0o751)
    (repo / "a/link").symlink_to("/etc/passwd")
    os.mkfifo(repo / "a/pipe")
    os.utime(repo / "a/b/run", ns=(1, 1_000_000_007))
    assert daemon.post("/copy", {"from": "a", "to": "new/c"}) == {"ok": True}
    assert sorted(p.name for p in (repo / "new/c").iterdir()) == ["b", "link"]
    status = (repo / "new/c/b/run").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o751, 1_000_000_007)
    assert (repo / "new/c/link").readlink() == Path("/etc/passwd")
    daemon.post("/copy", {"from": "a", "to": "new/c"}, 400)
    daemon.post("/copy", {"from": "missing", "to": "x"}, 400)
    daemon.post("/copy", {"from": "a", "to": "a/inside"})
    assert (repo / "a/inside/b/run").exists()
    assert not (repo / "a/inside/inside").exists()


@pytest.mark.parametrize("without", ["", "rename-exchange"])
@pytest.mark.parametrize("route", ["rename", "copy"])
def test_overwriting_replaces_whatever_is_there(root: Path, route: str, without: str) -> None:
    with DaemonProcess.running(root / "workspace", LIMPET_WITHOUT=without) as daemon:
        repo = root / "workspace/repo"
        for kind in ("file", "folder", "link"):
            for there in ("file", "folder", "link"):
                names_ = {"from": f"{kind}-{there}", "to": f"{kind}-{there}.old"}
                for name, text in ((names_["from"], "new"), (names_["to"], "old")):
                    what = kind if text == "new" else there
                    if what == "file":
                        (repo / name).write_text(text)
                    elif what == "link":
                        (repo / name).symlink_to(text)
                    else:
                        (repo / name).mkdir()
                        (repo / name / text).touch()
                daemon.post(f"/{route}", names_, 400)
                daemon.post(f"/{route}", {**names_, "overwrite": True})
                target = repo / names_["to"]
                if kind == "file":
                    assert target.read_text() == "new"
                elif kind == "link":
                    assert target.readlink() == Path("new")
                else:
                    assert [p.name for p in target.iterdir()] == ["new"]
                assert os.path.lexists(repo / names_["from"]) == (route == "copy")
        assert not any((root / "scratch").glob(".limpet-*"))
        daemon.post(
            f"/{route}", {"from": "file-file.old", "to": "file-file.old", "overwrite": True}
        )
        assert (repo / "file-file.old").read_text() == "new"


def test_a_name_that_is_not_utf8_goes_through_every_route(
    daemon: DaemonProcess, repo: Path
) -> None:
    odd = bytes(repo) + b"/" + ODD
    daemon.post("/write", {"path": SENT, "content": "needle"})
    assert Path(os.fsdecode(odd)).read_text() == "needle"
    assert [e["name"] for e in daemon.post("/list", {})["entries"]] == [SENT]
    assert daemon.post("/glob", {"pattern": "caf*"})["files"] == [SENT]
    assert daemon.post("/read", {"path": SENT})["content"] == "1\tneedle"
    for mode, wanted in (("files", SENT), ("count", f"{SENT}:1"), ("content", f"{SENT}:1:needle")):
        found = daemon.post("/grep", {"pattern": "needle", "output_mode": mode})
        assert found["results"] == wanted
    daemon.post("/edit", {"path": SENT, "old_string": "needle", "new_string": "thread"})
    daemon.post("/copy", {"from": SENT, "to": f"copies/{SENT}"})
    daemon.post("/rename", {"from": f"copies/{SENT}", "to": f"moved/{SENT}"})
    assert Path(os.fsdecode(bytes(repo) + b"/moved/" + ODD)).read_text() == "thread"
    assert daemon.post("/unlink", {"path": f"moved/{SENT}"})["existed"] is True
    daemon.post("/mkdir", {"path": f"folder/{SENT}"})
    assert os.listdir(bytes(repo) + b"/folder") == [ODD]


def test_a_change_of_a_name_that_is_not_utf8_is_told(daemon: DaemonProcess, repo: Path) -> None:
    answer = daemon.http.request("GET", f"{daemon.url}/_sandbox/events", preload_content=False)
    Path(os.fsdecode(bytes(repo) + b"/" + ODD)).touch()
    seen = b""
    while b"event: file-changed" not in seen or not seen.endswith(b"\n\n"):
        seen += answer.read1()
    answer.close()
    data = seen.decode().split("event: file-changed\ndata: ")[1].split("\n")[0]
    assert json.loads(data) == {"path": SENT}


@given(
    st.lists(st.sampled_from([b"a", b"\n", b"bc", b"\r\n"]), max_size=40).map(b"".join),
    st.integers(1, 12),
    st.integers(1, 12) | st.none(),
    st.integers(1, 7),
)
def test_lines_are_the_same_however_the_blocks_fall(
    text: bytes, first: int, limit: int | None, block: int
) -> None:
    lines = _Lines(first, limit)
    for place in range(0, len(text), block):
        lines.take(text[place : place + block])
    every = text.split(b"\n")
    wanted = every[first - 1 : None if limit is None else first - 1 + limit]
    assert b"".join(lines.kept).removesuffix(b"\n" if not wanted else b"") == b"\n".join(wanted)
    assert lines.count == len(every)


def test_a_file_of_3_gb_is_read_and_searched_in_flat_memory(
    daemon: DaemonProcess, repo: Path
) -> None:
    size = 3 * 1024**3
    with (repo / "huge").open("wb") as file:
        file.write(b"first\n" * 3000)
        file.seek(size - 12)
        file.write(b"\nlast needle")

    def resident_mb() -> int:
        lines = Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024

    before = resident_mb()
    part = daemon.post("/read", {"path": "huge", "offset": 2, "limit": 2})
    assert (part["content"], part["lineCount"]) == ("2\tfirst\n3\tfirst", 3002)
    end = daemon.post("/read", {"path": "huge", "start": -11})
    assert base64.b64decode(end["base64"]) == b"last needle"
    assert (end["start"], end["size"]) == (size - 11, size)
    assert daemon.post("/read", {"path": "huge", "full": True}, 400)["hint"]
    assert daemon.post("/grep", {"pattern": "needle"})["results"] == ""
    daemon.post("/edit", {"path": "huge", "old_string": "first", "new_string": "x"}, 400)
    answer = daemon.request("GET", "/download?path=huge", Range=f"bytes={size - 6}-")
    assert answer.data == b"needle"
    assert resident_mb() - before < 60 + BLOCK_BYTES // 1024**2


def test_bytes_of_a_binary_file(daemon: DaemonProcess, repo: Path) -> None:
    (repo / "a").write_bytes(bytes(range(256)))

    def got(**more: int) -> tuple[bytes, int]:
        answer = daemon.post("/read", {"path": "a", **more})
        assert (answer["kind"], answer["size"]) == ("bytes", 256)
        return base64.b64decode(answer["base64"]), answer["start"]

    assert got(start=250) == (bytes(range(250, 256)), 250)
    assert got(start=-2, length=1) == (b"\xfe", 254)
    assert got(length=3) == (b"\0\1\2", 0)
    assert got(start=1000) == (b"", 256)
    daemon.post("/read", {"path": "a", "length": 0}, 400)


SWAPPING = """
import sys
from pathlib import Path
from limpet.snapshots.kernel import exchange
one, other = map(Path, sys.argv[1:])
assert exchange(one, other)
print("begun", flush=True)
while exchange(one, other):
    pass
"""


@pytest.mark.parametrize("route", ["write", "edit", "upload", "unlink", "mkdir", "copy"])
def test_a_folder_that_becomes_a_link_meanwhile_leads_nothing_out(
    daemon: DaemonProcess, repo: Path, tmp_path: Path, route: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("safe")
    (repo / "way").mkdir()
    (repo / "way/file").write_text("safe")
    (repo / "link").symlink_to(outside)
    (repo / "mine").write_text("x")
    # A process of its own: a thread would keep us from asking.
    argv = [sys.executable, "-c", SWAPPING, str(repo / "way"), str(repo / "link")]
    attacker = subprocess.Popen(argv, stdout=subprocess.PIPE)
    assert attacker.stdout is not None
    refused = 0
    try:
        assert attacker.stdout.readline() == b"begun\n"
        for n in range(60):
            body: dict[str, object] = {
                "path": f"way/{'file' if route in {'edit', 'unlink'} else n}"
            }
            if route == "upload":
                status = daemon.request("PUT", f"/upload?path=way/{n}", b"x").status
            else:
                if route == "write":
                    body["content"] = "x"
                elif route == "edit":
                    body |= {"old_string": "safe", "new_string": "safer"}
                elif route == "copy":
                    body = {"from": "mine", "to": f"way/{n}"}
                elif route == "mkdir":
                    # Each swap makes the daemon watch all folders in it anew: let there be few.
                    body["path"] = f"way/{n % 3}"
                status = daemon.request("POST", f"/{route}", json.dumps(body).encode()).status
            assert status in {200, 400}
            refused += status == 400
        assert attacker.poll() is None
    finally:
        attacker.kill()
        attacker.wait()
        attacker.stdout.close()
    assert [p.name for p in outside.iterdir()] == ["file"]
    assert (outside / "file").read_text() == "safe"
    poll_until("nothing left over", lambda: not any(repo.glob("**/.limpet-*")), 10, 0.1)
