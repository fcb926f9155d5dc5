"""Ports are told by our own processes' sockets and by what a dev server prints."""

import asyncio
import os
import socket
import subprocess
import sys

import pytest

from limpet.daemon.setup import ports, probe
from limpet.daemon.setup.ports import Sniffer

pytestmark = pytest.mark.anyio

LISTEN = """
import socket, sys
s = socket.socket(getattr(socket, sys.argv[1])); s.bind((sys.argv[2], 0)); s.listen()
print(s.getsockname()[1], flush=True); sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("family", "bound", "reached"),
    [
        ("AF_INET", "127.0.0.1", "127.0.0.1"),
        ("AF_INET", "0.0.0.0", "127.0.0.1"),
        ("AF_INET6", "::1", "::1"),
        ("AF_INET6", "::", "::1"),
    ],
)
def test_a_childs_port_is_found_and_a_neighbours_is_not(
    family: str, bound: str, reached: str
) -> None:
    with socket.socket() as neighbour:
        neighbour.bind(("127.0.0.1", 0))
        neighbour.listen()
        child = subprocess.Popen(
            ["sh", "-c", '"$@"; true', "sh", sys.executable, "-c", LISTEN, family, bound],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        try:
            port = int(child.stdout.readline())
            found = ports.of_descendants(child.pid)
            assert found == [(reached, port)]
            mine = ports.of_descendants(os.getpid())
            assert mine is not None
            assert neighbour.getsockname()[1] in {one.port for one in mine}
        finally:
            child.communicate()


def test_nothing_can_be_told_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMPET_WITHOUT", "proc")
    assert ports.of_descendants(os.getpid()) is None


def test_a_wanted_port_is_had_unless_it_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert ports.free_port("127.0.0.1", port) != port
    assert ports.free_port("127.0.0.1", port) == port


@pytest.mark.parametrize(
    ("chunks", "port"),
    [
        (["  ➜  Local:   http://localhost:5173/\n"], 5173),
        (["Local: http://127.0.0.1:80", "80/\n"], 8080),
        (["\x1b[32mLocal\x1b[0m:  http://localhost:\x1b[1m4321\x1b[22m/\n"], 4321),
        (["Listening on http://[::]:3000/\n"], 3000),
        (["ready - started server on 0.0.0.0:3000, url: http://localhost:3000\n"], 3000),
        (["proxying to http://localhost:9999/\n", "Local: http://localhost:1234\n"], 1234),
        (["GET http://localhost:5000/ 200\n"], None),
        (["Local: http://localhost:99999/\n"], None),
        (["Local: http://example.com:3000/\n"], None),
    ],
)
def test_the_announced_port_is_read(chunks: list[str], port: int | None) -> None:
    sniffer = Sniffer()
    for chunk in chunks:
        sniffer.feed(chunk)
    assert sniffer.port == port


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        ("Error: listen EADDRINUSE: address already in use 127.0.0.1:3000", True),
        ("OSError: [Errno 98] Address already in use", True),
        ("Error: Port 5173 is already in use", True),
        ("Port 5173 is in use, trying another one...", False),
        ("Port 3000 is in use, using available port 3001 instead.", False),
    ],
)
def test_a_taken_port_is_told_from_one_that_is_passed_by(said: str, taken: bool) -> None:
    sniffer = Sniffer()
    sniffer.feed(said + "\n")
    assert sniffer.taken is taken


async def test_the_probe_takes_any_status_and_nothing_but_http() -> None:
    async def answering(head: bytes) -> tuple[asyncio.Server, int]:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head)
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        return server, server.sockets[0].getsockname()[1]

    for head, expected in (
        (b"HTTP/1.1 500 No\r\nContent-Type: text/html; charset=x\r\n\r\n", (500, True)),
        (b"HTTP/1.0 404 No\r\n\r\n", (404, False)),
        (b"SSH-2.0-x\r\n\r\n", None),
        (b"", None),
    ):
        server, port = await answering(head)
        assert await probe.head("127.0.0.1", port) == expected
        server.close()
    assert await probe.head("127.0.0.1", 1) is None
