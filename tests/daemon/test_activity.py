"""What counts as work: each route does what its row in docs/protocol.md says."""

import json
import socket

import pytest

from limpet.daemon.routes import Route
from tests.daemon_process import TOKEN, DaemonProcess
from tests.fuzz_daemon.clients import ROUTES, path_of

ORDER = ("none", "unless polled", "work")


def seq(daemon: DaemonProcess) -> int:
    told: int = json.loads(daemon.request("GET", "/idle").data)["activitySeq"]
    return told


def call(daemon: DaemonProcess, route: Route, method: str, *lines: str) -> None:
    """One request, of whose answer only the beginning is taken: some have no end."""
    host, port = daemon.url.removeprefix("http://").split(":")
    every = (
        f"{method} {path_of(route)} HTTP/1.1", "Host: x", f"Authorization: Bearer {TOKEN}",
        "Content-Length: 2", "Connection: close", *lines,
    )  # fmt: skip
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall("".join(f"{line}\r\n" for line in every).encode() + b"\r\n{}")
        assert connection.recv(9) == b"HTTP/1.1 "


def test_every_route_counts_as_its_row_says(daemon: DaemonProcess) -> None:
    for route in sorted(ROUTES, key=lambda route: ORDER.index(route.counts)):
        for method in route.methods:
            before = seq(daemon)
            call(daemon, route, method)
            grown = seq(daemon) > before
            assert grown == (route.counts != "none"), (method, route.path)
            if route.counts == "unless polled":
                before = seq(daemon)
                call(daemon, route, method, "X-Limpet-Poll: 1")
                assert seq(daemon) == before, (method, route.path)


@pytest.mark.parametrize("path", ["/health", "/_sandbox/none", "/_sandbox/read"])
def test_what_is_not_let_in_is_no_work(daemon: DaemonProcess, path: str) -> None:
    before = seq(daemon)
    for method in ("GET", "POST", "OPTIONS"):
        daemon.http.request(method, daemon.url + path, body=b"{}")
    assert seq(daemon) == before
