"""Clients of bad will or bad luck, by hand: each throws what it has and checks what comes of it."""

import asyncio
import base64
import contextlib
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator

import aiohttp

from limpet.daemon.routes import MAX_BODY_BYTES, Route
from tests.daemon.route_table import every_route
from tests.daemon_process import TOKEN
from tests.fuzz_daemon.running import Fuzzed

PARAMETERS = {"{id}": "task1", "{script}": "dev", "{step}": "start"}
ROUTES = [route for route in every_route() if route.path != "/health"]
POSTS = [route for route in ROUTES if "POST" in route.methods]
SNAPSHOTS = "/snapshot/"


def path_of(route: Route) -> str:
    """The route's path with something in the place of its parameters."""
    path = route.path
    for name, value in PARAMETERS.items():
        path = path.replace(name, value)
    return "/_sandbox" + path


def head(method: str, path: str, *lines: str, token: str = TOKEN) -> bytes:
    """The beginning of a request, without the empty line that ends it."""
    every = (f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {token}", *lines)
    return "".join(f"{line}\r\n" for line in every).encode()


@contextlib.contextmanager
def connection(fuzzed: Fuzzed, *, receive_bytes: int | None = None) -> Iterator[socket.socket]:
    """A connection by hand; with `receive_bytes` hardly anything fits into it."""
    with socket.socket() as made:
        if receive_bytes is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        made.settimeout(60)
        made.connect(fuzzed.address)
        fuzzed.requests += 1
        yield made


def status_of(made: socket.socket) -> int:
    """The status of the answer that comes; 0 when the connection is closed instead."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while b"\r\n" not in data:
            chunk = made.recv(4096)
            if not chunk:
                break
            data += chunk
    return int(data.split()[1]) if data.startswith(b"HTTP/") else 0


def bodies_that_break_off(fuzzed: Fuzzed, rng: random.Random) -> None:
    """Half of a body, then nothing any more."""
    for route in POSTS:
        length = rng.randrange(10, 100_000)
        sent = rng.randbytes(rng.randrange(length)) if rng.random() < 0.5 else b'{"path": "a'
        with connection(fuzzed) as made:
            made.sendall(head("POST", path_of(route), f"Content-Length: {length}") + b"\r\n" + sent)
        with connection(fuzzed) as made:
            made.sendall(head("POST", path_of(route), "Transfer-Encoding: chunked"))
            made.sendall(b"\r\nfff\r\n" + sent[:1000])
    fuzzed.check()


def near_tokens(rng: random.Random) -> list[str]:
    """Tokens that are not quite the right one."""
    place = rng.randrange(len(TOKEN))
    other = TOKEN[:place] + ("x" if TOKEN[place] != "x" else "y") + TOKEN[place + 1 :]
    return [
        "", " ", TOKEN[:-1], TOKEN + "t", TOKEN.upper(), other, TOKEN[::-1], f"{TOKEN} {TOKEN}",
        f"{TOKEN},", "null", "ü" * 20, "t" * 10_000,
    ]  # fmt: skip


def tokens_that_are_not_it(fuzzed: Fuzzed, rng: random.Random) -> None:
    """401 on every route that asks, and nothing is done or counted."""
    before = _rested(fuzzed)
    for route in ROUTES:
        if not route.auth:
            continue
        for token in rng.sample(near_tokens(rng), 3):
            with connection(fuzzed) as made:
                line = head(route.methods[0], path_of(route), "Content-Length: 2", token=token)
                made.sendall(line + b"\r\n{}")
                assert status_of(made) == 401, (route.path, token)
        for scheme in ("Basic", "Token", ""):
            answer = fuzzed.daemon.http.request(
                route.methods[0],
                fuzzed.daemon.url + path_of(route),
                headers={"Authorization": f"{scheme} {TOKEN}".strip()},
            )
            assert answer.status == 401, (route.path, scheme)
    assert _activity(fuzzed) == before
    fuzzed.check()


def _rested(fuzzed: Fuzzed) -> int:
    """The activity, once none was counted for a second: what clients before began may go on."""
    seq, since = _activity(fuzzed), time.monotonic()
    while time.monotonic() - since < 1.0:
        if (now := _activity(fuzzed)) != seq:
            seq, since = now, time.monotonic()
    return seq


def _activity(fuzzed: Fuzzed) -> int:
    told = json.loads(fuzzed.daemon.request("GET", "/idle").data)
    return int(told["activitySeq"])


def configs_at_once(fuzzed: Fuzzed, rng: random.Random) -> None:
    """Patches at the same moment: each is answered, and the last state has all of their fields."""
    numbers = range(12)
    statuses: list[int] = []

    def post(n: int) -> None:
        patch = {"env": {f"N{n}": str(n)}, "application": {"port": rng.randrange(2000, 60000)}}
        answer = fuzzed.daemon.request("POST", "/config", json.dumps(patch).encode())
        statuses.append(answer.status)

    threads = [threading.Thread(target=post, args=(n,)) for n in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fuzzed.requests += len(threads)
    assert set(statuses) == {200}
    known = json.loads(fuzzed.daemon.request("GET", "/config").data)["envKeys"]
    assert {f"N{n}" for n in numbers} <= set(known)
    fuzzed.check()


def bodies_that_are_too_large(fuzzed: Fuzzed, rng: random.Random) -> None:
    """More than 64 MiB is refused on the way, however it is framed, and is not kept."""
    before = fuzzed.resident_bytes()
    route = rng.choice([r for r in POSTS if r.input is not None])
    block = b" " * (1024 * 1024)
    with connection(fuzzed) as made:
        made.sendall(head("POST", path_of(route), "Transfer-Encoding: chunked") + b"\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(MAX_BODY_BYTES // len(block) + 8):
                made.sendall(b"%x\r\n%s\r\n" % (len(block), block))
            made.sendall(b"0\r\n\r\n")
        assert status_of(made) in {413, 0}
    fuzzed.check()
    assert fuzzed.resident_bytes() - before < 3 * MAX_BODY_BYTES


def senseless_bodies(rng: random.Random) -> list[bytes]:
    """JSON that is none, or hardly."""
    deep = rng.randrange(2_000, 200_000)
    return [
        b"", b"null", b"[]", b'"text"', b"0", b"{", b"}", b'{"a":', b"\xff\xfe{}",
        b"\xef\xbb\xbf{}",
        b"{}{}", b"NaN", b'{"path": NaN}', b"[" * deep, b'{"path":' * deep, b'{"path": "a\0b"}',
        rb'{"path": "a\u0000b", "command": "a\u0000b", "message": "\u0000"}',
        rb'{"path": "\ud800", "pattern": "\udfff", "command": "\ud800x", "content": "\ud800"}',
        b'{"limit": 1e999, "path": "a"}', b'{"limit": ' + b"9" * 5000 + b', "pattern": "a"}',
        b'{"offset": -1e308, "timeout": 1e400, "path": "a", "command": ":"}',
        b'{"path": "a", "path": 1, "path": ["a"]}', b'{"path": {"path": {"path": null}}}',
        json.dumps({"path": "x" * rng.randrange(256, 100_000), "content": ""}).encode(),
        json.dumps({"path": "/".join("a" * rng.randrange(1, 2000)), "content": ""}).encode(),
        json.dumps({"path": "../" * rng.randrange(1, 500) + "etc", "content": ""}).encode(),
        json.dumps({"pattern": "(" * rng.randrange(1, 2000), "command": ":"}).encode(),
        json.dumps({"pattern": "(a{1,900}){1,900}", "glob": "{" * 500}).encode(),
        json.dumps({"pattern": "{a,b}" * 30, "command": ":"}).encode(),
        json.dumps({"cwd": "a\0b", "command": ":", "env": {"A=B": "x", "": "y"}}).encode(),
        json.dumps({"cwd": "x" * 5000, "command": ":", "env": {"A": "\0"}}).encode(),
        base64.b64encode(b"[" * 5000), base64.b64encode(rng.randbytes(200)), b"e30", b"e30=",
        rng.randbytes(rng.randrange(1, 2000)), b'{"git": ' * 1000 + b"1" + b"}" * 1000,
    ]  # fmt: skip


TYPES = ["application/json", "text/plain", "application/xml", "multipart/form-data", "", "x" * 5000]


def bodies_without_sense(fuzzed: Fuzzed, rng: random.Random) -> None:
    """Whatever is posted anywhere: an answer below 500 with an `error`, or a thing that is done."""
    for route in POSTS:
        for body in senseless_bodies(rng):
            answer = fuzzed.daemon.http.request(
                "POST",
                fuzzed.daemon.url + path_of(route),
                body=body,
                headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": rng.choice(TYPES)},
            )
            fuzzed.requests += 1
            told = (route.path, body[:100], answer.status, answer.data[:500])
            assert answer.status < 500, told
            if answer.status >= 400:
                assert json.loads(answer.data)["error"], told
    fuzzed.check()


def odd_requests(fuzzed: Fuzzed, rng: random.Random) -> None:
    """Lines, paths and headers that no client of good will sends."""
    paths = [
        "/_sandbox/../../etc/passwd", "/_sandbox/%2e%2e/health", "/_sandbox/tasks/%00",
        "/_sandbox/tasks/%ff%fe", "/_sandbox/exec/%2d%2dhelp", "/_sandbox//read", "/_sandbox",
        "/_sandbox/download?path=%ed%a0%80", "/_sandbox/download?path=" + "a" * 9000,
        "/_sandbox/download?path=a%00b", "/_sandbox/git/log?limit=9" + "9" * 400,
        "/_sandbox/git/diff?against=%00", "/_sandbox/git/log?skip=-1", "/_sandbox/logs?source=%ff",
        "/_sandbox/git/diff?against=HEAD&against=--output=x&what=", "/_sandbox/tasks?status=,,,",
    ]  # fmt: skip
    lines = [
        "Range: bytes=" + "0-1," * 1000, "Range: bytes=99999999999999999999-", "Range: \xff",
        "If-None-Match: " + '"x",' * 500, "If-Modified-Since: never", "If-Range: \x01",
        "Last-Event-ID: " + "9" * 4000, "X-Limpet-Base: \xe9", "X-Limpet-Poll: 1, 1",
        "X-Limpet-Limit-Bytes: -1", "X-Limpet-Size: 1e3", "Authorization: Bearer x",
        "Content-Length: 0", "Expect: 100-continue", "Upgrade: websocket", "Origin: null",
    ]  # fmt: skip
    for path in paths:
        for method in ("GET", "HEAD", "POST", "DELETE", "PATCH", "OPTIONS"):
            with connection(fuzzed) as made:
                made.sendall(head(method, path, "Connection: close") + b"\r\n")
                assert status_of(made) < 500, (method, path)
    for line in lines:
        for path in (
            "/_sandbox/download?path=a.txt",
            "/_sandbox/snapshot/create",
            "/_sandbox/tasks",
        ):
            with connection(fuzzed) as made:
                made.sendall(head("GET", path, "Connection: close") + line.encode("latin-1"))
                made.sendall(b"\r\n\r\n")
                assert status_of(made) < 500, (path, line[:80])
    with connection(fuzzed) as made:
        made.sendall(rng.randbytes(5000) + b"\r\n\r\n")
        assert status_of(made) in {0, 400}
    fuzzed.check()


def bodies_that_trickle(fuzzed: Fuzzed, rng: random.Random) -> None:
    """Many that send a byte now and then: everybody else is served meanwhile."""
    with contextlib.ExitStack() as held:
        slow = [held.enter_context(connection(fuzzed)) for _ in range(60)]
        for made in slow:
            path = path_of(rng.choice([r for r in POSTS if SNAPSHOTS not in r.path]))
            made.sendall(head("POST", path, "Content-Length: 100000") + b"\r\n{")
        for _ in range(5):
            for made in slow:
                made.sendall(b" ")
            assert fuzzed.daemon.post("/bash", {"command": "echo fine"})["stdout"] == "fine\n"
            fuzzed.check()
    fuzzed.check()


def clients_that_stop_reading(fuzzed: Fuzzed, rng: random.Random) -> None:
    """Streams, a socket and downloads that nobody takes: no memory goes into them, others go on."""
    repo = fuzzed.daemon.workspace / "repo"
    (repo / "large.bin").write_bytes(bytes(32 * 1024 * 1024))
    before = fuzzed.resident_bytes()
    noisy = fuzzed.daemon.post("/bash", {"command": "yes | head -c 40000000", "mode": "background"})
    terminal = fuzzed.daemon.post("/pty", {"command": "sleep 1; yes | head -c 20000000"})
    upgrade = (
        "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    )  # fmt: skip
    with contextlib.ExitStack() as held:
        stuck = [held.enter_context(connection(fuzzed, receive_bytes=4096)) for _ in range(12)]
        targets: list[tuple[str, tuple[str, ...]]] = [
            ("/_sandbox/events", ()),
            (f"/_sandbox/tasks/{noisy['taskId']}/stream", ()),
            (f"/_sandbox/pty/{terminal['id']}", upgrade),
            ("/_sandbox/download?path=large.bin", ()),
        ]
        for n, made in enumerate(stuck):
            path, lines = targets[n % len(targets)]
            made.sendall(head("GET", path, *lines) + b"\r\n")
        for task in (noisy["taskId"], terminal["id"]):
            asyncio.run(_followed_to_the_end(fuzzed, task))
        fuzzed.check()
        grown = fuzzed.resident_bytes() - before
        assert grown < 150 * 1024 * 1024, grown
    fuzzed.check()


async def _followed_to_the_end(fuzzed: Fuzzed, task: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(fuzzed.daemon.url, headers=headers) as http:
        async with asyncio.timeout(120):
            while True:
                async with http.get(f"/_sandbox/tasks/{task}/stream") as stream:
                    data = await stream.content.read()
                if b"event: end" in data:
                    return


Client = Callable[[Fuzzed, random.Random], None]
CLIENTS: tuple[Client, ...] = (
    bodies_that_break_off,
    tokens_that_are_not_it,
    configs_at_once,
    bodies_that_are_too_large,
    bodies_without_sense,
    odd_requests,
    bodies_that_trickle,
    clients_that_stop_reading,
)
