"""A token service (STS) on loopback, over TLS, and an S3 server that lets in whom it let in."""

import contextlib
import re
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import trustme

ROLE = "arn:aws:iam::123456789012:role/snapshots"
_ACCESS_KEY = re.compile(r"Credential=([^/]+)/")


@dataclass(slots=True)
class TokenService:
    """Gives keys to whoever shows `token`, for `lifetime_s`; `status` other than 200 refuses all.

    `authority` is whom a client must trust. `objects` is what the S3 side holds; `used` are the
    access keys that requests to it were signed with, in order.
    """

    token: str
    authority: Path
    lifetime_s: float = 3600
    status: int = 200
    endpoint: str = ""
    s3_endpoint: str = ""
    given: list[str] = field(default_factory=list)
    used: list[str] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=dict)


@contextlib.contextmanager
def token_service(folder: Path, *, token: str) -> Iterator[TokenService]:
    """Both servers, running until the block ends."""
    authority = trustme.CA()
    state = TokenService(token, folder / "authority.pem")
    authority.cert_pem.write_to_path(state.authority)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with _serving(_Tokens, state, context) as port, _serving(_Bucket, state) as s3_port:
        state.endpoint = f"https://127.0.0.1:{port}"
        state.s3_endpoint = f"http://127.0.0.1:{s3_port}"
        yield state


@contextlib.contextmanager
def _serving(
    handler: type["_Handler"], state: TokenService, tls: ssl.SSLContext | None = None
) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("H", (handler,), {"state": state}))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    state: TokenService

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def _read(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{len(body)}"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class _Tokens(_Handler):
    def do_POST(self) -> None:
        self._read()
        asked = {name: told[0] for name, told in parse_qs(urlsplit(self.path).query).items()}
        token = asked.get("WebIdentityToken", "")
        wanted = ("AssumeRoleWithWebIdentity", ROLE, self.state.token)
        if self.state.status != 200 or wanted != (asked["Action"], asked["RoleArn"], token):
            told = f"<Error><Code>InvalidIdentityToken</Code><Message>{token}</Message></Error>"
            status = self.state.status if self.state.status != 200 else 400
            self._answer(status, f"<ErrorResponse>{told}</ErrorResponse>".encode())
            return
        name = f"ASIATESTS{len(self.state.given)}"
        self.state.given.append(name)
        end = datetime.now(UTC) + timedelta(seconds=self.state.lifetime_s)
        self._answer(
            200,
            f"""<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{name}</AccessKeyId>
<SecretAccessKey>secret-of-{name}</SecretAccessKey><SessionToken>session-of-{name}</SessionToken>
<Expiration>{end:%Y-%m-%dT%H:%M:%SZ}</Expiration></Credentials>
</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>""".encode(),
        )


class _Bucket(_Handler):
    def _place(self) -> str | None:
        """The key; None when it was refused."""
        found = _ACCESS_KEY.search(self.headers.get("Authorization", ""))
        name = found[1] if found else ""
        self.state.used.append(name)
        given = name in self.state.given
        if given and self.headers.get("x-amz-security-token") == f"session-of-{name}":
            return urlsplit(self.path).path
        self._answer(403, b"<Error><Code>InvalidAccessKeyId</Code></Error>")
        return None

    def do_PUT(self) -> None:
        body = self._read()
        if (key := self._place()) is not None:
            self.state.objects[key] = body
            self._answer(200)

    def do_GET(self) -> None:
        if (key := self._place()) is not None:
            self._answer(200, self.state.objects[key])

    do_HEAD = do_GET  # noqa: N815
