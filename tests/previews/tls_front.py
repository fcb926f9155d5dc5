"""What stands before a control plane on a domain of its own: TLS ends here, the rest goes on."""

import asyncio
import base64
import contextlib
import hashlib
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


@dataclass
class TlsFront:
    """Listens on loopback with a certificate for `*.<domain>`; `to` is the port behind it."""

    domain: str
    port: int
    key_pin: str
    """The certificate's public key, as Chromium takes it on its command line."""
    to: int | None = None

    async def joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, both ways until both ends are through."""
        assert self.to is not None, "nothing is behind the front yet"
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self.to)
        try:
            await asyncio.gather(_pipe(reader, inner_writer), _pipe(inner_reader, writer))
        finally:
            for end in (writer, inner_writer):
                end.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, ssl.SSLError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        writer.close()


@contextlib.contextmanager
def tls_front(domain: str) -> Iterator[TlsFront]:
    """A front that listens already; it ends with the block."""
    certificate = trustme.CA().issue_cert(f"*.{domain}", domain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    parsed = x509.load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes())
    key = parsed.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pin = base64.b64encode(hashlib.sha256(key).digest()).decode()
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _loop, _context: None)  # browsers hang up as they like
    front = TlsFront(domain, 0, pin)

    async def listen() -> asyncio.Server:
        return await asyncio.start_server(front.joined, "127.0.0.1", 0, ssl=context)

    server = loop.run_until_complete(listen())
    front.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield front
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(_ended(asyncio.all_tasks(loop)))
        loop.close()


async def _ended(tasks: set["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
