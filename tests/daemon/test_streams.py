"""Uploads and downloads: whole or not at all, ranges, conditions, folders as archives."""

import io
import json
import os
import socket
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import urllib3
from hypothesis import given
from hypothesis import strategies as st

from limpet.daemon.routes import RouteError
from limpet.daemon.streams import parse_range
from tests.daemon_process import TOKEN, DaemonProcess
from tests.live import poll_until


def put(
    daemon: DaemonProcess, path: str, body: Any, query: str = "", **headers: str
) -> urllib3.BaseHTTPResponse:
    return daemon.request("PUT", f"/upload?path={quote(path)}{query}", body, **headers)


def get(
    daemon: DaemonProcess, path: str, query: str = "", **headers: str
) -> urllib3.BaseHTTPResponse:
    return daemon.request("GET", f"/download?path={quote(path)}{query}", **headers)


def head_of(method: str, target: str) -> bytes:
    """The beginning of a request by hand, without the empty line."""
    first = f"{method} /_sandbox{target} HTTP/1.1"
    return f"{first}\r\nHost: x\r\nX-Limpet-Token: {TOKEN}\r\n".encode()


def test_an_upload_streams_into_place_and_comes_back(daemon: DaemonProcess, repo: Path) -> None:
    block = os.urandom(1024 * 1024)
    answer = put(daemon, "deep/er/a.bin", (block for _ in range(80)), "&mode=755")  # over 64 MiB
    assert answer.status == 200, answer.data
    assert answer.json()["size"] == 80 * len(block)
    assert (repo / "deep/er/a.bin").stat().st_size == 80 * len(block)
    assert stat.S_IMODE((repo / "deep/er/a.bin").stat().st_mode) == 0o755
    got = get(daemon, "deep/er/a.bin")
    assert got.headers["etag"] == answer.json()["etag"]
    assert got.data == block * 80
    assert put(daemon, "a", b"", "&mode=999").status == 400
    assert put(daemon, "../../out", b"x").status == 400
    assert put(daemon, "deep", b"x").status == 400


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_body_that_breaks_off_leaves_the_old_file(
    daemon: DaemonProcess, repo: Path, root: Path, framing: str
) -> None:
    (repo / "a").write_text("old")
    host, port = daemon.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        if framing == "length":
            body = b"Content-Length: 1000000\r\n\r\n" + b"new" * 1000
        else:
            body = b"Transfer-Encoding: chunked\r\n\r\nbb8\r\n" + b"new" * 1000 + b"\r\n"
        connection.sendall(head_of("PUT", "/upload?path=a") + body)
        scratch = root / "scratch"
        poll_until("its beginning", lambda: any(scratch.glob(".limpet-*")), 30, 0.02)
    poll_until("its end", lambda: not any(scratch.glob(".limpet-*")), 30, 0.02)
    assert (repo / "a").read_text() == "old"


def test_conditions_keep_from_overwriting(daemon: DaemonProcess, repo: Path) -> None:
    only_new = {"If-None-Match": "*"}
    tag = put(daemon, "a", b"one", **only_new).json()["etag"]
    assert put(daemon, "a", b"two", **only_new).status == 412
    assert put(daemon, "a", b"two", **{"If-Match": '"other"'}).status == 412
    assert put(daemon, "missing", b"two", **{"If-Match": "*"}).status == 412
    assert (repo / "a").read_text() == "one"
    assert put(daemon, "a", b"two", **{"If-Match": tag}).status == 200
    fresh = get(daemon, "a").headers["etag"]
    assert fresh != tag
    assert get(daemon, "a", **{"If-None-Match": fresh}).status == 304
    assert get(daemon, "a", **{"If-None-Match": tag}).status == 200
    modified = get(daemon, "a").headers["last-modified"]
    assert get(daemon, "a", **{"If-Modified-Since": modified}).status == 304


def test_ranges(daemon: DaemonProcess, repo: Path) -> None:
    (repo / "a").write_bytes(bytes(range(100)))
    whole = bytes(range(100))
    parts = {"0-9": whole[:10], "90-": whole[90:], "-5": whole[95:], "99-500": whole[99:]}
    for spec, part in parts.items():
        answer = get(daemon, "a", Range=f"bytes={spec}")
        assert (answer.status, answer.data) == (206, part)
        assert answer.headers["content-range"].endswith("/100")
    for senseless in ("bytes=5-2", "bytes=0-1,3-4", "lines=1-2", "bytes=x-y", "bytes=--1"):
        assert get(daemon, "a", Range=senseless).data == whole
    assert get(daemon, "a", Range="bytes=100-").status == 416
    (repo / "empty").touch()
    for spec in ("0-9", "100-", "-5"):
        answer = get(daemon, "empty", Range=f"bytes={spec}")
        assert (answer.status, answer.data, answer.headers["content-length"]) == (200, b"", "0")
    tag = get(daemon, "a").headers["etag"]
    assert get(daemon, "a", **{"Range": "bytes=0-9", "If-Range": tag}).status == 206
    assert get(daemon, "a", **{"Range": "bytes=0-9", "If-Range": '"old"'}).status == 200
    head = daemon.request("HEAD", "/download?path=a")
    assert (head.headers["content-length"], head.data) == ("100", b"")


