"""Where a repository has moved to on its own host. git itself would follow to any host, so it is
told to follow nowhere, and this asks in its place.
"""

import base64
import os
import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import urljoin, urlsplit

from limpet.daemon.git_access import Access

MAX_HOPS: Final = 3
TIMEOUT_S: Final = 10.0
_PROBE: Final = "/info/refs?service=git-upload-pack"


async def moved_to(url: str, access: Access | None, environ: Mapping[str, str]) -> str | None:
    """The repository's new URL on the same scheme, host and port; None when it has none."""
    import aiohttp

    headers = {"Git-Protocol": "version=2"}
    if access is not None and access.origin == _origin(url):
        given = access.credentials
        both = f"{given.username}:{given.password}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(both).decode()}"
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    found = url
    try:
        connector = aiohttp.TCPConnector(ssl=_context(environ))
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, trust_env=True
        ) as session:
            for _ in range(MAX_HOPS):
                ask = session.get(found + _PROBE, headers=headers, allow_redirects=False)
                async with ask as answer:
                    if answer.status not in {301, 302, 303, 307, 308}:
                        return found if found != url else None
                    target = urljoin(found + _PROBE, answer.headers.get("Location", ""))
                if _origin(target) != _origin(url) or not target.endswith(_PROBE):
                    return None
                found = target.removesuffix(_PROBE)
    except (aiohttp.ClientError, OSError, ValueError, TimeoutError):
        return None
    return None


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _context(environ: Mapping[str, str]) -> ssl.SSLContext:
    """Trust what git trusts."""
    context = ssl.create_default_context()
    for name in ("GIT_SSL_CAINFO", "SSL_CERT_FILE", "CURL_CA_BUNDLE"):
        if (file := environ.get(name)) and os.path.isfile(file):  # noqa: PTH113
            context.load_verify_locations(cafile=file)
    return context
