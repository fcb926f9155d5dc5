"""The server as a process: what it prints, what it leaves behind, how it ends."""

import asyncio
import contextlib
import fcntl
import json
import os
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from limpet.control.listening import listen

pytestmark = pytest.mark.long


def environ(data_dir: Path, **more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LIMPET_", "SANDBOX_"))}
    return {**kept, "LIMPET_DATA_DIR": str(data_dir), "LIMPET_PORT": "0", **more}


class Server:
    """`python -m limpet.control`, `under` another program or none, up to the line that says it is
    ready."""

    def __init__(self, data_dir: Path, *under: str, **more: str) -> None:
        self.data_dir = data_dir
        self.process = subprocess.Popen(
            [*under, sys.executable, "-m", "limpet.control"],
            env=environ(data_dir, **more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        self.printed = ""
        while "/sign-in?token=" not in self.printed:
            line = self.process.stdout.readline()
            assert line, self.process.communicate()[1]
            self.printed += line
        found = re.search(r"http://127\.0\.0\.1:(\d+)/sign-in\?token=\S+", self.printed)
        assert found
        self.sign_in_url, self.port = found[0], int(found[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def end(self, *signals: signal.Signals) -> tuple[int, str, str]:
        """Send signals; the exit code and what was printed since."""
        for number in signals:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


@contextlib.contextmanager
def served(data_dir: Path, *under: str, **more: str) -> Iterator[Server]:
    server = Server(data_dir, *under, **more)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
        server.process.communicate()


def refused(data_dir: Path, *code: str, **more: str) -> tuple[int, str]:
    """The exit code and the complaint of a server that does not start."""
    done = subprocess.run(
        [sys.executable, *(code or ("-m", "limpet.control"))],
        env=environ(data_dir, **more),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_it_prints_one_sign_in_url_and_tells_the_command_line_where_it_is(tmp_path: Path) -> None:
    with served(tmp_path / "data") as server:
        assert server.printed.count("http") == 1
        path = tmp_path / "data" / "server.json"
        found = json.loads(path.read_text())
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert (found["url"], found["pid"]) == (server.url, server.process.pid)
        asked = urllib.request.Request(
            f"{server.url}/api/system", headers={"Authorization": f"Bearer {found['api_key']}"}
        )
        with urllib.request.urlopen(asked) as answer:
            assert json.load(answer)["data_dir"] == str(tmp_path / "data")
        code, out, err = server.end(signal.SIGTERM)
        assert code == 0, err
        assert "Saving every sandbox" in out
        assert not path.exists()
        assert found["api_key"] not in out + err


def test_without_isolation_it_says_so(tmp_path: Path) -> None:
    with served(tmp_path / "data", LIMPET_ISOLATION="none") as server:
        assert "No isolation" in server.printed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_every_polite_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with served(tmp_path / "data") as server:
        assert server.end(number)[0] == 0
    with sqlite3.connect(tmp_path / "data" / "limpet.sqlite3") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def test_under_nohup_it_outlives_its_terminal(tmp_path: Path) -> None:
    with served(tmp_path / "data", "nohup") as server:
        server.process.send_signal(signal.SIGHUP)
        with urllib.request.urlopen(f"{server.url}/health") as answer:
            assert answer.status == 200
        code, _, err = server.end(signal.SIGTERM)
    assert code == 0
    assert "SIGTERM" in err
    assert "SIGHUP" not in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_also_when_nobody_reads_what_it_prints(
    tmp_path: Path, number: signal.Signals
) -> None:
    server = Server(tmp_path)
    assert server.process.stdout
    assert server.process.stderr
    server.process.stdout.close()
    server.process.stderr.close()
    server.process.send_signal(number)
    assert server.process.wait(60) == 0
    assert not (tmp_path / "server.json").exists()


def test_a_second_server_says_who_has_the_folder(tmp_path: Path) -> None:
    with served(tmp_path / "data") as server:
        code, complaint = refused(tmp_path / "data")
        assert code == 5
        assert f"process {server.process.pid}" in complaint
        with urllib.request.urlopen(f"{server.url}/health") as answer:
            assert answer.status == 200
        assert (tmp_path / "data" / "server.json").exists()


def test_after_kill_9_the_next_start_works(tmp_path: Path) -> None:
    with served(tmp_path / "data") as server:
        server.end(signal.SIGKILL)
        old = json.loads((tmp_path / "data" / "server.json").read_text())
    with served(tmp_path / "data") as server:
        new = json.loads((tmp_path / "data" / "server.json").read_text())
        assert new["pid"] == server.process.pid
        asked = urllib.request.Request(
            f"{server.url}/api/system", headers={"Authorization": f"Bearer {old['api_key']}"}
        )
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(asked)


def test_a_taken_port_gives_the_next_one_and_is_said(tmp_path: Path) -> None:
    with contextlib.closing(listen("127.0.0.1", 0, insist=False)) as thief:
        with served(tmp_path / "data", LIMPET_PORT=str(thief.port)) as server:
            assert server.port > thief.port
            assert f"Port {thief.port} is taken; serving on {server.port}" in server.printed
        insist = f"from limpet.control.serve import main; raise SystemExit(main(port={thief.port}))"
        code, complaint = refused(tmp_path / "data", "-c", insist)
    assert code == 5
    assert f"Port {thief.port} is taken" in complaint


def test_a_bad_start_is_one_clear_sentence(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    data = tmp_path / "data"
    cases = [
        (refused(file / "below"), 1, "data folder"),
        (refused(data, LIMPET_SECRET_KEY="short"), 2, "LIMPET_SECRET_KEY"),
        (refused(data, LIMPET_PORT="many"), 2, "LIMPET_PORT"),
        (refused(data, LIMPET_HOST="0.0.0.0"), 2, "LIMPET_HOST"),
        (refused(data, LIMPET_TEAM="1", LIMPET_ISOLATION="none"), 2, "LIMPET_TEAM"),
    ]
    for (code, complaint), expected, told in cases:
        assert (code, told in complaint) == (expected, True), complaint


def test_a_damaged_or_newer_database_and_another_key_are_told_and_left_alone(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    with served(data) as server:
        server.end(signal.SIGTERM)
    path = data / "limpet.sqlite3"
    whole = path.read_bytes()
    key = "bGltcGV0LXRlc3Qta2V5LW9mLTMyLWJ5dGVzLWhlcmU="
    code, complaint = refused(data, LIMPET_SECRET_KEY=key)
    assert (code, "secret key is not the one" in complaint) == (2, True), complaint
    with sqlite3.connect(path) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    code, complaint = refused(data)
    assert (code, "newer version" in complaint) == (1, True), complaint
    path.write_bytes(b"garbage" * 1000)
    code, complaint = refused(data)
    assert (code, "damaged" in complaint) == (1, True), complaint
    assert path.read_bytes() == b"garbage" * 1000
    path.write_bytes(whole)
    with served(data) as server:
        assert server.end(signal.SIGTERM)[0] == 0


@pytest.mark.anyio
async def test_stopping_ends_streams_and_refuses_new_work(tmp_path: Path) -> None:
    """An open stream must not hold up the end, and must be told of it."""
    with served(tmp_path / "data") as server:
        key = json.loads((tmp_path / "data" / "server.json").read_text())["api_key"]
        bearer = {"Authorization": f"Bearer {key}"}
        async with aiohttp.ClientSession(headers=bearer) as http:
            async with http.post(f"{server.url}/api/local/agents", json={}) as made:
                agent = await made.json()
            query = {"virtualMcpId": agent["id"]}
            async with http.get(f"{server.url}/api/local/vm-events", params=query) as stream:
                assert stream.status == 200
                server.process.send_signal(signal.SIGTERM)
                last = (await stream.content.read()).decode()
            assert "event: bye" in last
        code, _, err = await asyncio.to_thread(server.end)
        assert code == 0, err


@contextlib.contextmanager
def draining(server: Server, number: signal.Signals) -> Iterator[socket.socket]:
    """A server that was told to stop, and waits for a request of which a byte is missing."""
    key = json.loads((server.data_dir / "server.json").read_text())["api_key"]
    with contextlib.closing(socket.create_connection(("127.0.0.1", server.port))) as slow:
        slow.sendall(
            f"POST /api/local/agents HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}"
            "\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{".encode()
        )
        with urllib.request.urlopen(f"{server.url}/health"):
            pass  # the slow request was read before this one was answered
        server.process.send_signal(number)
        assert server.process.stdout
        assert any("Saving every sandbox" in line for line in server.process.stdout)
        yield slow


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_comes_twice_is_no_haste(tmp_path: Path, number: signal.Signals) -> None:
    with (
        served(tmp_path / "data", LIMPET_DRAIN_S="600") as server,
        draining(server, number) as slow,
    ):
        server.process.send_signal(number)
        slow.sendall(b"}")
        assert server.process.wait(60) == 0
        assert b"200 OK" in slow.recv(65536)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ctrl_c_ends_what_ends_already_at_once(tmp_path: Path, number: signal.Signals) -> None:
    with served(tmp_path / "data", LIMPET_DRAIN_S="600") as server, draining(server, number):
        code, _, _ = server.end(signal.SIGINT)
        assert code == 1
    with (tmp_path / "data" / "serve.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