@given(st.text(max_size=12) | st.from_regex(r"bytes=\d{0,4}-\d{0,4}"), st.integers(0, 500))
def test_a_range_lies_in_the_file_or_is_refused(header: str, size: int) -> None:
    refused: list[int] = []
    try:
        found = parse_range(header, size)
    except RouteError as error:
        found = None
        refused = error.http_status
        assert refused == 416
    if found is not None:
        assert 0 <= found[0] <= found[1] < size


def a_folder(repo: Path) -> Path:
    folder = repo / "folder"
    (folder / "sub/empty").mkdir(parents=True)
    (folder / "sub/run.sh").write_text("#!/bin/sh\n")
    (folder / "sub/run.sh").chmod(0o755)
    (folder / "big").write_bytes(os.urandom(3 * 1024 * 1024))
    (folder / "link").symlink_to("sub/run.sh")
    (folder / "out").symlink_to("/etc")
    os.mkfifo(folder / "pipe")
    return folder


def test_a_folder_comes_as_a_tar(daemon: DaemonProcess, repo: Path) -> None:
    folder = a_folder(repo)
    (Path(os.fsdecode(bytes(folder) + b"/caf\xe9"))).write_text("odd")
    data = get(daemon, "folder").data
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = {os.fsencode(m.name): m for m in tar}
        assert set(members) == {
            b"big", b"link", b"out", b"sub", b"sub/empty", b"sub/run.sh", b"caf\xe9",
        }  # fmt: skip
        big = tar.extractfile(members[b"big"])
        assert big is not None
        assert big.read() == (folder / "big").read_bytes()
        assert members[b"sub/run.sh"].mode == 0o755
        assert members[b"out"].linkname == "/etc"


def test_a_folder_comes_as_a_zip(daemon: DaemonProcess, repo: Path) -> None:
    folder = a_folder(repo)
    answer = get(daemon, "folder", "&format=zip")
    assert "folder.zip" in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == {"big", "link", "out", "sub/", "sub/empty/", "sub/run.sh"}
        assert archive.read("big") == (folder / "big").read_bytes()
        assert archive.read("link") == b"sub/run.sh"
        assert archive.getinfo("sub/run.sh").external_attr >> 16 & 0o777 == 0o755
    assert get(daemon, "folder", "&format=rar").status == 400


def test_what_cannot_be_read_breaks_a_download_off(daemon: DaemonProcess, repo: Path) -> None:
    assert get(daemon, "missing").status == 400
    folder = a_folder(repo)
    if os.geteuid() != 0:
        (folder / "big").chmod(0)
        with pytest.raises(urllib3.exceptions.HTTPError):
            _ = get(daemon, "folder").data


def test_a_client_that_leaves_a_download_ends_what_reads_for_it(
    daemon: DaemonProcess, repo: Path
) -> None:
    a_folder(repo)
    host, port = daemon.url.removeprefix("http://").split(":")
    large = repo / "folder/large"
    large.write_bytes(bytes(64 * 1024 * 1024))

    def is_open() -> bool:
        fds = Path(f"/proc/{daemon.process.pid}/fd")
        return any(os.path.realpath(fd) == str(large) for fd in fds.iterdir())

    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head_of("GET", "/download?path=folder") + b"\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        poll_until("it is read", is_open, 30, 0.02)
    poll_until("its end", lambda: not is_open(), 30, 0.02)
    assert json.loads(daemon.request("GET", "/tasks").data) == {"tasks": []}


def test_a_client_that_takes_nothing_is_cut_off(root: Path) -> None:
    with DaemonProcess.running(root / "workspace", DAEMON_STALL_S="1") as daemon:
        large = root / "workspace/repo/large"
        with large.open("wb") as file:
            file.truncate(64 * 1024 * 1024)
        host, port = daemon.url.removeprefix("http://").split(":")

        def is_open() -> bool:
            fds = Path(f"/proc/{daemon.process.pid}/fd")
            return any(os.path.realpath(fd) == str(large) for fd in fds.iterdir())

        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect((host, int(port)))
            connection.sendall(head_of("GET", "/download?path=large") + b"\r\n")
            poll_until("the download", is_open, 30, 0.02)
            poll_until("its end", lambda: not is_open(), 60, 0.1)
        assert daemon.healthy()
